// The server's end of TLS, by the better of two engines.
import { SysError } from '../switch/sys/error.ts'
import { StreamTlsServer } from './stream-tls.ts'
import type { TlsCredentials, TlsServer } from './tls.ts'

type Engine = new (credentials: TlsCredentials) => TlsServer

const Chosen = await chooseEngine(async () => (await import('./memory-tls.ts')).MemoryTlsServer)

export function newTlsServer(credentials: TlsCredentials): TlsServer {
  return new Chosen(credentials)
}

/** OpenSSL itself; where its functions cannot be called, node:tls does the same at a higher cost. */
export async function chooseEngine(load: () => Promise<Engine>): Promise<Engine> {
  try {
    return await load()
  } catch (error) {
    if (error instanceof SysError) return StreamTlsServer
    throw error
  }
}
