// What a replica learns of itself from others: that its disk was set back to an older copy, or that another copy of it lives.
import { stampTime } from './clock.ts'
import type { Outcome } from './intake.ts'
import type { ControllerId } from './kinds.ts'
import type { Incarnation, StateRecord } from './record.ts'
import type { Problem } from './recovery.ts'

/** A peer that says it knows later writes of this replica is believed at most this often. */
const RENEWAL_INTERVAL_MS = 60_000
/**
 * Stamps run ahead of this clock by up to as much when those of others do, so a record of this controller that is so much
 * younger than its start was not written in an earlier life.
 */
const CLONE_MS = 60_000

const AMNESIA =
  'another controller knows later writes of this one than its own disk, which was set back to an older copy; ' +
  'its records are issued again and the lost ones fetched'
const OUTLIVED =
  'other controllers know of many later lives of this one than the one that its disk tells of: its clock was ahead when they ' +
  'began, or another makes them up; its records are issued again'

export class SelfWatch {
  readonly #self: ControllerId
  /** ms since 1970 */
  readonly #openedAt: number
  #renewedAt = Number.NEGATIVE_INFINITY

  constructor(self: ControllerId, openedAt: number) {
    this.#self = self
    this.#openedAt = openedAt
  }

  /** A peer knows later writes: undefined when that was noticed a moment ago. @param now ms since 1970 */
  amnesia(now: number): Problem | undefined {
    return this.#renewal(now, AMNESIA)
  }

  /** Others know so many later lives that the present one is forgotten; undefined as above. @param now ms since 1970 */
  outlived(now: number): Problem | undefined {
    return this.#renewal(now, OUTLIVED)
  }

  #renewal(now: number, message: string): Problem | undefined {
    const age = now - this.#renewedAt
    // Negative when the clock was set back since.
    if (age >= 0 && age < RENEWAL_INTERVAL_MS) return undefined
    this.#renewedAt = now
    return { code: 'amnesia', message }
  }

  /** Nobody else has this controller's key, but for a copy of it. @param incarnation the present one */
  clone(outcomes: readonly Outcome[], incarnation: Incarnation): Problem | undefined {
    const isOfClone = (record: StateRecord) =>
      record.author === this.#self &&
      record.incarnation !== incarnation &&
      stampTime(record.stamp) > this.#openedAt + CLONE_MS
    if (!outcomes.some(each => each.outcome === 'merged' && isOfClone(each.record))) return undefined
    const message =
      'another copy of this controller is running and writes under its name: it was restored from a backup, or cloned, while ' +
      'this one lives; stop one of them for good'
    return { code: 'cloned', message }
  }
}
