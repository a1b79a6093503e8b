// Both engines of TLS for servers, and a client for them.
import tls from 'node:tls'
import { MemoryTlsServer } from '../../../node/vpn/memory-tls.ts'
import { connectTls, StreamTlsServer } from '../../../node/vpn/stream-tls.ts'
import type { TlsChannel, TlsCredentials, TlsServer } from '../../../node/vpn/tls.ts'

export const ENGINES: readonly [name: string, make: (credentials: TlsCredentials) => TlsServer][] = [
  ['OpenSSL itself', credentials => new MemoryTlsServer(credentials)],
  ['node:tls', credentials => new StreamTlsServer(credentials)],
]

export interface Pair {
  server: TlsChannel
  client: TlsChannel
  /** What happened, in order: `server secure`, `client got TEXT`, `server closed: REASON`, … */
  log: string[]
  /** Resolves when this, or something that begins with it, has been logged. */
  until(entry: string): Promise<void>
}

/** A client that shakes hands with the server in this process. Whoever calls closes both ends. */
export function connectPair(server: TlsServer, options: tls.SecureContextOptions): Pair {
  const log: string[] = []
  const waiting = new Set<() => void>()
  const note = (entry: string): void => {
    log.push(entry)
    for (const look of waiting) look()
  }
  const until = (entry: string): Promise<void> =>
    new Promise(resolve => {
      const look = (): void => {
        if (!log.some(one => one.startsWith(entry))) return
        waiting.delete(look)
        resolve()
      }
      waiting.add(look)
      look()
    })
  const handlers = (who: string, other: () => TlsChannel | undefined) => ({
    // As on a network: nothing arrives while it is still being sent.
    output: (bytes: Uint8Array) => void setImmediate(() => other()?.receive(bytes)),
    secure: () => note(`${who} secure`),
    data: (bytes: Uint8Array) => note(`${who} got ${Buffer.from(bytes)}`),
    closed: (reason: string) => note(`${who} closed: ${reason}`),
  })
  const accepted = server.accept(handlers('server', () => client))
  const context = tls.createSecureContext(options)
  const client: TlsChannel = connectTls(
    { context, checkServer: () => undefined },
    handlers('client', () => accepted),
  )
  return { server: accepted, client, log, until }
}

/** Ends both. */
export function closePair({ server, client }: Pair): void {
  server.close()
  client.close()
}
