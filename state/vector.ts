// What a replica has accounted for, per origin: the message two replicas exchange before any record moves.
// After van Renesse et al., "Efficient Reconciliation and Flow Control for Anti-Entropy Protocols" (Scuttlebutt), 2008,
// with ranges instead of one number, so that a gap that never closes does not hold up what lies above it.
import { type Origin, parseOrigin } from './record.ts'
import { SequenceSet } from './sequence-set.ts'

/** Per origin the ranges accounted for: [from, to, from, to, …]. Plain data, fit for dag-cbor and JSON. */
export type Vector = Readonly<Record<Origin, readonly number[]>>

/** Origins in one vector: a thousand controllers, each wiped a few times. */
export const MAX_ORIGINS = 4096

/** Per origin the set accounted for. */
export type Knowledge = Map<Origin, SequenceSet>

/** Reads a vector that nobody vouches for; undefined when malformed or beyond its bounds. Never throws. */
export function parseVector(value: unknown): Knowledge | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const entries = Object.entries(value)
  if (entries.length > MAX_ORIGINS) return undefined
  const knowledge: Knowledge = new Map()
  for (const [origin, ranges] of entries) {
    const set = SequenceSet.from(ranges)
    if (parseOrigin(origin) === undefined || set === undefined) return undefined
    knowledge.set(origin as Origin, set)
  }
  return knowledge
}

/** The plain form, in the order of origins, so that equal knowledge has equal bytes. */
export function toVector(knowledge: Knowledge): Vector {
  const vector: Record<Origin, number[]> = {}
  for (const origin of [...knowledge.keys()].sort()) {
    const ranges = knowledge.get(origin)!.ranges()
    if (ranges.length > 0) vector[origin] = ranges
  }
  return vector
}

/** What is accounted for once what the other vector says is, too. Both are well-formed. */
export function withKnown(vector: Vector, more: Vector): Vector {
  const knowledge = parseVector(vector)!
  for (const [origin, set] of parseVector(more)!) {
    const known = knowledge.get(origin)
    if (known === undefined) knowledge.set(origin, set)
    else known.addAll(set)
  }
  return toVector(knowledge)
}

/** True when everything the other has accounted for is accounted for here. */
export function covers(ours: Knowledge, other: Knowledge): boolean {
  for (const [origin, set] of other) {
    if (set.size > 0 && !ours.get(origin)?.includes(set)) return false
  }
  return true
}
