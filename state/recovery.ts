// From what lies on disk back to a replica's memory, with everything that is not as it was left.
import { FIRST_STAMP, isAhead, makeStamp, type Stamp, stampTime } from './clock.ts'
import { StateError } from './errors.ts'
import type { ControllerId } from './kinds.ts'
import {
  decodeFormat,
  decodeHead,
  decodeKnown,
  decodeLost,
  decodeRestored,
  decodeSelf,
  NOTE_FORMAT,
  NOTE_HEAD,
  NOTE_LOST,
  NOTE_RESTORED,
  NOTE_SELF,
  originOfNote,
  STORE_FORMAT,
} from './notes.ts'
import {
  decodeRecord,
  digestOf,
  FIRST_INCARNATION,
  type Incarnation,
  type Origin,
  recordKey,
} from './record.ts'
import type { Damage, RecordStore, StoreContents } from './store.ts'
import { RecordTable } from './table.ts'
import type { Knowledge } from './vector.ts'

/** Something a person should hear of, after a start or since. None of them stops the replica. */
export interface Problem {
  readonly code:
    | 'damaged'
    | 'records-lost'
    | 'clock-ahead'
    | 'set-aside'
    | 'amnesia'
    | 'cloned'
    | 'store-failed'
  readonly message: string
}

export interface Recovered {
  readonly table: RecordTable
  readonly knowledge: Knowledge
  /** The latest incarnation that wrote here, and its last sequence number. */
  readonly incarnation: Incarnation
  readonly sequence: number
  /** A new store, or one from which writes may be missing: numbers must not be used twice. */
  readonly needsIncarnation: boolean
  /** What the store says is accounted for, and is not since something is missing or might be. */
  readonly forgotten: readonly Origin[]
  /** Number of the last batch. */
  readonly batch: number
  /** Highest stamp that was merged here. */
  readonly last: Stamp
  readonly damaged: Damage[]
  readonly problems: Problem[]
  /** When the copy was made that the store was filled from, ms since 1970. */
  readonly restoredFrom: number | undefined
  /** When it was noticed that something of the store is missing or might be, ms since 1970: at this start, or an earlier one. */
  readonly lostAt: number | undefined
}

/**
 * Reads the store. Damaged records are left out and listed, to be set aside. When anything is missing or might be,
 * nothing counts as known, so that peers send everything again.
 * @param now ms since 1970
 * @throws StateError STORE_FORMAT, STORE_FOREIGN
 */
export async function recover(store: RecordStore, id: ControllerId, now: number): Promise<Recovered> {
  const contents = await store.scan()
  refuseForeign(contents, id)
  const damaged = [...contents.damaged]
  const table = loadTable(contents, damaged)
  const problems: Problem[] = []
  for (const { key, reason } of damaged) {
    problems.push({
      code: 'damaged',
      message: `${key} is damaged (${reason}) and was set aside; ${FETCH_AGAIN}`,
    })
  }
  const isNew = contents.records.size === 0 && contents.notes.size === 0 && contents.witnessed === 0
  const head = decodeHead(contents.notes.get(NOTE_HEAD))
  const lost = isNew ? undefined : lossOf(contents, table)
  if (lost !== undefined) problems.push({ code: 'records-lost', message: `${lost}; ${FETCH_AGAIN}` })
  const isWhole = damaged.length === 0 && lost === undefined
  const self = decodeSelf(contents.notes.get(NOTE_SELF))
  const knowledge = isWhole ? loadKnowledge(contents) : undefined
  if (contents.setAside > 0) {
    problems.push({
      code: 'set-aside',
      message: `${contents.setAside} damaged entries are set aside from earlier starts`,
    })
  }
  const last = highestStamp(table, id, now)
  if (isAhead(last, now)) problems.push({ code: 'clock-ahead', message: aheadMessage(last, now) })
  return {
    table,
    knowledge: knowledge ?? new Map(),
    incarnation: self?.incarnation ?? lastIncarnation(table, id),
    sequence: self?.sequence ?? 0,
    needsIncarnation: isNew || knowledge === undefined,
    forgotten: knowledge === undefined ? notedOrigins(contents) : [],
    batch: Math.max(head?.batch ?? 0, contents.witnessed),
    last,
    damaged,
    problems,
    restoredFrom: decodeRestored(contents.notes.get(NOTE_RESTORED)),
    lostAt: knowledge === undefined && !isNew ? now : decodeLost(contents.notes.get(NOTE_LOST)),
  }
}

const FETCH_AGAIN = 'what other controllers hold of it is fetched again from them'

function refuseForeign(contents: StoreContents, id: ControllerId): void {
  const formatNote = contents.notes.get(NOTE_FORMAT)
  const format = formatNote === undefined ? undefined : decodeFormat(formatNote)
  if (format !== undefined && format !== STORE_FORMAT) {
    throw new StateError(
      'STORE_FORMAT',
      `the state on disk is of a${format > STORE_FORMAT ? ' newer' : 'n older'} Overmesh (format ${format}, this version ` +
        `reads ${STORE_FORMAT}); start the version that wrote it, or restore a backup that this one made`,
    )
  }
  const self = decodeSelf(contents.notes.get(NOTE_SELF))
  if (self !== undefined && self.id !== id) {
    throw new StateError(
      'STORE_FOREIGN',
      `the state on disk belongs to controller ${self.id} and the key beside it to ${id}; put the matching key back`,
    )
  }
}

function loadTable(contents: StoreContents, damaged: Damage[]): RecordTable {
  const table = new RecordTable()
  for (const [key, bytes] of contents.records) {
    const decoded = decodeRecord(bytes, true)
    if (!decoded.ok) damaged.push({ key, bytes, reason: decoded.reason })
    else if (recordKey(decoded.record.kind, decoded.record.id) !== key) {
      damaged.push({ key, bytes, reason: 'kept under the key of another record' })
    } else table.put({ record: decoded.record, digest: digestOf(bytes) })
  }
  return table
}

/** What cannot be as it was after the last batch, in words. */
function lossOf(contents: StoreContents, table: RecordTable): string | undefined {
  const head = decodeHead(contents.notes.get(NOTE_HEAD))
  if (head === undefined)
    return 'the note of what the store held is missing or damaged, so records may be too'
  if (decodeSelf(contents.notes.get(NOTE_SELF)) === undefined) {
    return 'the note of how far this controller had written is missing or damaged, so writes may be too'
  }
  if (head.batch < contents.witnessed) {
    return `the last ${contents.witnessed - head.batch} writes are missing from the store (a truncated log does that)`
  }
  if (head.records !== table.size)
    return `the store held ${head.records} records and now ${table.size} can be read`
  if (head.sum !== table.sum) return 'some records in the store are older than the last ones written'
  return undefined
}

/** Undefined when a note is malformed: then nothing may be taken as known. */
function loadKnowledge(contents: StoreContents): Knowledge | undefined {
  if (decodeSelf(contents.notes.get(NOTE_SELF)) === undefined) return undefined
  const knowledge: Knowledge = new Map()
  for (const [name, bytes] of contents.notes) {
    const origin = originOfNote(name)
    if (origin === undefined) continue
    const set = decodeKnown(bytes)
    if (set === undefined) return undefined
    knowledge.set(origin, set)
  }
  return knowledge
}

function notedOrigins(contents: StoreContents): Origin[] {
  return [...contents.notes.keys()].map(originOfNote).filter(origin => origin !== undefined)
}

function lastIncarnation(table: RecordTable, id: ControllerId): Incarnation {
  let last = FIRST_INCARNATION
  for (const { incarnation } of table.ofAuthor(id)) if (incarnation > last) last = incarnation
  return last
}

/** A revocation is merged whatever its stamp says, so one of another author from far ahead must not move the clock. */
function highestStamp(table: RecordTable, id: ControllerId, now: number): Stamp {
  let highest = FIRST_STAMP
  for (const { record } of table.everything()) {
    if (record.stamp <= highest) continue
    if (record.kind === 'revocation' && record.author !== id && isAhead(record.stamp, now)) continue
    highest = record.stamp
  }
  return highest
}

function aheadMessage(last: Stamp, now: number): string {
  const newest = new Date(stampTime(last)).toISOString()
  const clock = new Date(stampTime(makeStamp(now, 0))).toISOString()
  return (
    `the newest record is of ${newest} and this machine's clock says ${clock}; ` +
    'set the clock right: until then other controllers hold back what is written here'
  )
}
