// Whether to look for the next packet for a moment before sleeping. To wake up takes longer than all the work on a packet, so
// that where a packet follows soon, as an answer follows what it answers, its round trip is shorter for it. Only where
// little passes: elsewhere sleep seldom comes to be, and the processor has better things to do. As the kernel's busy
// polling and halt polling do it.

/** How long to look, microseconds: an answer by another host nearby is there by then. */
export const BUSY_POLL_MICROSECONDS = 250
/** Share of the time that may be spent so, and milliseconds that may be saved up. */
const SHARE = 1 / 16
const MAX_CREDIT = 4
/** Turns with packets from which on much passes: so many at once, and for each millisecond. */
const MANY = 16
const MANY_PER_MILLISECOND = 1
/** Outcomes that are remembered, as bits: what comes next depends on them alone. */
const HISTORY_MASK = 0b1111
/** Counters of how often the next packet came soon after such a history: 0 to 3, and from 2 on it is expected to. */
const LEAST_SURE = 2
const SUREST = 3

/** Learns, as a branch predictor does, in which turns the next packet is about to come. */
export class BusyPoll {
  readonly #time: { readonly now: number }
  readonly #seen = new Uint8Array(HISTORY_MASK + 1).fill(LEAST_SURE - 1)
  #history = 0
  /** Milliseconds. */
  #last = 0
  #credit = MAX_CREDIT
  #turns = 0
  #expected = false

  /** @param time when the turn began, in milliseconds with fraction */
  constructor(time: { readonly now: number }) {
    this.#time = time
  }

  /** The next packet is expected soon, and it is worth looking for it: as long as the last turn had some. */
  get expected(): boolean {
    return this.#expected
  }

  /**
   * Takes note of a turn.
   * @param some whether it had packets
   * @param spent microseconds that it was looked for them
   */
  after(some: boolean, spent: number): void {
    this.#credit -= spent / 1000
    this.#expected = false
    if (!some) return
    const { now } = this.#time
    const elapsed = now - this.#last
    this.#last = now
    this.#credit = Math.min(MAX_CREDIT, this.#credit + elapsed * SHARE)
    this.#turns = Math.max(0, this.#turns - elapsed * MANY_PER_MILLISECOND) + 1
    const soon = elapsed * 1000 <= BUSY_POLL_MICROSECONDS
    const sure = this.#seen[this.#history]
    if (soon && sure < SUREST) this.#seen[this.#history] = sure + 1
    if (!soon && sure > 0) this.#seen[this.#history] = sure - 1
    this.#history = ((this.#history << 1) | (soon ? 1 : 0)) & HISTORY_MASK
    this.#expected =
      this.#seen[this.#history] >= LEAST_SURE &&
      this.#turns < MANY &&
      this.#credit * 1000 >= BUSY_POLL_MICROSECONDS
  }
}
