// Clients that have shown that they receive our answers, and whose handshakes are still to begin: in a crowd, those in the
// middle of theirs go first, and are through before they repeat themselves.
//
// A client waits for ten seconds or so, then begins anew. Where more wait than can be served in that time, who has waited
// longest is about to give up, and to serve him first would be to serve nobody. So then the newest is first: he has all his
// time before him.
import type { Path } from '../switch/path.ts'
import type { Newcomer } from './first-exchange.ts'

/** Further packets kept for one of them: a ClientHello takes two or three in all. */
const MAX_FURTHER = 3
/** ms that somebody has waited when the newest begin to be first. */
const LONG_WAIT_MS = 2000
/** ms after which nobody waits any more: a client that still does repeats itself, and comes in again. */
const MAX_WAIT_MS = 10_000

export interface Waiting {
  /** Names the client: whoever has its key. */
  client: string
  path: Path
  newcomer: Newcomer
  /** What came behind its first words, as it came. */
  further: Uint8Array[]
  /** ms */
  since: number
}

/** Its owner bounds how many there are. */
export class WaitingRoom {
  /** In the order in which they came. */
  readonly #bySid = new Map<string, Waiting>()
  /** The one of each client: its latest. */
  readonly #byClient = new Map<string, string>()
  /** Their ids in the same order, those of some that are gone among them. */
  #order: string[] = []

  get size(): number {
    return this.#bySid.size
  }

  has(sid: string): boolean {
    return this.#bySid.has(sid)
  }

  /** In place of the same client's attempt before, which it has given up. @param now ms */
  add(now: number, client: string, sid: string, path: Path, newcomer: Newcomer): void {
    this.remove(client)
    this.#bySid.set(sid, { client, path, newcomer, further: [], since: now })
    this.#byClient.set(client, sid)
    this.#order.push(sid)
    if (this.#order.length > 2 * this.size + 64) this.#order = [...this.#bySid.keys()]
  }

  /** Keeps a further packet of one that waits; false when nobody of this id does. */
  keep(sid: string, packet: Uint8Array): boolean {
    const waiting = this.#bySid.get(sid)
    if (waiting === undefined) return false
    // Copied: packets come in the memory of many.
    if (waiting.further.length < MAX_FURTHER) waiting.further.push(Uint8Array.from(packet))
    return true
  }

  /** Takes out whose turn it is. @param now ms */
  take(now: number): Waiting | undefined {
    const oldest = this.#oldest(now)
    if (oldest === undefined) return undefined
    const isLong = now - this.#bySid.get(oldest)!.since > LONG_WAIT_MS
    return this.#delete((isLong ? this.#newest() : undefined) ?? oldest)
  }

  /** The client does not wait any more. */
  remove(client: string): void {
    const sid = this.#byClient.get(client)
    if (sid !== undefined) this.#delete(sid)
  }

  clear(): void {
    this.#bySid.clear()
    this.#byClient.clear()
    this.#order = []
  }

  /** Who has waited longest, of those who still do. */
  #oldest(now: number): string | undefined {
    for (const [sid, { since }] of this.#bySid) {
      if (now - since <= MAX_WAIT_MS) return sid
      this.#delete(sid)
    }
    return undefined
  }

  #delete(sid: string): Waiting | undefined {
    const waiting = this.#bySid.get(sid)
    this.#bySid.delete(sid)
    if (waiting !== undefined) this.#byClient.delete(waiting.client)
    return waiting
  }

  /** Who came last, of those who still wait. */
  #newest(): string | undefined {
    for (let sid = this.#order.pop(); sid !== undefined; sid = this.#order.pop())
      if (this.#bySid.has(sid)) return sid
    return undefined
  }
}
