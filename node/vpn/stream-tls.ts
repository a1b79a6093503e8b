// TLS by node:tls, whose sockets stand on a Duplex here: the client's end, and the server's where OpenSSL cannot be called.
import { AsyncLocalStorage } from 'node:async_hooks'
import { constants, type X509Certificate } from 'node:crypto'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import {
  certificateProblem,
  MAX_WAITING,
  type PeerIdentity,
  type TlsChannel,
  type TlsCredentials,
  type TlsHandlers,
  type TlsServer,
  type TlsVersion,
  trustedIssuers,
} from './tls.ts'

export class StreamTlsServer implements TlsServer {
  readonly #server: tls.Server
  // Which channel a new socket belongs to: node:tls tells neither the stream nor any mark of ours with its events.
  readonly #current = new AsyncLocalStorage<Channel>()

  constructor(credentials: TlsCredentials) {
    this.#server = tls.createServer({
      ...serverOptions(credentials),
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

  setCredentials(credentials: TlsCredentials): void {
    this.#server.setSecureContext(serverOptions(credentials))
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

function serverOptions(credentials: TlsCredentials): tls.SecureContextOptions {
  return contextOptions({ ...credentials, ca: trustedIssuers(credentials.ca) })
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

  get peer(): PeerIdentity | undefined {
    const certificate = this.#socket?.getPeerX509Certificate()
    return (
      certificate && {
        serial: certificate.serialNumber.toLowerCase(),
        commonName: /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? '',
        fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
      }
    )
  }

  get certificateProblem(): string | undefined {
    if (this.#socket?.authorized) return undefined
    // The types say Error; it is OpenSSL's name of the error.
    return certificateProblem(String(this.#socket?.authorizationError ?? ''))
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
