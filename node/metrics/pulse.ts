// Signs of life: how late this thread's timers are, and whether the switch's thread still turns.
import { Histogram } from './histogram.ts'

/** ms between two looks. */
const PULSE_MS = 500
/** Looks in a row at which the switch had not turned once; it does at least four times a second. */
const STALLED_LOOKS = 10

export interface PulseInit {
  /** Another number after each turn of the switch's loop; undefined while there is no switch. */
  turns: () => number | undefined
  /** Monotonic, ms. */
  now: () => number
  /** At every look, for whoever has to look as often. */
  onLook?: () => void
}

export class Pulse {
  /** Seconds by which timers were late. */
  readonly lag = new Histogram([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5])
  readonly #init: PulseInit
  #timer: NodeJS.Timeout | undefined
  #due = 0
  #turns: number | undefined
  /** Looks since the switch was last seen to turn; time would count what this process stood still, too. */
  #still = 0

  constructor(init: PulseInit) {
    this.#init = init
  }

  start(): void {
    this.#schedule()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  /** False once the switch's thread hangs. */
  get isTurning(): boolean {
    return this.#still < STALLED_LOOKS
  }

  look(): void {
    const turns = this.#init.turns()
    this.#still = turns === undefined || turns !== this.#turns ? 0 : this.#still + 1
    this.#turns = turns
    this.#init.onLook?.()
  }

  #schedule(): void {
    this.#due = this.#init.now() + PULSE_MS
    this.#timer = setTimeout(() => {
      // Timers of Node fire up to a millisecond early.
      this.lag.observe(Math.max(0, this.#init.now() - this.#due) / 1000)
      this.look()
      this.#schedule()
    }, PULSE_MS).unref()
  }
}
