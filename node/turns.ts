// When work is done that may wait, and work that must not wait for long.
import { steadyNow } from './steady-clock.ts'

/** Work that is due at a time it names itself, and sooner when something has happened. */
export class Turns {
  readonly #work: () => number
  readonly #longest: number
  #timer: NodeJS.Timeout | undefined
  /** When the timer fires, by the steady clock. */
  #next = 0
  #stopped = false

  /**
   * @param work says when it is next due, by the steady clock
   * @param longest ms between two turns at most
   */
  constructor(work: () => number, longest: number) {
    this.#work = work
    this.#longest = longest
  }

  /** The next turn is as soon as what happens now is over. */
  soon(): void {
    this.#within(0)
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  #within(delay: number): void {
    if (this.#stopped) return
    const due = steadyNow() + delay
    if (this.#timer && due >= this.#next) return
    clearTimeout(this.#timer)
    this.#next = due
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const next = this.#work()
      this.#within(Math.min(this.#longest, Math.max(0, next - steadyNow())))
    }, delay)
  }
}

/** Share of the time that gathered work may take: what takes long is done more seldom. */
const SHARE = 1 / 10

/** Work that is done at once, and then once for all that asks for it within a moment. */
export class Gathered {
  readonly #work: () => void
  readonly #grain: number
  readonly #longest: number
  #timer: NodeJS.Timeout | undefined
  /** When the work may be done again, ms since 1970. */
  #next = 0
  #stopped = false

  /** @param grain and longest: ms between the beginnings of two at the least, and as long as somebody asks at the most */
  constructor(work: () => void, grain: number, longest: number) {
    this.#work = work
    this.#grain = grain
    this.#longest = longest
  }

  ask(): void {
    if (this.#timer !== undefined || this.#stopped) return
    // The clock may be set at any time.
    const wait = Math.min(this.#longest, Math.max(0, this.#next - Date.now()))
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const begun = Date.now()
      this.#work()
      this.#next = begun + Math.max(this.#grain, (Date.now() - begun) / SHARE)
    }, wait)
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }
}
