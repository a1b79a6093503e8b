// Who waits for a tunnel to come up, or for what keeps it from that.
import type { Words } from './words.ts'

interface Waiting {
  readonly tunnel: string
  readonly up: () => void
  readonly problem: (words: Words) => void
}

export class Outcomes {
  readonly #waiting = new Set<Waiting>()

  /** Resolves when the tunnel is up, or to why it is not. */
  of(tunnel: string, timeoutMs: number): Promise<string | undefined> {
    return new Promise(resolve => {
      let last = 'no answer from the peer'
      const settle = (failure?: string): void => {
        clearTimeout(timer)
        this.#waiting.delete(waiting)
        resolve(failure)
      }
      const waiting: Waiting = {
        tunnel,
        up: () => settle(),
        problem: ({ kind, text }) => {
          last = text
          // The other end may only be slow.
          if (kind !== 'no answer') settle(text)
        },
      }
      const timer = setTimeout(() => settle(last), timeoutMs)
      this.#waiting.add(waiting)
    })
  }

  up(tunnel: string): void {
    for (const waiting of this.#waiting) if (waiting.tunnel === tunnel) waiting.up()
  }

  problem(tunnel: string, words: Words): void {
    for (const waiting of this.#waiting) if (waiting.tunnel === tunnel) waiting.problem(words)
  }

  /** Nothing comes of any of them. */
  giveUp(text: string): void {
    for (const waiting of this.#waiting) waiting.problem({ kind: 'lost', text })
  }
}
