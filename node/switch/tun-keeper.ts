// Keeps the loop's TUN as it was made. One that somebody has deleted is given up, for it would wake the loop all the time, and made
// anew; one that was renamed gets its name back. What the machine forwards hangs on that name, so one that cannot have it is given up, too.
import type { Reporter } from './reporter.ts'
import type { Poller } from './sys/poller.ts'
import type { Tun } from './tun.ts'

/** Milliseconds from one attempt to make it to the next. */
const INTERVAL = 1000
/** How often it is put right at once; then it is given up for a while, and for a longer one each time. */
const PATIENCE = 3
const LONGEST_PAUSE = 60_000
/** Milliseconds in which nobody touches it, after which all that is forgotten. */
const CALM = 60_000

export class TunKeeper {
  readonly #tun: Tun
  readonly #poller: Pick<Poller, 'add' | 'remove'>
  readonly #token: number
  readonly #reporter: Pick<Reporter, 'tunGone' | 'tunBack'>
  #isHeld = true
  #nextAt = Number.NEGATIVE_INFINITY
  /** Why it could not be made. */
  #reason = ''
  /** How often it was renamed or moved lately, and since when it is as it is to be. */
  #displacements = 0
  #rightSince = Number.NEGATIVE_INFINITY

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
    if (this.#isHeld && this.#tun.isGone) this.#giveUp('it was deleted')
  }

  /** Puts it right; to be called some times a second. */
  tick(now: number): void {
    if (this.#isHeld) this.#check(now)
    else if (now >= this.#nextAt) this.#remake(now)
  }

  #check(now: number): void {
    const how = this.#tun.displaced()
    if (how === undefined) {
      if (now - this.#rightSince >= CALM) this.#displacements = 0
      return
    }
    this.#rightSince = now
    const excess = ++this.#displacements - PATIENCE
    if (excess > 0) {
      this.#nextAt = now + Math.min(LONGEST_PAUSE, INTERVAL * 2 ** excess)
      this.#giveUp(
        `${how}, again and again; find out what does that, as a rule or .link file of udev, and end it`,
      )
    } else if (this.#tun.rename()) {
      this.#reporter.tunGone(how)
      this.#reporter.tunBack(this.#tun)
    } else this.#giveUp(how)
  }

  #giveUp(reason: string): void {
    this.#isHeld = false
    this.#reason = ''
    this.#poller.remove(this.#tun.fd)
    this.#tun.close()
    this.#reporter.tunGone(reason)
  }

  #remake(now: number): void {
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
    this.#rightSince = now
    this.#poller.add(this.#tun.fd, this.#token)
    this.#isHeld = true
    this.#reporter.tunBack(this.#tun)
  }
}
