// What is in a backup: a description, the files of the data directory, the records, and how many of both there were; each
// a frame of four bytes of length, big-endian, and dag-cbor.
import { decode, encode } from '@ipld/dag-cbor'
import { type Static, Type } from 'typebox'
import { Value } from 'typebox/value'
import { MAX_RECORD_BYTES } from '../../state/record.ts'
import { BackupError } from './error.ts'

const Text = Type.String({ maxLength: 255 })
const Count = Type.Integer({ minimum: 0 })
/** Whoever reads it may be older than who wrote it: what is not known is left alone. */
export const Manifest = Type.Object({
  /** ms since 1970 */
  createdAt: Count,
  /** Of Overmesh. */
  version: Text,
  meshId: Text,
  meshName: Text,
  subnet: Text,
  controllerId: Type.String({ pattern: '^[0-9a-f]{20}$' }),
  controllerName: Text,
  /** The last that wrote before the copy. */
  incarnation: Type.String({ pattern: '^[0-9a-f]{16}$' }),
  /** The key that admits controllers is in it. */
  holdsRootKey: Type.Boolean(),
  controllers: Count,
  clients: Count,
  records: Count,
})
export type Manifest = Static<typeof Manifest>

export type Entry =
  | { type: 'manifest'; manifest: Manifest }
  /** Path below the data directory, with slashes. */
  | { type: 'file'; path: string; content: Uint8Array }
  | { type: 'records'; records: Uint8Array[] }
  | { type: 'end'; files: number; records: number }

/** Certificates, keys, a configuration: no file of a data directory is near it. */
export const MAX_FILE_BYTES = 4 * 2 ** 20
/** A batch is ended by the record that reaches this. */
export const BATCH_BYTES = 2 ** 20
const MAX_FRAME_BYTES = 8 * 2 ** 20
const LENGTH_BYTES = 4
const MAX_PATH = 255
/** Of one part of a path: nothing that leads elsewhere. */
const PART = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/

export function encodeEntry(entry: Entry): Uint8Array {
  const body = encode(wordsOf(entry))
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + body.length)
  frame.writeUInt32BE(body.length)
  frame.set(body, LENGTH_BYTES)
  return frame
}

/** A path that may be in a backup. */
export function isSafePath(path: string): boolean {
  return path.length <= MAX_PATH && path.split('/').every(part => PART.test(part))
}

/**
 * The entries of a backup, in their order: description first, end last.
 * @throws BackupError damaged, truncated
 */
export async function* readEntries(plain: AsyncIterable<Uint8Array>): AsyncGenerator<Entry, void> {
  const counts = { files: 0, records: 0 }
  let isFirst = true
  let ended = false
  for await (const frame of frames(plain)) {
    const entry = readEntry(frame)
    if (isFirst !== (entry.type === 'manifest') || ended) throw malformed('its parts are out of order')
    isFirst = false
    if (entry.type === 'file') counts.files++
    if (entry.type === 'records') counts.records += entry.records.length
    if (entry.type === 'end') {
      ended = true
      if (entry.files !== counts.files || entry.records !== counts.records)
        throw malformed('parts of it are missing')
    }
    yield entry
  }
  if (!ended) throw new BackupError('truncated', 'the backup has no end; use another copy of it')
}

async function* frames(plain: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let bytes: Buffer = Buffer.alloc(0)
  let pending: Uint8Array[] = []
  let size = 0
  let wanted = LENGTH_BYTES
  for await (const piece of plain) {
    pending.push(piece)
    size += piece.length
    if (size < wanted) continue
    bytes = Buffer.concat(pending)
    for (;;) {
      wanted = LENGTH_BYTES
      if (bytes.length < wanted) break
      const length = bytes.readUInt32BE()
      if (length > MAX_FRAME_BYTES) throw malformed('a part of it is too large')
      wanted += length
      if (bytes.length < wanted) break
      yield bytes.subarray(LENGTH_BYTES, wanted)
      bytes = bytes.subarray(wanted)
    }
    pending = [bytes]
    size = bytes.length
  }
  if (size > 0) throw malformed('its last part is not whole')
}

function wordsOf(entry: Entry): unknown[] {
  switch (entry.type) {
    case 'manifest':
      return ['manifest', entry.manifest]
    case 'file':
      return ['file', entry.path, entry.content]
    case 'records':
      return ['records', entry.records]
    case 'end':
      return ['end', entry.files, entry.records]
  }
}

function readEntry(frame: Uint8Array): Entry {
  let words: unknown
  try {
    words = decode(frame)
  } catch (error) {
    throw malformed('a part of it cannot be read', error)
  }
  const [type, first, second] = Array.isArray(words) ? words : []
  if (type === 'manifest' && Value.Check(Manifest, first)) return { type, manifest: first }
  if (type === 'file' && typeof first === 'string' && isSafePath(first) && second instanceof Uint8Array) {
    if (second.length <= MAX_FILE_BYTES) return { type, path: first, content: second }
  }
  if (type === 'records' && Array.isArray(first) && first.every(isRecordBytes))
    return { type, records: first }
  if (type === 'end' && Value.Check(Count, first) && Value.Check(Count, second))
    return { type, files: first, records: second }
  throw malformed('a part of it is not what it should be')
}

function isRecordBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length <= MAX_RECORD_BYTES
}

function malformed(what: string, cause?: unknown): BackupError {
  return new BackupError('damaged', `the backup is damaged: ${what}; use another copy of it`, { cause })
}
