// Busy polling: a thread that sleeps takes longer to wake than a packet takes to pass. So where an answer is about to come, it is
// waited for awake. Whose answers come so soon is learnt from packets that travel alone: of requests and their answers,
// each waits for the one before, so the time is theirs to the full. Where many packets come, the switch hardly sleeps, and nothing is gained.

/** How long an answer is waited for, and what counts as soon. Milliseconds. */
export const WINDOW = 0.5
/** The most of a processor that it takes in the long run. */
export const SHARE = 0.5
/** What may be taken in one go of what was not before. Milliseconds. */
const MOST_CREDIT = 25
/** From when on a gap between two polls shows that another program had the processor, and how long it is left to others then. Milliseconds. */
const CONTENTION = 0.25
const PAUSE = 100
/** The share of a peer's answers, of 256, that came soon, from which they are waited for. An answer to every second packet stays below. */
const LIKELY = 180
/** Each answer makes a quarter of that. */
const WEIGHT = 2

/** In the place of a port: the kernel, behind the TUN; and nobody. */
export const KERNEL = 0
export const NOBODY = -1

/** Places of the times, which are cells since a number in a field is an object of its own; what is earned is a share of the time. */
const CREDIT = 0
const COUNTED = 1
const SINCE = 2
const POLLED = 3
const EARNED = 4

/** Decides after each turn with a single packet whether the next is waited for awake, and when to give up. */
export class BusyPoll {
  readonly #time: { readonly now: number }
  /** When a port was sent a packet that it has not answered yet; 0 for none. Milliseconds. */
  readonly #asked: Float64Array
  /** How many of its answers came soon, of 256. */
  readonly #score: Uint8Array
  readonly #times = new Float64Array(5)

  /**
   * @param time in milliseconds with fraction
   * @param ports the highest port number
   * @param share of a processor; 0 never to poll
   */
  constructor(time: { readonly now: number }, ports: number, share = SHARE) {
    this.#time = time
    this.#asked = new Float64Array(ports + 1)
    this.#score = new Uint8Array(ports + 1)
    this.#times[CREDIT] = MOST_CREDIT
    this.#times[EARNED] = share
  }

  /** Takes note of a packet that came alone from one port and was sent on to another; true when the next is to be waited for awake. */
  after(from: number, to: number): boolean {
    const { now } = this.#time
    if (from >= 0 && this.#asked[from] > 0) {
      this.#learn(from, now - this.#asked[from] <= WINDOW)
      this.#asked[from] = 0
    }
    if (to < 0) return false
    if (this.#asked[to] > 0) this.#learn(to, false)
    this.#asked[to] = now
    return this.#score[to] >= LIKELY && this.#affordable()
  }

  /** A port is another peer's from now on. */
  forget(port: number): void {
    this.#asked[port] = 0
    this.#score[port] = 0
  }

  /** Polling begins now. */
  begin(): void {
    const { now } = this.#time
    this.#times[SINCE] = now
    this.#times[POLLED] = now
  }

  /** Called after each poll: whether to poll once more when it found nothing. */
  goesOn(): boolean {
    const times = this.#times
    const { now } = this.#time
    const contended = now - times[POLLED] > CONTENTION
    times[POLLED] = now
    if (contended) {
      times[CREDIT] = WINDOW - PAUSE * times[EARNED]
      times[COUNTED] = now
      times[SINCE] = now
    }
    return !contended && now - times[SINCE] < WINDOW
  }

  /** Polling ended now. */
  end(): void {
    this.#times[CREDIT] -= this.#time.now - this.#times[SINCE]
  }

  #affordable(): boolean {
    const times = this.#times
    const { now } = this.#time
    times[CREDIT] = Math.min(MOST_CREDIT, times[CREDIT] + (now - times[COUNTED]) * times[EARNED])
    times[COUNTED] = now
    return times[EARNED] > 0 && times[CREDIT] >= WINDOW
  }

  #learn(port: number, soon: boolean): void {
    this.#score[port] += ((soon ? 255 : 0) - this.#score[port]) >> WEIGHT
  }
}
