// Puts the parts of a running controller together, and starts and stops them in order.
import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import type { Change } from '../state/batch.ts'
import type { ClientId, ControllerId } from '../state/kinds.ts'
import { openDoor } from './admission-door.ts'
import type { ApiMeter } from './api/meter.ts'
import { startTcpApi } from './api/start.ts'
import type { TcpApi } from './api/tcp-api.ts'
import { Availability } from './availability.ts'
import { BEHIND_QUESTION, writeBehind } from './behind-elsewhere.ts'
import { Beyond, NO_REACH, type Reach } from './beyond.ts'
import { nextBoot } from './boot.ts'
import { CertificateKeeper } from './certificate-keeper.ts'
import type { Certificates } from './certificates.ts'
import { openEndpoint } from './client-endpoint.ts'
import { ClientSessions } from './client-sessions.ts'
import { Dns } from './dns/dns.ts'
import type { EventLog } from './events.ts'
import { ForeignWatch } from './foreign-watch.ts'
import { type Foundation, openFoundation } from './foundation.ts'
import type { Home } from './home.ts'
import type { Invites } from './invites.ts'
import type { Carriage } from './ipsec/carriage.ts'
import { readQuestion, writeReport } from './ipsec/report.ts'
import { startCarriage } from './ipsec/start.ts'
import { Management } from './management.ts'
import { MeshRuntime } from './mesh-runtime.ts'
import { MeshWatch } from './mesh-watch.ts'
import { formatHostPort } from './net/ip.ts'
import { interfaceGone, ipv6Warning, startNetwork } from './network.ts'
import { OverlayRoutes } from './overlay-routes.ts'
import { settleAddress } from './own-address.ts'
import { RouteNews } from './route-news.ts'
import type { ControllerService } from './service.ts'
import { SwitchError } from './switch/errors.ts'
import type { Switch } from './switch/switch.ts'
import { Gathered, Turns } from './turns.ts'
import type { VpnEndpoint } from './vpn/endpoint.ts'
import type { SessionEnd } from './vpn/session.ts'
import type { TlsServer } from './vpn/tls.ts'
import { newTlsServer } from './vpn/tls-server.ts'
import { Warnings } from './warnings.ts'

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
  readonly #startedAt = Date.now()
  readonly #warnings = new Warnings()
  readonly #availability: Availability
  readonly #routes: OverlayRoutes
  readonly #clients: ClientSessions
  readonly #news: RouteNews
  /** Runs timers. */
  readonly #turns = new Turns(() => this.#turn(), LONGEST_TURN_MS)
  readonly #gatheredRoutes = new Gathered(() => this.#routesChanged(), ROUTES_GRAIN_MS, ROUTES_LONGEST_MS)
  readonly #foreign: ForeignWatch
  readonly #watch: MeshWatch
  readonly #management: Management
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

  private constructor(foundation: Foundation, options: ControllerOptions) {
    const { home, certificates, events, invites } = foundation
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
    this.#news = new RouteNews({
      home,
      clients: this.#clients,
      routes: this.#routes,
      core: () => this.#mesh?.core,
    })
    this.#watch = new MeshWatch({
      home,
      events,
      isLiving: id => id === home.id || this.#mesh?.core.presence.isLiving(id) === true,
      now: () => performance.now(),
    })
    this.#management = new Management({
      ...foundation,
      logger: options.logger,
      startedAt: this.#startedAt,
      warnings: this.#warnings,
      availability: this.#availability,
      clients: this.#clients,
      routes: this.#routes,
      news: this.#news,
      watch: this.#watch,
      kick: client => this.#kick(client),
      network: () => this.#switch,
      endpoint: () => this.#endpoint,
      beyond: () => this.#beyond,
      carriage: () => this.#carriage,
      mesh: () => this.#mesh,
      dns: () => this.#dns,
      api: () => this.#api,
    })
    this.service = this.#management.service
  }

  /** What the API counts. */
  get apiMeter(): ApiMeter {
    return this.#management.apiMeter
  }

  /** All threads of the controller go on. */
  get isAlive(): boolean {
    return this.#management.isAlive
  }

  /** Opens the data directory and takes its lock; nothing listens yet. @throws ControllerRemovedError */
  static async open(options: ControllerOptions): Promise<Controller> {
    return new Controller(await openFoundation(options.dataDir, options.logger), options)
  }

  /**
   * Resolves when clients can connect.
   * @throws SwitchError, MeshListenError, ServiceError when a socket or the interface cannot be had
   */
  async start(): Promise<void> {
    await this.#settleAddress()
    await this.#keeper.check()
    this.#tls = newTlsServer(this.#certificates.tls())
    const network = await startNetwork(this.#home, this.#tun, warning => {
      this.#warnings.set('tun', warning)
      this.#logger.warn(warning)
    })
    this.#switch = network
    const endpoint = openEndpoint(this.#home, network, this.#tls, this.#clients)
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
    await this.#management.start(this.#metricsListen)
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

  /** Without an address of its own it serves clients all the same. */
  async #settleAddress(): Promise<void> {
    try {
      const address = await settleAddress(this.#home)
      if (address === undefined) return
      this.#logger.warn({ address }, 'the address of this controller is leased to another; it has a new one')
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      const warning = `the address of this controller is leased to another, and it can have no new one: ${reason}`
      this.#warnings.set('address', warning)
      this.#logger.warn(warning)
    }
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
    await this.#management.stop()
    this.#stopFollowing?.()
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

  async #startBeyond(network: Switch): Promise<Beyond> {
    const beyond = await Beyond.start({
      home: this.#home,
      network,
      routes: this.#routes,
      logger: this.#logger,
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
      if (about === BEHIND_QUESTION) return writeBehind(this.#news.behind())
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

  #startApi(): Promise<TcpApi> {
    return startTcpApi(
      {
        home: this.#home,
        service: this.service,
        events: this.#events,
        logger: this.#logger,
        meter: this.apiMeter,
        warn: warning => this.#warnings.set('api', warning),
      },
      this.#apiListen,
    )
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
      this.#clients.moved(session, from)
    }
    network.onIdle = peerId => endpoint.portIdle(peerId)
    network.onExit = peerId => endpoint.portExit(peerId)
    network.onRekey = peerId => {
      if (!mesh.linkRekey(peerId)) endpoint.rekeyNeeded(peerId)
    }
    network.onLink = (peerId, up) => mesh.linkChanged(peerId, up)
    network.onTun = gone => this.#tunChanged(network, gone)
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
    this.#news.recordsChanged(changes)
    this.#turns.soon()
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

  /** Runs the timers that are due. @returns when the next one is, by the steady clock */
  #turn(): number {
    const never = Number.POSITIVE_INFINITY
    return Math.min(this.#news.poll(), this.#beyond?.poll() ?? never, this.#endpoint?.poll() ?? never)
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

  /**
   * A promise failed that nobody waits for: a mistake in this program. What it was about is not done; to end, and with it all sessions, would
   * let one record end every controller, again and again. What throws otherwise still ends the process.
   */
  mistaken(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error)
    const warning = `something failed that was not reckoned with (${text}): please report it with the log`
    this.#warnings.set('mistake', `${warning}; a restart ends this warning`)
    this.#logger.error({ err: error }, warning)
  }

  #tunChanged(network: Switch, gone: string | undefined): void {
    const name = network.tun?.name
    const message = gone === undefined ? `${name} is back` : interfaceGone(name, gone)
    this.#warnings.set('tun', gone === undefined ? ipv6Warning(network) : message)
    this.#events.append({ type: gone === undefined ? 'interface-back' : 'interface-lost', message })
    this.#logger.warn(message)
    this.#beyond?.interfaceChanged(gone === undefined)
  }

  #switchFailed(error: Error): void {
    this.#warnings.set('switch', error.message)
    this.#logger.error({ err: error }, 'the switch reports an error')
    if (!(error instanceof SwitchError && error.code === 'FAILED')) return
    this.#availability.switchIsGone()
    this.#fail(error)
  }
}
