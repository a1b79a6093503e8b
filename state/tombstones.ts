// When a deletion may be forgotten: once everyone has it, or after thirty days.
import { stampTime } from './clock.ts'
import { originOf, type StateRecord } from './record.ts'
import type { Knowledge } from './vector.ts'

export const TOMBSTONE_MS = 30 * 24 * 3_600_000
/** Tombstones are looked through this often. */
export const TOMBSTONE_ROUND_MS = 60_000

/**
 * The tombstones that may go. A released lease is not among them: its term orders the leases after it, and there are
 * never more of them than addresses.
 * @param peers what each other admitted controller has accounted for; undefined for one not heard of yet
 * @param now ms since 1970
 */
export function* collectable(
  tombstones: Iterable<StateRecord>,
  peers: readonly (Knowledge | undefined)[],
  now: number,
): Iterable<StateRecord> {
  for (const record of tombstones) {
    if (record.kind === 'lease') continue
    const everyoneHasIt = peers.every(peer => peer?.get(originOf(record))?.has(record.sequence))
    if (everyoneHasIt || now - stampTime(record.stamp) > TOMBSTONE_MS) yield record
  }
}
