// How many ICMP errors a router sends (RFC 1812 section 4.3.2.8): a token bucket for all, and one for each source, so
// that one client that provokes errors does not take those of the others.

export interface IcmpLimits {
  /** Errors a second to all together. @default 1000 */
  perSecond?: number
  /** Errors to all together that may go at once after a quiet time. @default 200 */
  burst?: number
  /** Errors a second to one address. @default 20 */
  perSourcePerSecond?: number
  /** Errors to one address that may go at once: enough for a traceroute's volley. @default 30 */
  perSourceBurst?: number
}

const SOURCE_BITS = 10

/**
 * Each bucket is one number, the time at which it is full again (the generic cell rate algorithm), so memory is fixed:
 * 1,024 buckets for the sources. Addresses that share one share its tokens; those who could arrange that are
 * authenticated clients with an address of their own each.
 */
export class IcmpLimiter {
  /** Time at which each bucket is full again, ms; the last one is that of all together. */
  readonly #fullAt = new Float64Array(2 ** SOURCE_BITS + 1)
  readonly #interval: number
  readonly #burst: number
  readonly #sourceInterval: number
  readonly #sourceBurst: number

  constructor(limits: IcmpLimits = {}) {
    const { perSecond = 1000, burst = 200, perSourcePerSecond = 20, perSourceBurst = 30 } = limits
    this.#interval = 1000 / perSecond
    this.#burst = burst
    this.#sourceInterval = 1000 / perSourcePerSecond
    this.#sourceBurst = perSourceBurst
  }

  /**
   * Takes a token for an error to `address`; false if there is none.
   * @param now ms of any clock; if it is set back, buckets are full again
   */
  take(address: number, now: number): boolean {
    const own = Math.imul(address, 0x9e3779b1) >>> (32 - SOURCE_BITS)
    const all = 2 ** SOURCE_BITS
    if (!this.#has(own, this.#sourceInterval, this.#sourceBurst, now)) return false
    if (!this.#has(all, this.#interval, this.#burst, now)) return false
    this.#fullAt[own] += this.#sourceInterval
    this.#fullAt[all] += this.#interval
    return true
  }

  /** Brings a bucket up to date and says whether a token is in it. */
  #has(bucket: number, interval: number, burst: number, now: number): boolean {
    const missing = (this.#fullAt[bucket] - now) / interval
    // Full long ago; or further away than an empty bucket can be, so the clock was set back.
    if (missing <= 0 || missing > burst + 1) this.#fullAt[bucket] = now
    return this.#fullAt[bucket] - now <= (burst - 1) * interval + 1e-6
  }
}
