// Which of two records of one key stays. Each rule is a total order and the higher record stays, which makes merging
// commutative, associative and idempotent whatever the network does.
import type { ControllerValue } from './kinds.ts'
import { isTombstone, type StateRecord } from './record.ts'

/**
 * Positive when `a` stays over `b`, negative when `b` does, 0 only for the same record. Both have the same kind and id.
 *
 * - By default the last writer wins, by (stamp, author): so do kinds that only newer versions know.
 * - A revocation is never replaced by anything but another of the same serial, and it makes no difference which: the
 *   one with the lower author stays, so that no clock has a say.
 * - A lease belongs to the first writer of its term. A release ends the term it knew of; a lease taken after a release
 *   starts the next. So a late release of an earlier term cannot take the address from its next holder.
 * - A controller's removal stands over everything that controller says of itself, and the first removal stands.
 */
export function compareRecords(a: StateRecord, b: StateRecord): number {
  return rank(a, b) || compareOrigin(a, b)
}

/** The one of the two that stays. */
export function mergeRecords(a: StateRecord, b: StateRecord): StateRecord {
  return compareRecords(a, b) >= 0 ? a : b
}

/** Order of writing: (stamp, author). Positive when `a` was written later. */
export function compareWritten(
  a: Pick<StateRecord, 'stamp' | 'author'>,
  b: Pick<StateRecord, 'stamp' | 'author'>,
): number {
  return compareText(a.stamp, b.stamp) || compareText(a.author, b.author)
}

/** True for a controller's record that says it was taken out for good. */
export function isRemoval(record: Pick<StateRecord, 'kind' | 'value'>): boolean {
  return record.kind === 'controller' && (record.value as ControllerValue | null)?.removedAt !== undefined
}

function rank(a: StateRecord, b: StateRecord): number {
  switch (a.kind) {
    case 'revocation':
      return compareText(b.author, a.author) || compareText(b.stamp, a.stamp)
    case 'lease':
      return compareLeases(a, b)
    case 'controller': {
      const removed = Number(isRemoval(a)) - Number(isRemoval(b))
      if (removed !== 0) return removed
      return isRemoval(a) ? compareWritten(b, a) : compareWritten(a, b)
    }
    default:
      return compareWritten(a, b)
  }
}

function compareLeases(a: StateRecord, b: StateRecord): number {
  const term = a.term - b.term
  if (term !== 0) return term
  const released = Number(isTombstone(a)) - Number(isTombstone(b))
  if (released !== 0) return released
  return isTombstone(a) ? compareWritten(a, b) : compareWritten(b, a)
}

/** One author's records of one stamp: the same write, issued again in a later incarnation. That one stays. */
function compareOrigin(a: StateRecord, b: StateRecord): number {
  return (
    compareText(a.incarnation, b.incarnation) ||
    a.sequence - b.sequence ||
    Buffer.compare(a.signature, b.signature)
  )
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
