// Keeps the loop's TUN: one that somebody has deleted is given up, for it would wake the loop all the time, and made anew.
import type { Reporter } from './reporter.ts'
import type { Poller } from './sys/poller.ts'
import type { Tun } from './tun.ts'

/** Milliseconds from one attempt to make it to the next. */
const INTERVAL = 1000

export class TunKeeper {
  readonly #tun: Tun
  readonly #poller: Pick<Poller, 'add' | 'remove'>
  readonly #token: number
  readonly #reporter: Pick<Reporter, 'tunGone' | 'tunBack'>
  #isHeld = true
  #nextAt = Number.NEGATIVE_INFINITY
  /** Why it could not be made. */
  #reason = ''

  /** @param token what the poller names it by */
  constructor(
    tun: Tun,
    poller: Pick<Poller, 'add' | 'remove'>,
    token: number,
    reporter: Pick<Reporter, 'tunGone' | 'tunBack'>,
  ) {
    this.#tun = tun
    this.#poller = poller
    this.#token = token
    this.#reporter = reporter
    poller.add(tun.fd, token)
  }

  /** To be called when nothing could be read. */
  look(): void {
    if (!this.#isHeld || !this.#tun.isGone) return
    this.#isHeld = false
    this.#reason = ''
    this.#poller.remove(this.#tun.fd)
    this.#tun.close()
    this.#reporter.tunGone('it was deleted')
  }

  /** Makes it anew if it is gone; to be called some times a second. */
  tick(now: number): void {
    if (this.#isHeld || now < this.#nextAt) return
    this.#nextAt = now + INTERVAL
    try {
      this.#tun.remake()
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      if (reason === this.#reason) return
      this.#reason = reason
      this.#reporter.tunGone(reason)
      return
    }
    this.#poller.add(this.#tun.fd, this.#token)
    this.#isHeld = true
    this.#reporter.tunBack(this.#tun.problem6)
  }
}
