// A controller in memory: enough of one to test the API and the command line against.

import { Readable } from 'node:stream'
import { matches } from '../../../node/event-types.ts'
import { SECRET_PLACE } from '../../../node/ipsec/export.ts'
import {
  type AddClient,
  type AddRoute,
  type Client,
  type ControllerService,
  type Event,
  type EventFilter,
  type Pack,
  type PackFormat,
  type PackOptions,
  type RefreshRequest,
  type Route,
  type RouteUpdates,
  ServiceError,
  type Session,
  type Status,
} from '../../../node/service.ts'
import type { ApiState, ChangeApi } from '../../../node/service-api.ts'
import type { Capture, CaptureRequest } from '../../../node/service-capture.ts'
import type { DesiredState, ReconcileRequest, Reconciliation } from '../../../node/service-desired.ts'
import type { ChangeDns, DnsState } from '../../../node/service-dns.ts'
import type {
  AddAttachment,
  AttachmentDetail,
  ChangeAttachment,
  ExportFormat,
} from '../../../node/service-ipsec.ts'
import type { ControllerEntry } from '../../../node/service-membership.ts'
import type { Health, MetricsRequest } from '../../../node/service-observation.ts'
import type { AddToken, Token, TokenScope } from '../../../node/service-tokens.ts'
import type { AddWebhook, Webhook } from '../../../node/service-webhooks.ts'
import { fakeAttachment } from './fake-attachment.ts'

export const PACK_TEXT = 'client\ndev tun\n<key>\nnot a real key\n</key>\n'

export class FakeService implements ControllerService {
  readonly running = true
  readonly all = new Map<string, Client>()
  readonly calls: unknown[][] = []
  readonly past: Event[] = []
  updates: RouteUpdates = { over: 10 }
  #followers = new Set<(event: Event) => void>()

  desiredState = async (): Promise<DesiredState> => ({
    version: 1,
    mesh: 'home',
    dns: { enabled: true, forwarders: ['192.0.2.53'] },
    routeUpdates: 'later',
    clients: {
      web: { address: '10.77.0.2', tags: { site: 'lab' }, subnets: ['192.168.1.0/24'] },
      'x~12': {},
    },
    routes: [{ cidr: '10.0.0.0/8', via: 'client:web', metric: 5 }],
    attachments: { paris: { remote: 'any', remoteSubnets: ['192.168.20.0/24'], ikeVersion: 1 } },
  })
  reconcile = async (request: ReconcileRequest): Promise<Reconciliation> => {
    this.calls.push(['reconcile', request])
    const change = { action: 'add', kind: 'client', name: 'web', details: ['10.77.0.2'] } as const
    const problems = [{ path: ['clients', 'db'], message: 'no' }]
    return { changes: [{ ...change, details: [...change.details] }], problems, applied: false }
  }
  backup = async (passphrase: string): Promise<AsyncIterable<Uint8Array>> => {
    this.calls.push(['backup', passphrase])
    return (async function* () {
      yield Buffer.from('a backup')
    })()
  }

  /** What a capture gives, and what `endCapture` ends. */
  capturing: (request: CaptureRequest) => Capture = () => ({ id: 1, content: Readable.from([]) })
  readonly endedCaptures: number[] = []
  capture = async (request: CaptureRequest): Promise<Capture> => {
    this.calls.push(['capture', request])
    return this.capturing(request)
  }
  endCapture = async (id: number): Promise<{ ended: boolean }> => {
    this.endedCaptures.push(id)
    return { ended: true }
  }

  constructor(...names: string[]) {
    for (const name of names) this.all.set(name, fakeClient(name, `10.77.0.${this.all.size + 2}`))
  }

  get followers(): number {
    return this.#followers.size
  }

  emit(type: string, more: Record<string, unknown> = {}): void {
    const event = { seq: this.past.length + 1, at: '2026-01-02T03:04:05.678Z', type, ...more }
    this.past.push(event)
    for (const follower of this.#followers) follower(event)
  }

  status = async (): Promise<Status> => ({
    mesh: { id: 'mesh-id', name: 'home', subnet: '10.77.0.0/16' },
    controller: {
      id: 'controller-id',
      name: 'alpha',
      uptimeSeconds: 3700,
      version: '0.1.0',
      pid: 1,
      address: '10.77.0.10',
      gateway: '10.77.0.1',
      listen: ['127.0.0.1:1194'],
      public: ['vpn.example.org:1194'],
      tun: null,
      meshListen: ['127.0.0.1:4001'],
      api: ['127.0.0.1:8443'],
      draining: false,
      running: true,
    },
    stateHash: 'abc123',
    records: 7,
    controllers: [
      {
        id: 'controller-id',
        name: 'alpha',
        self: true,
        link: { up: true, rttMs: 0, lossPercent: 0, mtu: 0 },
        connected: true,
        draining: false,
        holdsRootKey: true,
        version: '0.1.0',
        protocol: 0,
        stateHash: 'abc123',
        behind: 0,
      },
    ],
    sessions: await this.sessions(),
    routes: await this.routes(),
    attachments: [],
    conflicts: [],
    stalePacks: [],
    certificates: {
      root: certificate('mesh root', false),
      issuing: certificate('alpha issuing', true),
      server: certificate('alpha', true),
    },
    counters: { 'drop.replay': 3, 'rx.packets': 12 },
    warnings: [],
  })
  sessions = async () => [...this.all.values()].flatMap(client => client.session ?? [])
  routes = async (): Promise<Route[]> =>
    [...this.all.values()].map(client => ({
      cidr: `${client.address}/32`,
      via: `client:${client.name}`,
      metric: 0,
      nat: false,
      probe: null,
      state: client.session ? ('active' as const) : ('down' as const),
      why: client.session ? '' : 'the client is not connected',
      at: client.session ? 'alpha' : null,
    }))
  clients = async () => [...this.all.values()]
  client = async (name: string) => {
    const client = this.all.get(name)
    if (!client) throw new ServiceError('not-found', `there is no client ${name}; see overmesh client list`)
    return client
  }
  addClient = async (request: AddClient) => {
    this.calls.push(['addClient', request])
    if (this.all.has(request.name)) throw new ServiceError('exists', `client ${request.name} exists already`)
    const client = fakeClient(request.name, request.ip ?? `10.77.0.${this.all.size + 2}`)
    client.subnets = request.subnets ?? []
    client.tags = request.tags ?? {}
    this.all.set(request.name, client)
    return fakePack(client, 'ovpn')
  }
  packClient = async (name: string, format: PackFormat, options: PackOptions = {}) => {
    this.calls.push(['packClient', name, format, options])
    return fakePack(await this.client(name), format)
  }
  disableClient = async (name: string, reason?: string) => {
    this.calls.push(['disableClient', name, reason])
    return Object.assign(await this.client(name), { enabled: false, session: null })
  }
  enableClient = async (name: string) => Object.assign(await this.client(name), { enabled: true })
  revokeClient = async (name: string, reason?: string) => {
    this.calls.push(['revokeClient', name, reason])
    return Object.assign(await this.client(name), { revoked: true, session: null })
  }
  rekeyClient = async (name: string, days?: number) => {
    this.calls.push(['rekeyClient', name, days])
    return fakePack(await this.client(name), 'ovpn')
  }
  kickClient = async (name: string) => ({ kicked: (await this.client(name)).session !== null })
  addRoute = async (route: AddRoute) => {
    this.calls.push(['addRoute', route])
    return { cidr: route.cidr, changed: 1, notes: ['it wins there'], storedOn: { controllers: 2, of: 3 } }
  }
  removeRoute = async (cidr: string, via?: string) => {
    this.calls.push(['removeRoute', cidr, via])
    return { cidr, changed: 2, notes: [], storedOn: { controllers: 2, of: 3 } }
  }
  invite = async (ttlSeconds = 3600) => {
    this.calls.push(['invite', ttlSeconds])
    return { token: 'om1-token', expiresAt: '2026-01-02T04:04:05.678Z', endpoints: ['192.0.2.1:4001'] }
  }
  controllers = async (_all?: boolean): Promise<ControllerEntry[]> => []
  removeController = async (name: string) => {
    this.calls.push(['removeController', name])
    return { controller: name, clients: ['web'], storedOn: { controllers: 2, of: 2 } }
  }
  leave = async () => {
    this.calls.push(['leave'])
    return { controller: 'alpha', clients: [] as string[], storedOn: { controllers: 2, of: 2 } }
  }
  routeUpdates = async (): Promise<RouteUpdates> => this.updates
  setRouteUpdates = async (updates: RouteUpdates) => {
    this.updates = updates
    return updates
  }
  refreshClients = async (request: RefreshRequest) => {
    this.calls.push(['refreshClients', request])
    return { storedOn: { controllers: 2, of: 3 } }
  }
  dns = async (): Promise<DnsState> => ({
    enabled: true,
    domain: 'home.internal',
    server: '10.77.0.1',
    forwarders: [],
    serves: ['udp', 'tcp'],
  })
  changeDns = async (change: ChangeDns): Promise<DnsState> => {
    this.calls.push(['changeDns', change])
    return { ...(await this.dns()), ...change, storedOn: { controllers: 2, of: 3 } }
  }
  readonly sites = new Map<string, AttachmentDetail>()
  ikeDaemon = async () => ({
    state: 'idle',
    problem: 'it is not needed: no attachment is enabled',
    esp: null,
  })
  attachments = async () => [...this.sites.values()].map(({ sas, engine, storedOn, ...entry }) => entry)
  attachment = async (name: string) => {
    const site = this.sites.get(name)
    if (!site) throw new ServiceError('not-found', `no attachment is named ${name}`)
    return site
  }
  addAttachment = async (request: AddAttachment) => {
    this.calls.push(['addAttachment', request])
    this.sites.set(request.name, fakeAttachment(request))
    return this.attachment(request.name)
  }
  changeAttachment = async (name: string, change: ChangeAttachment) => {
    this.calls.push(['changeAttachment', name, change])
    return this.attachment(name)
  }
  removeAttachment = async (name: string) => {
    this.calls.push(['removeAttachment', name])
    this.sites.delete((await this.attachment(name)).name)
    return { name, storedOn: { controllers: 2, of: 3 } }
  }
  attachmentUp = async (name: string) => ({ ...(await this.attachment(name)), state: 'connecting' })
  attachmentDown = async (name: string) => ({
    ...(await this.attachment(name)),
    enabled: false,
    state: 'disabled',
  })
  exportAttachment = async (name: string, format: ExportFormat) => ({
    fileName: `${(await this.attachment(name)).name}.${format}`,
    content: format === 'sheet' ? 'Identity  paris\n' : `secret = ${SECRET_PLACE}\n`,
  })
  tokens = async (): Promise<Token[]> => [fakeToken('grafana', 'read')]
  addToken = async (request: AddToken) => {
    this.calls.push(['addToken', request])
    const token = fakeToken(request.name, request.scope)
    return { token, secret: 'omt1_not-a-real-one', storedOn: { controllers: 2, of: 3 } }
  }
  revokeToken = async (name: string) => {
    this.calls.push(['revokeToken', name])
    if (name === 'nobody') throw new ServiceError('not-found', `there is no token ${name}`)
    return { tokens: [fakeToken(name, 'read')], storedOn: { controllers: 2, of: 3 } }
  }
  webhooks = async (): Promise<Webhook[]> => [fakeWebhook('chat')]
  addWebhook = async ({ name }: AddWebhook) => {
    this.calls.push(['addWebhook', name])
    return { webhook: fakeWebhook(name), storedOn: { controllers: 2, of: 3 } }
  }
  removeWebhook = async (name: string) => {
    this.calls.push(['removeWebhook', name])
    return { webhook: fakeWebhook(name), storedOn: { controllers: 2, of: 3 } }
  }
  testWebhook = async (name: string) => {
    this.calls.push(['testWebhook', name])
    return { delivered: true, status: 204, problem: null, ms: 3 }
  }
  api = async (): Promise<ApiState> => ({
    listen: ['0.0.0.0:8443'],
    listening: ['0.0.0.0:8443'],
    names: ['api.example.org'],
    certificate: {
      names: ['api.example.org', 'localhost'],
      expiresAt: '2036-01-02T03:04:05.678Z',
      renewsAt: '2035-01-02T03:04:05.678Z',
    },
    rootCertificate: '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n',
    rootFingerprint: 'ab'.repeat(32),
  })
  changeApi = async (change: ChangeApi) => {
    this.calls.push(['changeApi', change])
    return { ...(await this.api()), ...change }
  }
  drain = async () => ({ draining: true, sessions: 0 })
  serve = async () => ({ draining: false, sessions: 0 })
  records = async (kind?: string) =>
    ['client', 'setting']
      .filter(each => kind === undefined || each === kind)
      .map(each => ({
        kind: each,
        id: 'web',
        value: { nested: [1, { deep: true }] },
        stamp: '2026-01-02T03:04:05.678Z#0',
        author: 'alpha',
        understood: 'whole' as const,
        incarnation: '000000000001',
        sequence: 4,
      }))
  verify = async () => ({ ok: true, stateHash: 'abc123', records: 7, problems: [], peers: [] })
  state: Health = { alive: true, ready: true, problems: [] }
  health = async () => this.state
  metrics = async ({ clients = false }: MetricsRequest = {}) => `# figures\nfake_clients ${Number(clients)}\n`
  listen: string | null = null
  metricsListen = async () => ({ listen: this.listen, listening: this.listen })
  setMetricsListen = async (listen: string | null) => {
    this.listen = listen
    return this.metricsListen()
  }
  events = async (limit = 1000, { since, types }: EventFilter = {}) => {
    const wanted = this.past.filter(({ type }) => types === undefined || matches(types, type))
    return since === undefined
      ? wanted.slice(-limit)
      : wanted.filter(({ seq }) => seq > since).slice(0, limit)
  }
  follow = (callback: (event: Event) => void) => {
    this.#followers.add(callback)
    return () => void this.#followers.delete(callback)
  }
}

function fakeToken(name: string, scope: TokenScope): Token {
  return {
    name,
    id: '00112233445566ff',
    scope,
    state: 'good',
    createdAt: '2026-01-02T03:04:05.678Z',
    createdBy: 'alpha',
    expiresAt: '2036-01-02T03:04:05.678Z',
    revokedAt: null,
  }
}

export function fakeSession(client: Client): Session {
  return {
    client: client.name,
    address: client.address,
    controller: 'alpha',
    since: '2026-01-02T03:04:05.678Z',
    remote: '192.0.2.7:40000',
    rxBytes: 1_234_567,
    txBytes: 89,
    rxPackets: 1000,
    txPackets: 2,
    lastReceived: null,
    cipher: 'AES-256-GCM',
    keyDerivation: 'tls-ekm',
    tls: 'TLSv1.3',
    version: '2.6.14 linux',
    routesBehind: false,
  }
}

function fakeClient(name: string, address: string): Client {
  return {
    name,
    address,
    subnets: [],
    enabled: true,
    revoked: false,
    serial: '0a1b2c',
    issuer: 'alpha',
    issuerRemoved: false,
    tags: {},
    createdAt: '2026-01-02T03:04:05.678Z',
    expiresAt: '2036-01-02T03:04:05.678Z',
    prefer: [],
    packStale: false,
    session: null,
  }
}

function fakePack(client: Client, format: PackFormat): Pack {
  const content = format === 'ovpn' ? Buffer.from(PACK_TEXT) : Buffer.from([0x50, 0x4b, 3, 4, 0, 255, 254])
  return { client, format, fileName: `${client.name}.${format}`, content: new Uint8Array(content) }
}

function certificate(subject: string, keyPresent: boolean) {
  return { subject, expiresAt: '2036-01-02T03:04:05.678Z', renewsAt: null, keyPresent }
}

function fakeWebhook(name: string): Webhook {
  return { name, url: 'https://hooks.example.net/...', types: ['session-*'], signed: true, delivery: null }
}
