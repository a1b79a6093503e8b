// What one replica has that another lacks.
import { encodeRecord, type StateRecord } from './record.ts'
import type { RecordTable } from './table.ts'
import { type Knowledge, toVector, type Vector } from './vector.ts'

/** An answer to a vector. Plain data. */
export interface Delta {
  readonly records: readonly Uint8Array[]
  /** What the receiver has accounted for once it took the records; covers what was superseded and never comes. */
  readonly known: Vector
  /** More is to be had by asking again with the new vector. */
  readonly more: boolean
}

/**
 * The records another replica lacks, each origin's in the order they were written, so that what was sent so far can be
 * claimed as known. At least one record is sent, whatever its size.
 */
export function offer(table: RecordTable, ours: Knowledge, theirs: Knowledge, maxBytes: number): Delta {
  const records: Uint8Array[] = []
  const known: Knowledge = new Map()
  let bytes = 0
  const origins = new Set([...table.origins, ...ours.keys()])
  for (const origin of [...origins].sort()) {
    const has = theirs.get(origin)
    const accounted = ours.get(origin)
    const missing: StateRecord[] = []
    for (const [sequence, { record }] of table.ofOrigin(origin)) if (!has?.has(sequence)) missing.push(record)
    missing.sort((a, b) => a.sequence - b.sequence)
    for (const record of missing) {
      const encoded = encodeRecord(record)
      if (bytes > 0 && bytes + encoded.length > maxBytes) {
        if (accounted !== undefined) known.set(origin, accounted.upTo(record.sequence - 1))
        return { records, known: toVector(known), more: true }
      }
      bytes += encoded.length
      records.push(encoded)
    }
    if (accounted !== undefined && !has?.includes(accounted)) known.set(origin, accounted)
  }
  return { records, known: toVector(known), more: false }
}
