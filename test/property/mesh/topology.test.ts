// Ways over the backbone on random maps of links.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MAX_HOPS, waysTo } from '../../../mesh/backbone/topology.ts'
import type { PresentLink } from '../../../mesh/presence-types.ts'
import type { ControllerId } from '../../../state/kinds.ts'

const MOST = 9
const nameOf = (index: number) => index.toString(16).padStart(20, '0') as ControllerId

interface Graph {
  readonly size: number
  /** Whether the end `from` says that its link to `to` is up, and its round trip there. */
  readonly ends: readonly { from: number; to: number; up: boolean; rtt: number }[]
}

const graphs: fc.Arbitrary<Graph> = fc.integer({ min: 2, max: MOST }).chain(size => {
  const pairs = Array.from({ length: size * size }, (_, at) => [Math.floor(at / size), at % size])
  const ends = pairs.filter(([from, to]) => from !== to)
  return fc
    .array(fc.record({ up: fc.integer({ min: 0, max: 3 }), rtt: fc.integer({ min: 0, max: 200 }) }), {
      minLength: ends.length,
      maxLength: ends.length,
    })
    .map(told => ({
      size,
      ends: ends.map(([from, to], at) => ({ from, to, up: told[at].up > 0, rtt: told[at].rtt })),
    }))
})

function linksOf({ ends }: Graph, from: number): PresentLink[] {
  return ends
    .filter(end => end.from === from)
    .map(({ to, up, rtt }) => ({ peer: nameOf(to), up, rtt, loss: 0 }))
}

function hopsOf(graph: Graph, self: number): Map<ControllerId, ControllerId> {
  const own = linksOf(graph, self).map(({ peer, up, rtt }) => ({ peer, up, rttMs: rtt }))
  const told = Array.from(
    { length: graph.size },
    (_, index) => [nameOf(index), linksOf(graph, index)] as const,
  )
  return new Map([...waysTo(nameOf(self), own, told)].map(([to, { first }]) => [to, first]))
}

/** Links of which both ends say that they are up. */
function isLink({ ends }: Graph, a: number, b: number): boolean {
  const says = (from: number, to: number) => ends.find(end => end.from === from && end.to === to)?.up
  return says(a, b) === true && says(b, a) === true
}

/** Least number of links from one to another by breadth-first search; undefined beyond `MAX_HOPS`. */
function distance(graph: Graph, from: number, to: number): number | undefined {
  let edge = new Set([from])
  const seen = new Set([from])
  for (let hops = 1; hops <= MAX_HOPS; hops++) {
    const next = new Set<number>()
    for (const at of edge)
      for (let other = 0; other < graph.size; other++)
        if (!seen.has(other) && isLink(graph, at, other)) next.add(other)
    if (next.has(to)) return hops
    for (const each of next) seen.add(each)
    edge = next
  }
  return undefined
}

/** The same map with links that both ends tell alike. */
function agreed(graph: Graph): Graph {
  return {
    ...graph,
    ends: graph.ends.map(end => ({ ...end, up: isLink(graph, end.from, end.to) })),
  }
}

test('whoever follows the first hops arrives, by as few links as there can be, and never comes round', () => {
  fc.assert(
    fc.property(graphs, told => {
      const graph = agreed(told)
      const hops = Array.from({ length: graph.size }, (_, index) => hopsOf(graph, index))
      for (let from = 0; from < graph.size; from++)
        for (let to = 0; to < graph.size; to++) {
          if (from === to) continue
          const expected = distance(graph, from, to)
          assert.equal(hops[from].has(nameOf(to)), expected !== undefined)
          let at = from
          for (let step = 0; step < (expected ?? 0); step++) {
            const next = Number.parseInt(hops[at].get(nameOf(to))!, 16)
            assert.ok(isLink(graph, at, next))
            at = next
          }
          if (expected !== undefined) assert.equal(at, to)
        }
    }),
    { numRuns: 300 },
  )
})

test('of its own links a controller believes itself, of others’ only what both ends say', () => {
  fc.assert(
    fc.property(graphs, graph => {
      const own = linksOf(graph, 0)
      for (const [to, first] of hopsOf(graph, 0)) {
        assert.ok(own.find(({ peer }) => peer === first)?.up)
        if (first === to) continue
        const target = Number.parseInt(to, 16)
        const others = Array.from({ length: graph.size }, (_, index) => index).slice(1)
        assert.ok(others.some(other => other !== target && isLink(graph, other, target)))
      }
    }),
    { numRuns: 300 },
  )
})

test('the order in which links are told changes nothing', () => {
  fc.assert(
    fc.property(graphs, fc.integer(), (graph, seed) => {
      const shuffled = {
        ...graph,
        ends: [...graph.ends].sort(
          (a, b) => ((a.to * 7 + a.from + seed) % 5) - ((b.to * 7 + b.from + seed) % 5),
        ),
      }
      assert.deepEqual([...hopsOf(shuffled, 0)].sort(), [...hopsOf(graph, 0)].sort())
    }),
  )
})
