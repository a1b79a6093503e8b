// A replica that goes on from a copy, among peers that went on without it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryStore } from '../../../state/memory-store.ts'
import { encodeRecord } from '../../../state/record.ts'
import type { Problem } from '../../../state/recovery.ts'
import type { Replica, Snapshot } from '../../../state/replica.ts'
import { restoreRecords } from '../../../state/restoring.ts'
import {
  type Bench,
  clientId,
  clientOp,
  collect,
  controllerOp,
  exchange,
  foundMesh,
  identity,
  leaseOp,
  openReplica,
  pull,
  revocationOp,
  seeded,
  seededBytes,
  serial,
  settingOp,
  twoHalves,
} from './samples.ts'

const HOUR = 3_600_000

async function restored(snapshot: Snapshot, time: number, index = 0): Promise<Bench> {
  const store = new MemoryStore()
  async function* parts() {
    const all = snapshot.records.map(encodeRecord)
    for (let at = 0; at < all.length; at += 2) yield all.slice(at, at + 2)
  }
  const { id } = identity(index)
  const { incarnation } = snapshot
  const random = seededBytes(seeded(99))
  await restoreRecords(store, parts(), { id, incarnation, copiedAt: 1, now: time, random })
  return openReplica(index, store, time)
}

const setting = (replica: Replica, id: string) => replica.get('setting', id)?.value

test('a copy alone is the whole of it, under a new incarnation', async () => {
  const a = await foundMesh()
  await a.replica.write([clientOp(1), leaseOp('10.77.0.1', 1), settingOp('gone', 1)])
  await a.replica.write([{ kind: 'setting', id: 'gone', value: null }])
  const copy = (await restored(await a.replica.snapshot(), a.time + HOUR)).replica
  assert.equal(copy.hash(), a.replica.hash())
  assert.ok(copy.incarnation > a.replica.incarnation)
  assert.deepEqual(copy.problems, [])
  assert.equal(copy.restoredFrom, 1)
  await copy.write([settingOp('new', 1)])
  assert.equal(copy.sequence, 1)
  // Whoever joins it gets everything, and confirms it.
  const c = await openReplica(2, undefined, a.time + HOUR)
  await pull(c.replica, copy)
  assert.equal(c.replica.hash(), copy.hash())
  await c.replica.write([controllerOp(2)])
  await exchange(copy, c.replica)
  assert.equal(copy.unconfirmed, 0)
  assert.equal(c.replica.hash(), copy.hash())
})

test('what was deleted and forgotten since the copy does not come back', async () => {
  const { a, b } = await twoHalves()
  await a.replica.write([settingOp('own', 1), settingOp('kept', 1), clientOp(1), leaseOp('10.77.0.1', 1)])
  await b.replica.write([settingOp('others', 1), settingOp('changed', 1)])
  await exchange(a.replica, b.replica)
  const snapshot = await a.replica.snapshot()
  await a.replica.write([
    { kind: 'setting', id: 'own', value: null },
    { kind: 'client', id: clientOp(1).id, value: null },
  ])
  await b.replica.write([{ kind: 'setting', id: 'others', value: null }, settingOp('changed', 2)])
  await b.replica.write([
    revocationOp(1),
    { kind: 'lease', id: '10.77.0.1', value: null },
    leaseOp('10.77.0.1', 2),
  ])
  await collect(a, b)

  const copy = await restored(snapshot, a.time + HOUR)
  b.time = copy.time
  assert.equal(setting(copy.replica, 'own'), 1)
  assert.ok(copy.replica.unconfirmed > 0)
  // It says what it has before it knows better, and nobody takes it up.
  await exchange(b.replica, copy.replica)
  await exchange(b.replica, copy.replica)
  for (const { replica } of [copy, b]) {
    assert.equal(setting(replica, 'own'), undefined)
    assert.equal(setting(replica, 'others'), undefined)
    assert.equal(setting(replica, 'changed'), 2)
    assert.equal(setting(replica, 'kept'), 1)
    assert.equal(replica.get('client', clientOp(1).id), undefined)
    assert.equal(replica.get('lease', '10.77.0.1')?.holder, clientId(2))
    assert.ok(replica.get('revocation', serial(1)))
  }
  assert.equal(copy.replica.unconfirmed, 0)
  assert.equal(copy.replica.hash(), b.replica.hash())
})

test('that holds across restarts, and when the exchange is cut short anywhere', async () => {
  const { a, b } = await twoHalves()
  for (let n = 0; n < 20; n++) await (n % 2 ? a : b).replica.write([settingOp(`s${n}`, n)])
  await exchange(a.replica, b.replica)
  const snapshot = await a.replica.snapshot()
  for (let n = 0; n < 10; n++)
    await (n % 3 ? a : b).replica.write([{ kind: 'setting', id: `s${n}`, value: null }])
  await collect(a, b)
  let copy = await restored(snapshot, a.time + HOUR)
  b.time = copy.time
  for (let round = 0; round < 100 && copy.replica.unconfirmed > 0; round++) {
    // One small part, and then it is killed.
    await copy.replica.absorb(b.replica.missingFor(copy.replica.vector(), 600)!)
    copy = await openReplica(0, copy.store, copy.time)
  }
  await exchange(b.replica, copy.replica)
  assert.equal(copy.replica.hash(), b.replica.hash())
  assert.equal([...copy.replica.all('setting')].length, 10)
})

test('what nobody else ever had is told', async () => {
  const { a, b } = await twoHalves()
  await a.replica.write([settingOp('alone', 1)])
  const copy = await restored(await a.replica.snapshot(), a.time + HOUR)
  b.time = copy.time
  await exchange(b.replica, copy.replica)
  await exchange(b.replica, copy.replica)
  assert.equal(setting(b.replica, 'alone'), 1)
  assert.equal(copy.replica.unconfirmed, 0)
  assert.equal(copy.replica.hash(), b.replica.hash())
})

test('numbers used since the copy are not used again', async () => {
  const { a, b } = await twoHalves()
  const snapshot = await a.replica.snapshot()
  await a.replica.write([settingOp('since', 1)])
  await exchange(a.replica, b.replica)
  const copy = await restored(snapshot, a.time + HOUR)
  b.time = copy.time
  await copy.replica.write([settingOp('after', 1)])
  await exchange(b.replica, copy.replica)
  for (const { replica } of [b, copy]) {
    assert.equal(setting(replica, 'since'), 1)
    assert.equal(setting(replica, 'after'), 1)
  }
})

test('a controller notices that a copy of it runs, and so does the copy', async () => {
  const { a, b } = await twoHalves()
  const heard: string[] = []
  const listen = (who: string, { replica }: Bench) => {
    replica.onProblem = ({ code }: Problem) => heard.push(`${who} ${code}`)
  }
  listen('original', a)
  for (const bench of [a, b]) bench.time += HOUR
  const copy = await restored(await a.replica.snapshot(), a.time)
  listen('copy', copy)
  await copy.replica.write([settingOp('by-copy', 1)])
  await exchange(b.replica, copy.replica)
  assert.deepEqual(heard, [])
  await exchange(a.replica, b.replica)
  assert.deepEqual(heard, ['original cloned'])
  for (const bench of [a, b, copy]) bench.time += HOUR
  await a.replica.write([settingOp('by-original', 1)])
  await exchange(a.replica, b.replica)
  await exchange(b.replica, copy.replica)
  assert.deepEqual(heard, ['original cloned', 'copy cloned'])
  assert.match(copy.replica.problems.at(-1)!.message, /another copy of this controller is running/)
})

test('a disk that was set back is no copy that runs', async () => {
  const { a, b } = await twoHalves()
  for (const bench of [a, b]) bench.time += HOUR
  const snapshot = await a.replica.snapshot()
  await a.replica.write([settingOp('since', 1)])
  await exchange(a.replica, b.replica)
  const copy = await restored(snapshot, a.time + 1000)
  b.time = copy.time
  await exchange(b.replica, copy.replica)
  assert.deepEqual(copy.replica.problems, [])
})
