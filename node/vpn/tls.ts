// TLS inside the control channel: ciphertext comes from and goes to the reliability layer, so the sockets of node:tls
// stand on a Duplex.
import { AsyncLocalStorage } from 'node:async_hooks'
import { constants, type X509Certificate } from 'node:crypto'
import { Duplex } from 'node:stream'
import tls from 'node:tls'

/** What a channel reports. Nothing is called after `closed`. */
export interface TlsHandlers {
  /** Ciphertext for the peer. */
  output(bytes: Uint8Array): void
  /** The handshake is done. A server has to look at `certificateProblem` before it believes the peer anything. */
  secure(): void
  /** What the peer sent. */
  data(bytes: Uint8Array): void
  /** The handshake failed, or the peer closed. */
  closed(reason: string): void
}

/** One TLS connection. */
export interface TlsChannel {
  /** Ciphertext from the peer, in order. */
  receive(bytes: Uint8Array): void
  /** One message in a TLS record of its own: stock clients lose the second of two that share one. */
  write(bytes: Uint8Array): void
  /** Keying material after RFC 5705, without a context. */
  exportKey(length: number, label: string): Uint8Array
  readonly peerCertificate: X509Certificate | undefined
  /** Why the peer's certificate is not to be trusted, in words; undefined when it is. */
  readonly certificateProblem: string | undefined
  /** Such as `TLSv1.3`. */
  readonly version: string
  close(): void
}

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'

export interface TlsCredentials {
  /** PEM: the leaf first, then its issuers. */
  cert: string
  /** PEM */
  key: string
  /** PEM: the mesh root, and issuing certificates that are newer than those that peers bring along. */
  ca: string[]
}

/** Plaintext that waits for earlier records to leave, in messages. */
const MAX_WAITING = 64

/**
 * The server's end: client certificates are asked for and verified. A handshake goes through with a bad one too, so that
 * its owner can be told inside TLS what is wrong with it; by an alert, a client of TLS 1.3 learns nothing.
 */
export class TlsServer {
  readonly #server: tls.Server
  // Which channel a new socket belongs to: node:tls tells neither the stream nor any mark of ours with its events.
  readonly #current = new AsyncLocalStorage<Channel>()

  constructor(credentials: TlsCredentials) {
    this.#server = tls.createServer({
      ...contextOptions(credentials),
      requestCert: true,
      rejectUnauthorized: false,
      // Of no use over UDP, where the control channel has its own hand window.
      handshakeTimeout: 0x7fffffff,
    })
    this.#server.on('secureConnection', socket => {
      const channel = this.#current.getStore()
      if (channel) channel.secured(socket)
      else socket.destroy()
    })
    this.#server.on('tlsClientError', (error, socket) => {
      // Of a certificate that was not accepted, the error itself only says that the connection was reset.
      const refusal = socket.authorizationError
      this.#current.getStore()?.fail(refusal ? String(refusal) : reasonOf(error))
    })
  }

  /** New handshakes use these; connections that are up stay as they are. */
  setCredentials(credentials: TlsCredentials): void {
    this.#server.setSecureContext(contextOptions(credentials))
  }

  accept(handlers: TlsHandlers): TlsChannel {
    const channel = new Channel(handlers)
    this.#current.run(channel, () => this.#server.emit('connection', channel.transport))
    return channel
  }
}

export interface TlsClientOptions {
  context: tls.SecureContext
  /** Throws or returns an error when the server is not the one meant. */
  checkServer(certificate: X509Certificate): Error | undefined
}

/** A context for any number of client connections. */
export function clientContext(
  credentials: TlsCredentials,
  versions: { min?: TlsVersion; max?: TlsVersion } = {},
): tls.SecureContext {
  return tls.createSecureContext({
    ...contextOptions(credentials),
    minVersion: versions.min ?? 'TLSv1.2',
    maxVersion: versions.max ?? 'TLSv1.3',
  })
}

/** The client's end. */
export function connectTls(options: TlsClientOptions, handlers: TlsHandlers): TlsChannel {
  const channel = new Channel(handlers)
  const socket = tls.connect({
    socket: channel.transport,
    secureContext: options.context,
    rejectUnauthorized: true,
    // Names are checked by verify-x509-name, on the certificate itself.
    checkServerIdentity: () => undefined,
  })
  socket.on('error', error => channel.fail(reasonOf(error)))
  socket.on('secureConnect', () => {
    const certificate = socket.getPeerX509Certificate()
    const problem = certificate ? options.checkServer(certificate) : new Error('no server certificate')
    if (problem) channel.fail(problem.message)
    else channel.secured(socket)
  })
  return channel
}

function contextOptions(credentials: TlsCredentials): tls.SecureContextOptions {
  return {
    ...credentials,
    minVersion: 'TLSv1.2',
    // Tickets would carry the client's certificate: 3 kB a handshake for a resumption that OpenVPN does not do.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    sessionIdContext: 'overmesh',
  }
}

const CERTIFICATE_PROBLEMS: Record<string, string> = {
  CERT_HAS_EXPIRED: 'this certificate has expired',
  CERT_NOT_YET_VALID: 'this certificate is not valid yet; is the clock right?',
  INVALID_PURPOSE: 'this certificate is not one for clients',
  UNABLE_TO_GET_ISSUER_CERT: 'no certificate, or not of this mesh',
}

class Channel implements TlsChannel {
  readonly transport: Duplex
  readonly #handlers: TlsHandlers
  #socket: tls.TLSSocket | undefined
  #waiting: Uint8Array[] = []
  #writing = false
  #closed = false

  constructor(handlers: TlsHandlers) {
    this.#handlers = handlers
    this.transport = new Duplex({
      allowHalfOpen: false,
      read() {},
      write: (chunk: Uint8Array, _encoding, done) => {
        if (!this.#closed) this.#handlers.output(chunk)
        done()
      },
    })
    this.transport.on('error', error => this.fail(reasonOf(error)))
  }

  get peerCertificate(): X509Certificate | undefined {
    return this.#socket?.getPeerX509Certificate()
  }

  get certificateProblem(): string | undefined {
    if (this.#socket?.authorized) return undefined
    // The types say Error; it is OpenSSL's name of the error.
    const code = String(this.#socket?.authorizationError ?? '')
    return CERTIFICATE_PROBLEMS[code] ?? 'this certificate is not of this mesh'
  }

  get version(): string {
    return this.#socket?.getProtocol() ?? ''
  }

  receive(bytes: Uint8Array): void {
    if (!this.#closed) this.transport.push(bytes)
  }

  write(bytes: Uint8Array): void {
    if (this.#closed || this.#waiting.length >= MAX_WAITING) return
    this.#waiting.push(bytes)
    this.#pump()
  }

  exportKey(length: number, label: string): Uint8Array {
    if (!this.#socket) throw new Error('no TLS session yet')
    // The types ask for a context, but under TLS 1.2 an empty one exports other bytes than none.
    const exporter = this.#socket as unknown as {
      exportKeyingMaterial(length: number, label: string): Buffer
    }
    return exporter.exportKeyingMaterial(length, label)
  }

  close(): void {
    this.#closed = true
    this.#waiting = []
    this.#socket?.destroy()
    this.transport.destroy()
  }

  secured(socket: tls.TLSSocket): void {
    if (this.#closed) {
      socket.destroy()
      return
    }
    this.#socket = socket
    socket.on('data', bytes => {
      if (!this.#closed) this.#handlers.data(bytes)
    })
    socket.on('error', error => this.fail(reasonOf(error)))
    socket.on('close', () => this.fail('closed by the peer'))
    this.#handlers.secure()
    this.#pump()
  }

  fail(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#handlers.closed(reason)
  }

  #pump(): void {
    if (this.#writing || !this.#socket) return
    const next = this.#waiting.shift()
    if (!next) return
    this.#writing = true
    this.#socket.write(next, () => {
      this.#writing = false
      if (!this.#closed) this.#pump()
    })
  }
}

/** OpenSSL's reason where there is one: it is what a person can look up. */
function reasonOf(error: Error): string {
  const { code, reason } = error as Error & { code?: string; reason?: string }
  return reason ?? code ?? error.message
}
