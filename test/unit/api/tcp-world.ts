// The API over TCP of a real mesh of one, on loopback, with a controller in memory behind it; and callers of all kinds.
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import type { IncomingHttpHeaders } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect as connectTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import pino from 'pino'
import { RemoteController } from '../../../node/api/remote.ts'
import { TcpApi, type TcpApiInit } from '../../../node/api/tcp-api.ts'
import { ApiCertificate } from '../../../node/api-certificate.ts'
import type { NewEvent } from '../../../node/events.ts'
import { Home } from '../../../node/home.ts'
import { type InitRequest, initMesh } from '../../../node/init.ts'
import type { TokenScope } from '../../../node/service-tokens.ts'
import { Tokens } from '../../../node/tokens.ts'
import { FakeService } from './fake-service.ts'

export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  text: string
}

export interface Call {
  method?: string
  token?: string
  headers?: Record<string, string | string[]>
  body?: string
}

export class TcpWorld {
  readonly home: Home
  readonly service: FakeService
  readonly tokens: Tokens
  readonly api: TcpApi
  readonly certificate: ApiCertificate
  readonly events: NewEvent[] = []
  readonly log: string[] = []
  /** Secrets of all tokens made here. */
  readonly secrets: string[] = []
  warning: string | undefined
  /** ms that the clock of the API is ahead. */
  ahead = 0

  private constructor(home: Home, init: Partial<TcpApiInit>) {
    this.home = home
    this.service = new FakeService('web', 'db')
    this.tokens = new Tokens(home)
    this.certificate = new ApiCertificate(home, () => ['192.0.2.77'])
    this.api = new TcpApi({
      service: this.service,
      tokens: this.tokens,
      certificate: this.certificate,
      record: event => void this.events.push(event),
      logger: pino({ level: 'trace' }, { write: line => void this.log.push(line) }),
      warn: warning => {
        this.warning = warning
      },
      now: () => Date.now() + this.ahead,
      ...init,
    })
  }

  static async open(
    t: TestContext,
    init: Partial<TcpApiInit> = {},
    mesh: Partial<InitRequest> = {},
  ): Promise<TcpWorld> {
    const directory = await mkdtemp(join(tmpdir(), 'overmesh-tcp-'))
    const dataDir = join(directory, 'data')
    await initMesh({
      dataDir,
      name: 'prod',
      subnet: '10.77.0.0/16',
      controller: 'alpha',
      public: ['vpn.example.net'],
      listen: ['127.0.0.1:0'],
      meshListen: '127.0.0.1:0',
      ...mesh,
    })
    const world = new TcpWorld(await Home.open(dataDir), init)
    await world.api.apply({ listen: ['127.0.0.1:0'], names: [] })
    t.after(async () => {
      await world.api.close()
      await world.home.close()
      await rm(directory, { recursive: true, force: true })
    })
    return world
  }

  get port(): number {
    return Number(this.api.listening()[0].split(':')[1])
  }

  async token(scope: TokenScope, name: string = scope, ttlSeconds?: number): Promise<string> {
    const { secret } = await this.tokens.add({ name, scope, ttlSeconds }, Date.now() + this.ahead)
    this.secrets.push(secret)
    return secret
  }

  async revoke(name: string): Promise<void> {
    await this.tokens.revoke(name, Date.now() + this.ahead)
    this.api.review()
  }

  remote(token: string, change: { url?: string; ca?: string } = {}): RemoteController {
    const url = new URL(change.url ?? `https://localhost:${this.port}`)
    return new RemoteController({ url, token, ca: change.ca ?? this.home.rootCertificate })
  }

  /** One request on a connection of its own. */
  call(path: string, { method = 'GET', token, headers = {}, body }: Call = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const request = httpsRequest(
        {
          host: '127.0.0.1',
          port: this.port,
          path,
          method,
          ca: this.home.rootCertificate,
          agent: false,
          headers: {
            ...(token !== undefined && { authorization: `Bearer ${token}` }),
            ...(body !== undefined && {
              'content-type': 'application/json',
              'content-length': Buffer.byteLength(body),
            }),
            ...headers,
          },
        },
        response => {
          let text = ''
          response.setEncoding('utf8').on('data', chunk => {
            text += chunk
          })
          response.once('end', () =>
            resolve({ status: response.statusCode!, headers: response.headers, text }),
          )
          response.once('error', reject)
        },
      )
      request.once('error', reject)
      request.end(body)
    })
  }

  /** A connection on which nothing was said yet. */
  async tcp(): Promise<Socket> {
    const socket = connectTcp(this.port, '127.0.0.1')
    socket.on('error', () => {})
    await once(socket, 'connect')
    return socket
  }

  /** A connection that speaks TLS. */
  async tls(): Promise<TLSSocket> {
    const socket = connectTls({ host: '127.0.0.1', port: this.port, ca: this.home.rootCertificate })
    socket.on('error', () => {})
    await once(socket, 'secureConnect')
    return socket
  }

  /** All that was said to anyone who is not the bearer. */
  said(): string {
    return [...this.log, JSON.stringify(this.events), JSON.stringify(this.service.calls)].join('\n')
  }
}

/** What came until the other end closed. */
export async function untilClosed(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', chunk => {
    text += chunk
  })
  if (!socket.closed) await once(socket, 'close')
  return text
}
