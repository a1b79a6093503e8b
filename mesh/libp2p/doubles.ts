// Two processes with one key: a controller that was restored from a backup, or cloned, while it still runs elsewhere.
import type { ControllerId } from '../../state/kinds.ts'

/** A peer that comes back, or dials as it is dialled, has a second connection once or twice; two that live go on and on. */
const OFTEN = 5
const WITHIN_MS = 30_000
/** Bounded by the controllers of a mesh; this is far more. */
const MAX_PEERS = 4096

export class Doubles {
  /** When each peer had a second connection, ms, the latest last. */
  readonly #seen = new Map<ControllerId, number[]>()

  /** Takes note of a second connection of a peer; true when it has had too many for one. @param now ms */
  second(peer: ControllerId, now: number): boolean {
    // Later than now: the clock was set back since.
    const recent = (this.#seen.get(peer) ?? []).filter(at => at <= now && now - at < WITHIN_MS)
    recent.push(now)
    if (this.#seen.size >= MAX_PEERS && !this.#seen.has(peer)) this.#seen.clear()
    this.#seen.set(peer, recent.slice(-OFTEN))
    return recent.length >= OFTEN
  }
}

export const DOUBLE =
  'two controllers with its identity are running: one is a copy of the other, restored or cloned; stop one of them for good'
