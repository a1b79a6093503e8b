// Whom the server's TLS trusts, and what it says of the others. A channel with a problem never reaches admission: see
// session.ts.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import tls from 'node:tls'
import { parseProfile } from '../../../node/vpn/profile.ts'
import { connectTls, type TlsChannel, TlsServer, type TlsVersion } from '../../../node/vpn/tls.ts'
import { run } from '../../lab/command.ts'
import { World } from './world.ts'

const world = new World()

/** What the server's end knows once the handshake is over. */
function shake(options: tls.SecureContextOptions): Promise<TlsChannel | string> {
  const server = new TlsServer(world.credentials)
  return new Promise(resolve => {
    let client: TlsChannel | undefined
    const accepted = server.accept({
      output: bytes => client?.receive(bytes),
      secure: () => resolve(accepted),
      data() {},
      closed: resolve,
    })
    client = connectTls(
      { context: tls.createSecureContext({ ca: world.root.pem, ...options }), checkServer: () => undefined },
      { output: bytes => accepted.receive(bytes), secure() {}, data() {}, closed: resolve },
    )
  })
}

async function problemOf(options: tls.SecureContextOptions): Promise<string | undefined> {
  const channel = await shake(options)
  if (typeof channel === 'string') assert.fail(channel)
  return channel.certificateProblem
}

for (const version of ['TLSv1.2', 'TLSv1.3'] satisfies TlsVersion[]) {
  const maxVersion = version

  test(`a client's certificate of the mesh is trusted (${version})`, async () => {
    const { cert, key } = parseProfile(world.pack('web'))
    const channel = await shake({ cert, key, maxVersion })
    if (typeof channel === 'string') assert.fail(channel)
    assert.equal(channel.certificateProblem, undefined)
    assert.equal(channel.version, version)
    assert.match(channel.peerCertificate?.subject ?? '', /CN=web/)
    assert.equal(channel.exportKey(256, 'EXPORTER-OpenVPN-datakeys').length, 256)
  })

  test(`no certificate is not trusted (${version})`, async () => {
    assert.match((await problemOf({ maxVersion })) ?? '', /^no certificate/)
  })

  test(`a certificate of another mesh is not trusted (${version})`, async () => {
    const { cert, key } = parseProfile(new World().pack('web'))
    assert.match((await problemOf({ cert, key, maxVersion })) ?? '', /not of this mesh/)
  })

  test(`an expired certificate is not trusted (${version})`, async () => {
    const { cert, key } = parseProfile(world.pack('web', { at: Date.now() - 7_200_000, lifetime: 3600 }))
    assert.equal(await problemOf({ cert, key, maxVersion }), 'this certificate has expired')
  })

  test(`a certificate for servers is not trusted (${version})`, async () => {
    const { cert, key } = world.credentials
    assert.equal(await problemOf({ cert, key, maxVersion }), 'this certificate is not one for clients')
  })

  test(`a self-signed certificate is not trusted (${version})`, async t => {
    const directory = mkdtempSync(join(tmpdir(), 'overmesh-tls-'))
    t.after(() => rmSync(directory, { recursive: true }))
    const [keyFile, certFile] = [join(directory, 'key'), join(directory, 'cert')]
    const subject = ['-subj', '/CN=web', '-days', '1', '-keyout', keyFile, '-out', certFile]
    await run([
      'openssl',
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      ...subject,
    ])
    const options = { cert: readFileSync(certFile), key: readFileSync(keyFile), maxVersion }
    assert.match((await problemOf(options)) ?? '', /not of this mesh/)
  })
}

test('new credentials count for new handshakes', async () => {
  const server = new TlsServer(world.credentials)
  const other = new World()
  server.setCredentials(other.credentials)
  const { cert, key } = parseProfile(other.pack('web'))
  const problem = await new Promise(resolve => {
    let client: TlsChannel | undefined
    const accepted = server.accept({
      output: bytes => client?.receive(bytes),
      secure: () => resolve(accepted.certificateProblem ?? 'none'),
      data() {},
      closed: resolve,
    })
    client = connectTls(
      { context: tls.createSecureContext({ ca: other.root.pem, cert, key }), checkServer: () => undefined },
      { output: bytes => accepted.receive(bytes), secure() {}, data() {}, closed: resolve },
    )
  })
  assert.equal(problem, 'none')
})

test('each message is a record of its own', async () => {
  const { cert, key } = parseProfile(world.pack('web'))
  const server = new TlsServer(world.credentials)
  const records: string[] = []
  await new Promise<void>(resolve => {
    let client: TlsChannel | undefined
    const accepted = server.accept({
      output: bytes => client?.receive(bytes),
      secure: () => {
        for (const text of ['one', 'two', 'three']) accepted.write(Buffer.from(text))
      },
      data() {},
      closed: reason => assert.fail(reason),
    })
    client = connectTls(
      { context: tls.createSecureContext({ ca: world.root.pem, cert, key }), checkServer: () => undefined },
      {
        output: bytes => accepted.receive(bytes),
        secure() {},
        data: bytes => {
          records.push(Buffer.from(bytes).toString())
          if (records.length === 3) resolve()
        },
        closed: reason => assert.fail(reason),
      },
    )
  })
  assert.deepEqual(records, ['one', 'two', 'three'])
})
