// A replica whose store lost the end of what it had written, among peers that have all of it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MemoryStore } from '../../../state/memory-store.ts'
import type { Replica } from '../../../state/replica.ts'
import {
  type Bench,
  clientId,
  clientOp,
  collect,
  controllerOp,
  exchange,
  foundMesh,
  leaseOp,
  openReplica,
  pull,
  settingOp,
  twoHalves,
} from './samples.ts'

const setting = (replica: Replica, id: string) => replica.get('setting', id)?.value
const copyOf = (bench: Bench) => (bench.store as MemoryStore).copy()

/** Starts again with what is left when everything after the copy is lost. */
async function losing(bench: Bench, index: number, copy: MemoryStore): Promise<Bench> {
  await bench.replica.close()
  return openReplica(index, (bench.store as MemoryStore).truncated(copy), bench.time)
}

/** What two replicas that do not come together by vectors do next. */
async function repair(a: Replica, b: Replica): Promise<void> {
  await exchange(a, b)
  assert.deepEqual(a.vector(), b.vector())
  await a.repair(b.differing(a.buckets()))
  await b.repair(a.differing(b.buckets()))
  assert.equal(a.hash(), b.hash())
}

test('what was deleted and forgotten in the meantime does not come back', async () => {
  const { a, b } = await twoHalves()
  await a.replica.write([settingOp('others', 1), settingOp('kept', 1)])
  await b.replica.write([settingOp('own', 1), clientOp(1), leaseOp('10.77.0.1', 1)])
  await exchange(a.replica, b.replica)
  const copy = copyOf(b)
  await a.replica.write([
    { kind: 'setting', id: 'others', value: null },
    { kind: 'setting', id: 'own', value: null },
    { kind: 'client', id: clientOp(1).id, value: null },
  ])
  await collect(a, b)

  const left = await losing(b, 1, copy)
  assert.deepEqual(
    left.replica.problems.map(({ code }) => code),
    ['records-lost'],
  )
  assert.equal(left.replica.lostAt, left.time)
  assert.ok(left.replica.unconfirmed > 0)
  // It tells what it has before it knows better.
  await repair(a.replica, left.replica)
  for (const { replica } of [a, left]) {
    assert.equal(setting(replica, 'others'), undefined)
    assert.equal(setting(replica, 'own'), undefined)
    assert.equal(replica.get('client', clientOp(1).id), undefined)
    assert.equal(setting(replica, 'kept'), 1)
    assert.equal(replica.get('lease', '10.77.0.1')?.holder, clientId(1))
  }
  assert.equal(left.replica.unconfirmed, 0)
})

test('that holds across restarts, and when the exchange is cut short anywhere', async () => {
  const { a, b } = await twoHalves()
  for (let n = 0; n < 20; n++) await (n % 2 ? a : b).replica.write([settingOp(`s${n}`, n)])
  await exchange(a.replica, b.replica)
  const copy = copyOf(b)
  for (let n = 0; n < 10; n++)
    await (n % 3 ? a : b).replica.write([{ kind: 'setting', id: `s${n}`, value: null }])
  await collect(a, b)
  let left = await losing(b, 1, copy)
  const { lostAt } = left.replica
  left.time += 1000
  for (let round = 0; round < 100 && left.replica.unconfirmed > 0; round++) {
    left = await openReplica(1, left.store, left.time)
    assert.deepEqual(left.replica.problems, [], 'said once')
    assert.equal(left.replica.lostAt, lostAt)
    // One small part, and then it is killed.
    await left.replica.absorb(a.replica.missingFor(left.replica.vector(), 600)!)
  }
  await repair(a.replica, left.replica)
  assert.equal([...left.replica.all('setting')].length, 10)
})

test('what was accounted for before counts as that no more after the next start, either', async () => {
  const { a, b } = await twoHalves()
  await a.replica.write([settingOp('vanished', 1)])
  await exchange(a.replica, b.replica)
  const store = b.store as MemoryStore
  store.raw.delete('setting/vanished')
  await openReplica(1, store, b.time)
  const again = await openReplica(1, store, b.time)
  await pull(again.replica, a.replica)
  assert.equal(setting(again.replica, 'vanished'), 1)
})

test('what nobody else ever had is told, where the store still has it', async () => {
  const { a, b } = await twoHalves()
  await b.replica.write([settingOp('alone', 1), clientOp(1)])
  const copy = copyOf(b)
  await b.replica.write([settingOp('later', 1)])
  const left = await losing(b, 1, copy)
  // Numbers that were used since may be known to somebody.
  assert.ok(left.replica.incarnation > b.replica.incarnation)
  await left.replica.write([settingOp('new', 1)])
  await repair(a.replica, left.replica)
  for (const { replica } of [a, left]) {
    assert.equal(setting(replica, 'alone'), 1)
    assert.equal(setting(replica, 'new'), 1)
    assert.ok(replica.get('client', clientId(1)))
  }
  assert.equal(left.replica.unconfirmed, 0)
})

test('a controller without others keeps all that is left, works on, and hands it to who joins', async () => {
  const a = await foundMesh()
  await a.replica.write([clientOp(1), settingOp('x', 1)])
  const copy = copyOf(a)
  await a.replica.write([settingOp('y', 1)])
  const lost = await losing(a, 0, copy)
  await lost.replica.write([settingOp('z', 1), { kind: 'setting', id: 'x', value: null }])
  lost.time += 1000
  const { replica } = await openReplica(0, lost.store, lost.time)
  const c = await openReplica(2, undefined, lost.time)
  await pull(c.replica, replica)
  await c.replica.write([controllerOp(2)])
  await repair(replica, c.replica)
  assert.equal(c.replica.count, 5)
  assert.ok(c.replica.get('client', clientId(1)))
  assert.equal(setting(c.replica, 'x'), undefined)
  assert.equal(setting(c.replica, 'z'), 1)
  assert.equal(replica.unconfirmed, 0)
})
