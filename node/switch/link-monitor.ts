// Whether a link is there, its round trip and its loss, from which probes were answered when. Knows no packet and no clock.

/** Milliseconds from probe to probe. */
export const PROBE_INTERVAL = 200
/** Milliseconds without an answer after which a link is down. */
export const DOWN_AFTER = 700
/** Probes over which loss is told. */
export const LOSS_WINDOW = 50
/** Probes that are remembered: the window, and those whose answers may still come. */
const RING = 64
const MAX_PENDING = RING - LOSS_WINDOW
/** Weight of the newest round trip in the smoothed one (RFC 6298 section 2). */
const WEIGHT = 1 / 8

/** One link. All times are milliseconds of one monotonic clock. */
export class LinkMonitor {
  /** Two probes in a row were answered, and since then never none for `DOWN_AFTER`. */
  up = false
  /** Smoothed round trip and that of the answer that came last; 0 before any. */
  rtt = 0
  lastRtt = 0
  /** When the last answer came. */
  heardAt = Number.NEGATIVE_INFINITY
  /** Probes sent; the next has this sequence number. */
  #next = 0
  /** The first that may help to bring the link up: those before were sent when it was last seen up. */
  #since = 0
  #smooth = false
  readonly #sentAt = new Float64Array(RING)
  readonly #answered = new Uint8Array(RING)

  /** Notes that a probe is sent at `now`, and returns its sequence number. */
  sent(now: number): number {
    const sequence = this.#next++
    this.#sentAt[sequence % RING] = now
    this.#answered[sequence % RING] = 0
    return sequence >>> 0
  }

  /** An answer came. Returns whether it is one that was waited for. */
  answered(sequence: number, now: number): boolean {
    // The wire has 32 bits of it, which last for 27 years.
    if (sequence >= this.#next || sequence < this.#next - RING || this.#answered[sequence % RING] !== 0)
      return false
    this.#answered[sequence % RING] = 1
    this.heardAt = now
    this.lastRtt = Math.max(0, now - this.#sentAt[sequence % RING])
    this.rtt = this.#smooth ? this.rtt + (this.lastRtt - this.rtt) * WEIGHT : this.lastRtt
    this.#smooth = true
    const news = sequence >= this.#since
    if (news && (this.#hasNews(sequence - 1) || this.#hasNews(sequence + 1))) this.up = true
    return true
  }

  #hasNews(sequence: number): boolean {
    return (
      sequence >= Math.max(this.#since, this.#next - RING) &&
      sequence < this.#next &&
      this.#answered[sequence % RING] !== 0
    )
  }

  /** When an up link is down unless an answer comes before. */
  get downAt(): number {
    return this.up ? this.heardAt + DOWN_AFTER : Number.POSITIVE_INFINITY
  }

  /** Takes the link down if it is time, and says whether it did. Only answers to later probes bring it up again. */
  expire(now: number): boolean {
    if (now < this.downAt) return false
    this.up = false
    this.#since = this.#next
    return true
  }

  /** The link goes another way from now on: the round trip starts anew. */
  moved(): void {
    this.#smooth = false
  }

  /** Until now, for so many milliseconds, nobody looked for answers: that does not count as silence. */
  excuse(milliseconds: number, now: number): void {
    this.heardAt = Math.min(now, this.heardAt + milliseconds)
  }

  /** Percent of the last probes that were not answered; of those that can be answered by now. */
  loss(): number {
    const pending = Math.min(MAX_PENDING, Math.ceil(Math.max(DOWN_AFTER, 2 * this.rtt) / PROBE_INTERVAL))
    const end = this.#next - pending
    const begin = Math.max(0, end - LOSS_WINDOW)
    if (end <= begin) return 0
    let lost = 0
    for (let sequence = begin; sequence < end; sequence++) lost += 1 - this.#answered[sequence % RING]
    return (100 * lost) / (end - begin)
  }
}
