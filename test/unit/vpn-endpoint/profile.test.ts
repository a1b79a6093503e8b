import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { readConfig } from '../../../node/vpn/config-lines.ts'
import { ProfileError, parseProfile } from '../../../node/vpn/profile.ts'
import { World } from './world.ts'

const pack = new World().pack('web', {
  remotes: [
    { host: 'vpn.example.net', port: 1194 },
    { host: '2001:db8::1', port: 443 },
  ],
})

/** Without a remote. */
const bare = pack.replace(/^remote .*\n/gm, '')

function refusal(text: string): string {
  try {
    parseProfile(text)
  } catch (error) {
    assert.ok(error instanceof ProfileError, String(error))
    return error.message
  }
  return assert.fail('parsed')
}

test('a clientpack is understood', () => {
  const profile = parseProfile(pack)
  assert.deepEqual(profile.remotes, [
    { host: 'vpn.example.net', port: 1194 },
    { host: '2001:db8::1', port: 443 },
  ])
  assert.equal(profile.expectedName?.kind, 'name')
  assert.equal(profile.serverOnly, true)
  assert.equal(profile.pollMs, 1000)
  assert.equal(profile.retryMs, 0)
  assert.equal(profile.maxRetryMs, 1000)
  assert.deepEqual(profile.dataCiphers, ['AES-256-GCM', 'CHACHA20-POLY1305'])
  assert.equal(profile.tlsCryptV2.kc.length, 256)
  assert.equal(profile.cert.match(/BEGIN CERTIFICATE/g)?.length, 2)
  assert.equal(profile.pingMs, undefined)
})

test('options are read as OpenVPN reads them: quotes, comments, CRLF, order of port and remote', () => {
  const added = 'remote "a.example" # first\nremote b.example 7 udp6 ; second\nport 99\nping 3\nreneg-sec 0\n'
  const profile = parseProfile(`${bare}${added}`.replaceAll('\n', '\r\n'))
  assert.deepEqual(profile.remotes, [
    { host: 'a.example', port: 99 },
    { host: 'b.example', port: 7, family: 6 },
  ])
  assert.equal(profile.pingMs, 3000)
  assert.equal(profile.renegotiationMs, 0)
})

test('what is wrong is said with its line', () => {
  const line = pack.split('\n').length
  assert.equal(refusal(`${pack}remote a 70000`), `line ${line}: "70000" is no port`)
  assert.equal(
    refusal(`${pack}proto tcp`),
    `line ${line}: "tcp" is not supported by this client, only udp is`,
  )
  assert.equal(refusal(`${pack}tls-auth ta.key 1`), `line ${line}: tls-auth is not supported by this client`)
  assert.equal(refusal(`${pack}ca ca.crt`), `line ${line}: ca has to stand in the file itself, as <ca>`)
  assert.equal(refusal(`${pack}<ca>\nabc`), `line ${line}: <ca> is not closed`)
  assert.equal(refusal(`${pack}remote "a`), `line ${line}: a " is not closed`)
  assert.equal(refusal(`${pack}ping soon`), `line ${line}: ping: "soon" is no time in seconds`)
  assert.equal(
    refusal(`${pack}remote-cert-tls client`),
    `line ${line}: only remote-cert-tls server is for clients`,
  )
  assert.equal(refusal(pack.replace(/<key>[\s\S]*<\/key>/, '')), 'no <key>')
  assert.equal(refusal(bare), 'no remote: nowhere to connect to')
  assert.match(refusal(pack.replace(/(<tls-crypt-v2>\n.*\n)./, '$1!')), /holds no tls-crypt-v2 client key/)
  assert.equal(refusal(`${pack}${'remote a\n'.repeat(64)}`), 'more than 64 remotes')
  assert.match(refusal('x'.repeat(300_000)), /longer than/)
  assert.match(refusal('x\n'.repeat(9000)), /more than 8192 lines/)
})

test('numbers and names at their bounds, and beyond them', () => {
  const remotes = (lines: string) => parseProfile(`${bare}${lines}`).remotes
  assert.deepEqual(remotes('remote a'), [{ host: 'a', port: 1194 }])
  for (const port of [1, 65_535]) assert.deepEqual(remotes(`remote a ${port}`), [{ host: 'a', port }])
  for (const port of ['0', '65536', '1.5', '0x50', '+80', '1e3'])
    assert.match(refusal(`${bare}remote a ${port}`), /is no port/, port)
  const name = 'x'.repeat(255)
  assert.equal(remotes(`remote ${name}`)[0].host, name)
  for (const host of [`${name}x`, 'a/b', '""', 'ü'])
    assert.match(refusal(`${bare}remote ${host}`), /without a host/)
  assert.match(refusal(`${bare}remote`), /without a host/)
  assert.equal(remotes('remote a\n'.repeat(64)).length, 64)
  const one = `${bare}remote a\n`
  assert.equal(parseProfile(`${one}ping-restart 86400`).pingRestartMs, 86_400_000)
  for (const seconds of ['86401', '', '-1', '1.5', '0x10'])
    assert.match(refusal(`${one}ping ${seconds}`), /is no time in seconds/, seconds)
  assert.equal(parseProfile(`${one}hand-window 0`).handshakeMs, 1000)
  assert.equal(parseProfile(`${one}hand-window 7`).handshakeMs, 7000)
  assert.equal(parseProfile(`${one}server-poll-timeout 0`).pollMs, 1000)
  assert.equal(parseProfile(`${one}server-poll-timeout 7`).pollMs, 7000)
})

test('what makes a connection safer is not passed over', () => {
  const one = `${bare}remote a\n`
  assert.equal(parseProfile(one).tlsVersionMin, 'TLSv1.2')
  assert.equal(parseProfile(`${one}tls-version-min 1.3`).tlsVersionMin, 'TLSv1.3')
  assert.equal(parseProfile(`${one}tls-version-min 1.0`).tlsVersionMin, 'TLSv1.2')
  assert.equal(parseProfile(`${one}remote-random`).remoteRandom, true)
  const named = (words: string) => parseProfile(`${one}verify-x509-name ${words}`).expectedName
  assert.deepEqual(named('"C=X, CN=a"'), { kind: 'subject', value: 'C=X, CN=a' })
  for (const kind of ['subject', 'name', 'name-prefix'] as const)
    assert.deepEqual(named(`a ${kind}`), { kind, value: 'a' })
  assert.match(refusal(`${one}verify-x509-name a nonsense`), /is not subject, name or name-prefix/)
  for (const none of ['', '""']) assert.match(refusal(`${one}verify-x509-name ${none}`), /without a name/)
})

test('a connection has its own port and protocol, or those of the whole', () => {
  const remotes = (inner: string, after = '') =>
    parseProfile(`${bare}<connection>\n${inner}\n</connection>\n${after}`).remotes
  assert.deepEqual(remotes('remote a', 'port 7\nproto udp6'), [{ host: 'a', port: 7, family: 6 }])
  for (const name of ['port', 'rport'])
    assert.deepEqual(remotes(`remote a\n${name} 9`, 'port 7\nproto udp6'), [{ host: 'a', port: 9 }])
  assert.deepEqual(remotes('remote a\nproto udp4', 'port 7'), [{ host: 'a', port: 1194, family: 4 }])
  const line = bare.split('\n').length
  assert.equal(
    refusal(`${bare}<connection>\nport 1\n</connection>`),
    `line ${line}: <connection> without remote`,
  )
  assert.equal(
    refusal(`${bare}<connection>\n\nremote a x\n</connection>`),
    `line ${line + 2}: "x" is no port`,
  )
})

test('words are cut as OpenVPN cuts them', () => {
  const words = (line: string): string[] => {
    const [option] = readConfig(line)
    return [option.name, ...option.parameters]
  }
  assert.deepEqual(words(`a 'b "c\\' d`), ['a', 'b "c\\', 'd'])
  assert.deepEqual(words('a "b \'c" d'), ['a', "b 'c", 'd'])
  assert.deepEqual(words('a b\\ c "d\\"e" \\#'), ['a', 'b c', 'd"e', '#'])
  assert.deepEqual(words("a b#c d;e '' # f"), ['a', 'b#c', 'd;e', ''])
  assert.deepEqual(words('a b ; c'), ['a', 'b'])
  assert.deepEqual(words('a "#" \';\''), ['a', '#', ';'])
  assert.equal(words(`a${' b'.repeat(15)}`).length, 16)
  assert.throws(() => readConfig(`a${' b'.repeat(16)}`), { line: 1, message: 'line 1: more than 16 words' })
  assert.throws(() => readConfig('\na \\'), { line: 2, message: 'line 2: a backslash at the end' })
  assert.throws(() => readConfig("a 'b"), { name: 'ProfileError', message: "line 1: a ' is not closed" })
  assert.equal(readConfig('#'.repeat(262_144)).length, 0)
  assert.throws(() => readConfig('#'.repeat(262_145)), /longer than/)
  assert.equal(readConfig('x\n'.repeat(8191)).length, 8191)
  assert.throws(() => readConfig('x\n'.repeat(8192)), /more than 8192 lines/)
})

test('any text is understood or refused by a ProfileError', () => {
  const lines = pack.split('\n')
  const line = fc.oneof(
    fc.string({ maxLength: 80 }),
    fc.constantFrom(...lines, '<ca>', '</ca>', '<connection>', '</connection>', 'remote a', 'port', 'proto'),
  )
  fc.assert(
    fc.property(fc.array(line, { maxLength: 40, size: 'max' }), fc.boolean(), (some, whole) => {
      try {
        parseProfile(`${whole ? pack : ''}${some.join('\n')}`)
      } catch (error) {
        assert.ok(error instanceof ProfileError, String(error))
      }
    }),
    { numRuns: 1000 },
  )
})
