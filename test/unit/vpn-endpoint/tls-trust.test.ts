// Whom the server's TLS trusts, and what it says of the others, with either engine. A channel with a problem never reaches
// admission: see session.ts.
import assert from 'node:assert/strict'
import { createPublicKey, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type tls from 'node:tls'
import { issueIssuingCa } from '../../../node/pki/authority.ts'
import { fingerprintOf } from '../../../node/pki/names.ts'
import { MemoryTlsServer } from '../../../node/vpn/memory-tls.ts'
import { parseProfile } from '../../../node/vpn/profile.ts'
import type { TlsServer, TlsVersion } from '../../../node/vpn/tls.ts'
import { run } from '../../lab/command.ts'
import { closePair, connectPair, ENGINES, type Pair } from './tls-engines.ts'
import { World } from './world.ts'

const world = new World()

/** Both ends once the handshake is over. */
async function shake(server: TlsServer, options: tls.SecureContextOptions): Promise<Pair> {
  const pair = connectPair(server, { ca: world.root.pem, ...options })
  await Promise.race([pair.until('server secure'), pair.until('server closed')])
  assert.ok(pair.log.includes('server secure'), pair.log.join(', '))
  return pair
}

async function selfSigned(
  t: TestContext,
  subject: string,
  ...options: string[]
): Promise<{ cert: Buffer; key: Buffer }> {
  const directory = mkdtempSync(join(tmpdir(), 'overmesh-tls-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const [keyFile, certFile] = [join(directory, 'key'), join(directory, 'cert')]
  const request = ['-subj', subject, '-days', '1', '-keyout', keyFile, '-out', certFile, ...options]
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  await run(['openssl', 'req', '-x509', ...curve, ...request])
  return { cert: readFileSync(certFile), key: readFileSync(keyFile) }
}

for (const [engine, make] of ENGINES) {
  const problemOf = async (options: tls.SecureContextOptions): Promise<string | undefined> => {
    const pair = await shake(make(world.credentials), options)
    const { certificateProblem } = pair.server
    closePair(pair)
    return certificateProblem
  }

  for (const version of ['TLSv1.2', 'TLSv1.3'] satisfies TlsVersion[]) {
    const maxVersion = version
    const circumstances = `${version}, ${engine}`

    test(`a client's certificate of the mesh is trusted (${circumstances})`, async () => {
      const { cert, key } = parseProfile(world.pack('web'))
      const pair = await shake(make(world.credentials), { cert, key, maxVersion })
      await pair.until('client secure')
      const { server, client } = pair
      assert.equal(server.certificateProblem, undefined)
      assert.equal(server.version, version)
      const shown = new X509Certificate(cert)
      assert.deepEqual(server.peer, {
        serial: shown.serialNumber.toLowerCase(),
        commonName: 'web',
        fingerprint: fingerprintOf(shown),
      })
      const label = 'EXPORTER-OpenVPN-datakeys'
      assert.deepEqual(Buffer.from(server.exportKey(256, label)), Buffer.from(client.exportKey(256, label)))
      closePair(pair)
    })

    test(`no certificate is not trusted (${circumstances})`, async () => {
      assert.match((await problemOf({ maxVersion })) ?? '', /^no certificate/)
      const pair = await shake(make(world.credentials), { maxVersion })
      assert.equal(pair.server.peer, undefined)
      closePair(pair)
    })

    test(`a certificate of another mesh is not trusted (${circumstances})`, async () => {
      const { cert, key } = parseProfile(new World().pack('web'))
      assert.match((await problemOf({ cert, key, maxVersion })) ?? '', /not of this mesh/)
    })

    test(`an expired certificate is not trusted (${circumstances})`, async () => {
      const { cert, key } = parseProfile(world.pack('web', { at: Date.now() - 7_200_000, lifetime: 3600 }))
      assert.equal(await problemOf({ cert, key, maxVersion }), 'this certificate has expired')
    })

    test(`a certificate of tomorrow is not trusted (${circumstances})`, async () => {
      const { cert, key } = parseProfile(world.pack('web', { at: Date.now() + 86_400_000 }))
      assert.match((await problemOf({ cert, key, maxVersion })) ?? '', /is not valid yet/)
    })

    test(`a certificate for servers is not trusted (${circumstances})`, async () => {
      const { cert, key } = world.credentials
      assert.equal(await problemOf({ cert, key, maxVersion }), 'this certificate is not one for clients')
    })

    test(`a self-signed certificate is not trusted (${circumstances})`, async t => {
      const options = { ...(await selfSigned(t, '/CN=web')), maxVersion }
      assert.match((await problemOf(options)) ?? '', /not of this mesh/)
    })
  }

  test(`whom the root did not sign may certify nobody, though it is among the issuing certificates (${engine})`, async () => {
    const other = new World()
    const broken = world.issuing.pem.replace(/.{64}/, 'A'.repeat(64))
    const ca = [...world.credentials.ca, other.root.pem, world.issuing.pem + other.issuing.pem + broken]
    const server = make({ ...world.credentials, ca })
    const problemOf = async (of: World): Promise<string | undefined> => {
      const { cert, key } = parseProfile(of.pack('web'))
      const pair = await shake(server, { cert, key })
      const { certificateProblem } = pair.server
      closePair(pair)
      return certificateProblem
    }
    assert.equal(await problemOf(world), undefined)
    assert.match((await problemOf(other)) ?? '', /not of this mesh/)
  })

  test(`nobody is certified by an issuing certificate that has expired (${engine})`, async () => {
    const now = Date.now()
    const { issuing, root } = world
    const old = issueIssuingCa(root, {
      controllerId: '01'.repeat(10),
      controllerName: 'alpha',
      publicKey: createPublicKey(issuing.privateKey),
      now: now - 7_200_000,
      lifetime: 3600,
    })
    const { key, cert } = parseProfile(world.pack('web'))
    const [leaf] = cert.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/) ?? []
    const server = make({ ...world.credentials, ca: [root.pem, old.pem] })
    const pair = await shake(server, { cert: `${leaf}\n${old.pem}`, key })
    assert.equal(pair.server.certificateProblem, 'this certificate has expired')
    closePair(pair)
  })

  test(`of a certificate, whoever made it, the same is read as by Node (${engine})`, async t => {
    for (const [subject, serial, commonName] of [
      ['/O=one/CN=web', '1', 'web'],
      ['/O=nobody', '0xff', ''],
      ['/CN=first/CN=second', `0x${'80'.repeat(20)}`, 'first'],
      [`/CN=${'ü'.repeat(40)}`, `0x7f${'00'.repeat(19)}`, 'ü'.repeat(40)],
    ]) {
      const { cert, key } = await selfSigned(t, subject, '-set_serial', serial, '-utf8')
      const pair = await shake(make(world.credentials), { cert, key })
      const shown = new X509Certificate(cert)
      assert.deepEqual(pair.server.peer, {
        serial: shown.serialNumber.toLowerCase(),
        commonName,
        fingerprint: fingerprintOf(shown),
      })
      closePair(pair)
    }
  })

  test(`new credentials count for new handshakes, and connections that are up go on (${engine})`, async () => {
    const server = make(world.credentials)
    const { cert, key } = parseProfile(world.pack('web'))
    const old = await shake(server, { cert, key })
    await old.until('client secure')
    const other = new World()
    server.setCredentials(other.credentials)
    const renewed = parseProfile(other.pack('web'))
    const pair = await shake(server, { ca: other.root.pem, cert: renewed.cert, key: renewed.key })
    assert.equal(pair.server.certificateProblem, undefined)
    old.server.write(Buffer.from('still here'))
    await old.until('client got still here')
    for (const each of [old, pair]) closePair(each)
  })

  test(`credentials that do not fit together are refused, and the ones before stay (${engine})`, async () => {
    const server = make(world.credentials)
    assert.throws(() => server.setCredentials({ ...world.credentials, key: new World().credentials.key }))
    const { cert, key } = parseProfile(world.pack('web'))
    const pair = await shake(server, { cert, key })
    assert.equal(pair.server.certificateProblem, undefined)
    closePair(pair)
  })
}

test('certificates of more than 16 kB are not taken', async () => {
  const { cert, key } = parseProfile(world.pack('web'))
  const { length } = new X509Certificate(world.issuing.pem).raw
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] satisfies TlsVersion[]) {
    const server = new MemoryTlsServer(world.credentials)
    const few = world.issuing.pem.repeat(Math.floor(12_000 / length))
    closePair(await shake(server, { cert: cert + few, key, maxVersion }))
    const many = world.issuing.pem.repeat(Math.ceil(17_000 / length))
    const pair = connectPair(server, { ca: world.root.pem, cert: cert + many, key, maxVersion })
    await pair.until('server closed: excessive message size')
    assert.ok(!pair.log.includes('server secure'))
    closePair(pair)
  }
})

// With node:tls such a connection ends instead.
test('whose certificate has a false signature can still be told so', async () => {
  const { cert, key } = parseProfile(world.pack('web'))
  const der = Buffer.from(new X509Certificate(cert).raw)
  der[der.length - 1] ^= 1
  const text = der.toString('base64').replace(/.{64}/g, '$&\n')
  const changed = `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n${world.issuing.pem}`
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] satisfies TlsVersion[]) {
    const pair = await shake(new MemoryTlsServer(world.credentials), { cert: changed, key, maxVersion })
    assert.match(pair.server.certificateProblem ?? '', /not of this mesh/)
    pair.server.write(Buffer.from('refused'))
    await pair.until('client got refused')
    closePair(pair)
  }
})
