// The service of a controller over its own data directory. What runs, if anything does, is passed in.
import packageJson from '../package.json' with { type: 'json' }
import { formatIpv4 } from '../state/address.ts'
import { gatewayOf } from '../state/allocator.ts'
import { StateError } from '../state/errors.ts'
import type { ClientId, Serial } from '../state/kinds.ts'
import type { ClientView } from '../state/views.ts'
import { addressesOf } from './addresses.ts'
import { apiSettings, changeApiSettings, type LiveApi } from './api-settings.ts'
import { makeBackup } from './backup/backup.ts'
import { restoredNotice } from './backup/settling.ts'
import type { Captures } from './capture/captures.ts'
import type { Certificates } from './certificates.ts'
import { Clients } from './clients.ts'
import { exportDesired } from './desired/export.ts'
import { reconcile } from './desired/reconcile.ts'
import { formatForwarder } from './dns/forwarders.ts'
import { changeDns, type DnsChange, dnsSettings } from './dns/settings.ts'
import { matches } from './event-types.ts'
import type { EventLog } from './events.ts'
import type { Home } from './home.ts'
import { Invites } from './invites.ts'
import type { AttachmentsLive } from './ipsec/live.ts'
import { LocalAttachments } from './ipsec/local-attachments.ts'
import { Membership } from './membership.ts'
import type { MeshRuntime } from './mesh-runtime.ts'
import { comparePeers, listControllers, listEntries, storedOn } from './mesh-view.ts'
import { changeMetricsListen, type MetricsListen, metricsListenState } from './metrics-listen.ts'
import type { Observation } from './observation.ts'
import type { RouteStanding } from './overlay-routes.ts'
import type { RouteStanding6 } from './overlay-routes6.ts'
import { isPackStale, packedFor } from './pack-list.ts'
import { packContent } from './packs.ts'
import { PkiError } from './pki/errors.ts'
import { removalNotice } from './removal.ts'
import { readRouteUpdates, refreshOp, routeUpdatesOp } from './route-settings.ts'
import { Routes } from './routes.ts'
import {
  type AddClient,
  type AddRoute,
  type Client,
  type ControllerLink,
  type ControllerService,
  type Drained,
  type Event,
  type EventFilter,
  type Pack,
  type PackFormat,
  type PackOptions,
  type RefreshRequest,
  type Route,
  type RouteChange,
  type RouteUpdates,
  ServiceError,
  type Session,
  type StateRecord,
  type Status,
  type StoredOn,
  type Verification,
} from './service.ts'
import type { ApiState, ChangeApi } from './service-api.ts'
import type { Capture, CaptureRequest } from './service-capture.ts'
import type { DesiredState, ReconcileRequest, Reconciliation } from './service-desired.ts'
import type { DnsState } from './service-dns.ts'
import type { AttachmentService } from './service-ipsec.ts'
import type { ControllerEntry, Invitation, Removal } from './service-membership.ts'
import type { Health, MetricsListenState, MetricsRequest } from './service-observation.ts'
import type { AddToken, NewToken, RevokedTokens, Token } from './service-tokens.ts'
import type { AddWebhook, Webhook, WebhookChange, WebhookTest } from './service-webhooks.ts'
import { foreignNotice, listConflicts, listRecords } from './state-view.ts'
import { Tokens } from './tokens.ts'
import { versionNotice } from './version-notices.ts'
import { addHook, readHooks, removeHook } from './webhooks/hooks.ts'
import { describeHook, type Webhooks } from './webhooks/webhooks.ts'

/** The running part of a controller, as its service sees it. */
export interface Live {
  startedAt: number
  listen(): string[]
  tun(): string | null
  /** Of the whole mesh. */
  sessions(): Session[]
  /** How the routes stand here, now. */
  standings(): RouteStanding[]
  standings6(): RouteStanding6[]
  /** Ends the client's session, wherever it is; false when there is none. */
  kick(client: ClientId): boolean
  /** Resolves when the clients are gone. */
  drain(): Promise<void>
  serve(): void
  isDraining(): boolean
  mesh(): MeshRuntime | undefined
  attachments(): AttachmentsLive | undefined
  /** Its API over TCP. */
  api(): LiveApi | undefined
  captures: Captures
  counters(): Record<string, number>
  observation: Pick<Observation, 'health' | 'metrics'>
  metricsListen: MetricsListen
  webhooks: Webhooks
  /** By what DNS is served here. */
  dns(): ('udp' | 'tcp')[]
  warnings(): string[]
}

export interface LocalServiceInit {
  home: Home
  certificates: Certificates
  events: EventLog
  /** Those that the running controller knows of. */
  invites?: Invites
  live?: Live
}

const DEFAULT_INVITE_SECONDS = 3600
/** ms that a controller that leaves waits for the others to know. */
const LEAVE_MS = 5000

export class LocalService implements ControllerService {
  readonly #home: Home
  readonly #certificates: Certificates
  readonly #events: EventLog
  readonly #clients: Clients
  readonly #routes: Routes
  readonly #membership: Membership
  readonly #attachments: LocalAttachments
  readonly #tokens: Tokens
  readonly #live: Live | undefined
  /** Changes of the API are made one after the other. */
  #apiChange: Promise<unknown> = Promise.resolve()

  constructor(init: LocalServiceInit) {
    this.#home = init.home
    this.#certificates = init.certificates
    this.#events = init.events
    this.#live = init.live
    this.#clients = new Clients(init.home)
    this.#routes = new Routes(init.home)
    this.#tokens = new Tokens(init.home)
    this.#attachments = new LocalAttachments({
      home: init.home,
      events: init.events,
      live: () => init.live?.attachments(),
      writing: work => this.#writing(work),
      storedOn: () => this.#storedOn(),
    })
    this.#membership = new Membership(
      init.home,
      async () => init.invites ?? Invites.open(init.home.directory),
    )
  }

  get running(): boolean {
    return this.#live !== undefined
  }

  async status(): Promise<Status> {
    const { mesh, controller, id, config, replica, problems } = this.#home
    const live = this.#live
    const stateHash = replica.hash()
    const gateway = addressesOf(mesh, formatIpv4(gatewayOf(mesh.subnet)))
    const controllers = listControllers(this.#home, live?.mesh())
    return {
      mesh: { id: mesh.id, name: mesh.value.name, subnet: mesh.value.subnet, subnet6: mesh.value.subnet6 },
      controller: {
        id,
        name: config.controller,
        uptimeSeconds: live ? Math.floor((Date.now() - live.startedAt) / 1000) : 0,
        version: packageJson.version,
        pid: live ? process.pid : 0,
        ...addressesOf(mesh, controller.address),
        gateway: gateway.address,
        gateway6: gateway.address6,
        listen: live?.listen() ?? config.listen,
        public: controller.publicEndpoints,
        tun: live?.tun() ?? null,
        meshListen: live?.mesh()?.listening() ?? [config.meshListen],
        api: live ? (live.api()?.listening() ?? []) : apiSettings(this.#home).listen,
        draining: live?.isDraining() ?? false,
        running: this.running,
      },
      stateHash,
      records: replica.count,
      controllers,
      sessions: await this.sessions(),
      routes: await this.routes(),
      attachments: this.#attachments.standings(),
      conflicts: listConflicts(this.#home),
      stalePacks: this.#stalePacks(),
      certificates: await this.#certificates.status(),
      counters: live?.counters() ?? {},
      warnings: [
        ...problems,
        ...this.#notices(),
        ...this.#versions(controllers),
        ...(live?.warnings() ?? []),
      ],
    }
  }

  async sessions(): Promise<Session[]> {
    return this.#live?.sessions() ?? []
  }

  async routes(): Promise<Route[]> {
    return this.#routes.list(this.#live?.standings(), this.#live?.standings6())
  }

  async clients(): Promise<Client[]> {
    const sessions = new Map((await this.sessions()).map(session => [session.client, session]))
    return this.#home.views.clients().map(client => this.#describe(client, sessions.get(client.name)))
  }

  async client(name: string): Promise<Client> {
    const client = this.#clients.get(name)
    const session = (await this.sessions()).find(({ client: connected }) => connected === client.name)
    return this.#describe(client, session)
  }

  addClient(request: AddClient): Promise<Pack> {
    return this.#writing(async () => {
      const client = await this.#clients.add(request)
      this.#events.append({ type: 'client-added', client: client.name, address: client.value.address })
      return this.#pack(client, 'ovpn')
    })
  }

  packClient(name: string, format: PackFormat, options: PackOptions = {}): Promise<Pack> {
    return this.#writing(async () => {
      const client = await this.#clients.prefer(name, options.prefer)
      if (this.#clients.isRevoked(client)) {
        throw new ServiceError(
          'refused',
          `${name} was revoked, for good; add it anew with \`overmesh client add\``,
        )
      }
      return this.#pack(client, format, options)
    })
  }

  disableClient(name: string, reason?: string): Promise<Client> {
    return this.#writing(async () => {
      const client = await this.#clients.setEnabled(name, false)
      this.#events.append({ type: 'client-disabled', client: name, ...(reason ? { reason } : {}) })
      return this.#stored(this.#describe(client, undefined))
    })
  }

  enableClient(name: string): Promise<Client> {
    return this.#writing(async () => {
      await this.#clients.setEnabled(name, true)
      this.#events.append({ type: 'client-enabled', client: name })
      return this.#stored(await this.client(name))
    })
  }

  revokeClient(name: string, reason?: string): Promise<Client> {
    return this.#writing(async () => {
      const client = await this.#clients.revoke(name, reason)
      this.#events.append({ type: 'client-revoked', client: name, ...(reason ? { reason } : {}) })
      return this.#stored(this.#describe(client, undefined))
    })
  }

  rekeyClient(name: string, days?: number): Promise<Pack> {
    return this.#writing(async () => {
      const client = await this.#clients.rekey(name, days)
      this.#events.append({ type: 'client-rekeyed', client: name })
      return this.#pack(client, 'ovpn')
    })
  }

  async kickClient(name: string): Promise<{ kicked: boolean }> {
    const client = this.#clients.get(name)
    const kicked = this.#needLive().kick(client.id)
    if (kicked) this.#events.append({ type: 'client-kicked', client: name })
    return { kicked }
  }

  addRoute(route: AddRoute): Promise<RouteChange> {
    return this.#writing(async () => {
      const { cidr, notes } = await this.#routes.add(route)
      this.#events.append({ type: 'route-added', cidr, via: route.via })
      return { cidr, changed: 1, notes, storedOn: await this.#storedOn() }
    })
  }

  removeRoute(text: string, via?: string): Promise<RouteChange> {
    return this.#writing(async () => {
      const { cidr, count } = await this.#routes.remove(text, via)
      this.#events.append({ type: 'route-removed', cidr, ...(via === undefined ? {} : { via }) })
      return { cidr, changed: count, notes: [], storedOn: await this.#storedOn() }
    })
  }

  async routeUpdates(): Promise<RouteUpdates> {
    return readRouteUpdates(this.#home)
  }

  setRouteUpdates(updates: RouteUpdates): Promise<RouteUpdates> {
    return this.#writing(async () => {
      await this.#home.replica.write(() => [routeUpdatesOp(updates)])
      return readRouteUpdates(this.#home)
    })
  }

  refreshClients({ clients, over = 0 }: RefreshRequest): Promise<{ storedOn: StoredOn }> {
    return this.#writing(async () => {
      const ids = clients?.map(name => this.#clients.get(name).id)
      await this.#home.replica.write(() => [refreshOp(Date.now(), over, ids)])
      return { storedOn: await this.#storedOn() }
    })
  }

  attachments: AttachmentService['attachments'] = () => this.#attachments.attachments()
  attachment: AttachmentService['attachment'] = name => this.#attachments.attachment(name)
  addAttachment: AttachmentService['addAttachment'] = request => this.#attachments.addAttachment(request)
  changeAttachment: AttachmentService['changeAttachment'] = (name, change) =>
    this.#attachments.changeAttachment(name, change)
  removeAttachment: AttachmentService['removeAttachment'] = name => this.#attachments.removeAttachment(name)
  attachmentUp: AttachmentService['attachmentUp'] = name => this.#attachments.attachmentUp(name)
  attachmentDown: AttachmentService['attachmentDown'] = name => this.#attachments.attachmentDown(name)
  exportAttachment: AttachmentService['exportAttachment'] = (name, format) =>
    this.#attachments.exportAttachment(name, format)

  async dns(): Promise<DnsState> {
    const { enabled, domain = null, server, forwarders } = dnsSettings(this.#home)
    return {
      enabled,
      domain,
      server: formatIpv4(server),
      forwarders: forwarders.map(formatForwarder),
      serves: this.#live?.dns() ?? [],
    }
  }

  changeDns(change: DnsChange): Promise<DnsState> {
    return this.#writing(async () => {
      await changeDns(this.#home, change)
      const state = await this.dns()
      this.#events.append({ type: 'dns-changed', enabled: state.enabled, forwarders: state.forwarders })
      return { ...state, storedOn: await this.#storedOn() }
    })
  }

  async drain(): Promise<Drained> {
    const live = this.#needLive()
    await live.drain()
    return this.#drained(live)
  }

  async serve(): Promise<Drained> {
    const live = this.#needLive()
    live.serve()
    return this.#drained(live)
  }

  invite(ttlSeconds = DEFAULT_INVITE_SECONDS): Promise<Invitation> {
    return this.#writing(async () => {
      const holders = (await this.controllers()).flatMap(each => (each.holdsRootKey ? [each.name] : []))
      const { token, expiresAt, endpoints } = await this.#membership.invite(ttlSeconds, holders)
      const until = new Date(expiresAt).toISOString()
      this.#events.append({ type: 'controller-invited', until })
      return { token, expiresAt: until, endpoints }
    })
  }

  async controllers(all = false): Promise<ControllerEntry[]> {
    const removed = all ? this.#membership.removed() : []
    return listEntries(this.#home, this.#live?.mesh(), removed)
  }

  removeController(name: string): Promise<Removal> {
    return this.#writing(async () => {
      const clients = await this.#membership.remove(name)
      this.#events.append({ type: 'controller-removed', controller: name })
      return { controller: name, clients, storedOn: await this.#storedOn() }
    })
  }

  leave(): Promise<Removal> {
    return this.#writing(async () => {
      const live = this.#needLive()
      const { controller } = this.#home.config
      this.#membership.mayLeave()
      if (
        !live
          .mesh()
          ?.peers()
          .some(({ connected }) => connected)
      ) {
        throw new ServiceError(
          'refused',
          `no other controller is reached now, and none would know; try again, or run \`overmesh controller remove ${controller}\` on another`,
        )
      }
      const clients = await this.#membership.leave()
      const stored = await storedOn(this.#home, live.mesh(), LEAVE_MS)
      if (stored.controllers === 0) {
        throw new ServiceError(
          'failed',
          `${controller} has left, but no other controller said that it knows; run \`overmesh controller remove ${controller}\` on another`,
        )
      }
      return { controller, clients, storedOn: stored }
    })
  }

  async records(kind?: string): Promise<StateRecord[]> {
    return listRecords(this.#home, kind)
  }

  async verify(): Promise<Verification> {
    const { replica, problems } = this.#home
    const { records, faults } = await replica.verify()
    return {
      ok: faults.length === 0,
      stateHash: replica.hash(),
      records,
      problems: [...problems, ...faults.map(({ key, reason }) => `${key}: ${reason}`)],
      peers: comparePeers(this.#home, this.#live?.mesh()),
    }
  }

  async desiredState(): Promise<DesiredState> {
    return exportDesired(this.#home)
  }

  reconcile(request: ReconcileRequest): Promise<Reconciliation> {
    return this.#writing(async () => {
      const { changes, problems, ops } = await reconcile(this.#home, request)
      const applied = problems.length === 0 && request.dryRun !== true
      if (!applied || ops.length === 0) return { changes, problems, applied }
      const count = (wanted: string) => changes.filter(({ action }) => action === wanted).length
      const counts = { added: count('add'), changed: count('change'), removed: count('remove') }
      this.#events.append({ type: 'state-imported', ...counts })
      return { changes, problems, applied, storedOn: await this.#storedOn() }
    })
  }

  async tokens(): Promise<Token[]> {
    return this.#tokens.list(Date.now())
  }

  addToken(request: AddToken): Promise<NewToken> {
    return this.#writing(async () => {
      const made = await this.#tokens.add(request, Date.now())
      const { name, id, scope, expiresAt } = made.token
      this.#events.append({ type: 'token-added', token: name, id, scope, until: expiresAt })
      return { ...made, storedOn: await this.#storedOn() }
    })
  }

  revokeToken(name: string): Promise<RevokedTokens> {
    return this.#writing(async () => {
      const tokens = await this.#tokens.revoke(name, Date.now())
      for (const token of tokens)
        this.#events.append({ type: 'token-revoked', token: token.name, id: token.id })
      return { tokens, storedOn: await this.#storedOn() }
    })
  }

  async api(): Promise<ApiState> {
    const { mesh, rootCertificate } = this.#home
    const live = this.#live?.api()
    return {
      ...apiSettings(this.#home),
      listening: live?.listening() ?? [],
      certificate: live?.certificate() ?? null,
      rootCertificate,
      rootFingerprint: mesh.value.rootFingerprint,
    }
  }

  changeApi(change: ChangeApi): Promise<ApiState> {
    const done = this.#apiChange.then(async () => {
      const { listen, names } = await changeApiSettings(this.#home, change, this.#live?.api())
      this.#events.append({ type: 'api-changed', listen, names })
      return this.api()
    })
    this.#apiChange = done.catch(() => {})
    return done
  }

  backup(passphrase: string): Promise<AsyncIterable<Uint8Array>> {
    return makeBackup(this.#home, passphrase)
  }

  async capture(request: CaptureRequest): Promise<Capture> {
    if (this.#live) return this.#live.captures.start(request)
    throw new ServiceError(
      'not-running',
      'no controller is running here, so no packet passes; start it with `overmesh up`',
    )
  }

  async endCapture(id: number, how?: 'asked' | 'stopping'): Promise<{ ended: boolean }> {
    return { ended: this.#live?.captures.end(id, how) ?? false }
  }

  async health(): Promise<Health> {
    const problems = ['no controller is running here']
    return this.#live?.observation.health() ?? { alive: false, ready: false, problems }
  }

  async metrics(request?: MetricsRequest): Promise<string> {
    return this.#needLive('there are no figures').observation.metrics(request)
  }

  async metricsListen(): Promise<MetricsListenState> {
    return metricsListenState(this.#home, this.#live?.metricsListen)
  }

  async setMetricsListen(listen: string | null): Promise<MetricsListenState> {
    await changeMetricsListen(this.#home, listen, this.#live?.metricsListen)
    return this.metricsListen()
  }

  async webhooks(): Promise<Webhook[]> {
    return readHooks(this.#home).map(hook => describeHook(hook, this.#live?.webhooks))
  }

  addWebhook(request: AddWebhook): Promise<WebhookChange> {
    return this.#writing(async () => {
      const webhook = describeHook(await addHook(this.#home, request), this.#live?.webhooks)
      this.#events.append({ type: 'webhook-added', webhook: webhook.name, types: webhook.types })
      return { webhook, storedOn: await this.#storedOn() }
    })
  }

  removeWebhook(name: string): Promise<WebhookChange> {
    return this.#writing(async () => {
      const webhook = describeHook(await removeHook(this.#home, name), undefined)
      this.#events.append({ type: 'webhook-removed', webhook: name })
      return { webhook, storedOn: await this.#storedOn() }
    })
  }

  async testWebhook(name: string): Promise<WebhookTest> {
    return this.#needLive('nothing is sent').webhooks.test(name)
  }

  async events(limit?: number, { since, types }: EventFilter = {}): Promise<Event[]> {
    return this.#events.recent(limit, since, types && (({ type }) => matches(types, type)))
  }

  follow(callback: (event: Event) => void): () => void {
    return this.#events.subscribe(callback)
  }

  async #pack(client: ClientView, format: PackFormat, options?: PackOptions): Promise<Pack> {
    const secret = await this.#clients.secret(client)
    const content = packContent(this.#home, client, secret, format, options)
    await this.#clients.packed(client)
    const fileName = `${client.value.name}.${format}`
    return { client: await this.#stored(await this.client(client.name)), format, fileName, content }
  }

  async #stored(client: Client): Promise<Client> {
    return { ...client, storedOn: await this.#storedOn() }
  }

  #storedOn() {
    return storedOn(this.#home, this.#live?.mesh())
  }

  #needLive(consequence = 'no client is connected'): Live {
    if (this.#live) return this.#live
    throw new ServiceError('not-running', `no controller is running here, so ${consequence}`)
  }

  #drained(live: Live): Drained {
    const own = this.#home.config.controller
    const sessions = live.sessions().filter(({ controller }) => controller === own).length
    return { draining: live.isDraining(), sessions }
  }

  #isPackStale(client: ClientView, current?: string): boolean {
    return !this.#clients.isRevoked(client) && isPackStale(this.#home, client, current)
  }

  #stalePacks(): string[] {
    const current = packedFor(this.#home)
    const clients = this.#home.views.clients()
    return clients.flatMap(client => (this.#isPackStale(client, current) ? [client.name] : []))
  }

  /** What comes of controllers of several versions. */
  #versions(controllers: readonly ControllerLink[]): string[] {
    const notices = [versionNotice(controllers), foreignNotice(this.#home)]
    return [...(this.#live?.mesh()?.incompatible() ?? []), ...notices.filter(notice => notice !== undefined)]
  }

  #notices(): string[] {
    // A controller that runs says itself that it was removed.
    const removal = this.#live ? undefined : removalNotice(this.#home)
    return [removal, restoredNotice(this.#home)].filter(notice => notice !== undefined)
  }

  #describe(client: ClientView, session: Session | undefined): Client {
    const { value } = client
    return {
      name: client.name,
      ...addressesOf(this.#home.mesh, value.address),
      subnets: [...value.subnets],
      enabled: value.enabled,
      revoked: this.#clients.isRevoked(client),
      serial: value.serial satisfies Serial,
      issuer: this.#home.replica.get('controller', value.issuer)?.name ?? value.issuer,
      issuerRemoved: !this.#home.views.isAdmitted(value.issuer),
      tags: { ...value.tags },
      createdAt: new Date(value.createdAt).toISOString(),
      expiresAt: new Date(value.expiresAt).toISOString(),
      prefer: (value.prefer ?? []).map(id => this.#home.replica.get('controller', id)?.name ?? id),
      packStale: this.#isPackStale(client),
      session: session ?? null,
    }
  }

  /** What the records and certificates refuse, in the service's words. */
  async #writing<T>(work: () => Promise<T> | T): Promise<T> {
    const removal = removalNotice(this.#home)
    if (removal) throw new ServiceError('refused', removal)
    try {
      return await work()
    } catch (error) {
      if (error instanceof PkiError) throw new ServiceError('failed', error.message, { cause: error })
      if (!(error instanceof StateError)) throw error
      const code =
        error.code === 'INVALID' ? 'invalid' : error.code === 'ADDRESS_TAKEN' ? 'exists' : 'refused'
      throw new ServiceError(code, error.message, { cause: error })
    }
  }
}
