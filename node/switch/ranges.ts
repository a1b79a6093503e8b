// Prefixes flattened into disjoint ranges: whatever their lengths and nesting, one binary search among the ranges' starts
// then finds the longest match. For addresses as numbers (IPv4) or bigints (IPv6).

export interface PrefixRange<T extends number | bigint> {
  /** First address, and the one behind the last. */
  readonly first: T
  readonly end: T
  readonly nextHop: number
}

/** Ascending; each range ends where the next starts. */
export interface Ranges<T extends number | bigint> {
  readonly starts: T[]
  readonly nextHops: number[]
}

/**
 * Cuts the address space at the ends of all prefixes. Prefixes nest or are disjoint, so a sweep in order of address,
 * shorter first, needs only the stack of those that are open. Of equal prefixes the later one counts.
 * @param lowest first address of all
 * @param end the one behind the last of all
 * @param none next hop where no prefix is
 */
export function flatten<T extends number | bigint>(
  prefixes: readonly PrefixRange<T>[],
  lowest: T,
  end: T,
  none: number,
): Ranges<T> {
  // The sort is stable: of equal prefixes the later one stays later, opens on top and so wins.
  const sorted = [...prefixes].sort((a, b) => compare(a.first, b.first) || compare(b.end, a.end))
  const starts: T[] = []
  const nextHops: number[] = []
  const cut = (at: T, nextHop: number): void => {
    if (at === end) return
    if (starts.at(-1) === at) {
      starts.pop()
      nextHops.pop()
    }
    if (nextHops.at(-1) === nextHop) return
    starts.push(at)
    nextHops.push(nextHop)
  }
  const open: PrefixRange<T>[] = []
  const closeUntil = (address: T): void => {
    for (let top = open.at(-1); top !== undefined && top.end <= address; top = open.at(-1)) {
      open.pop()
      // What an equal end closes as well is skipped by the next turn, which cuts at the same place.
      cut(top.end, open.at(-1)?.nextHop ?? none)
    }
  }
  cut(lowest, none)
  for (const prefix of sorted) {
    closeUntil(prefix.first)
    cut(prefix.first, prefix.nextHop)
    open.push(prefix)
  }
  closeUntil(end)
  return { starts, nextHops }
}

function compare<T extends number | bigint>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0
}
