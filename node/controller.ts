// Puts the parts of a running controller together, and starts and stops them in order.
import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import type { Change } from '../state/batch.ts'
import type { ClientId, ControllerId, SettingValue } from '../state/kinds.ts'
import { openDoor } from './admission-door.ts'
import type { ApiMeter } from './api/meter.ts'
import { TcpApi } from './api/tcp-api.ts'
import { ApiCertificate } from './api-certificate.ts'
import { apiSettings, checkListen } from './api-settings.ts'
import { Availability } from './availability.ts'
import { BEHIND_QUESTION, behindAt, writeBehind } from './behind-elsewhere.ts'
import { Beyond, NO_REACH, type Reach } from './beyond.ts'
import { nextBoot } from './boot.ts'
import { Captures } from './capture/captures.ts'
import { CertificateKeeper } from './certificate-keeper.ts'
import { Certificates } from './certificates.ts'
import { ClientSessions } from './client-sessions.ts'
import { Dns } from './dns/dns.ts'
import { EventFile } from './event-file.ts'
import { EventLog } from './events.ts'
import { ForeignWatch } from './foreign-watch.ts'
import { Home } from './home.ts'
import { Invites } from './invites.ts'
import type { Carriage } from './ipsec/carriage.ts'
import { readQuestion, writeReport } from './ipsec/report.ts'
import { startCarriage } from './ipsec/start.ts'
import { LocalService } from './local-service.ts'
import { MeshRuntime } from './mesh-runtime.ts'
import { MeshWatch } from './mesh-watch.ts'
import { checkMetricsListen, MetricsListen } from './metrics-listen.ts'
import { formatHostPort } from './net/ip.ts'
import { startNetwork } from './network.ts'
import { Observation } from './observation.ts'
import { OverlayRoutes } from './overlay-routes.ts'
import { ownAddresses } from './own-addresses.ts'
import { OVERLAY_MTU, PING_SECONDS, SESSION_TIMEOUT_SECONDS } from './push.ts'
import { pooledRandomBytes } from './random.ts'
import { removalNotice } from './removal.ts'
import { ROUTE_REFRESH, ROUTE_UPDATES, readRefresh, readRouteUpdates } from './route-settings.ts'
import { RouteUpdates } from './route-updates.ts'
import type { ControllerService } from './service.ts'
import { listSessions, type SessionSources, sessionOf } from './session-list.ts'
import { SwitchError } from './switch/errors.ts'
import type { Switch } from './switch/switch.ts'
import { ControlKeys } from './switch/sys/control-keys.ts'
import { Tokens } from './tokens.ts'
import { Gathered, Turns } from './turns.ts'
import { DATA_CIPHERS } from './vpn/data-keys.ts'
import { VpnEndpoint } from './vpn/endpoint.ts'
import type { ServerSession, SessionEnd } from './vpn/session.ts'
import type { TlsServer } from './vpn/tls.ts'
import { newTlsServer } from './vpn/tls-server.ts'
import { Warnings } from './warnings.ts'
import { Webhooks } from './webhooks/webhooks.ts'

export interface ControllerOptions {
  dataDir: string
  logger: Logger
  /** True: with a TUN interface where there is root, without where there is none; a name asks for that interface. */
  tun: boolean | string
  /** `host:port`, TCP: where the API listens this time, instead of where it was settled; none: nowhere. */
  apiListen?: readonly string[]
  /** `host:port`, TCP: where figures are served this time, instead of where it was settled. */
  metricsListen?: string
}

interface Parts {
  home: Home
  certificates: Certificates
  events: EventLog
  invites: Invites
}

export class ControllerRemovedError extends Error {
  override name = 'ControllerRemovedError'
  readonly code = 'REMOVED'
}

/** ms for which a handshake may take, and for which a cookie is good. */
const HANDSHAKE_MS = 60_000
/** ms to wait for a command that has the data directory open. */
const LOCK_PATIENCE_MS = 5000
/** ms between two forwarding tables at the least: a thousand sessions that come at once do not make a thousand. */
const ROUTES_GRAIN_MS = 40
/** ms that a table may be late: with very many clients each takes long. */
const ROUTES_LONGEST_MS = 500
/** ms between two looks at timers at most. */
const LONGEST_TURN_MS = 1000

export class Controller {
  readonly service: ControllerService
  /** Resolves if the controller cannot go on: its switch is gone. */
  readonly failed: Promise<Error>
  readonly #home: Home
  readonly #certificates: Certificates
  readonly #keeper: CertificateKeeper
  readonly #events: EventLog
  readonly #invites: Invites
  readonly #logger: Logger
  readonly #tun: boolean | string
  readonly #apiListen: readonly string[] | undefined
  readonly #metricsListen: string | undefined
  readonly #metricsServer: MetricsListen
  readonly #startedAt = Date.now()
  readonly #warnings = new Warnings()
  readonly #availability: Availability
  readonly #routes: OverlayRoutes
  readonly #clients: ClientSessions
  readonly #captures: Captures
  readonly #updates: RouteUpdates<ServerSession>
  /** Runs timers. */
  readonly #turns = new Turns(() => this.#turn(), LONGEST_TURN_MS)
  readonly #gatheredRoutes = new Gathered(() => this.#routesChanged(), ROUTES_GRAIN_MS, ROUTES_LONGEST_MS)
  readonly #foreign: ForeignWatch
  readonly #observation: Observation
  readonly #watch: MeshWatch
  readonly #webhooks: Webhooks
  /** The revision of the routes that `#updates` knows of. */
  #toldRoutes = 0
  #switch: Switch | undefined
  #endpoint: VpnEndpoint | undefined
  #beyond: Beyond | undefined
  #carriage: Carriage | undefined
  #mesh: MeshRuntime | undefined
  #dns: Dns | undefined
  #api: TcpApi | undefined
  #tls: TlsServer | undefined
  /** What `#tls` uses, to see changes. */
  #credentials = ''
  #stopFollowing: (() => void) | undefined
  readonly #fail: (error: Error) => void

  private constructor(parts: Parts, options: ControllerOptions) {
    const { home, certificates, events, invites } = parts
    this.#home = home
    this.#invites = invites
    this.#certificates = certificates
    this.#events = events
    this.#logger = options.logger
    this.#tun = options.tun
    this.#apiListen = options.apiListen
    this.#metricsListen = options.metricsListen
    const { promise, resolve } = Promise.withResolvers<Error>()
    this.failed = promise
    this.#fail = resolve
    this.#availability = new Availability({
      home,
      events,
      logger: options.logger,
      warnings: this.#warnings,
      endpoint: () => this.#endpoint,
      isHandingOver: () => this.#carriage?.isHandingOver === true,
      changed: () => this.#availabilityChanged(),
    })
    this.#foreign = new ForeignWatch({ home, events, logger: options.logger })
    this.#keeper = new CertificateKeeper({
      certificates,
      events,
      logger: options.logger,
      renewed: () => this.#useCertificates(),
      warn: warning => this.#warnings.set('renewal', warning),
    })
    this.#routes = new OverlayRoutes(home, {
      clients: () => this.#mesh?.core.presence.clients() ?? this.#clients.ids(),
      session: client => this.#clients.of(client)?.peerId,
      controllerOf: client => this.#mesh?.core.presence.where(client)?.controller,
      wayTo: controller => this.#mesh?.backbone.nextHop(controller),
      reach: controller => this.#reachOf(controller),
      carrier: attachment => this.#carriage?.wayOf(attachment),
      isUpHere: attachment => this.#carriage?.isUpHere(attachment) === true,
    })
    this.#clients = new ClientSessions({
      home,
      events,
      logger: options.logger,
      routes: this.#routes,
      presence: () => this.#mesh?.core.presence,
      changed: () => this.#gatheredRoutes.ask(),
    })
    this.#updates = new RouteUpdates({
      sessions: () => this.#clients.all(),
      push: session => this.#clients.push(session),
      over: () => {
        const { over } = readRouteUpdates(home)
        return over === 'later' ? undefined : over
      },
      now: Date.now,
      random: Math.random,
    })
    this.#captures = new Captures({
      home,
      events,
      network: () => this.#switch,
      linkTo: controller => this.#mesh?.backbone.portTo(controller),
      peerOf: link => this.#mesh?.backbone.peerOf(link),
    })
    this.#watch = new MeshWatch({
      home,
      events,
      isLiving: id => id === home.id || this.#mesh?.core.presence.isLiving(id) === true,
      now: () => performance.now(),
    })
    this.#webhooks = new Webhooks({ home, events, now: Date.now, random: Math.random })
    this.#observation = new Observation({
      home,
      startedAt: this.#startedAt,
      events,
      certificates,
      network: () => this.#switch,
      endpoint: () => this.#endpoint,
      mesh: () => this.#mesh,
      carriage: () => this.#carriage,
      sessions: () => this.#clients.all(),
      standings: () => this.#routes.standings(),
      counters: () => this.#counters(),
      isDraining: () => this.#availability.isDraining,
      obstacles: () => [...this.#availability.obstacles(), ...home.obstacles],
      onLook: () => {
        if (this.#mesh && this.#availability.isMember) this.#watch.look()
      },
      more: [out => this.#webhooks.addTo(out)],
    })
    this.#metricsServer = new MetricsListen({
      service: { health: async () => this.#observation.health(), metrics: r => this.#observation.metrics(r) },
      logger: options.logger,
      warn: warning => this.#warnings.set('metrics', warning),
    })
    this.service = new LocalService({
      home,
      certificates,
      events,
      invites,
      live: {
        startedAt: this.#startedAt,
        listen: () => this.#switch?.addresses.map(formatHostPort) ?? [],
        tun: () => this.#switch?.tun?.name ?? null,
        sessions: () => listSessions(this.#sessionSources()),
        sessionOf: client => sessionOf(client, this.#sessionSources()),
        behindElsewhere: () => this.#behindElsewhere(),
        standings: () => this.#routes.standings(),
        standings6: () => this.#routes.six.standings(),
        kick: client => this.#kick(client),
        drain: () => this.#availability.drain(),
        serve: () => this.#availability.serve(),
        isDraining: () => this.#availability.isDraining,
        mesh: () => this.#mesh,
        attachments: () => this.#carriage,
        api: () => this.#api,
        captures: this.#captures,
        counters: () => this.#counters(),
        observation: this.#observation,
        metricsListen: this.#metricsServer,
        webhooks: this.#webhooks,
        dns: () => this.#dns?.serves ?? [],
        warnings: () => [
          ...this.#warnings.all(),
          ...(this.#beyond?.problems() ?? []),
          ...(this.#carriage?.warnings() ?? []),
        ],
      },
    })
  }

  /** What the API counts. */
  get apiMeter(): ApiMeter {
    return this.#observation.api
  }

  /** All threads of the controller go on. */
  get isAlive(): boolean {
    return this.#observation.isAlive
  }

  /** Opens the data directory and takes its lock; nothing listens yet. @throws ControllerRemovedError */
  static async open(options: ControllerOptions): Promise<Controller> {
    const home = await Home.open(options.dataDir, LOCK_PATIENCE_MS)
    try {
      const removal = removalNotice(home)
      if (removal) throw new ControllerRemovedError(removal)
      const { logger } = options
      for (const problem of home.problems) logger.warn(problem)
      const events = new EventLog({
        store: new EventFile(home.directory.eventsFile),
        now: Date.now,
        onProblem: error => logger.warn({ err: error }, 'an event could not be kept'),
      })
      for (const problem of home.problems) events.append({ type: 'state-damage', message: problem })
      home.replica.onProblem = ({ code, message }) => {
        logger.warn(message)
        events.append({ type: code === 'cloned' ? 'controller-cloned' : 'state-damage', message })
      }
      const certificates = await Certificates.open(home)
      const invites = await Invites.open(home.directory)
      return new Controller({ home, certificates, events, invites }, options)
    } catch (error) {
      await home.close()
      throw error
    }
  }

  /**
   * Resolves when clients can connect.
   * @throws SwitchError, MeshListenError, ServiceError when a socket or the interface cannot be had
   */
  async start(): Promise<void> {
    await this.#keeper.check()
    this.#tls = newTlsServer(this.#certificates.tls())
    const network = await startNetwork(this.#home, this.#tun, warning => {
      this.#warnings.set('tun', warning)
      this.#logger.warn(warning)
    })
    this.#switch = network
    const endpoint = this.#startEndpoint(network, this.#tls)
    this.#endpoint = endpoint
    this.#carriage = this.#startCarriage(network)
    this.#beyond = await this.#startBeyond(network)
    this.#mesh = await this.#startMesh(network)
    this.#listen(network, endpoint, this.#mesh)
    this.#dns = await this.#startDns(network)
    this.#stopFollowing = this.#home.replica.onChange(({ changes }) => this.#recordsChanged(changes))
    this.#foreign.look()
    this.#carriage.review()
    this.#setRoutes()
    this.#turns.soon()
    this.#api = await this.#startApi()
    this.#webhooks.start()
    this.#observation.start()
    if (this.#metricsListen === undefined) await this.#metricsServer.start(this.#home.config.metricsListen)
    else await this.#metricsServer.apply(checkMetricsListen(this.#metricsListen))
    await this.#availability.settle()
    const { config, mesh, controller } = this.#home
    const listen = network.addresses.map(formatHostPort)
    const live = { listen, mesh: this.#mesh.listening(), tun: network.tun?.name ?? null }
    this.#events.append({ type: 'controller-started', listen })
    this.#logger.info(
      { name: mesh.value.name, controller: config.controller, address: controller.address, ...live },
      'controller started',
    )
  }

  /** Sends every client to its next controller and takes no new ones; resolves when they are gone. */
  drain(): Promise<void> {
    return this.#availability.drain()
  }

  /** Undoes `start` and `open`, in reverse. */
  async stop(): Promise<void> {
    if (this.#availability.isStopping) return
    this.#availability.stop()
    this.#turns.stop()
    this.#gatheredRoutes.stop()
    this.#keeper.stop()
    this.#observation.stop()
    await this.#metricsServer.stop()
    await this.#webhooks.stop()
    this.#stopFollowing?.()
    this.#captures.stop()
    this.#endpoint?.close()
    await this.#api?.close()
    await this.#dns?.stop()
    await this.#carriage?.stop()
    await this.#mesh?.stop()
    await this.#beyond?.stop()
    await this.#switch?.stop()
    if (this.#switch) this.#events.append({ type: 'controller-stopped' })
    await this.#home.close()
  }

  #startEndpoint(network: Switch, tls: TlsServer): VpnEndpoint {
    return new VpnEndpoint({
      serverKey: this.#home.tlsCryptKey,
      tls,
      wrapKeys: (cipher, hmac) => new ControlKeys(cipher, hmac),
      plane: network,
      settings: {
        ciphers: DATA_CIPHERS,
        handshakeMs: HANDSHAKE_MS,
        renegotiationMs: this.#home.config.lifetimes.sessionKeys * 1000,
        pingSeconds: PING_SECONDS,
        timeoutSeconds: SESSION_TIMEOUT_SECONDS,
        mtu: OVERLAY_MTU,
      },
      admit: applicant => this.#clients.admit(applicant),
      push: session => this.#clients.push(session),
      opened: session => this.#clients.opened(session),
      ended: (session, reason) => this.#clients.ended(session, reason),
      refused: (session, reason) => this.#clients.refused(session, reason),
      now: Date.now,
      random: pooledRandomBytes(),
    })
  }

  async #startBeyond(network: Switch): Promise<Beyond> {
    const beyond = await Beyond.start({
      home: this.#home,
      network,
      routes: this.#routes,
      logger: this.#logger,
      openedAt: client => this.#clients.of(client)?.openedAt,
      device: () => this.#carriage?.device,
    })
    beyond.onChange = () => {
      this.#mesh?.tell()
      this.#gatheredRoutes.ask()
    }
    return beyond
  }

  async #startMesh(network: Switch): Promise<MeshRuntime> {
    const mesh = await MeshRuntime.start({
      home: this.#home,
      network,
      events: this.#events,
      logger: this.#logger,
      startedAt: this.#startedAt,
      boot: await nextBoot(this.#home.directory, this.#startedAt),
      isDraining: () => this.#availability.isDraining,
      reach: () => ({
        ...(this.#beyond?.reach ?? NO_REACH),
        ...(this.#carriage?.facts ?? { ipsec: false, attachments: [] }),
      }),
      joins: openDoor({
        home: this.#home,
        invites: this.#invites,
        events: this.#events,
        logger: this.#logger,
      }),
    })
    mesh.onRoutes = () => this.#gatheredRoutes.ask()
    mesh.core.presence.onSuperseded = client => {
      this.#clients.of(client)?.end({ kind: 'silent' }, 'connected to another controller')
      this.#turns.soon()
    }
    mesh.core.inquiries.onAsk = async about => {
      if (about === BEHIND_QUESTION) return writeBehind(this.#behind())
      const question = readQuestion(about)
      return question && this.#carriage && writeReport(await this.#carriage.report(question.id))
    }
    mesh.core.onKick = client => void this.#kickHere(client)
    return mesh
  }

  #startCarriage(network: Switch): Carriage {
    const carriage = startCarriage(
      {
        home: this.#home,
        events: this.#events,
        logger: this.#logger,
        credentials: () => this.#certificates.ike(),
        others: () => this.#mesh?.terminating() ?? [],
        teller: () => this.#watch.teller(),
        isDraining: () => this.#availability.isDraining,
        ready: async () => {
          this.#beyond?.routesChanged()
          await this.#beyond?.settled()
        },
        ask: (controller, about) =>
          this.#mesh?.core.inquiries.ask(controller, about) ?? Promise.resolve(undefined),
      },
      network.tun?.name ?? null,
    )
    // Who is told of it sends packets here at once.
    carriage.onRoutes = () => this.#setRoutes()
    carriage.onChange = () => {
      this.#mesh?.tell()
      this.#gatheredRoutes.ask()
    }
    return carriage
  }

  async #startDns(network: Switch): Promise<Dns> {
    const dns = new Dns({
      home: this.#home,
      network,
      logger: this.#logger,
      warn: warning => this.#warnings.set('dns', warning),
      random: randomBytes,
      now: Date.now,
    })
    await dns.start()
    return dns
  }

  /** What was settled before must not keep clients out: only what is asked for this time has to be had. */
  async #startApi(): Promise<TcpApi> {
    const api = new TcpApi({
      service: this.service,
      tokens: new Tokens(this.#home),
      certificate: new ApiCertificate(this.#home, ownAddresses),
      record: event => void this.#events.append(event),
      logger: this.#logger.child({ part: 'api' }),
      meter: this.#observation.api,
      warn: warning => this.#warnings.set('api', warning),
      now: Date.now,
    })
    const settings = apiSettings(this.#home)
    if (this.#apiListen === undefined) await api.start(settings)
    else await api.apply({ ...settings, listen: checkListen(this.#apiListen) })
    return api
  }

  #listen(network: Switch, endpoint: VpnEndpoint, mesh: MeshRuntime): void {
    network.onControl = (path, packet) => {
      endpoint.receive(path, packet)
      this.#turns.soon()
    }
    network.onFloat = (peerId, path) => {
      if (mesh.linkFloated(peerId, path)) return
      const session = endpoint.session(peerId)
      if (!session) return
      const from = session.remote
      endpoint.portFloated(peerId, path)
      mesh.core.presence.sessionMoved(session.client as ClientId, session.remote)
      this.#events.append({ type: 'float', client: session.name, from, to: session.remote })
      this.#logger.info({ client: session.name, from, to: session.remote }, 'client moved')
    }
    network.onIdle = peerId => endpoint.portIdle(peerId)
    network.onExit = peerId => endpoint.portExit(peerId)
    network.onRekey = peerId => {
      if (!mesh.linkRekey(peerId)) endpoint.rekeyNeeded(peerId)
    }
    network.onLink = (peerId, up) => mesh.linkChanged(peerId, up)
    network.onError = error => this.#switchFailed(error)
  }

  /** A change of the records may end sessions, move routes and bring new issuing certificates. */
  #recordsChanged(changes: readonly Change[]): void {
    const endpoint = this.#endpoint
    if (!endpoint) return
    this.#availability.noticeRemoval()
    this.#foreign.look()
    this.#clients.review(endpoint.sessions(), changes)
    this.#useCertificates()
    if (changes.some(({ kind }) => kind === 'token' || kind === 'controller')) this.#api?.review()
    this.#dns?.review()
    this.#gatheredRoutes.ask()
    this.#tellClients(changes)
    this.#turns.soon()
  }

  /** What clients are told follows from few of the records: the others come and go by the thousand. */
  #tellClients(changes: readonly Change[]): void {
    const settings = changes.filter(({ kind }) => kind === 'setting')
    const wish = settings.findLast(({ id }) => id === ROUTE_REFRESH)?.after?.value
    const refresh = wish ? readRefresh((wish as SettingValue).value) : undefined
    if (refresh) this.#updates.refresh(refresh)
    const told = this.#routes.revision
    if (told === this.#toldRoutes && !settings.some(({ id }) => id === ROUTE_UPDATES)) return
    this.#toldRoutes = told
    this.#updates.changed()
  }

  #sessionSources(): SessionSources {
    return {
      home: this.#home,
      local: this.#clients,
      network: this.#switch,
      core: this.#mesh?.core,
      isBehind: session => this.#updates.isBehind(session),
    }
  }

  /** Clients here that have not heard of the routes that there are now. */
  #behind(): ClientId[] {
    return [...this.#clients.all()]
      .filter(session => this.#updates.isBehind(session))
      .map(({ client }) => client as ClientId)
  }

  async #behindElsewhere(): Promise<ReadonlySet<ClientId>> {
    const core = this.#mesh?.core
    if (core === undefined) return new Set()
    const others = [...core.presence.entries()].filter(
      ({ controller, sessions }) => controller !== this.#home.id && sessions.size > 0,
    )
    return behindAt(
      others.map(({ controller }) => controller),
      core.inquiries,
    )
  }

  #counters() {
    return {
      ...this.#switch?.counters(),
      ...this.#endpoint?.counters,
      ...this.#mesh?.core.counters,
      ...this.#dns?.counters,
    }
  }

  #reachOf(controller: ControllerId): Reach | undefined {
    return controller === this.#home.id
      ? this.#beyond?.reach
      : this.#mesh?.core.presence.of(controller)?.facts
  }

  #availabilityChanged(): void {
    this.#mesh?.tell()
    this.#carriage?.review()
    this.#turns.soon()
  }

  #routesChanged(): void {
    this.#mesh?.core.presence.recheck()
    this.#carriage?.review()
    this.#setRoutes()
  }

  #setRoutes(): void {
    this.#switch?.setRoutes(this.#routes.table(), this.#routes.six.table())
    this.#clients.routed()
    this.#turns.soon()
    this.#beyond?.routesChanged()
  }

  /** Ends a client's session wherever it is; false when it has none. */
  #kick(client: ClientId): boolean {
    if (this.#kickHere(client)) return true
    const mesh = this.#mesh
    const where = mesh?.core.presence.where(client)
    if (!mesh || !where || where.controller === this.#home.id) return false
    mesh.core.kick(where.controller, client)
    return true
  }

  #kickHere(client: ClientId): boolean {
    const how: SessionEnd = { kind: 'restart', target: 'same' }
    const ended = this.#endpoint?.end(session => session.client === client, how, 'kicked') ?? 0
    this.#turns.soon()
    return ended > 0
  }

  /** Runs the timers that are due. @returns when the next one is, ms since 1970 */
  #turn(): number {
    const never = Number.POSITIVE_INFINITY
    return Math.min(
      this.#updates.poll(),
      this.#beyond?.poll(Date.now()) ?? never,
      this.#endpoint?.poll() ?? never,
    )
  }

  /** A new TLS context is made only when its certificates are others: sessions keep the one they began with. */
  #useCertificates(): void {
    const credentials = this.#certificates.tls()
    const text = JSON.stringify(credentials)
    if (text === this.#credentials) return
    this.#api?.review()
    this.#credentials = text
    this.#tls?.setCredentials(credentials)
  }

  #switchFailed(error: Error): void {
    this.#warnings.set('switch', error.message)
    this.#logger.error({ err: error }, 'the switch reports an error')
    if (!(error instanceof SwitchError && error.code === 'FAILED')) return
    this.#availability.switchIsGone()
    this.#fail(error)
  }
}
