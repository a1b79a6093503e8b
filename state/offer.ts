// What one replica has that another lacks.
import { Floors, livesEach } from './lives.ts'
import { encodeRecord, type Origin, originOf, recordKey, type StateRecord } from './record.ts'
import { BUCKETS, bucketOf } from './record-hash.ts'
import type { SequenceSet } from './sequence-set.ts'
import type { Held, RecordTable } from './table.ts'
import { type Knowledge, toVector, type Vector } from './vector.ts'

/** Sequence numbers for each record that is still held, beyond which they are not tried one by one. */
const SPARSE = 8

/** An answer to a vector. Plain data. */
export interface Delta {
  readonly records: readonly Uint8Array[]
  /** What the receiver has accounted for once it took the records; covers what was superseded and never comes. */
  readonly known: Vector
  /**
   * What the receiver said it had accounted for of those origins: `known` holds only for one that still has. Absent where
   * that was nothing.
   */
  readonly base?: Vector
  /** More is to be had by asking again with the new vector. */
  readonly more: boolean
}

/**
 * The records another replica lacks: those of controllers first, since nothing of an author can be judged without its
 * own, and that of the mesh; then each origin's in the order they were written, so that what was sent so far can be claimed
 * as known. At least one record is sent, whatever its size. Of lives that are not accounted for any more nothing else is
 * sent, as it would be again and again, but at the end to a newcomer.
 */
export function offer(
  table: RecordTable,
  ours: Knowledge,
  theirs: Knowledge,
  maxBytes: number,
  toNewcomer = false,
): Delta {
  const records: Uint8Array[] = []
  const known: Knowledge = new Map()
  const base: Knowledge = new Map()
  const claim = (origin: Origin, set: SequenceSet): void => {
    known.set(origin, set)
    const has = theirs.get(origin)
    if (has !== undefined && has.size > 0) base.set(origin, has)
  }
  const delta = (more: boolean): Delta => {
    const claims = { records, known: toVector(known), more }
    return base.size > 0 ? { ...claims, base: toVector(base) } : claims
  }
  let bytes = 0
  for (const { record } of [...table.all('controller'), ...table.all('mesh')]) {
    if (theirs.get(originOf(record))?.has(record.sequence)) continue
    const encoded = encodeRecord(record)
    if (bytes > 0 && bytes + encoded.length > maxBytes) return delta(true)
    bytes += encoded.length
    records.push(encoded)
  }
  const floors = new Floors(ours.keys(), livesEach(table.countOf('controller')))
  const origins = [...new Set([...table.origins, ...ours.keys()])].sort()
  const old = toNewcomer ? origins.filter(origin => floors.isBelow(origin)) : []
  for (const origin of [...origins.filter(each => !floors.isBelow(each)), ...old]) {
    const has = theirs.get(origin)
    const accounted = ours.get(origin)
    for (const record of writtenAfter(table.ofOrigin(origin), has?.contiguous ?? 0)) {
      if (record.kind === 'controller' || record.kind === 'mesh' || has?.has(record.sequence)) continue
      const encoded = encodeRecord(record)
      if (bytes > 0 && bytes + encoded.length > maxBytes) {
        if (accounted !== undefined) claim(origin, accounted.upTo(record.sequence - 1))
        return delta(true)
      }
      bytes += encoded.length
      records.push(encoded)
    }
    if (accounted !== undefined && !has?.includes(accounted)) claim(origin, accounted)
  }
  return delta(false)
}

/** The records of one origin above a sequence number, in the order they were written. A part is sent without sorting all. */
function* writtenAfter(bySequence: ReadonlyMap<number, Held>, after: number): Iterable<StateRecord> {
  let highest = 0
  for (const sequence of bySequence.keys()) if (sequence > highest) highest = sequence
  if (highest - after <= SPARSE * bySequence.size) {
    for (let sequence = after + 1; sequence <= highest; sequence++) {
      const held = bySequence.get(sequence)
      if (held !== undefined) yield held.record
    }
    return
  }
  const sequences = [...bySequence.keys()].filter(sequence => sequence > after)
  for (const sequence of sequences.sort((a, b) => a - b)) yield bySequence.get(sequence)!.record
}

/**
 * The records, tombstones too, in those buckets whose hashes are not the same. Whole buckets, as many as fit and at
 * least one, so that each round makes some of them equal.
 * @param theirs the other replica's hashes, from anywhere
 */
export function differing(table: RecordTable, theirs: readonly string[], maxBytes: number): Uint8Array[] {
  const ours = table.bucketHashes()
  const unequal = new Map<number, Uint8Array[]>()
  for (let i = 0; i < BUCKETS; i++) if (ours[i] !== theirs[i]) unequal.set(i, [])
  for (const { record } of table.everything()) {
    unequal.get(bucketOf(recordKey(record.kind, record.id)))?.push(encodeRecord(record))
  }
  const records: Uint8Array[] = []
  let bytes = 0
  for (const bucket of unequal.values()) {
    for (const encoded of bucket) bytes += encoded.length
    if (records.length > 0 && bytes > maxBytes) break
    records.push(...bucket)
  }
  return records
}
