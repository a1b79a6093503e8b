// The time, read thousands of times a second: `performance.now` and `Date.now` put a new number on the heap each time.
import { Arena } from './arena.ts'
import { libc, POINTER } from './library.ts'

const clock_gettime = libc('clock_gettime', 'int', 'int', POINTER)

const CLOCK_REALTIME = 0
const CLOCK_MONOTONIC = 1
/** struct timespec: seconds and nanoseconds, 8 bytes each. */
const TIMESPEC_BYTES = 16

export class Clock {
  readonly #time = new Arena(TIMESPEC_BYTES)

  /** Milliseconds with fraction since some time in the past; steps of the wall clock do not move it. */
  read(): number {
    clock_gettime(CLOCK_MONOTONIC, this.#time.address(0, TIMESPEC_BYTES))
    const { words } = this.#time
    return words[0] * 1000 + words[2] / 1e6
  }

  /** Writes the wall clock into two words: seconds since 1970, unsigned, and nanoseconds. */
  stamp(words: Int32Array, at: number): void {
    clock_gettime(CLOCK_REALTIME, this.#time.address(0, TIMESPEC_BYTES))
    words[at] = this.#time.words[0]
    words[at + 1] = this.#time.words[2]
  }
}
