// Time slices. With short ones the switch is run before programs that keep a processor busy, which matters where many packets come.
// But whoever sends it a single packet is then interrupted in the midst of it, cannot give way any more, and so what the
// switch sends on wakes its receiver on another processor, which takes longer than the packet itself.

/** Nanoseconds: the least there is. A turn takes some ten thousands of them when few packets come. */
export const SHORT_SLICE = 100_000
/** The kernel's own. */
export const USUAL_SLICE = 0
/** Packets a second from which slices are short, and below which they are the usual ones again. */
const MANY = 1000
const FEW = 500

/** Asks for short slices while many packets come. */
export class TimeSlices {
  readonly #request: (nanoseconds: number) => void
  #short = false
  // Fractions from the start, as in the loop.
  #packets = Number.NEGATIVE_INFINITY
  #since = Number.NEGATIVE_INFINITY

  /** @param request asks for slices of so many nanoseconds */
  constructor(request: (nanoseconds: number) => void) {
    this.#request = request
  }

  /**
   * Called now and then.
   * @param packets taken until now, from the start
   * @param now milliseconds
   */
  note(packets: number, now: number): void {
    const rate = ((packets - this.#packets) / (now - this.#since)) * 1000
    this.#packets = packets
    this.#since = now
    // The first time there is no rate yet.
    const short = this.#short ? rate >= FEW : rate >= MANY
    if (short === this.#short) return
    this.#short = short
    this.#request(short ? SHORT_SLICE : USUAL_SLICE)
  }
}
