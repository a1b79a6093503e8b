// What presence is made of, and the form in which it is told.
import type { ClientId, ControllerId } from '../state/kinds.ts'
import type { PresenceUpdate } from './messages.ts'
import type { PresentFacts, PresentLink, PresentSession } from './presence-types.ts'

/** The newer session wins; of two admitted in the same millisecond that of the higher controller id. */
export function isNewer(
  a: PresentSession,
  controllerA: ControllerId,
  b: PresentSession,
  controllerB: ControllerId,
): boolean {
  return a.since > b.since || (a.since === b.since && controllerA > controllerB)
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
  const [version, startedAt, draining, holdsRootKey, stateHash, records] = facts
  return { version, startedAt, draining, holdsRootKey, stateHash, records }
}

export function linksOf({ links }: PresenceUpdate): PresentLink[] {
  return links.map(([peer, up, rtt, loss]) => ({ peer, up, rtt, loss }))
}

export function toTuple({ client, since, remote }: PresentSession): [ClientId, number, string] {
  return [client, since, remote]
}

export function fromTuple([client, since, remote]: readonly [ClientId, number, string]): PresentSession {
  return { client, since, remote }
}
