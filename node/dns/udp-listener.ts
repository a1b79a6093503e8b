// DNS by UDP on one address of this machine.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { parseIpv4 } from '../net/ip.ts'

/** Answers a query; see `Responder.answer`. */
export type Answering = (bytes: Uint8Array, source: number, tcp: boolean) => Promise<Uint8Array | undefined>

export interface DnsListener {
  /** That the system chose, if it was 0. */
  readonly port: number
  /** Resolves when the address is free again. */
  close(): Promise<void>
}

/** @throws the system's error when the address cannot be had */
export async function listenUdp(host: string, port: number, answer: Answering): Promise<DnsListener> {
  const socket = createSocket('udp4')
  socket.bind({ address: host, port, exclusive: true })
  try {
    await once(socket, 'listening')
  } catch (error) {
    socket.close()
    throw error
  }
  let open = true
  socket.on('message', async (query, from) => {
    const source = parseIpv4(from.address)
    const message = source === undefined ? undefined : await answer(query, source, false)
    if (message !== undefined && open) socket.send(message, from.port, from.address, () => {})
  })
  // Of single datagrams.
  socket.on('error', () => {})
  return {
    port: socket.address().port,
    close: () => {
      open = false
      return new Promise(resolve => socket.close(() => resolve()))
    },
  }
}
