// Who is connected where, now: each controller tells its own sessions, and everyone keeps what all of them told, in memory.
// The newest session of a client is the one that counts; a controller out of reach takes its sessions with it.
import type { ClientId, ControllerId } from '../state/kinds.ts'
import { MAX_ATTACHMENTS, MAX_FAILING, MAX_PARTS, PART_SESSIONS, type PresenceUpdate } from './messages.ts'
import type { PresentFacts, PresentLink, PresentSession } from './presence-types.ts'
import {
  factsOf,
  fromTuple,
  isNewer,
  linksOf,
  sameLinks,
  sameReach,
  sameUp,
  sinceAfter,
  toTuple,
} from './presence-update.ts'

/** What one controller told of itself. */
export interface ControllerPresence {
  readonly controller: ControllerId
  /** When its process started; a later one voids all before. */
  readonly boot: number
  readonly version: number
  readonly facts: PresentFacts
  readonly sessions: ReadonlyMap<ClientId, PresentSession>
  readonly links: readonly PresentLink[]
}

export interface PresenceInit {
  readonly id: ControllerId
  readonly boot: number
  /** ms since 1970 */
  readonly now: () => number
  readonly facts: () => PresentFacts
  readonly isAdmitted: (id: ControllerId) => boolean
  /** Whether a controller can be reached in any way, now. */
  readonly isReachable: (id: ControllerId) => boolean
}

/** Sessions of one controller that are told. */
export const MAX_TOLD_SESSIONS = PART_SESSIONS * MAX_PARTS

interface Told extends ControllerPresence {
  version: number
  facts: PresentFacts
  sessions: Map<ClientId, PresentSession>
  links: readonly PresentLink[]
}

/** A presence in full that comes in parts. */
interface Gathering {
  readonly boot: number
  readonly version: number
  readonly parts: Map<number, PresenceUpdate>
}

export class Presence {
  /** Something that `where` or `entries` tells has changed. */
  onChange: () => void = () => {}
  /** A session here lost its client to a newer one elsewhere. */
  onSuperseded: (client: ClientId) => void = () => {}
  /** There is something to `take`. */
  onPending: () => void = () => {}
  readonly #init: PresenceInit
  readonly #own: Told
  readonly #told = new Map<ControllerId, Told>()
  readonly #gathering = new Map<ControllerId, Gathering>()
  /** Who says to have a client, by client. */
  readonly #holders = new Map<ClientId, Set<ControllerId>>()
  /** Controllers whose presence here is known to be old, and which there is. */
  readonly #wanted = new Map<ControllerId, { readonly boot: number; readonly version: number }>()
  readonly #pendingUp = new Map<ClientId, PresentSession>()
  readonly #pendingDown = new Set<ClientId>()
  /** Changes that have a version of their own, and wait to be told. */
  #outbox: PresenceUpdate[] = []
  /** Which process of a controller is at the other end of its channel, by its boot. */
  readonly #alive = new Map<ControllerId, number>()
  /** Back within reach, but not yet heard: what they told before may be of a process that is gone. */
  readonly #doubted = new Set<ControllerId>()
  #pendingFacts = true
  #pendingLinks = false
  /** Facts that lead to other ways than those told. */
  #pendingReach = false

  constructor(init: PresenceInit) {
    this.#init = init
    const { id, boot } = init
    this.#own = {
      controller: id,
      boot,
      version: 1,
      facts: init.facts(),
      sessions: new Map(),
      links: [],
    }
    this.#told.set(id, this.#own)
  }

  /** What this controller told last. */
  get own(): ControllerPresence {
    return this.#own
  }

  // --- What happens here

  /** A client connected here, just now: from now on it is here for everyone. */
  sessionUp(client: ClientId, remote: string): PresentSession {
    const holders = [...(this.#holders.get(client) ?? [])]
    const told = holders.map(holder => this.#told.get(holder)!.sessions.get(client)!.since)
    const session = { client, since: sinceAfter(told, this.#init.now()), remote: remote.slice(0, 80) }
    this.#put(this.#own, session)
    this.#pendingDown.delete(client)
    this.#pendingUp.set(client, session)
    this.#changed()
    return session
  }

  /** The client has another address. */
  sessionMoved(client: ClientId, remote: string): void {
    const session = this.#own.sessions.get(client)
    if (session === undefined) return
    const moved = { ...session, remote: remote.slice(0, 80) }
    this.#own.sessions.set(client, moved)
    this.#pendingUp.set(client, moved)
    this.onPending()
  }

  sessionDown(client: ClientId): void {
    if (!this.#own.sessions.has(client)) return
    this.#drop(this.#own, client)
    this.#pendingUp.delete(client)
    this.#pendingDown.add(client)
    this.#changed()
  }

  /** What differs too little to matter is not told: in a large mesh that would be most of what is said. */
  setLinks(links: readonly PresentLink[]): void {
    if (sameLinks(this.#own.links, links)) return
    const isNew = !sameUp(this.#own.links, links)
    this.#own.links = links
    this.#pendingLinks = true
    if (isNew) this.#changed()
    else this.onPending()
  }

  /** Tells the facts again. */
  refresh(): void {
    this.#pendingFacts = true
    this.onPending()
  }

  /** What is to be told to everyone since the last call. */
  take(): PresenceUpdate[] {
    const own = this.#own
    const facts = this.#init.facts()
    this.#pendingReach ||= !sameReach(own.facts, facts)
    own.facts = facts
    this.#count()
    const updates = this.#outbox
    this.#outbox = []
    if (this.#pendingFacts && updates.length === 0) updates.push(this.#frame(null))
    this.#pendingFacts = false
    return updates
  }

  /** All of this controller's presence, in parts. */
  snapshot(): PresenceUpdate[] {
    // One version is the same sessions, whoever is told them and when: parts of two tellings must fit together.
    this.#count()
    const sessions = [...this.#own.sessions.values()].slice(0, MAX_TOLD_SESSIONS)
    const parts = Math.max(1, Math.ceil(sessions.length / PART_SESSIONS))
    return Array.from({ length: parts }, (_, part) => ({
      ...this.#frame(this.#own.links),
      base: 0,
      part,
      parts,
      up: sessions.slice(part * PART_SESSIONS, (part + 1) * PART_SESSIONS).map(toTuple),
    }))
  }

  /**
   * Gives the changes since the last call their versions: one that is lost is asked for, and one that comes late is passed over. Facts
   * that lead to no other ways, such as the hash of the records, have none.
   */
  #count(): void {
    while (
      this.#pendingUp.size > 0 ||
      this.#pendingDown.size > 0 ||
      this.#pendingLinks ||
      this.#pendingReach
    ) {
      const up = [...this.#pendingUp.values()].slice(0, PART_SESSIONS)
      const down = [...this.#pendingDown].slice(0, PART_SESSIONS)
      for (const { client } of up) this.#pendingUp.delete(client)
      for (const client of down) this.#pendingDown.delete(client)
      const base = this.#own.version++
      const frame = this.#frame(this.#pendingLinks ? this.#own.links : null)
      this.#pendingLinks = false
      this.#pendingReach = false
      this.#outbox.push({ ...frame, base, up: up.map(toTuple), down })
    }
  }

  #frame(links: readonly PresentLink[] | null): PresenceUpdate {
    const { boot, version, facts } = this.#own
    return {
      boot,
      base: version,
      version,
      part: 0,
      parts: 1,
      facts: [
        facts.version,
        facts.startedAt,
        facts.draining,
        facts.holdsRootKey,
        facts.stateHash,
        facts.records,
        facts.gateway,
        facts.failing.slice(0, MAX_FAILING),
        facts.ipsec,
        facts.attachments
          .slice(0, MAX_ATTACHMENTS)
          .map(({ id, since, several }) => [id, since, several] as const),
        facts.gateway6,
        facts.exit6,
        facts.exit4,
      ],
      links: links?.map(({ peer, up, rtt, loss }) => [peer, up, rtt, loss]) ?? null,
      up: [],
      down: [],
    }
  }

  // --- What others tell

  /** Takes what a controller said of itself; the caller has checked that it did. */
  receive(controller: ControllerId, update: PresenceUpdate): void {
    const { boot, base, version } = update
    if (controller === this.#init.id) return
    const alive = this.#alive.get(controller)
    if (alive !== undefined && alive !== boot) return
    const told = this.#told.get(controller)
    if (told !== undefined && (boot < told.boot || (boot === told.boot && version < told.version))) return
    if (base === 0) {
      this.#gather(controller, update)
    } else if (told === undefined || told.boot !== boot || told.version !== base) {
      if (told === undefined || told.boot !== boot || told.version !== version)
        this.#wanted.set(controller, { boot, version })
    } else {
      const links = linksOf(update) ?? told.links
      const isRelinked = !sameUp(told.links, links)
      const facts = factsOf(update)
      const isChanged =
        isRelinked || !sameReach(told.facts, facts) || update.up.length + update.down.length > 0
      told.facts = facts
      told.links = links
      for (const client of update.down) this.#drop(told, client)
      for (const tuple of update.up) this.#put(told, fromTuple(tuple))
      told.version = version
      if (isChanged) this.onChange()
      // Others may be within reach by these links, and with them sessions that are newer than those here.
      if (isRelinked) this.recheck()
      else this.#supersede(update.up.map(([client]) => client))
    }
  }

  /**
   * A controller says, on its own channel, at which version its presence is. What another of its processes told is void,
   * also when its clock was set back in between, so that the boot of this one is earlier.
   */
  heard(controller: ControllerId, boot: number, version: number): void {
    this.#alive.set(controller, boot)
    const isBack = this.#doubted.delete(controller)
    const told = this.#told.get(controller)
    const isCurrent = told?.boot === boot
    if (!isCurrent || told.version < version) this.#wanted.set(controller, { boot, version })
    if (told !== undefined && !isCurrent) this.#forget(told)
    else if (!isBack) return
    this.onChange()
    this.recheck()
  }

  /** A channel to a controller opens, which is about to say at which version its presence is. */
  connecting(controller: ControllerId): void {
    if (!this.isLiving(controller)) this.#doubted.add(controller)
  }

  /** The channel to a controller closed. */
  parted(controller: ControllerId): void {
    this.#alive.delete(controller)
    this.#doubted.delete(controller)
  }

  /** Whether `takeWanted` has something. */
  get wants(): boolean {
    return this.#wanted.size > 0
  }

  /**
   * Controllers that have to be asked for their presence in full; each is told once until it is found missing again.
   * @param mayAsk those that may not be asked yet are told by a later call
   */
  takeWanted(mayAsk: (controller: ControllerId) => boolean): ControllerId[] {
    const asked: ControllerId[] = []
    for (const [controller, { boot, version }] of this.#wanted) {
      const told = this.#told.get(controller)
      const isFound = told?.boot === boot && told.version >= version
      const isWanted = !isFound && this.#init.isAdmitted(controller)
      if (isWanted && !mayAsk(controller)) continue
      this.#wanted.delete(controller)
      if (isWanted) asked.push(controller)
    }
    return asked
  }

  #gather(controller: ControllerId, update: PresenceUpdate): void {
    const { boot, version, part, parts } = update
    let gathering = this.#gathering.get(controller)
    if (gathering?.boot !== boot || gathering.version !== version) {
      gathering = { boot, version, parts: new Map() }
      this.#gathering.set(controller, gathering)
    }
    gathering.parts.set(part, update)
    if (gathering.parts.size < parts) return
    this.#gathering.delete(controller)
    const old = this.#told.get(controller)
    if (old) this.#forget(old)
    const told: Told = {
      controller,
      boot,
      version,
      facts: factsOf(update),
      sessions: new Map(),
      links: linksOf(update) ?? [],
    }
    this.#told.set(controller, told)
    this.#wanted.delete(controller)
    for (const { up } of gathering.parts.values()) {
      for (const tuple of up) this.#put(told, fromTuple(tuple))
    }
    this.onChange()
    this.recheck()
  }

  // --- What follows

  /** All clients that some controller, living or not, told to be connected. */
  clients(): Iterable<ClientId> {
    return this.#holders.keys()
  }

  /** Where a client is, as far as is known here. */
  where(client: ClientId): { controller: ControllerId; session: PresentSession } | undefined {
    let best: { controller: ControllerId; session: PresentSession } | undefined
    const now = this.#init.now()
    for (const controller of this.#holders.get(client) ?? []) {
      if (!this.isLiving(controller)) continue
      const session = this.#told.get(controller)!.sessions.get(client)!
      if (best === undefined || isNewer(session, controller, best.session, best.controller, now)) {
        best = { controller, session }
      }
    }
    return best
  }

  /** Admitted and within reach, or this controller itself. */
  isLiving(controller: ControllerId): boolean {
    const { id, isAdmitted, isReachable } = this.#init
    if (controller === id) return true
    return isAdmitted(controller) && isReachable(controller) && !this.#doubted.has(controller)
  }

  /** What living controllers told, this one among them. */
  *entries(): Iterable<ControllerPresence> {
    for (const told of this.#told.values()) if (this.isLiving(told.controller)) yield told
  }

  /** What all controllers told last, living or not. */
  all(): Iterable<ControllerPresence> {
    return this.#told.values()
  }

  /** What a controller told last, living or not. */
  of(controller: ControllerId): ControllerPresence | undefined {
    return this.#told.get(controller)
  }

  /** Who is admitted, or within reach, has changed. */
  reconsider(): void {
    for (const [controller, told] of this.#told) {
      if (controller === this.#init.id || this.#init.isAdmitted(controller)) continue
      this.#forget(told)
      this.#gathering.delete(controller)
    }
    this.onChange()
    this.recheck()
  }

  /** Tells of sessions here that are elsewhere by now. */
  recheck(): void {
    this.#supersede([...this.#own.sessions.keys()])
  }

  #supersede(clients: readonly ClientId[]): void {
    for (const client of clients) {
      if (!this.#own.sessions.has(client) || this.#holders.get(client)?.size === 1) continue
      if (this.where(client)?.controller !== this.#init.id) this.onSuperseded(client)
    }
  }

  #forget(told: Told): void {
    for (const client of [...told.sessions.keys()]) this.#drop(told, client)
    this.#told.delete(told.controller)
  }

  #put(told: Told, session: PresentSession): void {
    if (told.sessions.size >= MAX_TOLD_SESSIONS && !told.sessions.has(session.client)) return
    told.sessions.set(session.client, session)
    const holders = this.#holders.get(session.client)
    if (holders === undefined) this.#holders.set(session.client, new Set([told.controller]))
    else holders.add(told.controller)
  }

  #drop(told: Told, client: ClientId): void {
    if (!told.sessions.delete(client)) return
    const holders = this.#holders.get(client)
    holders?.delete(told.controller)
    if (holders?.size === 0) this.#holders.delete(client)
  }

  #changed(): void {
    this.onPending()
    this.onChange()
  }
}
