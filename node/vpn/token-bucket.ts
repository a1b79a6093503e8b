// A rate limit: so many a second, with a burst of twice as many.

export class TokenBucket {
  readonly #perSecond: number
  #tokens: number
  #at: number

  /** @param now ms */
  constructor(perSecond: number, now: number) {
    this.#perSecond = perSecond
    this.#tokens = 2 * perSecond
    this.#at = now
  }

  /** True when one more may pass. @param now ms */
  take(now: number): boolean {
    const gained = (Math.max(0, now - this.#at) / 1000) * this.#perSecond
    this.#tokens = Math.min(2 * this.#perSecond, this.#tokens + gained)
    this.#at = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}
