// How long to let packets gather before taking them, like the interrupt moderation of a network card: batches then
// grow, and with them segmented sends, where many packets come one at a time. Quiet traffic is never delayed.

/**
 * The longest delay, nanoseconds: for bulk transfers, for small packets, whose senders often wait for answers, and for control
 * packets alone while the main thread, which they are for, is behind: it takes many as easily as one.
 */
export const MAX_DELAY = { bulk: 1_000_000, small: 300_000, control: 2_000_000 } as const
/** Mean bytes of a packet from which traffic counts as bulk: a transfer and its acknowledgements together have more. */
const BULK_BYTES = 500
/** Packets that a delay must be expected to gather for it to be worth its latency. */
const WORTH = 8
/** Packets to gather: most of a segmented send. A shorter delay does for higher rates. */
const TARGET = 48
/** Over how long the rate is measured, milliseconds. */
const WINDOW = 2

/** Decides from the packets of each turn. */
export class Moderation {
  readonly #time: { readonly now: number }
  readonly #limits: Readonly<Record<keyof typeof MAX_DELAY, number>>
  #since = Number.NEGATIVE_INFINITY
  #packets = 0
  #bytes = 0
  #delay = 0

  /**
   * @param time the turn's, in milliseconds with fraction
   * @param limits nanoseconds; 0 to delay nothing
   */
  constructor(
    time: { readonly now: number },
    limits: Readonly<Record<keyof typeof MAX_DELAY, number>> = MAX_DELAY,
  ) {
    this.#time = time
    this.#limits = limits
  }

  /**
   * Takes note of a turn that received `packets` of together `bytes` and ends now, and returns how many nanoseconds to wait before the next; 0 for not at all.
   * @param behind all were control packets, and the main thread was still at earlier ones
   */
  after(packets: number, bytes: number, behind = false): number {
    const { now } = this.#time
    this.#packets += packets
    this.#bytes += bytes
    const elapsed = now - this.#since
    if (elapsed >= WINDOW) {
      const interval = (elapsed * 1e6) / this.#packets
      const most = this.#bytes >= BULK_BYTES * this.#packets ? this.#limits.bulk : this.#limits.small
      this.#delay = interval * WORTH <= most ? Math.min(most, Math.round(interval * TARGET)) : 0
      this.#since = now
      this.#packets = 0
      this.#bytes = 0
    }
    return this.#delay === 0 && behind ? this.#limits.control : this.#delay
  }
}
