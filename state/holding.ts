// Records that cannot be judged yet: stamped too far ahead of this clock, or by an author whose own record is not here.
import { isAhead, MAX_SKEW_MS, stampTime } from './clock.ts'
import type { ControllerId } from './kinds.ts'
import { originOf, type StateRecord } from './record.ts'

/** Records and bytes held at once. At the bound newcomers are turned away; anti-entropy brings them again. */
export const MAX_HELD_RECORDS = 4096
export const MAX_HELD_BYTES = 8 * 2 ** 20
/** A record of an author that never shows up is let go after this long; anti-entropy brings it again. */
export const MAX_HELD_MS = 600_000

export interface HeldRecord {
  readonly record: StateRecord
  readonly bytes: Uint8Array
  readonly since: number
}

export class Holding {
  readonly #held = new Map<string, HeldRecord>()
  #bytes = 0

  get size(): number {
    return this.#held.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Returns false when there is no room. The same record is held once. @param now ms since 1970 */
  hold(record: StateRecord, bytes: Uint8Array, now: number): boolean {
    const key = dotOf(record)
    if (this.#held.has(key)) return true
    if (this.#held.size >= MAX_HELD_RECORDS || this.#bytes + bytes.length > MAX_HELD_BYTES) return false
    this.#held.set(key, { record, bytes: Uint8Array.from(bytes), since: now })
    this.#bytes += bytes.length
    return true
  }

  /** Takes out the records by these authors, and those whose time has come. @param now ms since 1970 */
  take(now: number, authors: ReadonlySet<ControllerId> = new Set()): HeldRecord[] {
    const taken: HeldRecord[] = []
    for (const [key, held] of this.#held) {
      const isDue = this.#wasAhead(held) && !isAhead(held.record.stamp, now)
      const isTooOld = now - held.since > MAX_HELD_MS
      if (!isDue && !isTooOld && !authors.has(held.record.author)) continue
      this.#held.delete(key)
      this.#bytes -= held.bytes.length
      if (isDue || authors.has(held.record.author)) taken.push(held)
    }
    return taken
  }

  /** When `take` next has something to do, ms since 1970; undefined when nothing is held. */
  deadline(): number | undefined {
    let earliest: number | undefined
    for (const held of this.#held.values()) {
      const expiry = held.since + MAX_HELD_MS + 1
      const due = this.#wasAhead(held) ? Math.min(stampTime(held.record.stamp) - MAX_SKEW_MS, expiry) : expiry
      if (earliest === undefined || due < earliest) earliest = due
    }
    return earliest
  }

  #wasAhead(held: HeldRecord): boolean {
    return isAhead(held.record.stamp, held.since)
  }
}

function dotOf(record: StateRecord): string {
  return `${originOf(record)}/${record.sequence}`
}
