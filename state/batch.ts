// One atomic step of a replica, worked out beside the table before the disk has it.
import type { Stamp } from './clock.ts'
import type { ControllerId, Kind } from './kinds.ts'
import { authorOf, Floors, livesEach } from './lives.ts'
import { isRemoval, mergeRecords } from './merge.ts'
import {
  digestOf,
  encodeRecord,
  isForeign,
  type Origin,
  originOf,
  type RecordOf,
  recordKey,
  type StateRecord,
} from './record.ts'
import { SequenceSet } from './sequence-set.ts'
import { addDigest, type Held, type RecordTable } from './table.ts'
import type { Knowledge } from './vector.ts'

/** A record that came, went or was replaced. */
export interface Change {
  readonly kind: Kind
  readonly id: string
  readonly before: StateRecord | undefined
  readonly after: StateRecord | undefined
}

/**
 * Bytes of records of one author of which this version understands nothing. What is over that is turned away and asked for
 * again and again, until this controller is upgraded.
 */
export const MAX_FOREIGN_BYTES = 32 * 2 ** 20

interface Pending {
  readonly kind: Kind
  readonly id: string
  /** undefined: taken out without a tombstone. */
  readonly held: Held | undefined
}

/** Reads see the table with this batch on top of it; `apply` makes that so. */
export class Batch {
  readonly #table: RecordTable
  readonly #knowledge: Knowledge
  readonly #pending = new Map<string, Pending>()
  readonly #known: Knowledge = new Map()
  readonly #forgotten = new Set<Origin>()
  readonly #foreignBytes = new Map<ControllerId, number>()
  #forgets = false
  /** Bytes to store, by key. */
  readonly put = new Map<string, Uint8Array>()
  readonly remove = new Set<string>()
  #highest: Stamp | undefined

  constructor(table: RecordTable, knowledge: Knowledge) {
    this.#table = table
    this.#knowledge = knowledge
  }

  get isEmpty(): boolean {
    return this.#pending.size === 0 && this.#known.size === 0 && !this.#forgets
  }

  /** True when all that was known is to be asked for again. */
  get forgets(): boolean {
    return this.#forgets
  }

  get<K extends Kind>(kind: K, id: string): RecordOf<K> | undefined {
    const pending = this.#pending.get(recordKey(kind, id))
    return (pending === undefined ? this.#table.get(kind, id)?.record : pending.held?.record) as
      | RecordOf<K>
      | undefined
  }

  /** Keeps the record if it stays over what is there. Returns whether it did. */
  merge(record: StateRecord, bytes = encodeRecord(record)): boolean {
    const current = this.get(record.kind, record.id) as StateRecord | undefined
    if (current !== undefined && mergeRecords(record, current) === current) return false
    const key = recordKey(record.kind, record.id)
    if (isForeign(record)) {
      this.#foreignBytes.set(record.author, (this.#foreignBytes.get(record.author) ?? 0) + bytes.length)
    }
    this.#pending.set(key, { kind: record.kind, id: record.id, held: { record, digest: digestOf(bytes) } })
    this.put.set(key, bytes)
    this.remove.delete(key)
    return true
  }

  /** Whether there is room for a record of which nothing is understood; see `MAX_FOREIGN_BYTES`. */
  hasRoomFor(record: StateRecord, bytes: Uint8Array): boolean {
    if (!isForeign(record)) return true
    const { author } = record
    const held = this.#table.foreignBytes(author) + (this.#foreignBytes.get(author) ?? 0)
    return held + bytes.length <= MAX_FOREIGN_BYTES
  }

  /** The highest stamp that the clock must stay above. */
  get highest(): Stamp | undefined {
    return this.#highest
  }

  witness(stamp: Stamp): void {
    if (this.#highest === undefined || stamp > this.#highest) this.#highest = stamp
  }

  /** Takes a record out as if it had never come. */
  drop(kind: Kind, id: string): void {
    const key = recordKey(kind, id)
    this.#pending.set(key, { kind, id, held: undefined })
    this.put.delete(key)
    this.remove.add(key)
  }

  isKnown(origin: Origin, sequence: number): boolean {
    return (this.#known.get(origin) ?? this.#knowledge.get(origin))?.has(sequence) ?? false
  }

  know(record: StateRecord): void {
    this.knownOf(originOf(record)).add(record.sequence)
  }

  /** This batch's own copy of what is known of an origin, to be added to. */
  knownOf(origin: Origin): SequenceSet {
    let set = this.#known.get(origin)
    if (set === undefined) {
      set = new SequenceSet()
      const before = this.#forgets ? undefined : this.#knowledge.get(origin)
      if (before !== undefined) set.addAll(before)
      this.#known.set(origin, set)
    }
    return set
  }

  /** Lives of each author that are accounted for, as after this batch. */
  get #most(): number {
    let controllers = this.#table.countOf('controller')
    for (const { kind, id, held } of this.#pending.values())
      if (kind === 'controller' && held !== undefined && this.#table.get(kind, id) === undefined)
        controllers++
    return livesEach(controllers)
  }

  /** Origins of which something is accounted for, as after this batch. */
  *#accounted(): Generator<Origin> {
    for (const origin of this.#knowledge.keys()) if (!this.#known.has(origin)) yield origin
    for (const [origin, set] of this.#known) if (set.size > 0) yield origin
  }

  /** Which lives are accounted for no more, or will not be. */
  floors(): Floors {
    return new Floors(this.#accounted(), this.#most)
  }

  /**
   * Forgets what is accounted for of lives beyond the bound. To be called last.
   * @param all also looks when there can be none but for a store of an earlier version
   */
  bound(all = false): void {
    const isMore = this.#most < livesEach(this.#table.countOf('controller'))
    let isNew = false
    for (const [origin, set] of this.#known) isNew ||= set.size > 0 && !this.#knowledge.has(origin)
    if (!all && !isNew && !isMore) return
    const floors = this.floors()
    for (const origin of [...this.#accounted()]) {
      const isUnheardOf = all && this.get('controller', authorOf(origin)) === undefined
      if (!isUnheardOf && !floors.isBelow(origin)) continue
      if (this.#knowledge.has(origin)) this.#known.set(origin, new SequenceSet())
      else this.#known.delete(origin)
    }
  }

  /** Starts again from nothing, for one origin. */
  forgetOrigin(origin: Origin): void {
    this.#known.set(origin, new SequenceSet())
    this.#forgotten.add(origin)
  }

  /** Whether this batch forgot what was known of an origin. */
  hasForgotten(origin: Origin): boolean {
    return this.#forgotten.has(origin)
  }

  /** Starts again from nothing, for all that one author wrote. */
  forgetAuthor(author: ControllerId): void {
    for (const [origin, set] of this.#knowledge) {
      if (origin.startsWith(author) && set.size > 0 && !this.#forgotten.has(origin)) this.forgetOrigin(origin)
    }
  }

  /** Starts again from nothing, so that peers send everything once more. Loses no record. */
  forget(): void {
    this.#forgets = true
    for (const origin of this.#knowledge.keys()) this.forgetOrigin(origin)
  }

  /** Ids of controllers whose record this batch changes. */
  *controllers(): Iterable<ControllerId> {
    for (const { kind, id } of this.#pending.values()) if (kind === 'controller') yield id as ControllerId
  }

  /** Removals that this batch brings. */
  *removals(): Iterable<RecordOf<'controller'>> {
    for (const { held } of this.#pending.values()) {
      if (held !== undefined && isRemoval(held.record)) yield held.record as RecordOf<'controller'>
    }
  }

  /** All records by one author, as after this batch. */
  *ofAuthor(author: ControllerId): Iterable<StateRecord> {
    for (const record of this.#table.ofAuthor(author)) {
      if (!this.#pending.has(recordKey(record.kind, record.id))) yield record
    }
    for (const { held } of this.#pending.values()) if (held?.record.author === author) yield held.record
  }

  /** Origins whose knowledge changed, with what is known now. */
  get known(): ReadonlyMap<Origin, SequenceSet> {
    return this.#known
  }

  /** Number of records and sum of digests as after this batch; see `RecordTable.sum`. */
  totals(): { records: number; sum: number } {
    let records = this.#table.size
    let sum = this.#table.sum
    for (const { kind, id, held } of this.#pending.values()) {
      const before = this.#table.get(kind, id)
      records += Number(held !== undefined) - Number(before !== undefined)
      sum = addDigest(sum, held?.digest, before?.digest)
    }
    return { records, sum }
  }

  /** Makes the batch part of the table. Call it once, after the disk has it. */
  apply(): Change[] {
    const changes: Change[] = []
    for (const { kind, id, held } of this.#pending.values()) {
      const before = this.#table.get(kind, id)?.record as StateRecord | undefined
      if (held === undefined) this.#table.delete(kind, id)
      else this.#table.put(held)
      if (before !== held?.record) changes.push({ kind, id, before, after: held?.record })
    }
    for (const [origin, set] of this.#known) {
      if (set.size > 0) this.#knowledge.set(origin, set)
      else this.#knowledge.delete(origin)
    }
    return changes
  }
}
