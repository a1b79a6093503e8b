// The clients' sessions of this controller: who may come in, what they are told, and when they have to go.
import type { Logger } from 'pino'
import type { Presence } from '../mesh/presence.ts'
import { type Cidr, formatCidr, formatIpv4 } from '../state/address.ts'
import { type Cidr6, formatCidr6 } from '../state/address6.ts'
import { gatewayOf } from '../state/allocator.ts'
import type { Change } from '../state/batch.ts'
import { CredentialChanges } from '../state/credential-changes.ts'
import { type ClientId, parseSerial, type Serial } from '../state/kinds.ts'
import { pushedDns } from './dns/settings.ts'
import type { EventLog } from './events.ts'
import type { Home } from './home.ts'
import type { OverlayRoutes } from './overlay-routes.ts'
import { dialledEndpoints } from './pack-list.ts'
import { pushOptions } from './push.ts'
import { remotesOptions } from './vpn/pushed-options.ts'
import type { Applicant, ServerSession, Verdict } from './vpn/session.ts'

export interface ClientSessionsInit {
  home: Home
  events: EventLog
  logger: Logger
  routes: OverlayRoutes
  /** What the other controllers know; undefined before the mesh was started. */
  presence: () => Presence | undefined
  /** The ways to some clients are others now. */
  changed: () => void
}

export class ClientSessions {
  readonly #init: ClientSessionsInit
  /** The session that counts of each client. */
  readonly #current = new Map<ClientId, ServerSession>()
  /** Revision of the routes by which subnets behind the sessions were looked at last. */
  #reviewed = -1
  /** Sessions that the switch has no routes to as yet. */
  readonly #unrouted = new Set<ServerSession>()

  constructor(init: ClientSessionsInit) {
    this.#init = init
  }

  of(client: ClientId): ServerSession | undefined {
    return this.#current.get(client)
  }

  ids(): Iterable<ClientId> {
    return this.#current.keys()
  }

  all(): Iterable<ServerSession> {
    return this.#current.values()
  }

  /** Who may come in: asked with a certificate that chains to the mesh root. */
  admit({ serial, commonName, fingerprint }: Applicant): Verdict {
    const known = parseSerial(serial)
    const credential = known && this.#init.home.views.credential(known)
    if (!credential) return { ok: false, reason: 'this certificate has no serial number' }
    if (!credential.usable) {
      // One that is not known may have been issued where this controller does not reach: others may know it.
      const temporary = credential.reason === 'disabled' || credential.reason === 'unknown'
      return { ok: false, reason: credential.message, temporary }
    }
    const { client, address } = credential
    if (client.value.fingerprint !== fingerprint || client.value.name !== commonName) {
      return { ok: false, reason: 'this certificate is not the one that was issued' }
    }
    return {
      ok: true,
      client: client.id,
      name: client.name,
      address,
      subnets: this.#init.routes.behind(client.id),
      subnets6: this.#init.routes.six.behind(client.id),
    }
  }

  push(session: ServerSession): string[] {
    const client = session.client as ClientId
    const { mesh } = this.#init.home
    const { routes } = this.#init
    const options = pushOptions({
      address: session.address,
      subnet: mesh.subnet,
      subnet6: mesh.subnet6,
      gateway: gatewayOf(mesh.subnet),
      routes: routes.toldTo(client),
      routes6: routes.six.toldTo(client),
      bypassed: routes.bypassed(),
      dns: pushedDns(this.#init.home),
      takesDns: session.takesDns,
    })
    if (!session.takesRemotes) return options
    return [...options, ...remotesOptions(dialledEndpoints(this.#init.home))]
  }

  opened(session: ServerSession): void {
    const { name, address, remote, cipher, tlsVersion, version } = session
    const facts = { client: name, address: formatIpv4(address), remote, cipher, tls: tlsVersion, version }
    const client = session.client as ClientId
    this.#current.set(client, session)
    this.#unrouted.add(session)
    this.#init.presence()?.sessionUp(client, remote)
    this.#init.events.append({ type: 'session-up', ...facts })
    this.#init.logger.info(facts, 'session up')
    this.#init.changed()
  }

  /** The switch was given the routes to all sessions that there are. */
  routed(): void {
    const sessions = [...this.#unrouted]
    this.#unrouted.clear()
    for (const session of sessions) session.reachable()
  }

  /** Its client sends from another address. @param from the one before */
  moved(session: ServerSession, from: string): void {
    // It may have been elsewhere, and be back.
    if (session.remote === from) return
    const facts = { client: session.name, from, to: session.remote }
    this.#init.presence()?.sessionMoved(session.client as ClientId, session.remote)
    const recorded = this.#init.events.append({ type: 'float', ...facts })
    // As many as the events take: a client that is here and there must not fill the log.
    if (recorded) this.#init.logger.info(facts, 'client moved')
  }

  ended(session: ServerSession, reason: string): void {
    this.#unrouted.delete(session)
    const facts = { client: session.name, remote: session.remote, reason }
    const client = session.client as ClientId
    if (this.#current.get(client) === session) {
      this.#current.delete(client)
      this.#init.presence()?.sessionDown(client)
    }
    this.#init.events.append({ type: 'session-down', ...facts })
    this.#init.logger.info(facts, 'session down')
    this.#init.changed()
  }

  refused(session: ServerSession, reason: string): void {
    const facts = { name: session.commonName || undefined, remote: session.remote, reason }
    const recorded = this.#init.events.append({ type: 'session-refused', ...facts })
    // As many as the events take: a stranger must not fill the log.
    if (recorded) this.#init.logger.warn(facts, 'session refused')
  }

  /**
   * The records have changed: ends those whose credential is not good any more, and has the others' packets come from what is
   * behind them now.
   */
  review(sessions: Iterable<ServerSession>, changes: readonly Change[]): void {
    const changed = new CredentialChanges(changes, id => this.#init.home.views.client(id)?.value.serial)
    const { revision } = this.#init.routes
    const hasNewSubnets = revision !== this.#reviewed
    this.#reviewed = revision
    if (changed.isEmpty && !hasNewSubnets) return
    for (const session of [...sessions]) {
      const serial = parseSerial(session.serial)
      const isConcerned = serial === undefined || changed.concern(session.client as ClientId, serial)
      if ((!isConcerned || this.#isGood(session, serial)) && hasNewSubnets) this.#reviewSubnets(session)
    }
  }

  /** Whether its credential is good; if not, it is ended. */
  #isGood(session: ServerSession, serial: Serial | undefined): boolean {
    const credential = serial && this.#init.home.views.credential(serial)
    if (credential?.usable) return true
    const reason = credential ? credential.message : 'this certificate is not known here'
    session.end({ kind: 'auth-failed', reason, temporary: credential?.reason === 'disabled' }, reason)
    return false
  }

  #reviewSubnets(session: ServerSession): void {
    const { routes } = this.#init
    const client = session.client as ClientId
    const [subnets, subnets6] = [routes.behind(client), routes.six.behind(client)]
    if (namesOf(session.subnets, session.subnets6) !== namesOf(subnets, subnets6))
      session.setSources(subnets, subnets6)
  }
}

function namesOf(prefixes: readonly Cidr[], prefixes6: readonly Cidr6[]): string {
  return [...prefixes.map(formatCidr), ...prefixes6.map(formatCidr6)].sort().join()
}
