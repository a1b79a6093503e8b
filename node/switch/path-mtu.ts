// Looks for the longest datagram that a link's path takes in one piece: by probes of several sizes that may not be
// fragmented, since routers' own words about it are often filtered (RFC 8899). Knows no packet and no clock. Sizes
// are bytes of the underlay's IP packet.

/** What every path is held to take (RFC 8200 section 5; for IPv4, fragments do the rest). */
export const BASE_SIZE = 1280
/** Sizes at which tunnels and access lines end. */
const USUAL_SIZES = [1300, 1340, 1360, 1380, 1400, 1420, 1460, 1472, 1480, 1492, 1500]
/** Sizes of one search at most. */
const MAX_SIZES = USUAL_SIZES.length + 1
/** Milliseconds between two searches while nothing changes; the first ones after a loss come sooner. */
const SEARCH_INTERVAL = 10_000
const FIRST_SEARCH_INTERVAL = 1000
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
  #nextSearch = Number.POSITIVE_INFINITY
  #interval = FIRST_SEARCH_INTERVAL
  #confirmAt = 0
  #confirming = false

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
    this.#interval = FIRST_SEARCH_INTERVAL
    this.sequence = (this.sequence + 1) >>> 0
  }

  /** A probe was answered. Returns whether the size in use has changed. */
  answered(size: number, sequence: number): boolean {
    if (sequence !== this.sequence || !this.#isCandidate(size)) return false
    if (size === this.size) this.#confirming = false
    if (this.#searching) this.#best = Math.max(this.#best, size)
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
    if (!this.#searching && this.#confirming && now - this.#sentAt >= patience) this.search()
    if (!this.#searching && this.size < this.#limit && now >= this.#nextSearch) {
      // Only larger ones are looked for here; that the present one passes is confirmed all the time.
      const interval = this.#interval
      this.search()
      this.#interval = Math.min(SEARCH_INTERVAL, interval * 2)
      this.#best = this.size
    }
    if (this.#searching) {
      if (this.#attempts < ATTEMPTS) return this.#attempt(now)
      if (now - this.#sentAt < patience) return 0
      this.#conclude(now, heardAt)
    }
    if (now < this.#confirmAt) return 0
    this.#confirmAt = now + CONFIRM_INTERVAL
    if (this.size === BASE_SIZE) return 0
    this.#confirming = true
    this.#sentAt = now
    this.sizes[0] = this.size
    return 1
  }

  #attempt(now: number): number {
    if (this.#attempts++ === 0) this.#searchedAt = now
    this.#sentAt = now
    let count = 0
    const floor = Math.max(this.#best, BASE_SIZE)
    for (const size of USUAL_SIZES) {
      if (size > floor && size < this.#limit) this.sizes[count++] = size
    }
    if (this.#limit > floor) this.sizes[count++] = this.#limit
    return count
  }

  #conclude(now: number, heardAt: number): void {
    if (heardAt < this.#searchedAt) {
      this.#attempts = 0
      return
    }
    this.#searching = false
    this.size = Math.max(BASE_SIZE, this.#best)
    this.#confirming = false
    this.#confirmAt = now
    this.#nextSearch = now + this.#interval
  }

  #isCandidate(size: number): boolean {
    return size === this.#limit || (size < this.#limit && USUAL_SIZES.includes(size))
  }
}
