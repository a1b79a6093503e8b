import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { strFromU8, unzipSync } from 'fflate'
import { makeArchive } from '../../../node/pki/archive.ts'
import { type ClientpackRequest, formatClientpack, MAX_REMOTES } from '../../../node/pki/clientpack.ts'
import { PkiError } from '../../../node/pki/errors.ts'
import { makePki, packOf, pem } from './meshes.ts'

const REQUEST: ClientpackRequest = {
  meshName: 'prod',
  meshId: '00112233445566778899',
  clientName: 'web',
  address: '10.77.0.9',
  madeBy: 'alpha',
  madeAt: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
  expiresAt: Date.UTC(2031, 0, 1, 3, 4, 5),
  serial: '5a00ff',
  remotes: [
    { host: 'vpn.example.net', port: 1194 },
    { host: '192.0.2.1', port: 443 },
    { host: '2001:db8::1', port: 1195 },
  ],
  root: pem('CERTIFICATE', Buffer.from('the root')),
  certificate: pem('CERTIFICATE', Buffer.from('the client')),
  chain: pem('CERTIFICATE', Buffer.from('the issuing CA')),
  privateKey: pem('PRIVATE KEY', Buffer.from('the private key')),
  tlsCryptV2: pem('OpenVPN tls-crypt-v2 client key', Buffer.from('the wrapping key')),
}

const GOLDEN = `# Overmesh clientpack. It holds a private key: whoever has this file is this client.
# mesh     prod 00112233445566778899
# client   web
# address  10.77.0.9
# made     2026-01-02T03:04:05Z by alpha
# expires  2031-01-01T03:04:05Z
# serial   5a00ff
# For OpenVPN 2.5 and newer and OpenVPN 3. As root: openvpn --config web.ovpn

client
dev tun
proto udp
nobind
persist-tun
allow-pull-fqdn
remote-cert-tls server
verify-x509-name prod.0011223344556677 name
tls-version-min 1.2
data-ciphers AES-256-GCM:CHACHA20-POLY1305
auth-nocache
resolv-retry infinite
connect-retry 0 1
server-poll-timeout 1
hand-window 10
explicit-exit-notify 1
verb 3

remote vpn.example.net 1194 udp
remote 192.0.2.1 443 udp
remote 2001:db8::1 1195 udp

<ca>
-----BEGIN CERTIFICATE-----
dGhlIHJvb3Q=
-----END CERTIFICATE-----
</ca>
<cert>
-----BEGIN CERTIFICATE-----
dGhlIGNsaWVudA==
-----END CERTIFICATE-----
-----BEGIN CERTIFICATE-----
dGhlIGlzc3VpbmcgQ0E=
-----END CERTIFICATE-----
</cert>
<key>
-----BEGIN PRIVATE KEY-----
dGhlIHByaXZhdGUga2V5
-----END PRIVATE KEY-----
</key>
<tls-crypt-v2>
-----BEGIN OpenVPN tls-crypt-v2 client key-----
dGhlIHdyYXBwaW5nIGtleQ==
-----END OpenVPN tls-crypt-v2 client key-----
</tls-crypt-v2>
`

const refused = (error: unknown) => error instanceof PkiError && error.code === 'BAD_ARGUMENT'

test('the text of a clientpack, to the letter', () => {
  assert.equal(formatClientpack(REQUEST), GOLDEN)
})

test('what may be chosen: the order of controllers, and the timers', () => {
  const text = formatClientpack({
    ...REQUEST,
    remoteRandom: true,
    timers: { pollSeconds: 4, retrySeconds: 60 },
  })
  const expected = GOLDEN.replace('connect-retry 0 1', 'connect-retry 0 60')
    .replace('server-poll-timeout 1', 'server-poll-timeout 4')
    .replace('\nverb 3', '\nremote-random\nverb 3')
  assert.equal(text, expected)
})

test('nothing that is put into a clientpack can add a line to it', () => {
  const evil = 'x\nscript-security 2\nup "/bin/sh"'
  const remotes = (host: string, port = 1194) => ({ remotes: [{ host, port }] })
  const changes: Partial<ClientpackRequest>[] = [
    { meshName: evil },
    { meshId: evil },
    { clientName: evil },
    { address: evil },
    { madeBy: evil },
    { serial: evil },
    remotes(evil),
    remotes('a b'),
    remotes(''),
    remotes('[::1]'),
    remotes('-x'),
    remotes('a', 0),
    remotes('a', 65_536),
    remotes('a', 1.5),
    { root: `${REQUEST.root}${evil}\n` },
    { certificate: `${REQUEST.certificate}</cert>\n` },
    { chain: evil },
    { privateKey: REQUEST.privateKey.replace('\n', '\nup x\n') },
    { tlsCryptV2: '' },
    { timers: { pollSeconds: 0 } },
    { timers: { retrySeconds: 1.5 } },
  ]
  for (const change of changes) {
    assert.throws(() => formatClientpack({ ...REQUEST, ...change }), refused, JSON.stringify(change))
  }
})

test('a clientpack lists at least one controller, and as many as a client takes', () => {
  const remotes = (length: number) =>
    Array.from({ length }, (_, i) => ({ host: `c${i}.example`, port: 1194 }))
  const count = formatClientpack({ ...REQUEST, remotes: remotes(MAX_REMOTES) }).match(/^remote /gm)?.length
  assert.equal(count, MAX_REMOTES)
  assert.throws(() => formatClientpack({ ...REQUEST, remotes: remotes(MAX_REMOTES + 1) }), refused)
  assert.throws(() => formatClientpack({ ...REQUEST, remotes: [] }), refused)
})

test('a real certificate is PEM in the eyes of a clientpack', () => {
  const request = packOf(makePki(), REQUEST.remotes)
  const text = formatClientpack(request)
  for (const part of [
    request.root,
    request.certificate + request.chain,
    request.privateKey,
    request.tlsCryptV2,
  ]) {
    assert.ok(text.includes(`>\n${part}</`))
  }
})

test('the archive holds the clientpack, the same in parts, and how to use them', () => {
  const archive = makeArchive(REQUEST, Buffer.from('the pkcs12'))
  const files = Object.fromEntries(
    Object.entries(unzipSync(archive)).map(([name, content]) => [name, strFromU8(content)]),
  )
  const names = Object.keys(files).sort()
  const [sealed, plain] = [
    names.filter(each => each.startsWith('seal/')),
    names.filter(each => !each.includes('/')),
  ]
  assert.deepEqual(plain, [
    ...['README.txt', 'ca.crt', 'tls-crypt-v2.key', 'web.crt', 'web.key', 'web.ovpn', 'web.p12'],
  ])
  assert.deepEqual([...sealed, ...plain].sort(), names)
  assert.equal(files['seal/names'], 'vpn.example.net 1194\n')
  assert.match(files['seal/overmesh-seal.nft'], /192\.0\.2\.1 \. 443/)
  assert.equal(files['web.ovpn'], GOLDEN)
  assert.equal(files['web.p12'], 'the pkcs12')
  assert.equal(files['ca.crt'], REQUEST.root)
  assert.equal(files['web.crt'], REQUEST.certificate + REQUEST.chain)
  assert.equal(files['web.key'], REQUEST.privateKey)
  assert.equal(files['tls-crypt-v2.key'], REQUEST.tlsCryptV2)
  for (const name of plain) assert.ok(name === 'README.txt' || files['README.txt'].includes(name))
})

test('the archive is the same bytes in every time zone, and its files are private', () => {
  const archive = Buffer.from(makeArchive(REQUEST, Buffer.from('x')))
  const script = `
    import { makeArchive } from ${JSON.stringify(join(import.meta.dirname, '../../../node/pki/archive.ts'))}
    import { readFileSync } from 'node:fs'
    const request = JSON.parse(readFileSync(0, 'utf8'))
    process.stdout.write(Buffer.from(makeArchive(request, Buffer.from('x'))).toString('base64'))`
  for (const TZ of ['UTC', 'Pacific/Kiritimati', 'America/Los_Angeles']) {
    const output = execFileSync(process.execPath, ['--input-type=module-typescript', '--eval', script], {
      input: JSON.stringify(REQUEST),
      env: { ...process.env, TZ },
      encoding: 'utf8',
    })
    assert.equal(output, archive.toString('base64'), TZ)
  }
  // The central directory's external attributes, at 38 of each entry (APPNOTE.TXT 4.3.12).
  let entries = 0
  for (let at = archive.indexOf('PK\x01\x02'); at >= 0; at = archive.indexOf('PK\x01\x02', at + 1)) {
    const nameLength = archive.readUInt16LE(at + 28)
    const name = archive.toString('utf8', at + 46, at + 46 + nameLength)
    assert.equal(archive.readUInt32LE(at + 38) >>> 16, name === 'seal/seal' ? 0o100700 : 0o100600)
    entries++
  }
  assert.equal(entries, 14)
})
