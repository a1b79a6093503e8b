// What goes wrong with which tunnel: from charon's log to plain words, each told once in a while.
import type { Tunnel } from '../engine.ts'
import type { HostNames } from './host-names.ts'
import type { LogReader, Problem } from './log-reader.ts'
import { tunnelsOf } from './suspects.ts'
import type { Words } from './words.ts'

/** ms for which the same problem of a tunnel is not told again. */
const SAME_MS = 5000

export interface ProblemsInit {
  readonly log: LogReader
  readonly names: HostNames
  readonly tunnels: () => Iterable<Tunnel>
  readonly isUp: (tunnel: string) => boolean
  /** Whether the daemon knows all tunnels. Before, what is not told by a tunnel's name says nothing. */
  readonly isInformed: () => boolean
  readonly now: () => number
}

export class Problems {
  /** Every time. */
  onWords: (tunnel: string, words: Words) => void = () => {}
  /** Not again within 5 s. */
  onProblem: (tunnel: string, problem: string) => void = () => {}
  readonly #now: () => number
  /** Where the device of a tunnel was when it had a problem that was its own for sure. */
  readonly #seenAt = new Map<string, string>()
  readonly #told = new Map<string, { text: string; at: number }>()

  constructor({ log, names, tunnels, isUp, isInformed, now }: ProblemsInit) {
    this.#now = now
    log.onProblem = problem => {
      if (problem.connection === undefined && !isInformed()) return
      const suspects = [...tunnels()].map(tunnel => ({
        tunnel,
        addresses: names.addresses(tunnel.remote),
        isUp: isUp(tunnel.id),
      }))
      const { ids, isGuess } = tunnelsOf(problem, suspects)
      for (const id of ids) this.#accuse(id, problem, isGuess)
    }
  }

  /** One whose device is known to have a problem elsewhere has none of what nobody can be told by. */
  #accuse(tunnel: string, { kind, text, remote }: Problem, isGuess: boolean): void {
    if (!isGuess) {
      if (remote !== undefined) this.#seenAt.set(tunnel, remote)
      this.tell(tunnel, { kind, text })
      return
    }
    const seenAt = this.#seenAt.get(tunnel)
    if (seenAt !== undefined && seenAt !== remote) return
    const of = remote === undefined || seenAt === remote ? '' : ` (a device at ${remote}, maybe another's)`
    this.tell(tunnel, { kind, text: text + of })
  }

  tell(tunnel: string, words: Words): void {
    this.onWords(tunnel, words)
    const now = this.#now()
    const told = this.#told.get(tunnel)
    if (told?.text === words.text && now - told.at < SAME_MS) return
    this.#told.set(tunnel, { text: words.text, at: now })
    this.onProblem(tunnel, words.text)
  }

  /** What comes next is told, whatever was told before. */
  forget(tunnel: string): void {
    this.#told.delete(tunnel)
    this.#seenAt.delete(tunnel)
  }
}
