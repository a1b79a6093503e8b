// Which lives of an author are accounted for, when there are more than are: the same ones, in whatever order they were heard of.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Floors, MAX_LIVES } from '../../../state/lives.ts'
import { encodeRecord, type Incarnation, type Origin } from '../../../state/record.ts'
import type { Replica } from '../../../state/replica.ts'
import {
  controllerOp,
  exchange,
  identity,
  openReplica,
  pull,
  record,
  START,
  twoHalves,
} from '../../unit/state/samples.ts'

const life = (n: number) => n.toString(16).padStart(16, '0') as Incarnation

test('what is kept of two parts is what is kept of what is kept of each', () => {
  const origin = fc
    .tuple(fc.nat(2), fc.nat(20))
    .map(([author, n]) => `${identity(author).id}/${life(n)}` as Origin)
  const origins = fc.array(origin).map(list => new Set(list))
  const kept = (set: Set<Origin>, most: number) => {
    const floors = new Floors(set, most)
    return new Set([...set].filter(each => !floors.isBelow(each)))
  }
  fc.assert(
    fc.property(origins, origins, fc.integer({ min: 1, max: 8 }), (a, b, most) => {
      const whole = kept(new Set([...a, ...b]), most)
      assert.deepEqual(
        [...kept(new Set([...kept(a, most), ...kept(b, most)]), most)].sort(),
        [...whole].sort(),
      )
      for (let author = 0; author < 3; author++)
        assert.ok([...whole].filter(each => each.startsWith(identity(author).id)).length <= most)
    }),
  )
})

const LIVES = MAX_LIVES + 40
const KEYS = 12
/** Of controller 1: one record for each life, of few keys, the newest in any of the lives. */
const POOL = Array.from({ length: LIVES }, (_, n) => {
  const count = (n * 37) % LIVES
  const spec = { id: `x${count % KEYS}`, value: { value: n }, author: 1, time: START, count }
  return encodeRecord(record({ ...spec, kind: 'setting', incarnation: life(n + 1) }))
})

test('replicas that hear of many lives in any order come to account for the same, and to the same records', async () => {
  const delivery = fc.record({
    to: fc.nat(2),
    records: fc.uniqueArray(fc.nat(LIVES - 1), { maxLength: 60 }),
    meets: fc.option(fc.nat(2)),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(delivery, { minLength: 2, maxLength: 8 }), async deliveries => {
      const { a, b } = await twoHalves()
      const c = await openReplica(2)
      await pull(c.replica, a.replica)
      await c.replica.write([controllerOp(2)])
      const replicas = [a.replica, b.replica, c.replica]
      const heard = new Set<number>()
      for (const { to, records, meets } of deliveries) {
        await replicas[to].receive(records.map(n => POOL[n]))
        for (const n of records) heard.add(n)
        if (meets !== null && meets !== to) await exchange(replicas[to], replicas[meets])
      }
      await equalize(replicas)
      const newest = [...heard].sort((x, y) => y - x).slice(0, MAX_LIVES - 1)
      for (const replica of replicas) {
        const vector = replica.vector()
        assert.deepEqual(vector, a.replica.vector())
        assert.equal(replica.hash(), a.replica.hash())
        // One of them is the life in which it wrote its own record.
        for (const n of newest) assert.ok(`${identity(1).id}/${life(n + 1)}` in vector, `life ${n}`)
        assert.ok(replica.get('controller', identity(1).id))
      }
    }),
    { numRuns: 25 },
  )
})

async function equalize(replicas: readonly Replica[]): Promise<void> {
  for (let round = 0; round < 2; round++)
    for (const one of replicas) for (const other of replicas) if (one !== other) await exchange(one, other)
  for (let round = 0; round < 2; round++)
    for (const one of replicas)
      for (const other of replicas) if (one !== other) await one.repair(other.differing(one.buckets()))
}
