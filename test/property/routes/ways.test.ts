// Packets that follow the controllers' choices, on random meshes: controllers that know the same bring each to a via that is up
// without passing anyone twice; one that is behind leads none in a circle; and the switch's TTL ends what several such do.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { waysTo } from '../../../mesh/backbone/topology.ts'
import type { PresentLink } from '../../../mesh/presence-types.ts'
import { type Hop, type Way, type WayReach, type WayRecords, Ways } from '../../../node/ways.ts'
import type { ClientId, ControllerId } from '../../../state/kinds.ts'
import type { Via } from '../../../state/routing-table.ts'
import type { ClientView, Credential } from '../../../state/views.ts'

const MOST = 8
const CLIENTS = 4
const SITES = 2
const TTL = 64
/** A packet that a client sent. */
const FROM_CLIENT = -1
/** Port of the session of a client; those of links are the numbers of controllers. */
const SESSION = 1000

const nameOf = (index: number) => index.toString(16).padStart(20, '0') as ControllerId
const indexOf = (id: ControllerId) => Number.parseInt(id, 16)
const clientOf = (index: number) => index.toString(16).padStart(16, '0') as ClientId

interface Route {
  readonly id: string
  readonly via: Via
}

/** What controllers tell of themselves. */
interface Facts {
  readonly gateways: readonly boolean[]
  readonly exits: readonly WayReach['exit'][]
  /** By controller, the numbers of its failing routes. */
  readonly failing: readonly (readonly number[])[]
  /** Where each client is. */
  readonly homes: readonly number[]
  /** Who carries each attachment. */
  readonly carriers: readonly number[]
}

interface Mesh {
  readonly size: number
  /** Round trips in ms by pair, 0 for no link. */
  readonly links: readonly (readonly number[])[]
  /** In the order of preference. */
  readonly routes: readonly Route[]
}

const factsOf = (size: number): fc.Arbitrary<Facts> =>
  fc.record({
    gateways: fc.array(fc.boolean(), { minLength: size, maxLength: size }),
    exits: fc.array(fc.constantFrom('seen', 'unseen', 'none'), { minLength: size, maxLength: size }),
    failing: fc.array(fc.array(fc.nat(5), { maxLength: 2 }), { minLength: size, maxLength: size }),
    homes: fc.array(fc.integer({ min: -1, max: size - 1 }), { minLength: CLIENTS, maxLength: CLIENTS }),
    carriers: fc.array(fc.integer({ min: -1, max: size - 1 }), { minLength: SITES, maxLength: SITES }),
  })

const vias = (size: number): fc.Arbitrary<Via> =>
  fc.oneof(
    fc.nat(size - 1).map(index => ({ kind: 'controller' as const, id: nameOf(index) })),
    fc.nat(CLIENTS - 1).map(index => ({ kind: 'client' as const, id: clientOf(index) })),
    fc.nat(SITES - 1).map(index => ({ kind: 'attachment' as const, id: clientOf(index) })),
    fc.constant({ kind: 'internet' as const }),
  )

const meshes: fc.Arbitrary<{ mesh: Mesh; before: Facts; facts: Facts; views: Facts[] }> = fc
  .integer({ min: 2, max: MOST })
  .chain(size =>
    fc.record({
      mesh: fc
        .record({
          trips: fc.array(fc.oneof(fc.constant(0), fc.constant(1), fc.integer({ min: 1, max: 300 })), {
            minLength: size * size,
            maxLength: size * size,
          }),
          vias: fc.array(vias(size), { minLength: 1, maxLength: 4 }),
        })
        .map(({ trips, vias }) => ({
          size,
          links: Array.from({ length: size }, (_, a) =>
            Array.from({ length: size }, (_, b) =>
              a === b ? 0 : trips[Math.min(a, b) * size + Math.max(a, b)],
            ),
          ),
          routes: vias.map((via, index) => ({ id: `r${index}`, via })),
        })),
      before: factsOf(size),
      facts: factsOf(size),
      views: fc.array(factsOf(size), { minLength: size, maxLength: size }),
    }),
  )

/** One controller, whose view can be changed under it, and which keeps what it decided before. */
class Node {
  facts: Facts
  readonly #mesh: Mesh
  readonly #ways: Ways

  constructor(mesh: Mesh, self: number, facts: Facts) {
    this.facts = facts
    this.#mesh = mesh
    const linksOf = (index: number): PresentLink[] =>
      mesh.links[index].flatMap((rtt, other) =>
        rtt > 0 ? [{ peer: nameOf(other), up: true, rtt, loss: 0 }] : [],
      )
    const told = Array.from({ length: mesh.size }, (_, index) => [nameOf(index), linksOf(index)] as const)
    const own = linksOf(self).map(({ peer, up, rtt }) => ({ peer, up, rttMs: rtt }))
    const reached = waysTo(nameOf(self), own, told)
    const records = {
      client: (id: string) => ({ id }) as ClientView,
      standing: () => ({ usable: true }) as Credential,
      isAdmitted: () => true,
      controllers: () => told.map(([id]) => ({ id })) as unknown as ReturnType<WayRecords['controllers']>,
    }
    const homeOf = (client: ClientId) => this.facts.homes[Number.parseInt(client, 16)]
    this.#ways = new Ways(nameOf(self), records, {
      session: client => (homeOf(client) === self ? SESSION : undefined),
      controllerOf: client => (homeOf(client) < 0 ? undefined : nameOf(homeOf(client))),
      wayTo: to => {
        const way = reached.get(to)
        return way && { port: indexOf(way.first), hops: way.hops, cost: way.cost }
      },
      reach: controller => ({
        gateway: this.facts.gateways[indexOf(controller)],
        exit: this.facts.exits[indexOf(controller)],
        failing: this.facts.failing[indexOf(controller)].map(index => `r${index}`),
      }),
      carrier: site => {
        const carrier = this.facts.carriers[Number.parseInt(site, 16)]
        return carrier < 0 ? undefined : nameOf(carrier)
      },
    })
  }

  way(): Exclude<Way, { problem: unknown }> | undefined {
    for (const { id, via } of this.#mesh.routes) {
      const way = this.#ways.of({ via, id, source: 'route' })
      if (!('problem' in way)) return way
    }
    return undefined
  }
}

interface Walk {
  readonly visited: number[]
  readonly end: Extract<Hop, 'tun'> | 'session' | 'unreachable' | 'sent back' | 'TTL'
}

/** As the switches do it. */
function walk(nodes: readonly Node[], start: number): Walk {
  const visited = [start]
  for (let at = start, from = FROM_CLIENT; visited.length <= TTL; ) {
    const hop = nodes[at].way()?.hop
    if (hop === undefined) return { visited, end: 'unreachable' }
    if (hop === 'tun') return { visited, end: hop }
    if (hop === SESSION) return { visited, end: 'session' }
    if (hop === from) return { visited, end: 'sent back' }
    from = at
    at = hop
    visited.push(at)
  }
  return { visited, end: 'TTL' }
}

const isSimple = ({ visited }: Walk) => new Set(visited).size === visited.length

test('controllers that know the same bring a packet to the via that the first chose, or one as good', () => {
  fc.assert(
    fc.property(meshes, ({ mesh, before, facts }) => {
      const nodes = Array.from({ length: mesh.size }, (_, index) => new Node(mesh, index, before))
      // What was in use before must not matter.
      for (const node of nodes) node.way()
      for (const node of nodes) node.facts = facts
      for (let start = 0; start < mesh.size; start++) {
        const chosen = nodes[start].way()
        const way = walk(nodes, start)
        assert.ok(isSimple(way), way.visited.join())
        assert.equal(way.end === 'tun' || way.end === 'session', chosen !== undefined)
        if (way.end === 'tun') assert.equal(facts.gateways[way.visited.at(-1)!], true)
      }
    }),
    { numRuns: 2000 },
  )
})

test('one controller that is behind, or ahead, leads nobody in a circle', () => {
  fc.assert(
    fc.property(meshes, ({ mesh, facts, views }) => {
      for (let odd = 0; odd < mesh.size; odd++) {
        const nodes = Array.from(
          { length: mesh.size },
          (_, index) => new Node(mesh, index, index === odd ? views[index] : facts),
        )
        for (let start = 0; start < mesh.size; start++) {
          const way = walk(nodes, start)
          assert.ok(way.visited.filter(each => each === odd).length <= 1, way.visited.join())
          assert.notEqual(way.end, 'TTL')
        }
      }
    }),
    { numRuns: 500 },
  )
})

test('where everyone knows something else, nothing goes on for longer than its TTL', () => {
  fc.assert(
    fc.property(meshes, ({ mesh, views }) => {
      const nodes = views.map((facts, index) => new Node(mesh, index, facts))
      for (let start = 0; start < mesh.size; start++) assert.ok(walk(nodes, start).visited.length <= TTL + 1)
    }),
    { numRuns: 500 },
  )
})
