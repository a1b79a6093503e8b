// The server's end of TLS by OpenSSL's own calls: a fraction of the time and memory that the streams of node:tls take.
import { DEFAULT_CIPHERS } from 'node:tls'
import { type TlsConnection, TlsContext } from '../switch/sys/tls.ts'
import {
  certificateProblem,
  MAX_WAITING,
  type PeerIdentity,
  type TlsChannel,
  type TlsCredentials,
  type TlsHandlers,
  type TlsServer,
  trustedIssuers,
} from './tls.ts'

/** Bytes of certificates from a client; a chain of the mesh has two or three of less than 1 kB. */
const MAX_CERTIFICATES = 16_384

export class MemoryTlsServer implements TlsServer {
  #context: TlsContext

  /** @throws SysError when OpenSSL cannot use the credentials */
  constructor(credentials: TlsCredentials) {
    this.#context = contextOf(credentials)
  }

  setCredentials(credentials: TlsCredentials): void {
    const old = this.#context
    this.#context = contextOf(credentials)
    old.free()
  }

  accept(handlers: TlsHandlers): TlsChannel {
    return new MemoryChannel(this.#context.accept(), handlers)
  }
}

function contextOf(credentials: TlsCredentials): TlsContext {
  // Node's list names those of both versions, OpenSSL takes them apart.
  const all = DEFAULT_CIPHERS.split(':')
  return new TlsContext({
    ...credentials,
    ca: trustedIssuers(credentials.ca),
    ciphers: all.filter(name => !name.startsWith('TLS_')).join(':'),
    suites: all.filter(name => name.startsWith('TLS_')).join(':'),
    maxCertificates: MAX_CERTIFICATES,
  })
}

class MemoryChannel implements TlsChannel {
  readonly #connection: TlsConnection
  readonly #handlers: TlsHandlers
  #waiting: Uint8Array[] = []
  #secure = false
  #closed = false

  constructor(connection: TlsConnection, handlers: TlsHandlers) {
    this.#connection = connection
    this.#handlers = handlers
  }

  get peer(): PeerIdentity | undefined {
    return this.#closed ? undefined : this.#connection.peer()
  }

  get certificateProblem(): string | undefined {
    if (this.#closed) return 'the connection is closed'
    const code = this.#connection.verifyError()
    return code === undefined ? undefined : certificateProblem(code)
  }

  get version(): string {
    return this.#closed ? '' : this.#connection.version
  }

  receive(bytes: Uint8Array): void {
    if (this.#closed) return
    // OpenSSL is through with everything before anybody hears of it, and who hears may close this, or use others.
    const { output, data, over } = this.#connection.receive(bytes)
    const secured = !this.#secure && this.#connection.secure
    if (output) this.#handlers.output(output)
    if (secured) this.#secured()
    for (const message of data) if (!this.#closed) this.#handlers.data(message)
    if (over !== undefined) this.#fail(over === '' ? 'closed by the peer' : over)
  }

  write(bytes: Uint8Array): void {
    if (this.#closed) return
    if (!this.#secure) {
      if (this.#waiting.length < MAX_WAITING) this.#waiting.push(bytes)
      return
    }
    const output = this.#connection.write(bytes)
    if (output) this.#handlers.output(output)
  }

  exportKey(length: number, label: string): Uint8Array {
    if (!this.#secure || this.#closed) throw new Error('no TLS session yet')
    return this.#connection.exportKey(length, label)
  }

  close(): void {
    this.#closed = true
    this.#waiting = []
    this.#connection.free()
  }

  #secured(): void {
    if (this.#closed) return
    this.#secure = true
    this.#handlers.secure()
    const waiting = this.#waiting
    this.#waiting = []
    for (const message of waiting) this.write(message)
  }

  #fail(reason: string): void {
    if (this.#closed) return
    this.close()
    this.#handlers.closed(reason)
  }
}
