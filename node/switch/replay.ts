// Anti-replay windows (RFC 6479) of many keys in one typed array: a ring of 32-bit words per key, so that moving the
// window clears whole words and never shifts the bitmap.

/** Packet ids are exact as numbers up to here: the 48-bit counter of the epoch format, or a u32. */
export const MAX_PACKET_ID = 2 ** 48 - 1

const WORD_BITS = 32

/**
 * The windows of `slots` keys. A key's first valid id is 1; id 0 is never accepted.
 *
 * Ask {@link check} before the packet is authenticated, to save the work, and call {@link mark} only after: a forged
 * id must never move a window. Not for use by several threads at once.
 */
export class ReplayWindows {
  readonly slots: number
  /** Ids that may come late: the one `window` below the highest seen, and any older, are refused. */
  readonly window: number
  readonly #words: number
  readonly #bitmap: Int32Array
  /** Highest id marked, by slot. */
  readonly #highest: Float64Array

  /**
   * @param slots how many keys there is room for
   * @param bits bits of memory per key, a power of two of at least 64. One word of them is always being reused, so
   *   the window is 32 ids smaller.
   */
  constructor(slots: number, bits = 2048) {
    if (!Number.isInteger(slots) || slots < 1)
      throw new RangeError(`slots: ${slots} is not a positive integer`)
    if (!Number.isInteger(bits) || bits < 2 * WORD_BITS || bits > 2 ** 20 || (bits & (bits - 1)) !== 0) {
      throw new RangeError(`bits: ${bits} is not a power of two from 64 to 2^20`)
    }
    this.slots = slots
    this.window = bits - WORD_BITS
    this.#words = bits / WORD_BITS
    this.#bitmap = new Int32Array(slots * this.#words)
    this.#highest = new Float64Array(slots)
  }

  /** Forgets everything about a slot: a new key lives there now. */
  reset(slot: number): void {
    this.#highest[slot] = 0
    this.#bitmap.fill(0, slot * this.#words, (slot + 1) * this.#words)
  }

  /** Highest id marked so far; 0 if none. */
  highest(slot: number): number {
    return this.#highest[slot]
  }

  /** Whether `id` was neither seen nor is too old to tell. Changes nothing. */
  check(slot: number, id: number): boolean {
    const highest = this.#highest[slot]
    if (id > highest) return id <= MAX_PACKET_ID
    // The first condition says no to NaN too.
    if (!(id >= 1) || highest - id >= this.window) return false
    return (this.#bitmap[this.#wordOf(slot, id)] & (1 << (id & 31))) === 0
  }

  /** Records an authenticated id. Does nothing for an id that {@link check} refuses. */
  mark(slot: number, id: number): void {
    if (!this.check(slot, id)) return
    const highest = this.#highest[slot]
    if (id > highest) {
      const last = Math.floor(highest / WORD_BITS)
      const steps = Math.min(Math.floor(id / WORD_BITS) - last, this.#words)
      const base = slot * this.#words
      for (let step = 1; step <= steps; step++) this.#bitmap[base + ((last + step) & (this.#words - 1))] = 0
      this.#highest[slot] = id
    }
    this.#bitmap[this.#wordOf(slot, id)] |= 1 << (id & 31)
  }

  /** The bit operators take an id modulo 2^32, which keeps the bits that count here. */
  #wordOf(slot: number, id: number): number {
    return slot * this.#words + (Math.floor(id / WORD_BITS) & (this.#words - 1))
  }
}
