// Versions of what controllers say to each other. Each end names the range it speaks, and both use the highest they share.
//
// A mesh is upgraded one controller after the other, so two adjacent versions of Overmesh always share one. What a version
// may change, for the one before it to go along:
// - Messages may get fields (at the end, where they are lists), and statements and questions of new types may be made:
//   older versions ignore them. What is gossiped goes to all, so it never rests on what one peer has agreed to.
// - What an older version must not ignore takes a new protocol version: `highest` rises, the old way is spoken to whoever
//   does not know the new one, and one version later at the earliest `lowest` rises. Agreement on backbone keys and
//   comparison of records are parts of the protocol, and have no version of their own.
// - How ranges are told (the greeting, the first words of a join) stays, so that any two versions can say why not.
// - What records may hold is in state/understanding.ts; the data directory and the store each have a format
//   (node/data-directory.ts, state/notes.ts), which rises only with what an older version would read wrongly.

/** Both ends included. */
export interface VersionRange {
  readonly lowest: number
  readonly highest: number
}

/** Spoken between controllers of a mesh. */
export const PROTOCOL: VersionRange = { lowest: 1, highest: 1 }
/** Spoken between a newcomer and the controller that invited it. */
export const JOINING: VersionRange = { lowest: 1, highest: 1 }

const SOFTWARE = /^[\x21-\x7e]{1,40}$/

/** Undefined for what cannot be a range. */
export function readRange(lowest: unknown, highest: unknown): VersionRange | undefined {
  if (!isVersion(lowest) || !isVersion(highest) || lowest > highest) return undefined
  return { lowest, highest }
}

/** The version of Overmesh that the other end says it is; empty when it says none. */
export function readSoftware(value: unknown): string {
  return typeof value === 'string' && SOFTWARE.test(value) ? value : ''
}

/** The highest version that both speak; undefined when there is none. */
export function highestCommon(a: VersionRange, b: VersionRange): number | undefined {
  const version = Math.min(a.highest, b.highest)
  return version >= Math.max(a.lowest, b.lowest) ? version : undefined
}

/** Of two that share no version, whether the one with this range is the older. */
export function isOlder(range: VersionRange, than: VersionRange): boolean {
  return range.highest < than.lowest
}

/** `version 3` or `versions 1 to 2`. */
export function formatRange({ lowest, highest }: VersionRange): string {
  return lowest === highest ? `version ${lowest}` : `versions ${lowest} to ${highest}`
}

function isVersion(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
