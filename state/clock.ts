// Hybrid logical clock: wall time where clocks agree, causal order where they do not.
// Kulkarni et al., "Logical Physical Clocks", 2014; 48 bits of milliseconds, 16 bits of counter.

declare const stampBrand: unique symbol

/** 16 lower-case hex digits, milliseconds (12) then counter (4), so that text order is time order. */
export type Stamp = string & { readonly [stampBrand]: true }

/** A stamp further than this ahead of the receiver's clock is held back, never merged. */
export const MAX_SKEW_MS = 60_000

/** The last ms since 1970 that can be told. */
export const MAX_TIME = 2 ** 48 - 1
const MAX_COUNT = 0xffff
const STAMP = /^[0-9a-f]{16}$/

export const FIRST_STAMP = '0000000000000000' as Stamp

/** @param time milliseconds since 1970, clamped to 0 … 2^48 - 1. */
export function makeStamp(time: number, count: number): Stamp {
  const clamped = Math.min(Math.max(Math.floor(time), 0), MAX_TIME)
  return (clamped.toString(16).padStart(12, '0') + count.toString(16).padStart(4, '0')) as Stamp
}

export function isStamp(value: unknown): value is Stamp {
  return typeof value === 'string' && STAMP.test(value)
}

/** Milliseconds since 1970. */
export function stampTime(stamp: Stamp): number {
  return Number.parseInt(stamp.slice(0, 12), 16)
}

function stampCount(stamp: Stamp): number {
  return Number.parseInt(stamp.slice(12), 16)
}

/** True when the stamp is too far ahead of `now` to be merged. */
export function isAhead(stamp: Stamp, now: number): boolean {
  return stampTime(stamp) > now + MAX_SKEW_MS
}

/**
 * Hands out stamps that only ever rise: across wall clocks set back, across restarts (start it from the highest stored
 * stamp), and above every stamp it was shown.
 */
export class HybridClock {
  readonly #now: () => number
  #last: Stamp

  /** @param now wall clock, milliseconds since 1970 */
  constructor(now: () => number, last: Stamp = FIRST_STAMP) {
    this.#now = now
    this.#last = last
  }

  /** The highest stamp given or shown. */
  get last(): Stamp {
    return this.#last
  }

  /** A stamp above all before it. */
  next(): Stamp {
    const time = Math.floor(this.#now())
    const lastTime = stampTime(this.#last)
    if (time > lastTime) this.#last = makeStamp(time, 0)
    else if (stampCount(this.#last) < MAX_COUNT) this.#last = makeStamp(lastTime, stampCount(this.#last) + 1)
    else this.#last = makeStamp(lastTime + 1, 0)
    return this.#last
  }

  /** Shows the clock a merged stamp; the next one given will be above it. */
  witness(stamp: Stamp): void {
    if (stamp > this.#last) this.#last = stamp
  }
}
