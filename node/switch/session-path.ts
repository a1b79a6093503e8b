// Whether a session's path takes packets of the full size and, if it does not, which it takes: by echo requests to the
// client itself, as no stock client knows other probes, in packets of the underlay that may not be fragmented. Where
// a client answers no echo at all, silence says nothing. Knows no packet and no clock. Sizes are bytes of the underlay's
// IP packet.
import { BASE_SIZE, MAX_SIZES, PathMtu } from './path-mtu.ts'

/** How often the client is asked until it answers anything, and milliseconds between two attempts: twice as many each time. */
const ATTEMPTS = 5
const FIRST_INTERVAL = 200
const LAST_INTERVAL = 1000
/** Milliseconds from one look at a narrow path to the next: it may have become wider, or narrower still. */
const LOOK_INTERVAL = 10_000
/** So many small probes without any answer, and the client is asked as seldom as that: it sleeps, or does not answer any more. */
const SILENT = 10

/** One look at a path, or a narrow path as long as it is. All times are milliseconds of one monotonic clock. */
export class SessionPath {
  /** Over: the full size passes, or the client is silent. */
  done = false
  /** After `tick`: the sizes to send probes of, besides a small one. */
  readonly sizes = new Int32Array(MAX_SIZES)
  readonly #full: number
  #attempts = 0
  #interval = FIRST_INTERVAL
  #nextAt = Number.NEGATIVE_INFINITY
  #sentAt = 0
  #rtt = 0
  #heardAt = Number.NEGATIVE_INFINITY
  #unanswered = 0
  /** Once the client has answered a small probe and not the full one: looks for both, and for all between. */
  #narrow: PathMtu | undefined
  #known = false

  /** @param full the size of the longest packet that is to pass */
  constructor(full: number) {
    this.#full = full
  }

  /** Whether `size` has been found out. */
  get known(): boolean {
    return this.done || this.#known
  }

  /** The largest size that passes; the full one as long as nothing is known. */
  get size(): number {
    return this.#known && this.#narrow !== undefined ? this.#narrow.size : this.#full
  }

  /** Names the probes of now; only the latest answers count. */
  get sequence(): number {
    return this.#narrow?.sequence ?? 0
  }

  /** How many of `sizes` are to be probed now, together with a small probe; -1 for nothing at all. */
  tick(now: number): number {
    if (now < this.#nextAt) return -1
    const path = this.#narrow
    if (path !== undefined) return this.#search(path, now)
    if (this.#heardAt !== Number.NEGATIVE_INFINITY && this.#full > BASE_SIZE) {
      this.#narrow = new PathMtu()
      this.#narrow.fit(this.#full)
      return this.#search(this.#narrow, now)
    }
    this.#nextAt = now + this.#interval
    this.#interval = Math.min(2 * this.#interval, LAST_INTERVAL)
    if (this.#attempts++ === ATTEMPTS) {
      this.done = true
      return -1
    }
    this.#sentAt = now
    // Most clients take the full size, and say so at once. Of one that is silent, only that it is there is asked again.
    this.sizes[0] = this.#full
    return this.#attempts === 1 ? 1 : 0
  }

  #search(path: PathMtu, now: number): number {
    const count = path.tick(now, this.#rtt, this.#heardAt)
    if (!path.searching) this.#known = true
    const silent = this.#unanswered++ >= SILENT
    this.#nextAt = path.searching && !silent ? now : now + LOOK_INTERVAL
    this.#sentAt = now
    for (let i = 0; i < count; i++) this.sizes[i] = path.sizes[i]
    return count
  }

  /** A probe of `size` bytes was answered; 0 is the small one. */
  answered(size: number, sequence: number, now: number): void {
    this.#heardAt = now
    this.#unanswered = 0
    if (size === 0) this.#rtt = now - this.#sentAt
    else if (this.#narrow !== undefined) this.#narrow.answered(size, sequence)
    // The first answer may come after the second question.
    const isLatest = sequence === this.sequence || (sequence === 0 && !this.#known)
    if (size === this.#full && isLatest) this.done = true
  }
}
