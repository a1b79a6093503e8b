// With whom to compare replicas, so that what gossip lost is found: someone at random now and then, and those that are known
// to differ.
import type { ControllerId } from '../state/kinds.ts'

/** Unequal peers that are compared with at each heartbeat, at most; fewer where there are more peers than eight. */
const MOST_COMPARISONS = 4
const COMPARISONS_SHARE = 32

/**
 * Unequal peers to compare with at each heartbeat. While others write everyone differs from everyone by what is on its way:
 * where there are many, what one learns from a few the others have from it soon.
 */
export function comparisons(peers: number): number {
  return Math.max(1, Math.min(MOST_COMPARISONS, Math.floor(COMPARISONS_SHARE / peers)))
}

/**
 * Those of the unequal ones that were not compared for longest.
 * @param earliest ms since 1970: who was compared after it has to wait
 */
export function unequalPeers(
  peers: ReadonlyMap<ControllerId, { readonly comparedAt: number }>,
  isUnequal: (id: ControllerId) => boolean,
  earliest: number,
): ControllerId[] {
  return [...peers]
    .filter(([id, { comparedAt }]) => comparedAt <= earliest && isUnequal(id))
    .sort(([, a], [, b]) => a.comparedAt - b.comparedAt)
    .slice(0, comparisons(peers.size))
    .map(([id]) => id)
}

/** One of them at random. */
export function anyPeer(
  peers: ReadonlyMap<ControllerId, unknown>,
  random: (size: number) => Uint8Array,
): ControllerId | undefined {
  const [high, low] = random(2)
  return [...peers.keys()][((high << 8) | low) % peers.size]
}
