// How controllers keep each other's presence: changes are told to all as they come, whoever missed one asks for all of it,
// as soon as it may, and is answered once a second in the long run.
import type { ControllerId } from '../state/kinds.ts'
import type { Frame, PresenceUpdate, Statement } from './messages.ts'
import type { Presence } from './presence.ts'

export interface PresenceExchangeInit {
  readonly id: ControllerId
  readonly presence: Presence
  /** ms since 1970 */
  readonly now: () => number
  readonly sign: (statement: Statement) => Frame
  /** False when there is no channel to the peer. */
  readonly send: (peer: ControllerId, frame: Frame) => boolean
  /** @param isRoutine told anew whether or not anything changed, which shows peers that gossip works */
  readonly publish: (frame: Frame, isRoutine: boolean) => void
  /** `at` has moved nearer. */
  readonly onDeadline: () => void
}

/** ms from one telling to the next: the first change is told at once, and those that follow within a moment together. */
const DELAY = 10
/** ms between two answers to a want, and two wants, of one controller, in the long run. */
const WANT_INTERVAL = 1000
/**
 * How many may come at once: a change may be lost just after all was told. More are answered than asked for, since those
 * sent an interval apart may come closer together.
 */
const WANTS = 2
const ANSWERS = 3
/** What peers wanted answered lately, and were asked for. */
const MAX_WANTS = 4096

export class PresenceExchange {
  /** When there is something to tell, and when to ask for what might not be asked for yet, ms since 1970. */
  #tellAt = Number.POSITIVE_INFINITY
  #askAt = Number.POSITIVE_INFINITY
  /** When something was told last. */
  #toldAt = Number.NEGATIVE_INFINITY
  readonly #init: PresenceExchangeInit
  #isRoutine = false
  /** By when what a controller was asked for, and was answered, will have had its interval each, ms since 1970. */
  readonly #asked = new Map<ControllerId, number>()
  readonly #answered = new Map<ControllerId, number>()

  constructor(init: PresenceExchangeInit) {
    this.#init = init
    init.presence.onPending = () => this.#soon()
  }

  /** When to call `tell`, ms since 1970. */
  get at(): number {
    return Math.min(this.#tellAt, this.#askAt)
  }

  /** It is time to tell the facts again. */
  refresh(): void {
    this.#isRoutine = true
    this.#init.presence.refresh()
  }

  /** Tells and asks what there is. */
  tell(): void {
    const { presence, publish, send, sign, now } = this.#init
    this.#tellAt = Number.POSITIVE_INFINITY
    this.#askAt = Number.POSITIVE_INFINITY
    this.#toldAt = now()
    const updates = presence.take()
    for (const [index, update] of updates.entries()) {
      const isLast = index === updates.length - 1
      publish(this.#told(update), isLast && this.#isRoutine)
    }
    this.#isRoutine = false
    for (const controller of presence.takeWanted(controller => this.#mayAsk(controller))) {
      const want = sign({ type: 'want', controller, at: now() })
      if (!send(controller, want)) publish(want, false)
    }
  }

  /** Tells a peer everything, as when it connects. */
  tellAll(peer: ControllerId): void {
    for (const update of this.#init.presence.snapshot()) this.#init.send(peer, this.#told(update))
  }

  /** A controller says of itself. */
  told(author: ControllerId, update: PresenceUpdate): void {
    this.#init.presence.receive(author, update)
    this.#askSoon()
  }

  /** A peer says how far its own presence is. */
  heard(peer: ControllerId, boot: number, version: number): void {
    this.#init.presence.heard(peer, boot, version)
    this.#askSoon()
  }

  /** A controller wants to be told someone's presence. */
  wanted(author: ControllerId, controller: ControllerId): void {
    const { id, presence, send, publish, now } = this.#init
    if (controller !== id || this.#spend(this.#answered, author, ANSWERS) > now()) return
    for (const update of presence.snapshot()) {
      const frame = this.#told(update)
      if (!send(author, frame)) publish(frame, false)
    }
  }

  /** The clock was set: what was to be done later is done now. */
  clockSet(): void {
    this.#asked.clear()
    this.#answered.clear()
    this.#toldAt = Number.NEGATIVE_INFINITY
    if (this.at !== Number.POSITIVE_INFINITY) this.#tellAt = this.#init.now()
  }

  #told(update: PresenceUpdate): Frame {
    return this.#init.sign({ type: 'presence', at: this.#init.now(), update })
  }

  #askSoon(): void {
    if (this.#init.presence.wants) this.#soon()
  }

  #soon(): void {
    if (this.#tellAt !== Number.POSITIVE_INFINITY) return
    this.#tellAt = Math.max(this.#init.now(), this.#toldAt + DELAY)
    this.#init.onDeadline()
  }

  #mayAsk(controller: ControllerId): boolean {
    const at = this.#spend(this.#asked, controller, WANTS)
    if (at <= this.#init.now()) return true
    this.#askAt = Math.min(this.#askAt, at)
    return false
  }

  /** Counts one want, of `most` at once, if it may be now; when it may be, ms since 1970. */
  #spend(spent: Map<ControllerId, number>, id: ControllerId, most: number): number {
    const now = this.#init.now()
    const until = Math.max(now, spent.get(id) ?? now)
    const at = until - (most - 1) * WANT_INTERVAL
    if (at > now) return at
    if (spent.size >= MAX_WANTS) spent.clear()
    spent.set(id, until + WANT_INTERVAL)
    return now
  }
}
