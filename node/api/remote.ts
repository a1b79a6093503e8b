// A running controller as its operator sees it, through its API: on the unix socket, or over HTTPS with a token.
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { CAPTURE_ID } from '../capture/limits.ts'
import type {
  AddClient,
  AddRoute,
  Client,
  ControllerService,
  Drained,
  Event,
  EventFilter,
  Pack,
  PackFormat,
  PackOptions,
  RefreshRequest,
  Route,
  RouteChange,
  RouteUpdates,
  Session,
  StateRecord,
  Status,
  StoredOn,
  Verification,
} from '../service.ts'
import type { ApiState, ChangeApi } from '../service-api.ts'
import type { Capture, CaptureRequest } from '../service-capture.ts'
import type { DesiredState, ReconcileRequest, Reconciliation } from '../service-desired.ts'
import type { ChangeDns, DnsState } from '../service-dns.ts'
import { ServiceError } from '../service-error.ts'
import type {
  AddAttachment,
  AttachmentDetail,
  AttachmentEntry,
  AttachmentExport,
  ChangeAttachment,
  ExportFormat,
  IkeDaemon,
} from '../service-ipsec.ts'
import type { ControllerEntry, Invitation, Removal } from '../service-membership.ts'
import type { Health, MetricsListenState, MetricsRequest } from '../service-observation.ts'
import type { AddToken, NewToken, RevokedTokens, Token } from '../service-tokens.ts'
import type { AddWebhook, Webhook, WebhookChange, WebhookTest } from '../service-webhooks.ts'
import type { ErrorBody } from './errors.ts'
import type { FeedEnd } from './event-feed.ts'
import type { PackBody } from './schemas.ts'
import {
  type HttpsEndpoint,
  httpsTransport,
  socketTransport,
  type Terms,
  type Transport,
} from './transport.ts'

/** Longest time for an answer, in ms; the slowest request makes a key and waits for the disk. */
const TIMEOUT = 30_000
/** That makes a key for each of thousands of clients. */
const IMPORT_TIMEOUT = 600_000
/** Far above what 65,536 clients need as JSON, bytes. */
const MAX_ANSWER = 256 * 1024 * 1024

const KNOWN_CODES: readonly string[] = [
  'not-found',
  'exists',
  'invalid',
  'refused',
  'not-running',
  'failed',
  'unauthenticated',
  'forbidden',
  'limited',
]

/** What came too soon is made again after the time that the controller names, for as long as that is in all, ms. */
const MAX_WAIT = 6000

/** Far above what one event has, in UTF-16 units. */
const MAX_LINE = 1024 * 1024

function filterQuery({ since, types }: EventFilter) {
  return { since, types: types?.join(',') }
}

export class RemoteController implements ControllerService {
  readonly running = true
  readonly #transport: Transport

  /** @param to path of the unix socket, or where and how it is reached over HTTPS */
  constructor(to: string | HttpsEndpoint) {
    this.#transport = typeof to === 'string' ? socketTransport(to) : httpsTransport(to)
  }

  status = () => this.#get<Status>('/v1/status')
  sessions = () => this.#get<Session[]>('/v1/sessions')
  routes = () => this.#get<Route[]>('/v1/routes')
  clients = () => this.#get<Client[]>('/v1/clients')
  client = (name: string) => this.#get<Client>(clientPath(name))
  addClient = async (request: AddClient) => pack(await this.#post<PackBody>('/v1/clients', request))
  packClient = async (name: string, format: PackFormat, options: PackOptions = {}) =>
    pack(await this.#post<PackBody>(clientPath(name, 'pack'), { format, ...options }))
  disableClient = (name: string, reason?: string) =>
    this.#post<Client>(clientPath(name, 'disable'), { reason })
  enableClient = (name: string) => this.#post<Client>(clientPath(name, 'enable'))
  revokeClient = (name: string, reason?: string) => this.#post<Client>(clientPath(name, 'revoke'), { reason })
  rekeyClient = async (name: string, days?: number) =>
    pack(await this.#post<PackBody>(clientPath(name, 'rekey'), { days }))
  kickClient = (name: string) => this.#post<{ kicked: boolean }>(clientPath(name, 'kick'))
  addRoute = (route: AddRoute) => this.#post<RouteChange>('/v1/routes', route)
  removeRoute = (cidr: string, via?: string) => this.#post<RouteChange>('/v1/routes/remove', { cidr, via })
  routeUpdates = () => this.#get<RouteUpdates>('/v1/routes/updates')
  setRouteUpdates = (updates: RouteUpdates) => this.#post<RouteUpdates>('/v1/routes/updates', updates)
  refreshClients = (request: RefreshRequest) =>
    this.#post<{ storedOn: StoredOn }>('/v1/routes/refresh', request)
  dns = () => this.#get<DnsState>('/v1/dns')
  changeDns = (change: ChangeDns) => this.#post<DnsState>('/v1/dns', change)
  ikeDaemon = () => this.#get<IkeDaemon>('/v1/ike-daemon')
  attachments = () => this.#get<AttachmentEntry[]>('/v1/attachments')
  attachment = (name: string) => this.#get<AttachmentDetail>(attachmentPath(name))
  addAttachment = (request: AddAttachment) => this.#post<AttachmentDetail>('/v1/attachments', request)
  changeAttachment = (name: string, change: ChangeAttachment) =>
    this.#post<AttachmentDetail>(attachmentPath(name), change)
  removeAttachment = (name: string) =>
    this.#post<{ name: string; storedOn: StoredOn }>(attachmentPath(name, 'remove'))
  attachmentUp = (name: string) => this.#post<AttachmentDetail>(attachmentPath(name, 'up'))
  attachmentDown = (name: string) => this.#post<AttachmentDetail>(attachmentPath(name, 'down'))
  exportAttachment = (name: string, format: ExportFormat) =>
    this.#get<AttachmentExport>(attachmentPath(name, 'export'), { format })
  desiredState = () => this.#get<DesiredState>('/v1/desired-state')
  reconcile = (request: ReconcileRequest) =>
    this.#call<Reconciliation>('POST', '/v1/desired-state', request, IMPORT_TIMEOUT)
  drain = () => this.#post<Drained>('/v1/drain')
  serve = () => this.#post<Drained>('/v1/serve')
  invite = (ttlSeconds?: number) => this.#post<Invitation>('/v1/invites', { ttlSeconds })
  controllers = (all?: boolean) => this.#get<ControllerEntry[]>('/v1/controllers', all ? { all: 'true' } : {})
  removeController = (name: string) =>
    this.#post<Removal>(`/v1/controllers/${encodeURIComponent(name)}/remove`)
  leave = () => this.#post<Removal>('/v1/leave')
  tokens = () => this.#get<Token[]>('/v1/tokens')
  addToken = (request: AddToken) => this.#post<NewToken>('/v1/tokens', request)
  revokeToken = (name: string) => this.#post<RevokedTokens>(`/v1/tokens/${encodeURIComponent(name)}/revoke`)
  api = () => this.#get<ApiState>('/v1/api')
  changeApi = (change: ChangeApi) => this.#post<ApiState>('/v1/api', change)
  records = (kind?: string) => this.#get<StateRecord[]>('/v1/state', { kind })
  verify = () => this.#get<Verification>('/v1/state/verify')
  /** Says it itself when it is not: no error then. */
  health = async (): Promise<Health> => {
    const { status, text } = await this.#ask('GET', '/readyz')
    if (status !== 200 && status !== 503) throw refused(status, text)
    return parse(text) as Health
  }
  metrics = async ({ clients = false }: MetricsRequest = {}): Promise<string> => {
    const { status, text } = await this.#ask(
      'GET',
      withQuery('/metrics', { clients: clients ? '1' : undefined }),
    )
    if (status !== 200) throw refused(status, text)
    return text
  }
  metricsListen = () => this.#get<MetricsListenState>('/v1/metrics-listen')
  setMetricsListen = (listen: string | null) =>
    this.#post<MetricsListenState>('/v1/metrics-listen', { listen })
  webhooks = () => this.#get<Webhook[]>('/v1/webhooks')
  addWebhook = (request: AddWebhook) => this.#post<WebhookChange>('/v1/webhooks', request)
  removeWebhook = (name: string) =>
    this.#post<WebhookChange>(`/v1/webhooks/${encodeURIComponent(name)}/remove`)
  testWebhook = (name: string) => this.#post<WebhookTest>(`/v1/webhooks/${encodeURIComponent(name)}/test`)
  events = (limit?: number, filter: EventFilter = {}) =>
    this.#get<Event[]>('/v1/events', { limit, ...filterQuery(filter) })

  /** Ends with an error when the controller did not send all of it. */
  async backup(passphrase: string): Promise<AsyncIterable<Uint8Array>> {
    const { signal } = new AbortController()
    const response = await this.#open('POST', '/v1/backup', { passphrase }, { signal, lasts: true })
    if (response.statusCode !== 200) throw refused(response.statusCode, await readAll(response))
    return whole(response)
  }

  /** Its content ends with an error when the controller did not send all of it; who stops reading ends the capture. */
  async capture(
    request: CaptureRequest,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Capture> {
    const response = await this.#open('POST', '/v1/captures', request, { signal, lasts: true })
    if (response.statusCode !== 200) throw refused(response.statusCode, await readAll(response))
    return { id: Number(response.headers[CAPTURE_ID]), content: whole(response) }
  }

  endCapture = (id: number) => this.#post<{ ended: boolean }>(`/v1/captures/${id}/end`)

  follow(callback: (event: Event) => void): () => void {
    const ended = new AbortController()
    this.feed(callback, { signal: ended.signal }).catch(() => {})
    return () => ended.abort()
  }

  /**
   * Calls back for each event until `signal` aborts (then returns) or the feed ends.
   * @param options.backlog latest events to begin with, 0 to 1,000, unless `since` says after which
   * @param options.opened called once the controller sends
   * @throws {ServiceError} with the reason when the controller ends the feed
   */
  async feed(
    callback: (event: Event) => void,
    options: EventFilter & { backlog?: number; signal: AbortSignal; opened?: () => void },
  ): Promise<void> {
    const path = withQuery('/v1/events/feed', { backlog: options.backlog, ...filterQuery(options) })
    try {
      const response = await this.#open('GET', path, undefined, { signal: options.signal, lasts: true })
      if (response.statusCode !== 200) throw refused(response.statusCode, await readAll(response))
      options.opened?.()
      let reason = 'the connection to the controller ended'
      for await (const line of linesOf(response)) {
        if (line === '') continue
        const event = parse(line) as Event & Partial<FeedEnd>
        if (event.type === 'feed.end') reason = String(event.message)
        else callback(event)
      }
      throw new ServiceError('failed', reason)
    } catch (error) {
      if (options.signal.aborted) return
      if (error instanceof ServiceError) throw error
      throw new ServiceError(
        'failed',
        `the connection to the controller ended (${(error as Error).message})`,
        {
          cause: error,
        },
      )
    }
  }

  #get<T>(path: string, query: Record<string, string | number | undefined> = {}): Promise<T> {
    return this.#call<T>('GET', withQuery(path, query))
  }

  #post<T>(path: string, body?: unknown): Promise<T> {
    return this.#call<T>('POST', path, body)
  }

  async #call<T>(method: string, path: string, body?: unknown, timeout = TIMEOUT): Promise<T> {
    const { status, text } = await this.#ask(method, path, body, timeout)
    if (status !== 200) throw refused(status, text)
    return parse(text) as T
  }

  async #ask(
    method: string,
    path: string,
    body?: unknown,
    timeout = TIMEOUT,
  ): Promise<{ status: number | undefined; text: string }> {
    const late = new AbortController()
    let timer: NodeJS.Timeout | undefined
    const begun = () => {
      clearTimeout(timer)
      timer = setTimeout(() => late.abort(), timeout)
    }
    try {
      const response = await this.#open(method, path, body, { signal: late.signal, begun })
      return { status: response.statusCode, text: await readAll(response) }
    } catch (error) {
      if (!late.signal.aborted) throw error
      throw new ServiceError(
        'failed',
        `the controller did not answer within ${timeout / 1000} s; its log may say why`,
      )
    } finally {
      clearTimeout(timer)
    }
  }

  /** A request that was refused because it came too soon was not looked at, so that it may be made again. */
  async #open(method: string, path: string, body: unknown, terms: Terms): Promise<IncomingMessage> {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    for (let waited = 0; ; ) {
      const response = await this.#transport(method, path, payload, terms)
      const wait = Number(response.headers['retry-after']) * 1000
      waited += wait
      if (response.statusCode !== 429 || !(waited <= MAX_WAIT)) return response
      response.resume()
      await sleep(wait, undefined, { signal: terms.signal })
    }
  }
}

function clientPath(name: string, action?: string): string {
  return `/v1/clients/${encodeURIComponent(name)}${action === undefined ? '' : `/${action}`}`
}

function attachmentPath(name: string, action?: string): string {
  return `/v1/attachments/${encodeURIComponent(name)}${action === undefined ? '' : `/${action}`}`
}

function withQuery(path: string, query: Record<string, string | number | undefined>): string {
  const parameters = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(key, String(value))
  }
  return parameters.size === 0 ? path : `${path}?${parameters}`
}

function pack(body: PackBody): Pack {
  return { ...body, content: new Uint8Array(Buffer.from(body.content, 'base64')) }
}

async function* whole(response: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    yield* response
  } catch (error) {
    const message = `the controller ended the connection (${(error as Error).message}); its log may say why`
    throw new ServiceError('failed', message, { cause: error })
  }
}

/** Lines until the other side ends. Where the connection breaks, what is unfinished is none. */
async function* linesOf(response: IncomingMessage): AsyncGenerator<string> {
  let rest = ''
  try {
    for await (const chunk of response.setEncoding('utf8')) {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop()!
      if (rest.length > MAX_LINE) return
      yield* lines
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
    return
  }
  // No controller ends within a line: this is for the parser to refuse.
  if (rest !== '') yield rest
}

/** @throws {ServiceError} for what no controller answers */
function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ServiceError('failed', 'what answered is no controller of Overmesh, or not all of it came', {
      cause: error,
    })
  }
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of whole(response)) {
    size += chunk.length
    if (size > MAX_ANSWER) throw new ServiceError('failed', 'the answer of the controller is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function refused(status: number | undefined, text: string): ServiceError {
  try {
    const { error } = JSON.parse(text) as ErrorBody
    if (typeof error.message !== 'string') throw new TypeError()
    const code = KNOWN_CODES.includes(error.code) ? error.code : 'failed'
    return new ServiceError(code, error.message)
  } catch {
    return new ServiceError('failed', `the controller answered with status ${status} and no reason`)
  }
}
