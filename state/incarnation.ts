// The name of a new life of a controller's sequence numbers.
import { makeStamp, type Stamp } from './clock.ts'
import type { Incarnation } from './record.ts'

/**
 * Sorts above `after`, whatever the clock says.
 * @param now ms since 1970
 */
export function newIncarnation(
  now: number,
  random: (size: number) => Uint8Array,
  after: Incarnation,
): Incarnation {
  const time = makeStamp(now, 0).slice(0, 12)
  const fresh = `${time}${Buffer.from(random(2)).toString('hex')}` as Incarnation
  if (fresh > after) return fresh
  // Only who has this controller's key can have begun one that none sorts above.
  if (after === LAST) return fresh
  return (BigInt(`0x${after}`) + 1n).toString(16).padStart(16, '0') as Incarnation
}

/** The time at which it began, by its controller's clock. */
export function beginningOf(incarnation: Incarnation): Stamp {
  return incarnation as string as Stamp
}

const LAST = 'ffffffffffffffff'
