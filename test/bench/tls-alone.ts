// TLS and nothing else: what a handshake and an open session cost in node:tls itself, with the same kind of certificates. A program
// of its own, so that its CPU time and memory can be told: `serve DIRECTORY`, or `connect DIRECTORY PORT COUNT`.
import { constants } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect, createServer, type TLSSocket } from 'node:tls'

const [, , mode, directory, port, count] = process.argv
const read = (name: string): string => readFileSync(join(directory, name), 'utf8')

if (mode === 'serve') {
  const open = new Set<TLSSocket>()
  const server = createServer(
    {
      ca: read('ca.crt'),
      // As a controller does: that the root signed an issuing certificate is not checked again for each client.
      allowPartialTrustChain: true,
      cert: read('server.crt'),
      key: read('server.key'),
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      secureOptions: constants.SSL_OP_NO_TICKET,
    },
    socket => {
      open.add(socket)
      // A VPN session says a few hundred bytes in each direction and then keeps its TLS.
      socket.on('data', () => socket.write(Buffer.alloc(512)))
      socket.on('close', () => open.delete(socket))
      socket.on('error', () => {})
    },
  )
  server.listen(0, '127.0.0.1', 4096, () => {
    process.stdout.write(`listening on ${(server.address() as AddressInfo).port}\n`)
  })
} else {
  const client = { ca: read('root.crt'), cert: read('client.crt'), key: read('client.key') }
  const sockets: TLSSocket[] = []
  let connected = 0
  for (let i = 0; i < Number(count); i++) {
    const socket = connect({
      ...client,
      host: '127.0.0.1',
      port: Number(port),
      checkServerIdentity: () => undefined,
    })
    socket.once('secureConnect', () => socket.write(Buffer.alloc(512)))
    socket.once('data', () => {
      if (++connected === Number(count)) process.stdout.write(`connected ${connected}\n`)
    })
    socket.on('error', error => {
      throw error
    })
    sockets.push(socket)
  }
}
