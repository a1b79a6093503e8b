// How long to let packets gather before taking them, like the interrupt moderation of a network card: batches then
// grow, and with them segmented sends, where many packets come one at a time. Quiet traffic is never delayed.

/** The longest delay, nanoseconds. */
export const MAX_DELAY = 500_000
/** Packets that a delay must be expected to gather for it to be worth its latency. */
const WORTH = 8
/** Packets to gather: three quarters of a segmented send. A shorter delay does for higher rates. */
const TARGET = 48
/** Over how long the rate is measured, milliseconds. */
const WINDOW = 2

/** Decides from the packets of each turn; the clock is the caller's. */
export class Moderation {
  #since = 0
  #packets = 0
  #delay = 0

  /**
   * Takes note of a turn that received `packets` and ended at `now` (milliseconds, with fraction), and returns how
   * many nanoseconds to wait before the next; 0 for not at all.
   */
  after(packets: number, now: number): number {
    this.#packets += packets
    const elapsed = now - this.#since
    if (elapsed >= WINDOW) {
      const interval = (elapsed * 1e6) / this.#packets
      this.#delay = interval * WORTH <= MAX_DELAY ? Math.min(MAX_DELAY, Math.round(interval * TARGET)) : 0
      this.#since = now
      this.#packets = 0
    }
    return this.#delay
  }
}
