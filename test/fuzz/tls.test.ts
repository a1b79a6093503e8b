// What the server's TLS reads from whoever has a tls-crypt-v2 key: bytes go to OpenSSL itself.
import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import { TlsConnection } from '../../node/switch/sys/tls.ts'
import { MemoryTlsServer } from '../../node/vpn/memory-tls.ts'
import { World } from '../unit/vpn-endpoint/world.ts'
import { fuzz } from './mutate.ts'

/** A flight of the server with its certificates, an alert, and room to spare. */
const MAX_ANSWER = 8192

const world = new World()
const server = new MemoryTlsServer(world.credentials)
const living = TlsConnection.living

/** What a client says first. */
function hello(options: tls.ConnectionOptions): Promise<Uint8Array> {
  return new Promise(resolve => {
    const transport = new Duplex({
      read() {},
      write: (chunk: Uint8Array) => resolve(new Uint8Array(chunk)),
    })
    const socket = tls.connect({ socket: transport, ca: world.root.pem, ...options })
    socket.on('error', () => {})
  })
}

const hellos = [
  await hello({}),
  await hello({ maxVersion: 'TLSv1.2' }),
  await hello({ ALPNProtocols: ['h2', 'http/1.1'], servername: 'example.org' }),
]

/** Gives a new connection these one after the other: it stays unproven, and is gone in the end. */
function feed(...inputs: Uint8Array[]): void {
  let answered = 0
  let closed = 0
  const channel = server.accept({
    output: bytes => {
      answered += bytes.length
    },
    secure: () => assert.fail('a handshake without a client'),
    data: () => assert.fail('data without a handshake'),
    closed: () => closed++,
  })
  for (const input of inputs) channel.receive(input)
  assert.ok(closed <= 1)
  assert.ok(answered <= MAX_ANSWER, `${answered} bytes`)
  assert.equal(TlsConnection.living, closed === 1 ? living : living + 1)
  channel.close()
  assert.equal(TlsConnection.living, living)
}

fuzz({ name: 'the first words of TLS', corpus: hellos, check: input => feed(input) })

let next = 0
fuzz({
  name: 'what follows the first words of TLS',
  corpus: [
    // A dummy ChangeCipherSpec, an alert, a record of application data, an empty handshake record, a Certificate of TLS 1.2.
    Uint8Array.of(20, 3, 3, 0, 1, 1),
    Uint8Array.of(21, 3, 3, 0, 2, 2, 40),
    Uint8Array.of(23, 3, 3, 0, 20, ...Array(20).keys()),
    Uint8Array.of(22, 3, 3, 0, 0),
    Uint8Array.of(22, 3, 3, 0, 7, 11, 0, 0, 3, 0, 0, 0),
  ],
  check: input => {
    feed(hellos[next++ % hellos.length], input)
  },
})
