// A store from a copy of the records: the controller goes on from them under a new incarnation, since what it wrote after
// the copy was made has numbers that others know, and counts nothing as accounted for, so that peers send everything.
import { StateError } from './errors.ts'
import { newIncarnation } from './incarnation.ts'
import type { ControllerId } from './kinds.ts'
import { encodeNote, NOTE_RESTORED, standingNotes } from './notes.ts'
import { decodeRecord, digestOf, FIRST_INCARNATION, type Incarnation, recordKey } from './record.ts'
import type { RecordStore } from './store.ts'
import { RecordTable } from './table.ts'

export interface RestoringInit {
  readonly id: ControllerId
  /** The last incarnation that wrote before the copy was made. */
  readonly incarnation: Incarnation
  /** When the copy was made, ms since 1970. */
  readonly copiedAt: number
  /** ms since 1970 */
  readonly now: number
  readonly random: (size: number) => Uint8Array
}

/**
 * Fills an empty store. It is whole when this resolves, and before that must not be used.
 * @param parts of the records, in any order
 * @throws StateError INVALID for records that are none, STORE_FAILED
 */
export async function restoreRecords(
  store: RecordStore,
  parts: AsyncIterable<readonly Uint8Array[]>,
  init: RestoringInit,
): Promise<number> {
  const table = new RecordTable()
  let number = 0
  let latest = init.incarnation > FIRST_INCARNATION ? init.incarnation : FIRST_INCARNATION
  const commit = async (put: Map<string, Uint8Array>, notes: Map<string, Uint8Array>) => {
    await store.commit({
      number: ++number,
      put,
      remove: new Set(),
      notes,
      dropNotes: new Set(),
      setAside: [],
    })
  }
  for await (const records of parts) {
    const put = new Map<string, Uint8Array>()
    for (const bytes of records) {
      const decoded = decodeRecord(bytes)
      if (!decoded.ok) throw new StateError('INVALID', `a record in the copy is none: ${decoded.reason}`)
      const { record } = decoded
      table.put({ record, digest: digestOf(bytes) })
      put.set(recordKey(record.kind, record.id), bytes)
      if (record.author === init.id && record.incarnation > latest) latest = record.incarnation
    }
    await commit(put, new Map())
  }
  const incarnation = newIncarnation(init.now, init.random, latest)
  const notes = standingNotes(
    { id: init.id, incarnation, sequence: 0 },
    { batch: number + 1, records: table.size, sum: table.sum },
  )
  notes.set(NOTE_RESTORED, encodeNote({ copiedAt: init.copiedAt }))
  await commit(new Map(), notes)
  return table.size
}
