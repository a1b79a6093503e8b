// What a replica writes down about itself beside the records, in the same atomic batches.
import { decode, encode } from '@ipld/dag-cbor'
import type { ControllerId } from './kinds.ts'
import { type Incarnation, isIncarnation, type Origin, parseOrigin } from './record.ts'
import { SequenceSet } from './sequence-set.ts'

export const NOTE_FORMAT = 'format'
export const NOTE_SELF = 'self'
export const NOTE_HEAD = 'head'
/** The store was filled from a copy; see restoring.ts. */
export const NOTE_RESTORED = 'restored'
/** Something of the store was lost; see recovery.ts. */
export const NOTE_LOST = 'lost'
const KNOWN_PREFIX = 'known/'

/** Version of the whole layout: keys, seals, notes and records. It rises with what an older version would read wrongly. */
export const STORE_FORMAT = 1

/** Who writes here, and the last sequence number used. */
export interface SelfNote {
  readonly id: ControllerId
  readonly incarnation: Incarnation
  readonly sequence: number
}

/** What the store held after its last batch. */
export interface HeadNote {
  readonly batch: number
  readonly records: number
  readonly sum: number
}

export function knownNote(origin: Origin): string {
  return KNOWN_PREFIX + origin
}

/** The origin whose knowledge is under this note; undefined for other notes. */
export function originOfNote(name: string): Origin | undefined {
  if (!name.startsWith(KNOWN_PREFIX)) return undefined
  const origin = name.slice(KNOWN_PREFIX.length)
  return parseOrigin(origin) === undefined ? undefined : (origin as Origin)
}

export const encodeNote: (note: unknown) => Uint8Array = encode

/** The notes of every store: its format, who writes there, and what it holds. */
export function standingNotes(self: SelfNote, head: HeadNote): Map<string, Uint8Array> {
  return new Map([
    [NOTE_FORMAT, encodeNote(STORE_FORMAT)],
    [NOTE_SELF, encodeNote(self)],
    [NOTE_HEAD, encodeNote(head)],
  ])
}

export function decodeSelf(bytes: Uint8Array | undefined): SelfNote | undefined {
  const note = decodeNote(bytes)
  if (note === undefined || typeof note.id !== 'string' || !isIncarnation(note.incarnation)) return undefined
  if (!isCount(note.sequence)) return undefined
  return { id: note.id as ControllerId, incarnation: note.incarnation, sequence: note.sequence }
}

export function decodeHead(bytes: Uint8Array | undefined): HeadNote | undefined {
  const note = decodeNote(bytes)
  if (note === undefined || !isCount(note.batch) || !isCount(note.records) || !isCount(note.sum))
    return undefined
  return { batch: note.batch, records: note.records, sum: note.sum }
}

/** When the copy was made that the store was filled from, ms since 1970; undefined when it was not. */
export function decodeRestored(bytes: Uint8Array | undefined): number | undefined {
  const note = decodeNote(bytes)
  return note !== undefined && isCount(note.copiedAt) ? note.copiedAt : undefined
}

/** When it was first noticed that something of the store was lost, ms since 1970; undefined when nothing was. */
export function decodeLost(bytes: Uint8Array | undefined): number | undefined {
  const note = decodeNote(bytes)
  return note !== undefined && isCount(note.noticedAt) ? note.noticedAt : undefined
}

export function decodeKnown(bytes: Uint8Array): SequenceSet | undefined {
  try {
    return SequenceSet.from(decode(bytes))
  } catch {
    return undefined
  }
}

export function decodeFormat(bytes: Uint8Array): number | undefined {
  try {
    const format = decode(bytes)
    return typeof format === 'number' ? format : undefined
  } catch {
    return undefined
  }
}

function decodeNote(bytes: Uint8Array | undefined): Record<string, unknown> | undefined {
  if (bytes === undefined) return undefined
  try {
    const note: unknown = decode(bytes)
    return typeof note === 'object' && note !== null ? (note as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
