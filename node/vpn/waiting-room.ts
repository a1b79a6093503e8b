// Clients that have shown that they receive our answers, and whose handshakes are still to begin: in a crowd, those in the
// middle of theirs go first, and are through before they repeat themselves.
import type { Path } from '../switch/path.ts'
import type { Newcomer } from './first-exchange.ts'

/** Further packets kept for one of them: a ClientHello takes two or three in all. */
const MAX_FURTHER = 3

export interface Waiting {
  path: Path
  newcomer: Newcomer
  /** What came behind its first words, as it came. */
  further: Uint8Array[]
}

/** Oldest first. Its owner bounds how many there are. */
export class WaitingRoom {
  readonly #bySid = new Map<string, Waiting>()

  get size(): number {
    return this.#bySid.size
  }

  has(sid: string): boolean {
    return this.#bySid.has(sid)
  }

  add(sid: string, path: Path, newcomer: Newcomer): void {
    this.#bySid.set(sid, { path, newcomer, further: [] })
  }

  /** Keeps a further packet of one that waits; false when nobody of this id does. */
  keep(sid: string, packet: Uint8Array): boolean {
    const waiting = this.#bySid.get(sid)
    if (waiting === undefined) return false
    // Copied: packets come in the memory of many.
    if (waiting.further.length < MAX_FURTHER) waiting.further.push(Uint8Array.from(packet))
    return true
  }

  /** Takes out who has waited longest. */
  take(): Waiting | undefined {
    for (const [sid, waiting] of this.#bySid) {
      this.#bySid.delete(sid)
      return waiting
    }
    return undefined
  }

  clear(): void {
    this.#bySid.clear()
  }
}
