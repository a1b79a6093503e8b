// Stock OpenVPN of this machine takes the clientpack, and trusts whom it should. Without root: `--dev null`.
import assert from 'node:assert/strict'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { type ClientpackRequest, formatClientpack } from '../../../node/pki/clientpack.ts'
import { formatPrivateKey } from '../../../node/pki/keys.ts'
import { makePkcs12 } from '../../../node/pki/pkcs12.ts'
import { issueServerCertificate } from '../../../node/pki/server.ts'
import { run } from '../../lab/command.ts'
import { LabProcess } from '../../lab/process.ts'
import { ownPort } from '../own-ports.ts'
import { CONTROLLER, type Held, MESH, makePki, type Pki, packOf, scratch } from './meshes.ts'

/** Opcode 10 (HARD_RESET_CLIENT_V3), key id 0. */
const RESET_V3 = 10 << 3

async function openvpn(t: TestContext, name: string, args: string[]): Promise<LabProcess> {
  const process = await LabProcess.start(['openvpn', ...args], {
    name: `openvpn ${name}`,
    // A failing test shows what it said; there is no more to keep.
    logFile: '/dev/null',
  })
  t.after(() => process.kill())
  return process
}

/** Nothing in the output that an operator would have to look into. */
function assertQuiet(output: string): void {
  const complaints = output.split('\n').filter(line => /warning|deprecated|error|ignored|fatal/i.test(line))
  assert.deepEqual(complaints, [])
}

async function silentServer(t: TestContext): Promise<{ socket: Socket; port: number }> {
  const socket = createSocket('udp4')
  t.after(() => socket.close())
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return { socket, port: socket.address().port }
}

test('a stock client reads the pack without complaint, dials, and goes on to the next controller', async t => {
  const write = scratch(t)
  const servers = [await silentServer(t), await silentServer(t)]
  const arrivals = servers.map(({ socket }) => once(socket, 'message') as Promise<[Buffer]>)
  const request = packOf(
    makePki(),
    servers.map(({ port }) => ({ host: '127.0.0.1', port })),
  )
  const pack = write('web.ovpn', formatClientpack(request))
  const client = await openvpn(t, 'client', ['--config', pack, '--dev', 'null'])
  const wrapped = Buffer.alloc(299, 7)
  for (const arrival of arrivals) {
    const [packet] = await Promise.race([arrival, client.ended.then(() => assert.fail(client.output))])
    assert.equal(packet[0], RESET_V3)
    assert.deepEqual(packet.subarray(-wrapped.length), wrapped, 'it shows the key that was put into the pack')
  }
  await client.waitFor(/Server poll timeout/)
  assertQuiet(client.output)
  assert.match(client.output, /server_poll.*UDPv4 link remote/s)
})

const BLOCKS = /<(ca|cert|key)>\n.*?<\/\1>\n/gs

test('a stock client takes the PKCS#12 file in place of certificate and key', async t => {
  const write = scratch(t)
  const pki = makePki()
  const keys = await wrappingKeys(write)
  const { issuing, root, client: own } = pki
  const chain = [issuing.certificate, root.certificate]
  const file = write('web.p12', makePkcs12({ name: 'web', ...own, chain }))
  const server = await stockServer(t, pki, pki.server, keys.server)
  const text = formatClientpack({ ...packOf(pki, [server.remote]), tlsCryptV2: keys.client })
  const pack = write('web.ovpn', `${text.replaceAll(BLOCKS, '')}pkcs12 ${file}\n`)
  const client = await openvpn(t, 'client', ['--config', pack, '--dev', 'null'])
  await client.waitFor(/Initialization Sequence Completed/)
  assertQuiet(client.output)
  await server.process.waitFor(/VERIFY OK: depth=0, O=prod, CN=web/)
})

test('a stock client and a stock server of the mesh trust each other', async t => {
  const write = scratch(t)
  const pki = makePki()
  const { client, server } = await meet(t, write, pki, pki.server)
  await client.waitFor(
    /VERIFY KU OK.*VERIFY EKU OK.*VERIFY X509NAME OK: O=prod, OU=alpha, CN=prod\.0011223344556677/s,
  )
  await client.waitFor(/Initialization Sequence Completed/)
  assertQuiet(client.output)
  await server.waitFor(/VERIFY OK: depth=2, O=prod, CN=mesh root/)
  await server.waitFor(/VERIFY EKU OK.*VERIFY OK: depth=0, O=prod, CN=web/s)
})

test('a stock client refuses another client in the place of a server', async t => {
  const pki = makePki()
  const { client } = await meet(t, scratch(t), pki, pki.client, [])
  await client.waitFor(/VERIFY (EKU )?ERROR|unsuitable certificate purpose/)
})

test('a stock client refuses a server of another mesh, by its root and by its name', async t => {
  const write = scratch(t)
  const pki = makePki()
  const other = makePki()
  const foreign = await meet(t, write, pki, other.server, [], other)
  await foreign.client.waitFor(/VERIFY ERROR|certificate verify failed/)

  const named = issueServerCertificate(pki.issuing, {
    ...{ ...MESH, ...CONTROLLER, meshId: 'ffffffffffffffff', publicKey: pki.server.certificate.publicKey },
    ...{ hosts: [], now: Date.now(), lifetime: 3600 },
  })
  const { client } = await meet(t, write, pki, { ...pki.server, pem: named.pem })
  await client.waitFor(/VERIFY X509NAME ERROR: .*CN=prod\.ffffffffffffffff, must be prod\.0011223344556677/)
})

type Write = ReturnType<typeof scratch>

/** A stock client with the pack of `pki`, and a stock server with a certificate that it may or may not trust. */
async function meet(
  t: TestContext,
  write: Write,
  pki: Pki,
  certificate: Held<{ pem: string }>,
  serverArgs = ['--remote-cert-tls', 'client'],
  serverPki = pki,
): Promise<{ client: LabProcess; server: LabProcess }> {
  const keys = await wrappingKeys(write)
  const { process: server, remote } = await stockServer(t, serverPki, certificate, keys.server, serverArgs)
  const request: ClientpackRequest = { ...packOf(pki, [remote]), tlsCryptV2: keys.client }
  const pack = write('web.ovpn', formatClientpack(request))
  return { server, client: await openvpn(t, 'client', ['--config', pack, '--dev', 'null']) }
}

/** openvpn as a server for one peer, on a free port of this machine. */
async function stockServer(
  t: TestContext,
  { root, issuing }: Pki,
  { privateKey, pem: certificate }: Held<{ pem: string }>,
  keyFile: string,
  args = ['--remote-cert-tls', 'client'],
): Promise<{ process: LabProcess; remote: { host: string; port: number } }> {
  const write = scratch(t)
  const port = await ownPort()
  const process = await openvpn(t, 'server', [
    ...['--dev', 'null', '--tls-server', '--dh', 'none', '--verb', '3'],
    ...['--local', '127.0.0.1', '--lport', String(port)],
    ...['--ca', write('ca.crt', root.pem), '--cert', write('server.crt', certificate + issuing.pem)],
    ...['--key', write('server.key', formatPrivateKey(privateKey)), '--tls-crypt-v2', keyFile, ...args],
  ])
  await process.waitFor(/UDPv4 link local \(bound\)/)
  return { process, remote: { host: '127.0.0.1', port } }
}

/** The file of a server's tls-crypt-v2 key, and the text of a client's, as OpenVPN makes them. */
async function wrappingKeys(write: Write): Promise<{ server: string; client: string }> {
  const serverKey = await run(['openvpn', '--genkey', 'tls-crypt-v2-server'])
  const server = write('tls-crypt-v2.key', serverKey)
  return {
    server,
    client: await run(['openvpn', '--tls-crypt-v2', server, '--genkey', 'tls-crypt-v2-client']),
  }
}
