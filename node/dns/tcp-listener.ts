// DNS by TCP on one address of this machine (RFC 7766): for answers that are too long for UDP.
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { parseIpv4 } from '../net/ip.ts'
import { MAX_QUERY } from './message.ts'
import { frameMessage, MessageReader } from './stream-framing.ts'
import type { Answering, DnsListener } from './udp-listener.ts'

export interface TcpLimits {
  /** Connections at once; of those beyond, none is taken. @default 256 */
  connections?: number
  /** Connections of one address. @default 8 */
  perSource?: number
  /** ms without a query or an answer after which a connection ends. @default 10000 */
  idle?: number
}

/** Queries of one connection that wait for their answers; those beyond wait in the kernel. */
const MAX_WAITING = 16
/** Bytes of answers that a peer may leave unread. */
const MAX_UNREAD = 256 << 10

/** @throws the system's error when the address cannot be had */
export async function listenTcp(
  host: string,
  port: number,
  answer: Answering,
  { connections = 256, perSource = 8, idle = 10_000 }: TcpLimits = {},
): Promise<DnsListener> {
  const open = new Map<number, Set<Socket>>()
  // Half open: who has asked all may say so and still be answered.
  const server = createServer({ allowHalfOpen: true }, socket => {
    const source = parseIpv4(socket.remoteAddress ?? '')
    const siblings = source === undefined ? undefined : (open.get(source) ?? new Set())
    if (source === undefined || siblings === undefined || siblings.size >= perSource) {
      socket.destroy()
      return
    }
    open.set(source, siblings.add(socket))
    socket.once('close', () => {
      siblings.delete(socket)
      if (siblings.size === 0) open.delete(source)
    })
    serve(socket, source, answer, idle)
  })
  server.maxConnections = connections
  server.listen({ host, port, exclusive: true })
  await once(server, 'listening')
  // Of single connections that could not be taken.
  server.on('error', () => {})
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        for (const siblings of open.values()) for (const socket of siblings) socket.destroy()
      }),
  }
}

function serve(socket: Socket, source: number, answer: Answering, idle: number): void {
  const reader = new MessageReader(MAX_QUERY)
  let waiting = 0
  let asked = false
  const end = () => {
    if (asked && waiting === 0) socket.end()
  }
  const reply = async (query: Buffer): Promise<void> => {
    waiting++
    if (waiting >= MAX_WAITING) socket.pause()
    const message = await answer(query, source, true)
    waiting--
    if (socket.destroyed) return
    // Who is not to be answered is not to hold a connection either.
    if (message === undefined || socket.writableLength > MAX_UNREAD) {
      socket.destroy()
      return
    }
    socket.write(frameMessage(message))
    if (waiting < MAX_WAITING) socket.resume()
    end()
  }
  socket.setTimeout(idle, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.on('data', chunk => {
    const queries = reader.take(chunk)
    if (queries === undefined) socket.destroy()
    else for (const query of queries) void reply(query)
  })
  socket.on('end', () => {
    asked = true
    end()
  })
}
