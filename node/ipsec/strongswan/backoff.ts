// How long to wait before the daemon is started again: not at all after a life of its own, longer and longer in a crash loop.

const FIRST_MS = 1000
const MAX_MS = 30_000
/** A daemon that ran for so long was sound. */
const SOUND_MS = 15_000

export class Backoff {
  #failures = 0

  /** @param livedMs how long it ran; 0 when it did not come up. @returns ms to wait */
  next(livedMs: number): number {
    if (livedMs >= SOUND_MS) this.#failures = 0
    const failures = this.#failures++
    return failures === 0 ? 0 : Math.min(FIRST_MS * 2 ** (failures - 1), MAX_MS)
  }
}
