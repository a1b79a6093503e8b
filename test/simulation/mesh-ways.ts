// Packets that follow what controllers believe of each other while links are cut: each comes to where it is to go, by others
// where need be, and passes nobody twice.
import { type Hop, reach4Of, reach6Of, type Way, Ways } from '../../node/ways.ts'
import type { ClientId, ControllerId } from '../../state/kinds.ts'
import type { MeshWorld } from './mesh-world.ts'
import type { SimController } from './sim-controller.ts'

/** ms in which links notice that they are cut. */
const NOTICED = 1000
/**
 * ms in which ways round a cut are found, beyond what it takes to notice a silent channel; and for which they last then: those of
 * the first moment may still lead over links whose end is yet to be heard of.
 */
const SETTLE = 5000
const WATCH = 2000
const STEP = 100

/** Where a packet goes that has come to the controller whose client it is for. */
const CLIENT = 1_000_000

/** Every third controller carries packets to the Internet. */
export const isGateway = (index: number): boolean => index % 3 === 0

/** Of those every second is seen to have a way to the Internet; without one, it carries no IPv6 there. */
export const hasExit = (index: number): boolean => index % 6 === 0

/** Cuts links so that everyone still reaches everyone in three, and follows packets from everyone to everywhere. */
export async function checkWays(world: MeshWorld): Promise<void> {
  const { clockwork } = world
  if (world.members.length < 3) return
  cutLinks(world)
  await clockwork.advance(NOTICED)
  const limit = SETTLE + (world.timing.silence ?? 2500) + (world.timing.presence ?? 2000)
  let problem: string | undefined
  for (let elapsed = 0, good = 0; good < WATCH; elapsed += STEP) {
    await clockwork.advance(STEP)
    const now = wayProblem(world.members)
    good = now === undefined ? good + STEP : 0
    problem = now ?? problem
    if (elapsed - good > limit) throw new Error(`no ways round a cut that last: ${problem}`)
  }
  world.network.mend()
}

/** Two controllers stay linked, everyone else to one of them, and of the other links most go. */
function cutLinks({ members, clockwork, network }: MeshWorld): void {
  const [first, second, ...others] = members
  const cut = (a: SimController, b: SimController) => {
    network.cut(a.id, b.id)
    network.cut(b.id, a.id)
  }
  for (const [index, each] of others.entries()) {
    const [kept, other] = clockwork.chance(500) ? [first, second] : [second, first]
    if (kept !== other && clockwork.chance(600)) cut(each, other)
    for (const peer of others.slice(index + 1)) if (clockwork.chance(700)) cut(each, peer)
  }
}

/** To where a packet is to go. */
interface Target {
  readonly name: string
  readonly of: (ways: Ways) => Way
  /** Whether it is there, when a controller sends it on so. */
  readonly ends: (at: SimController, hop: Hop) => boolean
}

/** The first packet that goes astray, in words. */
function wayProblem(members: readonly SimController[]): string | undefined {
  const problem = wayProblemOf(members, 4)
  return problem ?? wayProblemOf(members, 6)
}

function wayProblemOf(members: readonly SimController[], version: 4 | 6): string | undefined {
  const ways = new Map(members.map(each => [each.id, waysOf(each, members, version)]))
  const toOne = ({ id, index }: SimController): Target => ({
    name: `c${index}`,
    of: ways => ways.of({ via: { kind: 'controller', id }, source: 'address', id: undefined }),
    ends: (at, hop) => hop === 'tun' && at.id === id,
  })
  const toClient = (client: ClientId): Target => ({
    name: `client ${client.slice(0, 4)}`,
    of: ways => ways.toClient(client),
    ends: (at, hop) => hop === CLIENT && at.process!.sessions.has(client),
  })
  // Of a client that has gone over to another the session before may be there for a while.
  const clients = new Set(members.flatMap(({ process }) => [...process!.sessions.keys()]))
  const isExit = members.some(({ index }) => hasExit(index)) || version === 6 ? hasExit : isGateway
  const hasGateway = members.some(({ index }) => isExit(index))
  const internet: Target = {
    name: `the Internet of IPv${version}`,
    of: ways => ways.of({ via: { kind: 'internet' }, source: 'route', id: undefined }),
    ends: (at, hop) => hop === 'tun' && isExit(at.index),
  }
  const targets = [...members.map(toOne), ...[...clients].map(toClient), ...(hasGateway ? [internet] : [])]
  for (const from of members) {
    for (const { name, of, ends } of targets) {
      const passed = [from.index]
      for (let at = from; ; ) {
        const way = of(ways.get(at.id)!)
        if ('problem' in way) return `from c${passed.join(' over c')} to ${name}: ${way.problem}`
        if (ends(at, way.hop)) break
        const next = members.find(({ index }) => index === way.hop)
        if (next === undefined || passed.includes(next.index))
          return `from c${passed.join(' over c')} to ${name}: on to ${way.hop}`
        passed.push(next.index)
        at = next
      }
    }
  }
  return undefined
}

/** What a controller decides; links are named by the controller at their other end. */
function waysOf({ id, process }: SimController, members: readonly SimController[], version: 4 | 6): Ways {
  const { core, views } = process!
  const hopTo = (peer: ControllerId): Hop => members.find(each => each.id === peer)?.index ?? -1
  return new Ways(id, views, {
    session: client => (process!.sessions.has(client) ? CLIENT : undefined),
    controllerOf: client => core.presence.where(client)?.controller,
    reach: peer => {
      const facts = core.presence.of(peer)?.facts
      return facts && (version === 6 ? reach6Of(facts) : reach4Of(facts))
    },
    carrier: () => undefined,
    wayTo: peer => {
      const way = process!.wayTo(peer)
      return way && { port: hopTo(way.first) as number, hops: way.hops, cost: way.cost }
    },
  })
}
