// A replica against its own disk.
import { setImmediate } from 'node:timers/promises'
import { decodeRecord, digestOf, recordKey, type StateRecord } from './record.ts'
import type { RecordStore } from './store.ts'
import type { RecordTable } from './table.ts'

export interface Fault {
  readonly key: string
  readonly reason: string
}

export interface Verification {
  /** Records looked at, tombstones included. */
  readonly records: number
  /** Empty when disk and memory say the same and every checksum and signature is good. */
  readonly faults: readonly Fault[]
}

/** Whether the bytes of this record bear its author's signature. */
type SignatureCheck = (record: StateRecord, bytes: Uint8Array) => boolean

/** Records checked between two turns of the event loop: about 20 ms. */
const SLICE = 256

/**
 * Reads the store and remembers what memory says at that moment; the function that comes back does the slow part and
 * may run beside later writes.
 */
export async function verifyStore(
  store: RecordStore,
  table: RecordTable,
): Promise<(hasGoodSignature: SignatureCheck) => Promise<Verification>> {
  const memory = new Map<string, string>()
  for (const { record, digest } of table.everything()) memory.set(recordKey(record.kind, record.id), digest)
  const contents = await store.scan()
  return async hasGoodSignature => {
    const faults: Fault[] = contents.damaged.map(({ key, reason }) => ({ key, reason }))
    const damaged = new Set(contents.damaged.map(({ key }) => key))
    let checked = 0
    for (const [key, bytes] of contents.records) {
      const reason = faultOf(bytes, memory.get(key), hasGoodSignature)
      if (reason !== undefined) faults.push({ key, reason })
      memory.delete(key)
      if (++checked % SLICE === 0) await setImmediate()
    }
    for (const key of memory.keys()) {
      if (!damaged.has(key)) faults.push({ key, reason: 'in memory and not on disk' })
    }
    return { records: contents.records.size + contents.damaged.length, faults }
  }
}

function faultOf(
  bytes: Uint8Array,
  digest: string | undefined,
  hasGoodSignature: SignatureCheck,
): string | undefined {
  if (digest === undefined) return 'on disk and not in memory'
  if (digestOf(bytes) !== digest) return 'differs between disk and memory'
  const decoded = decodeRecord(bytes)
  if (!decoded.ok) return decoded.reason
  return hasGoodSignature(decoded.record, bytes) ? undefined : 'its signature is not that of its author'
}
