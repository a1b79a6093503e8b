// Keeps trying to reach every peer there is no channel to: jittered, capped, for ever.
import type { ControllerId } from '../../state/kinds.ts'

export interface DialerInit {
  readonly id: ControllerId
  readonly now: () => number
  /** From 0 to below 1. */
  readonly random: () => number
  /** Tries once; false when there was nothing to try or it failed. */
  readonly dial: (peer: ControllerId) => Promise<boolean>
}

/** Pauses between attempts, ms: at first, and for a peer that has been away for `LONG`. */
const SHORTEST = 250
const CAP = 1000
const LONG_CAP = 5000
const LONG = 120_000
/** ms for which a peer with the lower id is left to dial. */
const YIELD = 3000
/** Attempts at once. */
const MAX_AT_ONCE = 32

interface Target {
  since: number
  nextAt: number
  pause: number
  dialling: boolean
}

/**
 * Decides when to dial whom. Of two peers the one with the lower id dials, so that they do not meet half-way; the other
 * does only when that takes too long.
 */
export class Dialer {
  readonly #init: DialerInit
  readonly #targets = new Map<ControllerId, Target>()
  /** When `poll` was last called. */
  #polledAt = Number.NEGATIVE_INFINITY

  constructor(init: DialerInit) {
    this.#init = init
  }

  /** Sets who is to be reached: those that there is no channel to. */
  setMissing(peers: Iterable<ControllerId>): void {
    const wanted = new Set(peers)
    for (const peer of this.#targets.keys()) if (!wanted.has(peer)) this.#targets.delete(peer)
    const now = this.#init.now()
    for (const peer of wanted) {
      if (this.#targets.has(peer)) continue
      const wait = this.#init.id < peer ? 0 : YIELD * (1 + this.#init.random() / 2)
      this.#targets.set(peer, { since: now, nextAt: now + wait, pause: SHORTEST, dialling: false })
    }
  }

  /** The peer is likely to answer now. */
  nudge(peer: ControllerId): void {
    const target = this.#targets.get(peer)
    if (!target) return
    target.nextAt = Math.min(target.nextAt, this.#init.now())
    target.pause = SHORTEST
  }

  /** Dials whom it is time to dial; where those are many, who has waited longest comes first, or some would never be dialled. */
  poll(): void {
    const now = this.#init.now()
    if (now < this.#polledAt) this.#clockSetBack(now)
    this.#polledAt = now
    let busy = 0
    for (const target of this.#targets.values()) if (target.dialling) busy++
    const due = [...this.#targets].filter(([, { dialling, nextAt }]) => !dialling && nextAt <= now)
    due.sort(([, a], [, b]) => a.nextAt - b.nextAt)
    for (const [peer, target] of due.slice(0, MAX_AT_ONCE - busy)) {
      target.dialling = true
      void this.#attempt(peer, target)
    }
  }

  /** Nothing waits for a time that is far off now. */
  #clockSetBack(now: number): void {
    for (const target of this.#targets.values()) {
      target.since = now
      target.nextAt = Math.min(target.nextAt, now + target.pause)
    }
  }

  async #attempt(peer: ControllerId, target: Target): Promise<void> {
    try {
      await this.#init.dial(peer)
    } finally {
      const now = this.#init.now()
      const cap = now - target.since > LONG ? LONG_CAP : CAP
      target.dialling = false
      target.nextAt = now + target.pause * (0.5 + this.#init.random())
      target.pause = Math.min(cap, target.pause * 2)
    }
  }
}
