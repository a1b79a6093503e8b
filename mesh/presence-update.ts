// What presence is made of, and the form in which it is told.
import { MAX_TIME } from '../state/clock.ts'
import type { ClientId, ControllerId } from '../state/kinds.ts'
import type { PresenceUpdate } from './messages.ts'
import type { PresentFacts, PresentLink, PresentSession } from './presence-types.ts'

/** ms after now, by our clock, up to which it is believed that something began: clocks are wrong by hours where they are set by hand. */
const MAX_AHEAD = 86_400_000

/**
 * By what is compared since when something is at a controller: the later counts. What nobody's clock says counts as earlier than
 * all else, or one that said "later than any" once would have it for good, whoever has it in truth.
 */
export function rankOf(since: number, now: number): number {
  return since <= now + MAX_AHEAD ? since : since - MAX_TIME - 1
}

/** Since when something that comes here now is here, so that it is later than what others tell of it. */
export function sinceAfter(told: Iterable<number>, now: number): number {
  let since = now
  for (const each of told) since = Math.max(since, rankOf(each, now) + 1)
  return since
}

/** The newer session wins; of two admitted in the same millisecond that of the higher controller id. */
export function isNewer(
  a: PresentSession,
  controllerA: ControllerId,
  b: PresentSession,
  controllerB: ControllerId,
  now: number,
): boolean {
  const [rankA, rankB] = [rankOf(a.since, now), rankOf(b.since, now)]
  return rankA > rankB || (rankA === rankB && controllerA > controllerB)
}

/** Round trips that differ by less, ms and as a part of the longer, make no other way: they are not told. */
const RTT_STEP = 5
const RTT_PART = 0.2

/** Whether two tellings lead to the same ways. */
export function sameLinks(a: readonly PresentLink[], b: readonly PresentLink[]): boolean {
  if (a.length !== b.length || !sameUp(a, b)) return false
  const before = new Map(a.map(({ peer, rtt }) => [peer, rtt]))
  return b.every(({ peer, up, rtt }) => {
    const known = before.get(peer)
    if (known === undefined) return false
    return !up || Math.abs(rtt - known) <= Math.max(RTT_STEP, RTT_PART * Math.max(rtt, known))
  })
}

/** Whether two tellings name the same links up: round trips alone change no way. */
export function sameUp(a: readonly PresentLink[], b: readonly PresentLink[]): boolean {
  const up = (links: readonly PresentLink[]) =>
    links
      .filter(each => each.up)
      .map(each => each.peer)
      .sort()
      .join()
  return up(a) === up(b)
}

export function factsOf({ facts }: PresenceUpdate): PresentFacts {
  const [
    version,
    startedAt,
    draining,
    holdsRootKey,
    stateHash,
    records,
    gateway,
    failing,
    ipsec,
    attachments,
    gateway6 = false,
    exit6 = false,
    exit4 = true,
  ] = facts
  return {
    ...{
      version,
      startedAt,
      draining,
      holdsRootKey,
      stateHash,
      records,
      gateway,
      gateway6,
      exit4,
      exit6,
      failing,
      ipsec,
    },
    attachments: attachments.map(([id, since, several]) => ({ id, since, several })),
  }
}

/** Undefined when they are as they were. */
export function linksOf({ links }: PresenceUpdate): PresentLink[] | undefined {
  return links?.map(([peer, up, rtt, loss]) => ({ peer, up, rtt, loss }))
}

/** Whether the facts lead to the same ways beyond the overlay, and the same controllers carry attachments. */
export function sameReach(a: PresentFacts, b: PresentFacts): boolean {
  return (
    a.gateway === b.gateway &&
    a.gateway6 === b.gateway6 &&
    a.exit4 === b.exit4 &&
    a.exit6 === b.exit6 &&
    a.failing.join() === b.failing.join() &&
    a.ipsec === b.ipsec &&
    a.draining === b.draining &&
    namesOf(a.attachments) === namesOf(b.attachments)
  )
}

export function toTuple({ client, since, remote }: PresentSession): [ClientId, number, string] {
  return [client, since, remote]
}

export function fromTuple([client, since, remote]: readonly [ClientId, number, string]): PresentSession {
  return { client, since, remote }
}

function namesOf(attachments: PresentFacts['attachments']): string {
  return attachments.map(({ id, since, several }) => `${id} ${since} ${several}`).join()
}
