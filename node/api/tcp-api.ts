// The API over TCP: HTTPS with a certificate that chains to the mesh root, behind tokens. Nothing listens unless it was
// enabled. One set of routes serves all addresses that it listens on.

import type { ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { FastifyBaseLogger } from 'fastify'
import type { ApiCertificate } from '../api-certificate.ts'
import { type ApiSettings, type LiveApi, readListen } from '../api-settings.ts'
import type { NewEvent } from '../events.ts'
import { formatHostPort } from '../net/ip.ts'
import type { ControllerService } from '../service.ts'
import { ServiceError } from '../service-error.ts'
import type { TokenCheck } from '../tokens.ts'
import { answerClientError } from './client-error.ts'
import { type ConnectionLimits, Connections } from './connections.ts'
import { type Guard, guard, type RequestLimits } from './guard.ts'
import type { ApiMeter } from './meter.ts'
import type { Api } from './schemas.ts'
import { buildApi } from './server.ts'

/** ms */
export interface ApiTimeouts {
  /** For the TLS handshake, from the connection on. @default 10000 */
  handshake?: number
  /** For the headers of a request, from the connection or the request before on. @default 10000 */
  headers?: number
  /** For a whole request with its body. @default 60000 */
  request?: number
  /** Between requests. @default 15000 */
  keepAlive?: number
  /** In which nothing is read or written, while an answer is awaited or not taken. @default 60000 */
  idle?: number
}

export interface TcpApiInit {
  service: ControllerService
  tokens: TokenCheck
  certificate: ApiCertificate
  /** Puts it on record. */
  record: (event: NewEvent) => void
  logger: FastifyBaseLogger
  /** Told of every request that was answered. */
  meter?: Pick<ApiMeter, 'answered'>
  /** What an operator has to know; undefined when all is well. */
  warn: (warning: string | undefined) => void
  now: () => number
  limits?: RequestLimits & ConnectionLimits
  timeouts?: ApiTimeouts
}

interface Routes {
  readonly app: Api
  readonly guard: Guard
}

const TLS = { minVersion: 'TLSv1.2' } as const
/** Answers that are under way when an address is given up have this long, ms. */
const GRACE_MS = 3000
/** Between two looks, meanwhile, at which of them are done, ms. */
const IDLE_LOOK_MS = 50
/** After an address could not be had, ms. */
const RETRY_MS = 10_000
/** Between two looks at whether names or addresses are others, ms. */
const LOOK_MS = 60_000

export class TcpApi implements LiveApi {
  readonly #init: TcpApiInit
  readonly #connections: Connections
  readonly #servers = new Map<string, Server>()
  /** Those that are under way. */
  readonly #answers = new WeakMap<Server, Set<ServerResponse>>()
  #settings: ApiSettings = { listen: [], names: [] }
  #routes: Routes | undefined
  #credentials = ''
  #timer: NodeJS.Timeout | undefined
  #retry: NodeJS.Timeout | undefined
  /** What was logged last, which is not repeated with every try. */
  #trouble = ''
  /** Settings are applied one after the other. */
  #applying: Promise<unknown> = Promise.resolve()
  #stopped = false

  constructor(init: TcpApiInit) {
    this.#init = init
    this.#connections = new Connections(init.limits ?? {}, init.now)
  }

  listening(): string[] {
    return [...this.#servers.values()].map(server => formatHostPort(addressOf(server)))
  }

  certificate() {
    return this.#servers.size > 0 ? this.#init.certificate.describe() : null
  }

  /** As `apply`; but what cannot be had now is tried again, and said. For what was settled before. @param isDue asked in its turn */
  async start(settings: ApiSettings, isDue = () => true): Promise<void> {
    try {
      await this.#inTurn(async () => {
        if (isDue()) await this.#apply(settings)
      })
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      this.#later(settings, error)
    }
  }

  #later(settings: ApiSettings, { message }: Error): void {
    this.#init.warn(`${message} (it is tried again)`)
    if (this.#trouble !== message) this.#init.logger.warn(message)
    this.#trouble = message
    clearTimeout(this.#retry)
    if (this.#stopped) return
    // Not if something else was asked for meanwhile.
    const retry = setTimeout(() => void this.start(settings, () => this.#retry === retry), RETRY_MS).unref()
    this.#retry = retry
  }

  apply(settings: ApiSettings): Promise<void> {
    return this.#inTurn(() => this.#apply(settings))
  }

  #inTurn(change: () => Promise<void>): Promise<void> {
    const done = this.#applying.then(change)
    this.#applying = done.catch(() => {})
    return done
  }

  async #apply(settings: ApiSettings): Promise<void> {
    if (this.#stopped) return
    const added = settings.listen.filter(text => !this.#servers.has(text))
    const opened = new Map<string, Server>()
    const ports = added.map(text => readListen(text).port)
    // Such as 127.0.0.1:8443 of 0.0.0.0:8443.
    const inTheWay = [...this.#servers].flatMap(([text, server]) =>
      !settings.listen.includes(text) && ports.includes(addressOf(server).port) ? [text] : [],
    )
    for (const text of inTheWay) this.#giveUp(text)
    try {
      for (const text of added) opened.set(text, await this.#open(text, settings))
    } catch (error) {
      for (const server of opened.values()) this.#shut(server)
      await this.#reopen(inTheWay)
      if (this.#servers.size === 0) this.#end()
      throw error
    }
    for (const text of [...this.#servers.keys()]) if (!settings.listen.includes(text)) this.#giveUp(text)
    for (const [text, server] of opened) this.#servers.set(text, server)
    this.#settings = settings
    clearTimeout(this.#retry)
    this.#retry = undefined
    this.#trouble = ''
    this.#init.warn(undefined)
    if (this.#servers.size > 0) this.review()
    else if (this.#routes !== undefined) {
      this.#end()
      this.#init.logger.info('the API over TCP is off')
    }
    if (added.length > 0) this.#init.logger.info({ listen: this.listening() }, 'the API listens')
  }

  #giveUp(text: string): void {
    this.#shut(this.#servers.get(text)!)
    this.#servers.delete(text)
  }

  /** What was given up for others that could not be had. */
  async #reopen(texts: readonly string[]): Promise<void> {
    for (const text of texts) {
      try {
        this.#servers.set(text, await this.#open(text, this.#settings))
      } catch (error) {
        this.#later(this.#settings, error as Error)
      }
    }
  }

  /** Tokens, certificates or names may be others. */
  review(): void {
    if (this.#stopped || this.#servers.size === 0) return
    this.#routes?.guard.review()
    const { certificate, now, logger } = this.#init
    try {
      const credentials = certificate.current(this.#settings, now())
      if (credentials.cert !== this.#credentials) {
        for (const server of this.#servers.values()) server.setSecureContext({ ...credentials, ...TLS })
        this.#credentials = credentials.cert
      }
    } catch (error) {
      logger.error({ err: error }, 'the certificate of the API could not be renewed')
    }
    clearTimeout(this.#timer)
    const due = (certificate.renewsAt ?? 0) - now()
    this.#timer = setTimeout(() => this.review(), Math.min(LOOK_MS, Math.max(1000, due))).unref()
  }

  async close(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    clearTimeout(this.#retry)
    await this.#applying
    for (const server of this.#servers.values()) this.#shut(server)
    this.#servers.clear()
    const { app } = this.#routes ?? {}
    this.#routes = undefined
    await app?.close()
  }

  /** The answer to the request that asked for it is not waited for. */
  #end(): void {
    clearTimeout(this.#timer)
    void this.#routes?.app.close()
    this.#routes = undefined
  }

  async #open(text: string, settings: ApiSettings): Promise<Server> {
    const { certificate, now, timeouts = {} } = this.#init
    const { handshake = 10_000, headers = 10_000, request = 60_000 } = timeouts
    const { keepAlive = 15_000, idle = 60_000 } = timeouts
    this.#routes ??= await this.#build()
    const { app } = this.#routes
    const answers = new Set<ServerResponse>()
    const server = createServer(
      {
        ...certificate.current(settings, now()),
        ...TLS,
        ALPNProtocols: ['http/1.1'],
        handshakeTimeout: handshake,
        headersTimeout: headers,
        requestTimeout: request,
        keepAliveTimeout: keepAlive,
        connectionsCheckingInterval: Math.min(1000, headers),
      },
      (incoming, answer) => {
        answers.add(answer)
        answer.once('close', () => answers.delete(answer))
        app.routing(incoming, answer)
      },
    )
    this.#answers.set(server, answers)
    server.timeout = idle
    server.prependListener('connection', socket => this.#connections.admit(socket as Socket))
    server.on('clientError', (error, socket) => answerClientError(error, socket as Duplex as Socket))
    // Strangers who speak no TLS are no event.
    server.on('tlsClientError', (_error, socket) => socket.destroy())
    const { host, port } = readListen(text)
    await new Promise<void>((resolve, reject) => {
      server.once('error', error => reject(cannotListen(text, error)))
      server.listen({ host, port, ipv6Only: host.includes(':') }, resolve)
    })
    server.removeAllListeners('error')
    server.on('error', error => this.#init.logger.error({ err: error }, 'the API over TCP'))
    return server
  }

  async #build(): Promise<Routes> {
    const { service, logger, meter, tokens, record, now, limits, timeouts } = this.#init
    let made: Guard | undefined
    const app = await buildApi({
      service,
      logger,
      meter,
      protect: async api => {
        made = await guard(api, { tokens, record, now, limits, idleMs: timeouts?.idle })
      },
    })
    return { app, guard: made! }
  }

  #shut(server: Server): void {
    for (const answer of this.#answers.get(server) ?? []) {
      if (!answer.headersSent) answer.setHeader('connection', 'close')
    }
    const idle = setInterval(() => server.closeIdleConnections(), IDLE_LOOK_MS).unref()
    const end = setTimeout(() => server.closeAllConnections(), GRACE_MS).unref()
    server.close(() => {
      clearInterval(idle)
      clearTimeout(end)
    })
  }
}

function addressOf(server: Server): { host: string; port: number } {
  const { address, port } = server.address() as AddressInfo
  return { host: address, port }
}

function cannotListen(text: string, error: NodeJS.ErrnoException): ServiceError {
  const why =
    error.code === 'EADDRINUSE'
      ? 'something else listens there'
      : error.code === 'EADDRNOTAVAIL'
        ? 'this machine has no such address'
        : error.code === 'EACCES'
          ? 'ports below 1024 are for root'
          : error.message
  return new ServiceError(
    'refused',
    `the API cannot listen on ${text}: ${why}; choose another address or port`,
    { cause: error },
  )
}
