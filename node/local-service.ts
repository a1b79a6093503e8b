// The service of a controller over its own data directory. What runs, if anything does, is passed in.
import packageJson from '../package.json' with { type: 'json' }
import { formatIpv4 } from '../state/address.ts'
import { gatewayOf } from '../state/allocator.ts'
import { StateError } from '../state/errors.ts'
import { addressesOf } from './addresses.ts'
import { apiSettings } from './api-settings.ts'
import { makeBackup } from './backup/backup.ts'
import { restoredNotice } from './backup/settling.ts'
import type { Certificates } from './certificates.ts'
import { exportDesired } from './desired/export.ts'
import { reconcile } from './desired/reconcile.ts'
import { formatForwarder } from './dns/forwarders.ts'
import { changeDns, type DnsChange, dnsSettings } from './dns/settings.ts'
import { matches } from './event-types.ts'
import type { EventLog } from './events.ts'
import type { Home } from './home.ts'
import type { Invites } from './invites.ts'
import { LocalAttachments } from './ipsec/local-attachments.ts'
import type { Live, LocalContext } from './live.ts'
import { LocalAccess } from './local-access.ts'
import { LocalClients } from './local-clients.ts'
import { LocalMembership } from './local-membership.ts'
import { comparePeers, listControllers, storedOn } from './mesh-view.ts'
import { changeMetricsListen, metricsListenState } from './metrics-listen.ts'
import { PkiError } from './pki/errors.ts'
import { removalNotice } from './removal.ts'
import { readRouteUpdates, refreshOp, routeUpdatesOp } from './route-settings.ts'
import { Routes } from './routes.ts'
import {
  type AddRoute,
  type ControllerLink,
  type ControllerService,
  type Drained,
  type Event,
  type EventFilter,
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
import type { Capture, CaptureRequest } from './service-capture.ts'
import type { DesiredState, ReconcileRequest, Reconciliation } from './service-desired.ts'
import type { DnsState } from './service-dns.ts'
import type { Health, MetricsListenState, MetricsRequest } from './service-observation.ts'
import { foreignNotice, listConflicts, listRecords } from './state-view.ts'
import { versionNotice } from './version-notices.ts'
import { LocalWebhooks } from './webhooks/local-webhooks.ts'

export interface LocalServiceInit {
  home: Home
  certificates: Certificates
  events: EventLog
  /** Those that the running controller knows of. */
  invites?: Invites
  live?: Live
}

/** The operations that parts of their own carry out. */
type Operations = ControllerService

export class LocalService implements ControllerService {
  readonly #home: Home
  readonly #certificates: Certificates
  readonly #events: EventLog
  readonly #live: Live | undefined
  readonly #routes: Routes
  readonly #clients: LocalClients
  readonly #membership: LocalMembership
  readonly #attachments: LocalAttachments
  readonly #access: LocalAccess
  readonly #webhooks: LocalWebhooks

  constructor(init: LocalServiceInit) {
    const { home, events, live, invites } = init
    this.#home = home
    this.#certificates = init.certificates
    this.#events = events
    this.#live = live
    const context: LocalContext = {
      home,
      events,
      live,
      writing: work => this.#writing(work),
      storedOn: () => this.#storedOn(),
    }
    this.#routes = new Routes(home)
    this.#clients = new LocalClients(context)
    this.#membership = new LocalMembership(context, invites)
    this.#attachments = new LocalAttachments(context)
    this.#access = new LocalAccess(context)
    this.#webhooks = new LocalWebhooks(context)
  }

  get running(): boolean {
    return this.#live !== undefined
  }

  clients: Operations['clients'] = () => this.#clients.clients()
  client: Operations['client'] = name => this.#clients.client(name)
  addClient: Operations['addClient'] = request => this.#clients.addClient(request)
  packClient: Operations['packClient'] = (name, format, options) =>
    this.#clients.packClient(name, format, options)
  disableClient: Operations['disableClient'] = (name, reason) => this.#clients.disableClient(name, reason)
  enableClient: Operations['enableClient'] = name => this.#clients.enableClient(name)
  revokeClient: Operations['revokeClient'] = (name, reason) => this.#clients.revokeClient(name, reason)
  rekeyClient: Operations['rekeyClient'] = (name, days) => this.#clients.rekeyClient(name, days)

  invite: Operations['invite'] = ttlSeconds => this.#membership.invite(ttlSeconds)
  controllers: Operations['controllers'] = all => this.#membership.controllers(all)
  removeController: Operations['removeController'] = name => this.#membership.removeController(name)
  leave: Operations['leave'] = () => this.#membership.leave()

  ikeDaemon: Operations['ikeDaemon'] = () => this.#attachments.ikeDaemon()
  attachments: Operations['attachments'] = () => this.#attachments.attachments()
  attachment: Operations['attachment'] = name => this.#attachments.attachment(name)
  addAttachment: Operations['addAttachment'] = request => this.#attachments.addAttachment(request)
  changeAttachment: Operations['changeAttachment'] = (name, change) =>
    this.#attachments.changeAttachment(name, change)
  removeAttachment: Operations['removeAttachment'] = name => this.#attachments.removeAttachment(name)
  attachmentUp: Operations['attachmentUp'] = name => this.#attachments.attachmentUp(name)
  attachmentDown: Operations['attachmentDown'] = name => this.#attachments.attachmentDown(name)
  exportAttachment: Operations['exportAttachment'] = (name, format) =>
    this.#attachments.exportAttachment(name, format)

  api: Operations['api'] = () => this.#access.api()
  changeApi: Operations['changeApi'] = change => this.#access.changeApi(change)
  tokens: Operations['tokens'] = () => this.#access.tokens()
  addToken: Operations['addToken'] = request => this.#access.addToken(request)
  revokeToken: Operations['revokeToken'] = name => this.#access.revokeToken(name)

  webhooks: Operations['webhooks'] = () => this.#webhooks.webhooks()
  addWebhook: Operations['addWebhook'] = request => this.#webhooks.addWebhook(request)
  removeWebhook: Operations['removeWebhook'] = name => this.#webhooks.removeWebhook(name)
  testWebhook: Operations['testWebhook'] = name => this.#webhooks.testWebhook(name)

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
        uptimeSeconds: live ? Math.floor(live.uptime() / 1000) : 0,
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
      stalePacks: this.#clients.stalePacks(),
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
    const live = this.#live
    if (live === undefined) return []
    const { views } = this.#home
    const behind = new Set([...(await live.behindElsewhere())].map(id => views.client(id)?.name))
    const own = this.#home.config.controller
    return live.sessions().map(session => {
      const isTold = session.controller !== own && behind.has(session.client)
      return isTold ? { ...session, routesBehind: true } : session
    })
  }

  async routes(): Promise<Route[]> {
    return this.#routes.list(this.#live?.standings(), this.#live?.standings6())
  }

  async kickClient(name: string): Promise<{ kicked: boolean }> {
    const client = this.#clients.view(name)
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
      const ids = clients?.map(name => this.#clients.view(name).id)
      await this.#home.replica.write(() => [refreshOp(Date.now(), over, ids)])
      return { storedOn: await this.#storedOn() }
    })
  }

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

  async events(limit?: number, { since, types }: EventFilter = {}): Promise<Event[]> {
    return this.#events.recent(limit, since, types && (({ type }) => matches(types, type)))
  }

  follow(callback: (event: Event) => void): () => void {
    return this.#events.subscribe(callback)
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
