// Which controller packets to the Internet leave by.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reach4Of, reach6Of, type WayReach, type WayRecords, Ways } from '../../../node/ways.ts'
import type { ControllerId } from '../../../state/kinds.ts'

const SELF = 'a' as ControllerId
const ROUTE = { via: { kind: 'internet' }, source: 'route', id: 'all' } as const

/** The ways of `a`, to others by links of so many and at such a cost. */
function waysOf(
  reach: Record<string, WayReach>,
  wayTo: (id: string) => { hops: number; cost: number },
): Ways {
  const records = {
    controllers: () =>
      Object.keys(reach).map(id => ({ id })) as unknown as ReturnType<WayRecords['controllers']>,
    isAdmitted: () => true,
  } as unknown as WayRecords
  return new Ways(SELF, records, {
    session: () => undefined,
    controllerOf: () => undefined,
    carrier: () => undefined,
    reach: id => reach[id],
    wayTo: id => ({ port: 1, ...wayTo(id) }),
  })
}

/** The choice of `a`, which is one link from `b`, and two from `c`. */
function exitOf(reach: Record<string, WayReach>): string {
  return choiceOf(waysOf(reach, id => ({ hops: id === 'b' ? 1 : 2, cost: 1 })))
}

function choiceOf(ways: Ways): string {
  const way = ways.of(ROUTE)
  return 'problem' in way ? way.problem : way.at
}

const facts = (exit4: boolean, gateway = true, failing: string[] = []) =>
  reach4Of({ gateway, exit4, failing })
const [seen, unseen, closed] = [facts(true), facts(false), facts(true, false)]
const failing = facts(true, true, ['all'])

test('who is seen to have a way to the Internet comes first: the own controller, then the nearest', () => {
  assert.equal(exitOf({ a: seen, b: seen, c: seen }), 'a')
  assert.equal(exitOf({ a: unseen, b: seen, c: seen }), 'b')
  assert.equal(exitOf({ a: unseen, b: unseen, c: seen }), 'c')
  assert.equal(exitOf({ a: closed, b: unseen, c: seen }), 'c')
  assert.equal(exitOf({ c: seen, b: unseen, a: unseen }), 'c')
})

test('where nobody is, a network of their own may be what is meant', () => {
  assert.equal(exitOf({ a: unseen, b: unseen, c: unseen }), 'a')
  assert.equal(exitOf({ a: closed, b: unseen, c: unseen }), 'b')
  assert.equal(exitOf({ a: unseen, b: failing, c: closed }), 'a')
  assert.equal(exitOf({ a: closed, b: closed }), 'no-gateway')
  assert.equal(exitOf({ a: failing, b: closed }), 'probe-fails')
})

test('of IPv6 that does not serve', () => {
  const six = (exit6: boolean) => reach6Of({ gateway6: true, exit6, failing: [] })
  assert.equal(exitOf({ a: six(false), b: six(false), c: six(true) }), 'c')
  assert.equal(exitOf({ a: six(false), b: six(false) }), 'no-exit')
})

test('of two as near the one in use stays, until the other is nearer by far, by a link, or it fails: flows through it end', () => {
  for (const order of ['bc', 'cb']) {
    const reach: Record<string, WayReach> = Object.fromEntries([...order].map(id => [id, seen]))
    const costs: Record<string, number> = { b: 3, c: 2 }
    const hops: Record<string, number> = { b: 1, c: 1 }
    const ways = waysOf(reach, id => ({ hops: hops[id], cost: costs[id] }))
    const choose = (b: number, c: number) => {
      Object.assign(costs, { b, c })
      return choiceOf(ways)
    }
    assert.deepEqual([choose(3, 2), choose(1, 4), choose(1, 5), choose(4, 1), choose(5, 1)], [...'ccbbc'])
    reach.c = failing
    assert.equal(choose(5, 1), 'b')
    reach.c = seen
    assert.equal(choose(3, 1), 'b')
    hops.b = 2
    assert.equal(choose(1, 9), 'c')
  }
})
