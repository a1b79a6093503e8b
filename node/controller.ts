// Puts the parts of a running controller together, and starts and stops them in order.
import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import { type Cidr, formatCidr, formatIpv4, parseIpv4 } from '../state/address.ts'
import { gatewayOf } from '../state/allocator.ts'
import { parseSerial } from '../state/kinds.ts'
import { Certificates } from './certificates.ts'
import { EventFile } from './event-file.ts'
import { EventLog } from './events.ts'
import { Home } from './home.ts'
import { LocalService } from './local-service.ts'
import { formatHostPort, parseHostPort } from './net/ip.ts'
import { fingerprintOf } from './pki/names.ts'
import { DEFAULT_PORT, OVERLAY_MTU, PING_SECONDS, pushOptions, SESSION_TIMEOUT_SECONDS } from './push.ts'
import type { ControllerService, Session } from './service.ts'
import { SwitchError } from './switch/errors.ts'
import { formatRemote } from './switch/path.ts'
import { Switch, type SwitchRoute } from './switch/switch.ts'
import { DATA_CIPHERS } from './vpn/data-keys.ts'
import { VpnEndpoint } from './vpn/endpoint.ts'
import type { Applicant, ServerSession, SessionEnd, Verdict } from './vpn/session.ts'
import { TlsServer } from './vpn/tls.ts'

export interface ControllerOptions {
  dataDir: string
  logger: Logger
  /** True: with a TUN interface where there is root, without where there is none; a name asks for that interface. */
  tun: boolean | string
}

/** ms for which a handshake may take, and for which a cookie is good. */
const HANDSHAKE_MS = 60_000
/** ms that sessions are given to hear of the end when the controller drains, at most. */
const DRAIN_MS = 5000
/** ms to wait for a command that has the data directory open. */
const LOCK_PATIENCE_MS = 5000
/** ms for the last messages to leave. */
const FAREWELL_MS = 250
/** ms between two forwarding tables at the least: a thousand sessions that come at once do not make a thousand. */
const ROUTES_GRAIN_MS = 20
/** ms between two looks at timers at most. */
const LONGEST_TURN_MS = 1000

export class Controller {
  readonly service: ControllerService
  /** Resolves if the controller cannot go on: its switch is gone. */
  readonly failed: Promise<Error>
  readonly #home: Home
  readonly #certificates: Certificates
  readonly #events: EventLog
  readonly #logger: Logger
  readonly #tun: boolean | string
  readonly #startedAt = Date.now()
  readonly #warnings = new Map<string, string>()
  #switch: Switch | undefined
  #endpoint: VpnEndpoint | undefined
  #tls: TlsServer | undefined
  /** What `#tls` uses, to see changes. */
  #credentials = ''
  #timer: NodeJS.Timeout | undefined
  /** When `#timer` fires, ms since 1970. */
  #nextTurn = 0
  #renewal: NodeJS.Timeout | undefined
  #stopFollowing: (() => void) | undefined
  #routesTimer: NodeJS.Timeout | undefined
  /** ms since 1970 */
  #routesSetAt = 0
  /** Prefixes beyond the overlay's own subnet, as of this version of the records. */
  #beyond: readonly Cidr[] = []
  #beyondVersion = -1
  #stopping = false
  readonly #fail: (error: Error) => void

  private constructor(home: Home, certificates: Certificates, events: EventLog, options: ControllerOptions) {
    this.#home = home
    this.#certificates = certificates
    this.#events = events
    this.#logger = options.logger
    this.#tun = options.tun
    const { promise, resolve } = Promise.withResolvers<Error>()
    this.failed = promise
    this.#fail = resolve
    this.service = new LocalService({
      home,
      certificates,
      events,
      live: {
        startedAt: this.#startedAt,
        listen: () => this.#switch?.addresses.map(formatHostPort) ?? [],
        tun: () => this.#switch?.tun?.name ?? null,
        sessions: () => this.#sessions(),
        kick: id => this.#end(s => s.client === id, { kind: 'restart', target: 'same' }, 'kicked') > 0,
        counters: () => ({ ...this.#switch?.counters(), ...this.#endpoint?.counters }),
        warnings: () => [...this.#warnings.values()],
      },
    })
  }

  /** Opens the data directory and takes its lock; nothing listens yet. */
  static async open(options: ControllerOptions): Promise<Controller> {
    const home = await Home.open(options.dataDir, LOCK_PATIENCE_MS)
    try {
      const { logger } = options
      for (const problem of home.problems) logger.warn(problem)
      const events = new EventLog({
        store: new EventFile(home.directory.eventsFile),
        now: Date.now,
        onProblem: error => logger.warn({ err: error }, 'an event could not be kept'),
      })
      for (const problem of home.problems) events.append({ type: 'state-damage', message: problem })
      return new Controller(home, await Certificates.open(home), events, options)
    } catch (error) {
      await home.close()
      throw error
    }
  }

  /** Resolves when clients can connect. @throws SwitchError when a socket or the interface cannot be had */
  async start(): Promise<void> {
    await this.#renewCertificates()
    this.#tls = new TlsServer(this.#certificates.tls())
    const network = await this.#startSwitch()
    this.#switch = network
    const endpoint = new VpnEndpoint({
      serverKey: this.#home.tlsCryptKey,
      tls: this.#tls,
      plane: network,
      settings: {
        ciphers: DATA_CIPHERS,
        handshakeMs: HANDSHAKE_MS,
        renegotiationMs: this.#home.config.lifetimes.sessionKeys * 1000,
        pingSeconds: PING_SECONDS,
        timeoutSeconds: SESSION_TIMEOUT_SECONDS,
        mtu: OVERLAY_MTU,
      },
      admit: applicant => this.#admit(applicant),
      push: session => this.#push(session),
      opened: session => this.#opened(session),
      ended: (session, reason) => this.#ended(session, reason),
      refused: (session, reason) => this.#refused(session, reason),
      now: Date.now,
      random: randomBytes,
    })
    this.#endpoint = endpoint
    network.onControl = (path, packet) => {
      endpoint.receive(path, packet)
      this.#schedule(0)
    }
    network.onFloat = (peerId, path) => {
      const session = endpoint.session(peerId)
      if (!session) return
      const from = session.remote
      endpoint.portFloated(peerId, path)
      this.#events.append({ type: 'float', client: session.name, from, to: session.remote })
      this.#logger.info({ client: session.name, from, to: session.remote }, 'client moved')
    }
    network.onIdle = peerId => endpoint.portIdle(peerId)
    network.onExit = peerId => endpoint.portExit(peerId)
    network.onRekey = peerId => endpoint.rekeyNeeded(peerId)
    network.onError = error => this.#switchFailed(error)
    this.#stopFollowing = this.#home.replica.onChange(() => this.#recordsChanged())
    this.#setRoutes()
    this.#schedule(0)
    const { config, mesh, controller } = this.#home
    const listen = network.addresses.map(formatHostPort)
    const live = { listen, tun: network.tun?.name ?? null }
    this.#events.append({ type: 'controller-started', listen })
    this.#logger.info(
      { mesh: mesh.value.name, controller: config.controller, address: controller.address, ...live },
      'controller started',
    )
  }

  /** Sends every client to its next controller and takes no new ones; resolves when they are gone. */
  async drain(): Promise<void> {
    const endpoint = this.#endpoint
    if (!endpoint) return
    this.#events.append({ type: 'controller-stopping', message: 'draining' })
    endpoint.drain()
    this.#schedule(0)
    const until = Date.now() + DRAIN_MS
    while (!endpoint.sessions().next().done && Date.now() < until) await sleep(20)
    await sleep(FAREWELL_MS)
  }

  /** Undoes `start` and `open`, in reverse. */
  async stop(): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    clearTimeout(this.#timer)
    clearTimeout(this.#renewal)
    clearTimeout(this.#routesTimer)
    this.#stopFollowing?.()
    this.#endpoint?.close()
    await this.#switch?.stop()
    if (this.#switch) this.#events.append({ type: 'controller-stopped' })
    await this.#home.close()
  }

  async #startSwitch(): Promise<Switch> {
    const { config, mesh, controller } = this.#home
    const options = {
      listen: config.listen.map(text => parseHostPort(text, DEFAULT_PORT, 0)),
      gateway: gatewayOf(mesh.subnet),
      address: parseIpv4(controller.address)!,
      subnet: mesh.subnet,
      mtu: OVERLAY_MTU,
    }
    const name = typeof this.#tun === 'string' ? { name: this.#tun } : {}
    if (this.#tun === false) return Switch.start({ ...options, tun: false })
    try {
      return await Switch.start({ ...options, tun: name })
    } catch (error) {
      const asked = typeof this.#tun === 'string'
      if (asked || !(error instanceof SwitchError) || error.code !== 'TUN_UNAVAILABLE') throw error
      const warning = `no TUN interface (${error.message}); switching between clients only`
      this.#warnings.set('tun', warning)
      this.#logger.warn(warning)
      return Switch.start({ ...options, tun: false })
    }
  }

  /** Who may come in: asked with a certificate that chains to the mesh root. */
  #admit({ serial, commonName, certificate }: Applicant): Verdict {
    const known = parseSerial(serial)
    const credential = known && this.#home.views.credential(known)
    if (!credential) return { ok: false, reason: 'this certificate has no serial number' }
    if (!credential.usable) {
      const temporary = credential.reason === 'disabled'
      return { ok: false, reason: credential.message, temporary }
    }
    const { client, address, subnets } = credential
    if (client.value.fingerprint !== fingerprintOf(certificate) || client.value.name !== commonName) {
      return { ok: false, reason: 'this certificate is not the one that was issued' }
    }
    return { ok: true, client: client.id, name: client.name, address, subnets }
  }

  #push(session: ServerSession): string[] {
    const { mesh, replica, views } = this.#home
    // Derived once for each change of the records, not for each of a thousand clients that come at once.
    if (this.#beyondVersion !== replica.version) {
      this.#beyondVersion = replica.version
      this.#beyond = views.routes().flatMap(({ source, cidr }) => (source === 'address' ? [] : [cidr]))
    }
    const own = new Set(session.subnets.map(formatCidr))
    const routes = this.#beyond.filter(cidr => !own.has(formatCidr(cidr)))
    const { subnet } = mesh
    return pushOptions({ address: session.address, subnet, gateway: gatewayOf(subnet), routes })
  }

  #opened(session: ServerSession): void {
    const { name, address, remote, cipher, tlsVersion, version } = session
    const facts = { client: name, address: formatIpv4(address), remote, cipher, tls: tlsVersion, version }
    this.#events.append({ type: 'session-up', ...facts })
    this.#logger.info(facts, 'session up')
    this.#routesChanged()
  }

  #ended(session: ServerSession, reason: string): void {
    const facts = { client: session.name, remote: session.remote, reason }
    this.#events.append({ type: 'session-down', ...facts })
    this.#logger.info(facts, 'session down')
    this.#routesChanged()
  }

  #refused(session: ServerSession, reason: string): void {
    const facts = { name: session.commonName || undefined, remote: session.remote, reason }
    const recorded = this.#events.append({ type: 'session-refused', ...facts })
    // As many as the events take: a stranger must not fill the log.
    if (recorded) this.#logger.warn(facts, 'session refused')
  }

  /** A change of the records may end sessions, move routes and bring new issuing certificates. */
  #recordsChanged(): void {
    const endpoint = this.#endpoint
    if (!endpoint) return
    for (const session of [...endpoint.sessions()]) {
      const serial = parseSerial(session.serial)
      const credential = serial && this.#home.views.credential(serial)
      if (credential?.usable) continue
      const reason = credential ? credential.message : 'this certificate is not known here'
      session.end({ kind: 'auth-failed', reason, temporary: credential?.reason === 'disabled' }, reason)
    }
    this.#useCertificates()
    this.#routesChanged()
    this.#schedule(0)
  }

  /** The first change counts at once; those that follow within a moment make one table. */
  #routesChanged(): void {
    if (this.#routesTimer !== undefined) return
    const wait = this.#routesSetAt + ROUTES_GRAIN_MS - Date.now()
    this.#routesTimer = setTimeout(
      () => {
        this.#routesTimer = undefined
        this.#routesSetAt = Date.now()
        if (!this.#stopping) this.#setRoutes()
      },
      Math.max(0, wait),
    )
  }

  #setRoutes(): void {
    const { mesh, controller, id, views } = this.#home
    const peers = new Map(
      [...(this.#endpoint?.sessions() ?? [])].map(session => [session.client, session.peerId]),
    )
    const host = (address: number): SwitchRoute => ({ address, length: 32, peerId: 'tun' })
    const routes = views.routes().flatMap(({ cidr, via }): SwitchRoute[] => {
      if (via.kind === 'client') return [{ ...cidr, peerId: peers.get(via.id) ?? 'unreachable' }]
      return via.kind === 'controller' && via.id === id ? [{ ...cidr, peerId: 'tun' }] : []
    })
    this.#switch?.setRoutes([
      { ...mesh.subnet, peerId: 'unreachable' },
      ...routes,
      host(gatewayOf(mesh.subnet)),
      host(parseIpv4(controller.address)!),
    ])
  }

  #sessions(): Session[] {
    const sessions = [...(this.#endpoint?.sessions() ?? [])].map(session => {
      const stats = this.#switch?.portStats(session.peerId)
      return {
        client: session.name,
        address: formatIpv4(session.address),
        controller: this.#home.config.controller,
        since: new Date(session.openedAt).toISOString(),
        remote: formatRemote(session.path),
        rxBytes: stats?.rxBytes ?? 0,
        txBytes: stats?.txBytes ?? 0,
        rxPackets: stats?.rxPackets ?? 0,
        txPackets: stats?.txPackets ?? 0,
        lastReceived: stats?.lastReceived ? new Date(stats.lastReceived).toISOString() : null,
        cipher: session.cipher,
        keyDerivation: session.derivation,
        tls: session.tlsVersion,
        version: session.version,
      }
    })
    return sessions.sort((a, b) => (a.client < b.client ? -1 : a.client > b.client ? 1 : 0))
  }

  #end(which: (session: ServerSession) => boolean, how: SessionEnd, reason: string): number {
    const ended = this.#endpoint?.end(which, how, reason) ?? 0
    this.#schedule(0)
    return ended
  }

  /** Runs the endpoint's timers, at the latest in `delay` ms. */
  #schedule(delay: number): void {
    if (this.#stopping) return
    const due = Date.now() + delay
    if (this.#timer && due >= this.#nextTurn) return
    clearTimeout(this.#timer)
    this.#nextTurn = due
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const next = this.#endpoint?.poll() ?? Date.now() + LONGEST_TURN_MS
      this.#schedule(Math.min(LONGEST_TURN_MS, Math.max(0, next - Date.now())))
    }, delay)
  }

  /** A new TLS context is made only when its certificates are others: sessions keep the one they began with. */
  #useCertificates(): void {
    const credentials = this.#certificates.tls()
    const text = JSON.stringify(credentials)
    if (text === this.#credentials) return
    this.#credentials = text
    this.#tls?.setCredentials(credentials)
  }

  async #renewCertificates(): Promise<void> {
    try {
      const { renewed, problem } = await this.#certificates.renew(Date.now())
      for (const { certificate, expiresAt } of renewed) {
        const facts = { certificate, expiresAt: expiresAt.toISOString() }
        this.#events.append({ type: 'certificate-renewed', ...facts })
        this.#logger.info(facts, 'certificate renewed')
      }
      this.#useCertificates()
      if (problem && this.#warnings.get('renewal') !== problem) this.#logger.warn(problem)
      if (problem) this.#warnings.set('renewal', problem)
      else this.#warnings.delete('renewal')
    } catch (error) {
      this.#warnings.set('renewal', `a certificate could not be renewed: ${messageOf(error)}`)
      this.#logger.error({ err: error }, 'a certificate could not be renewed')
    }
    if (this.#stopping) return
    const delay = this.#certificates.nextCheck(Date.now()) - Date.now()
    this.#renewal = setTimeout(() => void this.#renewCertificates(), Math.max(1000, delay))
  }

  #switchFailed(error: Error): void {
    this.#warnings.set('switch', error.message)
    this.#logger.error({ err: error }, 'the switch reports an error')
    if (error instanceof SwitchError && error.code === 'FAILED') this.#fail(error)
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
