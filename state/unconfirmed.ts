// The records of a store that was filled from a copy, or lost others, until peers show what became of them since.
import type { Batch } from './batch.ts'
import type { Kind } from './kinds.ts'
import { decodeRecord, originOf, recordKey, type StateRecord } from './record.ts'
import type { RecordTable } from './table.ts'
import type { Knowledge } from './vector.ts'

/** These are never deleted, so that one which nobody sends is not gone but unheard of. */
const LASTING: readonly Kind[] = ['mesh', 'controller', 'revocation', 'lease']

/**
 * A record that a peer has accounted for, but does not send to one that accounts for nothing, was deleted, and its tombstone
 * collected: it must not come back to life from here. One that peers never heard of is theirs to get.
 */
export class Unconfirmed {
  readonly #records = new Map<string, StateRecord>()

  /** Those of the table that are not accounted for. */
  constructor(table: RecordTable, knowledge: Knowledge) {
    for (const { record } of table.everything()) {
      if (knowledge.get(originOf(record))?.has(record.sequence)) continue
      this.#records.set(recordKey(record.kind, record.id), record)
    }
  }

  get size(): number {
    return this.#records.size
  }

  /** Follows up a batch that took these records, and a peer's word for what it has accounted for. */
  settle(batch: Batch, received: readonly Uint8Array[]): void {
    if (this.#records.size === 0) return
    for (const bytes of received) this.#confirm(bytes)
    const floors = batch.floors()
    for (const [key, record] of this.#records) {
      if (batch.get(record.kind, record.id) !== record) this.#records.delete(key)
      else if (batch.isKnown(originOf(record), record.sequence)) {
        if (!LASTING.includes(record.kind)) batch.drop(record.kind, record.id)
        this.#records.delete(key)
        // Nobody accounts for so old a life, so nobody will tell.
      } else if (floors.isBelow(originOf(record))) this.#records.delete(key)
    }
  }

  has(record: StateRecord): boolean {
    return this.#records.get(recordKey(record.kind, record.id)) === record
  }

  #confirm(bytes: Uint8Array): void {
    const decoded = decodeRecord(bytes)
    if (!decoded.ok) return
    const key = recordKey(decoded.record.kind, decoded.record.id)
    const here = this.#records.get(key)
    if (here === undefined || originOf(here) !== originOf(decoded.record)) return
    if (here.sequence === decoded.record.sequence) this.#records.delete(key)
  }
}
