// Looks for the longest datagram that a link's path takes in one piece: by probes of several sizes that may not be
// fragmented, since routers' own words about it are often filtered (RFC 8899). Knows no packet and no clock. Sizes
// are bytes of the underlay's IP packet.

/** What every path is held to take (RFC 8200 section 5; for IPv4, fragments do the rest). */
export const BASE_SIZE = 1280
/** What a path of that size leaves for an overlay packet, whatever the address family and packet format. */
export const BASE_MTU = BASE_SIZE - 80
/** Sizes at which tunnels and access lines end. */
const USUAL_SIZES = [1300, 1340, 1360, 1380, 1400, 1420, 1460, 1472, 1480, 1492, 1500]
/** Sizes to probe at a time, at most. */
export const MAX_SIZES = USUAL_SIZES.length + 1
/** Milliseconds, at most, until larger sizes than that in use are tried again; at first they are sooner. */
const GROW_INTERVAL = 9500
const FIRST_GROW_INTERVAL = 1000
/** Milliseconds between two probes of the size in use. */
const CONFIRM_INTERVAL = 600
/** How often a size is tried. */
const ATTEMPTS = 3
/** The least time to wait for an answer, milliseconds: over by the next tick. */
const PATIENCE = 180

/** One link's path. All times are milliseconds of one monotonic clock. */
export class PathMtu {
  /** The size in use. */
  size = BASE_SIZE
  /** After `tick`: the sizes to send probes of, ascending, and with which sequence number. */
  readonly sizes = new Int32Array(MAX_SIZES)
  sequence = 0
  /** The largest size that is of use. */
  #limit = BASE_SIZE
  #searching = false
  #attempts = 0
  /** The largest size that was answered in this search. */
  #best = 0
  #searchedAt = Number.NEGATIVE_INFINITY
  #sentAt = 0
  #growAt = 0
  #interval = FIRST_GROW_INTERVAL
  #confirmAt = 0
  #confirming = false

  /** Whether a search is going on, with `tick` due again soon. */
  get searching(): boolean {
    return this.#searching
  }

  /** Sets the largest size that is of use: the link carries nothing longer. Another than before begins a search. */
  fit(limit: number): void {
    if (this.#limit === Math.max(BASE_SIZE, limit)) return
    this.#limit = Math.max(BASE_SIZE, limit)
    this.size = Math.min(this.size, this.#limit)
    this.search()
  }

  /** Begins a search with the next `tick`: the path is new, or back. */
  search(): void {
    this.#searching = true
    this.#attempts = 0
    this.#best = 0
    this.#confirming = false
    this.#interval = FIRST_GROW_INTERVAL
    this.sequence = (this.sequence + 1) >>> 0
  }

  /** A probe was answered. Returns whether the size in use has changed. */
  answered(size: number, sequence: number): boolean {
    if (sequence !== this.sequence || !this.#isCandidate(size)) return false
    if (size >= this.size) this.#confirming = false
    this.#best = Math.max(this.#best, size)
    if (size <= this.size) return false
    this.size = size
    return true
  }

  /**
   * What is to be sent now: the number of `sizes`. May lower `size`.
   * @param rtt the link's round trip, milliseconds
   * @param heardAt when it last answered anything: while it is silent, silence says nothing of sizes
   */
  tick(now: number, rtt: number, heardAt: number): number {
    const patience = Math.max(PATIENCE, 2 * rtt)
    if (this.#confirming && now - this.#sentAt >= patience) this.search()
    if (this.#searching) {
      if (this.#attempts < ATTEMPTS) return this.#attempt(now)
      if (now - this.#sentAt < patience) return 0
      if (heardAt <= this.#searchedAt) {
        this.#attempts = 0
        return this.#attempt(now)
      }
      this.#conclude(now)
    }
    return now < this.#confirmAt ? 0 : this.#confirm(now)
  }

  #attempt(now: number): number {
    if (this.#attempts++ === 0) this.#searchedAt = now
    this.#sentAt = now
    return this.#addAbove(Math.max(this.#best, BASE_SIZE), 0)
  }

  #conclude(now: number): void {
    this.#searching = false
    this.size = Math.max(BASE_SIZE, this.#best)
    this.#growAt = now + this.#interval
  }

  /** The size in use, and once in a while those above it: the path may have become wider. */
  #confirm(now: number): number {
    this.#confirmAt = now + CONFIRM_INTERVAL
    let count = 0
    if (this.size > BASE_SIZE) {
      this.sizes[count++] = this.size
      this.#confirming = true
      this.#sentAt = now
    }
    if (now < this.#growAt) return count
    this.#interval = Math.min(GROW_INTERVAL, this.#interval * 2)
    this.#growAt = now + this.#interval
    return this.#addAbove(this.size, count)
  }

  /** Adds the sizes above `floor` to `sizes`, which has `count` already. */
  #addAbove(floor: number, count: number): number {
    for (const size of USUAL_SIZES) {
      if (size > floor && size < this.#limit) this.sizes[count++] = size
    }
    if (this.#limit > floor) this.sizes[count++] = this.#limit
    return count
  }

  #isCandidate(size: number): boolean {
    return size === this.#limit || (size < this.#limit && USUAL_SIZES.includes(size))
  }
}
