// The way to every controller over links that are up: direct where there is a link, otherwise by the fewest others.
import type { ControllerId } from '../../state/kinds.ts'
import type { PresentLink } from '../presence-types.ts'

/** Controllers that a packet may pass on its way at most. */
export const MAX_HOPS = 4
/** Round trips this close, ms, count as equal: a way is not to change for noise. */
const RTT_STEP = 5

export interface OwnLink {
  readonly peer: ControllerId
  readonly up: boolean
  readonly rttMs: number
}

export interface Way {
  readonly first: ControllerId
  /** Links on the way: 1 for a direct one. */
  readonly hops: number
  /** Round trips on the way, in steps of `RTT_STEP` each. */
  readonly cost: number
}

/**
 * Ways by destination. A link between others counts when both its ends say that it is up; of our own we know
 * ourselves. Equal input gives equal output, whatever its order.
 */
export function waysTo(
  self: ControllerId,
  own: readonly OwnLink[],
  told: Iterable<readonly [ControllerId, readonly PresentLink[]]>,
): Map<ControllerId, Way> {
  const links = new Map<ControllerId, Map<ControllerId, number>>()
  for (const [controller, ends] of told) {
    if (controller === self) continue
    const up = ends.filter(each => each.up && each.peer !== self)
    links.set(controller, new Map(up.map(each => [each.peer, Math.round(each.rtt / RTT_STEP)])))
  }
  const ways = new Map<ControllerId, Way>()
  let edge: ControllerId[] = []
  for (const { peer, up, rttMs } of own) {
    if (!up || peer === self) continue
    ways.set(peer, { first: peer, hops: 1, cost: Math.round(rttMs / RTT_STEP) })
    edge.push(peer)
  }
  for (let hops = 2; hops <= MAX_HOPS && edge.length > 0; hops++) {
    const found = new Map<ControllerId, Way>()
    for (const from of edge.sort()) {
      const way = ways.get(from)!
      for (const [to, cost] of links.get(from) ?? []) {
        if (ways.has(to) || links.get(to)?.has(from) !== true) continue
        const better = { first: way.first, hops, cost: way.cost + cost }
        const known = found.get(to)
        const isBetter =
          known === undefined ||
          better.cost < known.cost ||
          (better.cost === known.cost && better.first < known.first)
        if (isBetter) found.set(to, better)
      }
    }
    for (const [to, way] of found) ways.set(to, way)
    edge = [...found.keys()]
  }
  return ways
}
