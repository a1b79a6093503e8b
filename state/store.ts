// What a replica needs of a disk, and the checksum under which everything lies there.
import { crc32 } from 'node:zlib'

/** Something at rest that is not what was written. */
export interface Damage {
  readonly key: string
  readonly bytes: Uint8Array
  readonly reason: string
}

export interface StoreContents {
  /** Records by key, checksums checked. */
  readonly records: Map<string, Uint8Array>
  /** The replica's own notes by name, checksums checked. */
  readonly notes: Map<string, Uint8Array>
  /** Records and notes whose checksum did not fit. Still where they were. */
  readonly damaged: Damage[]
  /** Entries set aside earlier. */
  readonly setAside: number
  /** Highest batch number that is known, from outside the database, to have been acknowledged; 0 when unknown. */
  readonly witnessed: number
}

/** Everything in one batch is there after a crash, or nothing of it. */
export interface StoreBatch {
  /** Rises by one with each batch. */
  readonly number: number
  readonly put: ReadonlyMap<string, Uint8Array>
  readonly remove: ReadonlySet<string>
  readonly notes: ReadonlyMap<string, Uint8Array>
  /** Names of notes that go. */
  readonly dropNotes: ReadonlySet<string>
  /** Moved out of the way, with the reason; their keys are removed unless the batch also puts or notes them. */
  readonly setAside: readonly Damage[]
}

export interface RecordStore {
  /** Reads everything. Damage is reported, not thrown. */
  scan(): Promise<StoreContents>
  /** Resolves when the batch would survive a loss of power. @throws StateError STORE_FAILED */
  commit(batch: StoreBatch): Promise<void>
  close(): Promise<void>
}

const CHECKSUM_BYTES = 4

/** CRC-32 over key and bytes, then the bytes: a value under another's key is damage too. */
export function seal(key: string, bytes: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(CHECKSUM_BYTES + bytes.length)
  new DataView(sealed.buffer).setUint32(0, crc32(bytes, crc32(key)))
  sealed.set(bytes, CHECKSUM_BYTES)
  return sealed
}

/** The bytes under the seal; undefined when the checksum does not fit. */
export function unseal(key: string, sealed: Uint8Array): Uint8Array | undefined {
  if (sealed.length < CHECKSUM_BYTES) return undefined
  const bytes = sealed.subarray(CHECKSUM_BYTES)
  const stored = new DataView(sealed.buffer, sealed.byteOffset).getUint32(0)
  return stored === crc32(bytes, crc32(key)) ? bytes : undefined
}
