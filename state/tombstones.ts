// When a deletion may be forgotten: once everyone has it, or after thirty days.
import { stampTime } from './clock.ts'
import { originOf, type StateRecord } from './record.ts'
import { covers, type Knowledge } from './vector.ts'

export const TOMBSTONE_MS = 30 * 24 * 3_600_000
/** Tombstones are looked through this often. */
export const TOMBSTONE_ROUND_MS = 60_000

interface Standpoint {
  readonly ours: Knowledge
  /** What each other admitted controller has accounted for; undefined for one not heard of yet. */
  readonly peers: readonly (Knowledge | undefined)[]
  /** ms since 1970 */
  readonly now: number
}

/**
 * The tombstones that may go. A released lease is not among them: its term orders the leases after it, and there are
 * never more of them than addresses.
 *
 * That a peer has the tombstone is not enough: what it wrote before may still be on its way here, and would come back
 * to life. So everything a peer had when it confirmed must be accounted for here too.
 */
export function* collectable(tombstones: Iterable<StateRecord>, view: Standpoint): Iterable<StateRecord> {
  const { ours, peers, now } = view
  const areCovered = peers.every(peer => peer !== undefined && covers(ours, peer))
  for (const record of tombstones) {
    if (record.kind === 'lease') continue
    const everyoneHasIt = areCovered && peers.every(peer => peer?.get(originOf(record))?.has(record.sequence))
    if (everyoneHasIt || now - stampTime(record.stamp) > TOMBSTONE_MS) yield record
  }
}
