// How controllers keep each other's presence: changes are told to all as they come, whoever missed one asks for all of it,
// and is answered once a second at most.
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
/** ms between two answers to a want, and two wants, of one controller. */
const WANT_INTERVAL = 1000
/** What peers wanted answered lately, and were asked for. */
const MAX_WANTS = 4096

export class PresenceExchange {
  /** When there is something to tell, ms since 1970. */
  at = Number.POSITIVE_INFINITY
  /** When something was told last. */
  #toldAt = Number.NEGATIVE_INFINITY
  readonly #init: PresenceExchangeInit
  #isRoutine = false
  /** When a controller was last asked for its presence, and when its asking was last answered. */
  readonly #asked = new Map<ControllerId, number>()
  readonly #answered = new Map<ControllerId, number>()

  constructor(init: PresenceExchangeInit) {
    this.#init = init
    init.presence.onPending = () => this.#soon()
  }

  /** It is time to tell the facts again. */
  refresh(): void {
    this.#isRoutine = true
    this.#init.presence.refresh()
  }

  /** Tells and asks what there is. */
  tell(): void {
    const { presence, publish, send, sign, now } = this.#init
    this.at = Number.POSITIVE_INFINITY
    this.#toldAt = now()
    const updates = presence.take()
    for (const [index, update] of updates.entries()) {
      const isLast = index === updates.length - 1
      publish(this.#told(update), isLast && this.#isRoutine)
    }
    this.#isRoutine = false
    for (const controller of presence.takeWanted()) {
      if (!this.#mayAgain(this.#asked, controller)) continue
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
    const { id, presence, send, publish } = this.#init
    if (controller !== id || !this.#mayAgain(this.#answered, author)) return
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
    if (this.at !== Number.POSITIVE_INFINITY) this.at = this.#init.now()
  }

  #told(update: PresenceUpdate): Frame {
    return this.#init.sign({ type: 'presence', at: this.#init.now(), update })
  }

  #askSoon(): void {
    if (this.#init.presence.wants) this.#soon()
  }

  #soon(): void {
    if (this.at !== Number.POSITIVE_INFINITY) return
    this.at = Math.max(this.#init.now(), this.#toldAt + DELAY)
    this.#init.onDeadline()
  }

  #mayAgain(last: Map<ControllerId, number>, id: ControllerId): boolean {
    const now = this.#init.now()
    if (now - (last.get(id) ?? Number.NEGATIVE_INFINITY) < WANT_INTERVAL) return false
    if (last.size >= MAX_WANTS) last.clear()
    last.set(id, now)
    return true
  }
}
