// Which server a client tries next, and after what pause, as stock clients do it. Source: OpenVPN src/openvpn/init.c
// (next_connection_entry, socket_restart_pause).
import type { ClientEnd } from './client-end.ts'
import { MAX_REMOTES, type Profile, type ProfileRemote } from './profile.ts'

/** Rounds through all remotes after which pauses begin to double. */
const ROUNDS_BEFORE_BACKOFF = 5
/** ms; backoffs that servers ask for are cut to it. */
const MAX_BACKOFF_MS = 300_000

export class RemoteList {
  readonly #remotes: ProfileRemote[]
  readonly #retryMs: number
  readonly #maxRetryMs: number
  #at = 0
  #attempts = 0

  /** @param random from 0 to below 1 */
  constructor(
    profile: Pick<Profile, 'remotes' | 'remoteRandom' | 'retryMs' | 'maxRetryMs'>,
    random: () => number,
  ) {
    this.#remotes = profile.remoteRandom ? shuffled(profile.remotes, random) : [...profile.remotes]
    this.#retryMs = profile.retryMs
    this.#maxRetryMs = profile.maxRetryMs
  }

  get current(): ProfileRemote {
    return this.#remotes[this.#at % this.#remotes.length]
  }

  /** Adds servers that are not known yet, to be tried after those that are. */
  learn(remotes: readonly ProfileRemote[]): void {
    for (const remote of remotes) {
      const isKnown = this.#remotes.some(({ host, port }) => host === remote.host && port === remote.port)
      if (!isKnown && this.#remotes.length < MAX_REMOTES) this.#remotes.push(remote)
    }
  }

  /** A connection came about: counting starts again. */
  connected(): void {
    this.#attempts = 0
  }

  /**
   * Moves on after an end, or stays: a remote that had a connection is tried once more before the next.
   * @param wasUp whether the connection that ended had come about
   * @returns ms to wait
   */
  next(end: ClientEnd | { kind: 'unresolved' }, wasUp: boolean): number {
    const temporary = end.kind === 'auth-failed' ? end.temporary : undefined
    const advance = temporary
      ? temporary.advance === 'addr' || temporary.advance === 'remote'
      : end.kind === 'restart'
        ? end.target === 'next'
        : !wasUp
    if (advance) this.#at++
    if (!wasUp) this.#attempts++
    if (temporary?.backoffSeconds) return Math.min(temporary.backoffSeconds * 1000, MAX_BACKOFF_MS)
    // Waiting for an answer was pause enough.
    const doublings = Math.floor(this.#attempts / this.#remotes.length) - ROUNDS_BEFORE_BACKOFF
    if (doublings < 0) return end.kind === 'no-answer' ? 0 : this.#retryMs
    const base = Math.max(this.#retryMs, 1000)
    return Math.min(base * 2 ** Math.min(doublings, 16), Math.max(this.#maxRetryMs, this.#retryMs))
  }
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const result = [...items]
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[result[i], result[j]] = [result[j], result[i]]
  }
  return result
}
