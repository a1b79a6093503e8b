// Which sequence numbers of one origin are accounted for: a few ranges, nearly always the one from 1.

/** Ranges one set keeps. Beyond it the highest are forgotten, which costs a second sending and nothing else. */
export const MAX_RANGES = 64

/** A set of positive integers as sorted ranges that neither touch nor overlap: [from, to, from, to, …], both ends in. */
export class SequenceSet {
  #ranges: number[] = []

  /** From the flat form of `ranges()`; undefined when that is malformed or too long. */
  static from(flat: unknown): SequenceSet | undefined {
    if (!Array.isArray(flat) || flat.length % 2 !== 0 || flat.length > 2 * MAX_RANGES) return undefined
    let last = -1
    for (let i = 0; i < flat.length; i += 2) {
      const from = flat[i]
      const to = flat[i + 1]
      if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to)) return undefined
      if (from < 1 || from <= last + 1 || to < from) return undefined
      last = to
    }
    const set = new SequenceSet()
    set.#ranges = [...flat]
    return set
  }

  /** The flat form: [from, to, …]. */
  ranges(): number[] {
    return [...this.#ranges]
  }

  get size(): number {
    let size = 0
    for (let i = 0; i < this.#ranges.length; i += 2) size += this.#ranges[i + 1] - this.#ranges[i] + 1
    return size
  }

  /** The highest number in the set, 0 when empty. */
  get highest(): number {
    return this.#ranges.at(-1) ?? 0
  }

  /** The highest number below which, from 1, nothing is missing; 0 when 1 is. */
  get contiguous(): number {
    return this.#ranges[0] === 1 ? this.#ranges[1] : 0
  }

  has(sequence: number): boolean {
    // Nearly always one range; a search from the end ends at once.
    for (let i = this.#ranges.length - 2; i >= 0; i -= 2) {
      if (sequence >= this.#ranges[i]) return sequence <= this.#ranges[i + 1]
    }
    return false
  }

  add(sequence: number): void {
    this.addRange(sequence, sequence)
  }

  addRange(from: number, to: number): void {
    const ranges = this.#ranges
    const merged: number[] = []
    let i = 0
    for (; i < ranges.length && ranges[i + 1] < from - 1; i += 2) merged.push(ranges[i], ranges[i + 1])
    let low = from
    let high = to
    for (; i < ranges.length && ranges[i] <= to + 1; i += 2) {
      low = Math.min(low, ranges[i])
      high = Math.max(high, ranges[i + 1])
    }
    merged.push(low, high)
    for (; i < ranges.length; i += 2) merged.push(ranges[i], ranges[i + 1])
    this.#ranges = merged.slice(0, 2 * MAX_RANGES)
  }

  /** Takes in all of another set, but for the numbers in `except`. */
  addAll(other: SequenceSet, except: ReadonlySet<number> = new Set()): void {
    const holes = [...except].sort((a, b) => a - b)
    for (let i = 0; i < other.#ranges.length; i += 2) {
      let from = other.#ranges[i]
      const to = other.#ranges[i + 1]
      for (const hole of holes) {
        if (hole < from || hole > to) continue
        if (hole > from) this.addRange(from, hole - 1)
        from = hole + 1
      }
      if (from <= to) this.addRange(from, to)
    }
  }

  /** The part of the set up to and including `to`. */
  upTo(to: number): SequenceSet {
    const set = new SequenceSet()
    for (let i = 0; i < this.#ranges.length && this.#ranges[i] <= to; i += 2) {
      set.#ranges.push(this.#ranges[i], Math.min(this.#ranges[i + 1], to))
    }
    return set
  }

  /** True when every number of the other set is in this one. */
  includes(other: SequenceSet): boolean {
    for (let i = 0; i < other.#ranges.length; i += 2) {
      if (!this.#covers(other.#ranges[i], other.#ranges[i + 1])) return false
    }
    return true
  }

  #covers(from: number, to: number): boolean {
    for (let i = 0; i < this.#ranges.length; i += 2) {
      if (from >= this.#ranges[i] && from <= this.#ranges[i + 1]) return to <= this.#ranges[i + 1]
    }
    return false
  }
}
