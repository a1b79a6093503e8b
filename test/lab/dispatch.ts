// A program that sends what it is told, as anyone on the network may: `dispatch.ts FILE HOST PORT PACKETS_PER_SECOND`. Each
// line of the file is one datagram: `ADDRESS PORT HEX`, the source address and port (0: any) and the bytes. The host must
// hold the source addresses (see `claimAddresses`).
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const [, , file, host, port, perSecond] = process.argv
const MAX_SOCKETS = 256
const sockets = new Map<string, Socket>()

async function socketAt(address: string, sourcePort: number): Promise<Socket> {
  const key = `${address} ${sourcePort}`
  const known = sockets.get(key)
  if (known) return known
  if (sockets.size >= MAX_SOCKETS) {
    const [oldest, socket] = sockets.entries().next().value!
    sockets.delete(oldest)
    socket.close()
  }
  const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', reuseAddr: true })
  socket.on('error', () => {}) // answers of the kernel to what we send
  socket.bind(sourcePort, address)
  await once(socket, 'listening')
  sockets.set(key, socket)
  return socket
}

let sent = 0
const started = performance.now()
for (const line of readFileSync(file, 'utf8').split('\n')) {
  if (line === '') continue
  const [address, sourcePort, hex] = line.split(' ')
  const socket = await socketAt(address, Number(sourcePort))
  await new Promise<void>(resolve => {
    socket.send(Buffer.from(hex ?? '', 'hex'), Number(port), host, () => resolve())
  })
  sent++
  const ahead = (sent / Number(perSecond)) * 1000 - (performance.now() - started)
  if (ahead > 5) await sleep(ahead)
}
for (const socket of sockets.values()) socket.close()
process.stdout.write(`sent ${sent}\n`)
