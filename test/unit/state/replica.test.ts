import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_SKEW_MS } from '../../../state/clock.ts'
import { StateError } from '../../../state/errors.ts'
import { MemoryStore } from '../../../state/memory-store.ts'
import { encodeRecord, originOf } from '../../../state/record.ts'
import { MAX_WAITING } from '../../../state/step-queue.ts'
import { collectable, TOMBSTONE_MS, TOMBSTONE_ROUND_MS } from '../../../state/tombstones.ts'
import { parseVector } from '../../../state/vector.ts'
import {
  clientId,
  clientOp,
  clientValue,
  controllerOp,
  controllerValue,
  exchange,
  FOREIGN_CHAIN,
  foundMesh,
  identity,
  leaseOp,
  meshOp,
  openReplica,
  pull,
  record,
  revocationOp,
  START,
  serial,
  settingOp,
} from './samples.ts'

/** Two replicas that know each other. */
async function pair() {
  const a = await foundMesh()
  const b = await openReplica(1)
  await pull(b.replica, a.replica)
  await b.replica.write([controllerOp(1)])
  await exchange(a.replica, b.replica)
  return { a, b }
}

const code = (expected: string) => (error: unknown) => error instanceof StateError && error.code === expected

test('what was written is there after a restart, with the next sequence number', async () => {
  const store = new MemoryStore()
  const { replica } = await foundMesh(store)
  const receipt = await replica.write([clientOp(1), leaseOp('10.77.0.1', 1)])
  assert.deepEqual({ ...receipt, incarnation: '' }, { incarnation: '', sequence: 4, written: 2, peers: 0 })
  const again = (await openReplica(0, store)).replica
  assert.deepEqual(again.get('client', clientId(1)), clientValue(1))
  assert.equal(again.hash(), replica.hash())
  assert.equal(again.incarnation, replica.incarnation)
  assert.equal(again.count, 4)
  assert.deepEqual(again.problems, [])
  assert.equal((await again.write([clientOp(2)])).sequence, 5)
})

test('a batch is written whole or not at all', async () => {
  const { replica } = await foundMesh()
  const before = replica.hash()
  await assert.rejects(
    replica.write([clientOp(1), { ...clientOp(2), id: 'no id' } as never]),
    code('INVALID'),
  )
  await assert.rejects(
    replica.write([clientOp(1), leaseOp('10.77.0.9', 1), leaseOp('10.77.0.9', 2)]),
    code('ADDRESS_TAKEN'),
  )
  assert.equal(replica.hash(), before)
  assert.equal(replica.get('client', clientId(1)), undefined)
})

test('a write that changes nothing costs no record', async () => {
  const { replica } = await foundMesh()
  await replica.write([leaseOp('10.77.0.9', 1), revocationOp(1)])
  const receipt = await replica.write([
    leaseOp('10.77.0.9', 1),
    revocationOp(1, 'again'),
    { kind: 'client', id: clientId(7), value: null },
  ])
  assert.equal(receipt.written, 0)
  assert.equal(receipt.sequence, replica.sequence)
})

test('an address is released and leased again, even in one batch', async () => {
  const { replica } = await foundMesh()
  await replica.write([leaseOp('10.77.0.9', 1)])
  await replica.write([{ kind: 'lease', id: '10.77.0.9', value: null }, leaseOp('10.77.0.9', 2)])
  assert.equal(replica.get('lease', '10.77.0.9')!.holder, clientId(2))
  assert.equal(replica.record('lease', '10.77.0.9')!.term, 1)
})

test('a replica writes only what is its own to write', async () => {
  const fresh = await openReplica(0)
  await assert.rejects(fresh.replica.write([clientOp(1)]), code('NOT_ADMITTED'))
  const { a, b } = await pair()
  await assert.rejects(a.replica.write([controllerOp(1, { name: 'taken' })]), code('FORBIDDEN'))
  await assert.rejects(
    a.replica.write([{ kind: 'controller', id: identity(1).id, value: null }]),
    code('INVALID'),
  )
  await assert.rejects(a.replica.write([{ kind: 'revocation', id: serial(1), value: null }]), code('INVALID'))
  await a.replica.write([controllerOp(1, { removedAt: START })])
  await pull(b.replica, a.replica)
  await assert.rejects(b.replica.write([clientOp(1)]), code('REMOVED'))
})

test('a function given to write reads the state its batch is written upon', async () => {
  const { replica } = await foundMesh()
  const next = () => [settingOp('counter', Number(replica.get('setting', 'counter')?.value ?? 0) + 1)]
  await Promise.all(Array.from({ length: 20 }, () => replica.write(next)))
  assert.equal(replica.get('setting', 'counter')!.value, 20)
})

test('waiting writes are bounded', async () => {
  const { replica } = await foundMesh()
  const writes = Array.from({ length: MAX_WAITING + 1 }, (_, i) => replica.write([settingOp('x', i)]))
  const results = await Promise.allSettled(writes)
  const refused = results.filter(result => result.status === 'rejected')
  assert.equal(refused.length, 1)
  assert.ok(code('BUSY')(refused[0].reason))
})

test('two replicas exchange what each lacks and then only vectors', async () => {
  const { a, b } = await pair()
  await a.replica.write([clientOp(1), clientOp(2)])
  await b.replica.write([clientOp(3)])
  await exchange(a.replica, b.replica)
  assert.equal(a.replica.hash(), b.replica.hash())
  assert.deepEqual(a.replica.vector(), b.replica.vector())
  assert.deepEqual(a.replica.missingFor(b.replica.vector()), { records: [], known: {}, more: false })
})

test('superseded records never travel and leave no gap', async () => {
  const { a, b } = await pair()
  for (let i = 0; i < 50; i++) await a.replica.write([settingOp('x', i), settingOp(`y${i % 3}`, i)])
  const delta = a.replica.missingFor(b.replica.vector())!
  assert.equal(delta.records.length, 4)
  await b.replica.absorb(delta)
  assert.deepEqual(b.replica.vector(), a.replica.vector())
  const origin = `${a.replica.id}/${a.replica.incarnation}` as const
  assert.deepEqual(b.replica.vector()[origin], [1, a.replica.sequence])
})

test('an exchange in small pieces ends in the same place', async () => {
  const { a, b } = await pair()
  for (let i = 0; i < 40; i++) await a.replica.write([settingOp(`s${i % 25}`, i)])
  const rounds = await pull(b.replica, a.replica, 600)
  assert.ok(rounds > 5)
  assert.equal(b.replica.hash(), a.replica.hash())
  assert.deepEqual(b.replica.vector(), a.replica.vector())
})

test('a receipt counts the peers that confirmed', async () => {
  const { a, b } = await pair()
  const { sequence } = await a.replica.write([clientOp(1)])
  assert.equal(a.replica.holders(sequence), 0)
  await exchange(a.replica, b.replica)
  await a.replica.hear(b.replica.id, b.replica.vector())
  assert.equal(a.replica.holders(sequence), 1)
})

test('a record from the future is held back, then merged when its time comes', async () => {
  const { a, b } = await pair()
  b.time = START + MAX_SKEW_MS + 5000
  await b.replica.write([clientOp(1)])
  await pull(a.replica, b.replica)
  assert.equal(a.replica.get('client', clientId(1)), undefined)
  assert.equal(a.replica.held, 1)
  // It does not count as known: it would be sent again, were it lost here.
  assert.equal(b.replica.missingFor(a.replica.vector())!.records.length, 1)
  const due = await a.replica.poll()
  assert.equal(due, START + 5000)
  a.time = due
  await a.replica.poll()
  assert.deepEqual(a.replica.get('client', clientId(1)), clientValue(1))
  assert.equal(a.replica.held, 0)
})

test('a revocation from the future counts at once and does not move the clock', async () => {
  const { a, b } = await pair()
  b.time = START + 3_600_000
  await b.replica.write([revocationOp(1)])
  await pull(a.replica, b.replica)
  assert.ok(a.replica.get('revocation', serial(1)))
  await a.replica.write([clientOp(1)])
  assert.ok(a.replica.record('client', clientId(1))!.stamp < a.replica.record('revocation', serial(1))!.stamp)
})

test('records of an unknown author wait for its own record', async () => {
  const { a } = await pair()
  const client = record({
    ...(clientOp(5) as { kind: 'client'; id: string }),
    value: clientValue(5),
    author: 2,
    sequence: 2,
  })
  const own = record({ kind: 'controller', id: identity(2).id, value: controllerValue(2), author: 2 })
  const [held] = await a.replica.receive([encodeRecord(client)])
  assert.deepEqual(held, { outcome: 'held', why: 'unknown-author', kept: true })
  await a.replica.receive([encodeRecord(own)])
  assert.deepEqual(a.replica.get('client', clientId(5)), clientValue(5))
  assert.equal(a.replica.held, 0)
})

test('forged, foreign and misattributed records are refused', async () => {
  const { a } = await pair()
  const good = record({ kind: 'client', id: clientId(5), value: clientValue(5), author: 1, sequence: 99 })
  const forged = { ...good, value: clientValue(5, { address: '10.77.0.66' }) }
  const foreign = record({
    kind: 'controller',
    id: identity(3).id,
    value: controllerValue(3, { certificateChain: FOREIGN_CHAIN }),
    author: 3,
  })
  const others = record({
    kind: 'controller',
    id: identity(0).id,
    value: controllerValue(0),
    author: 1,
    sequence: 98,
  })
  const bytes = [encodeRecord(forged), encodeRecord(foreign), encodeRecord(others), new Uint8Array(100)]
  for (const outcome of await a.replica.receive(bytes)) assert.equal(outcome.outcome, 'refused')
  assert.deepEqual((await a.replica.receive([encodeRecord(good)]))[0].outcome, 'merged')
})

test('what could not be taken from a delta does not count as known', async () => {
  const { a, b } = await pair()
  await a.replica.write([clientOp(1), clientOp(2)])
  const delta = a.replica.missingFor(b.replica.vector())!
  const spoiled = delta.records.map(bytes => Uint8Array.from(bytes))
  spoiled[0][0] ^= 1
  await b.replica.absorb({ ...delta, records: spoiled })
  await pull(b.replica, a.replica)
  assert.equal(b.replica.hash(), a.replica.hash())
})

test("a removed controller's later writes count for nothing, earlier ones stay", async () => {
  const { a, b } = await pair()
  await b.replica.write([clientOp(1)])
  await exchange(a.replica, b.replica)
  a.time += 1000
  await a.replica.write([controllerOp(1, { removedAt: a.time })])
  b.time += 2000
  await b.replica.write([clientOp(2), settingOp('x', 'late')])
  await pull(a.replica, b.replica)
  assert.ok(a.replica.get('client', clientId(1)))
  assert.equal(a.replica.get('client', clientId(2)), undefined)
  await pull(b.replica, a.replica)
  assert.equal(b.replica.get('client', clientId(2)), undefined)
  assert.equal(b.replica.hash(), a.replica.hash())
})

test('what a removed controller overwrote too late comes back from whoever still has it', async () => {
  const { a, b } = await pair()
  await a.replica.write([settingOp('x', 'right')])
  const c = await openReplica(2)
  await pull(c.replica, a.replica)
  await c.replica.write([controllerOp(2)])
  await exchange(a.replica, c.replica)
  await pull(b.replica, a.replica)
  a.time += 1000
  await a.replica.write([controllerOp(1, { removedAt: a.time })])
  b.time += 2000
  await b.replica.write([settingOp('x', 'wrong')])
  c.time += 2000
  await pull(c.replica, b.replica)
  assert.equal(c.replica.get('setting', 'x')!.value, 'wrong')
  await exchange(c.replica, a.replica)
  await exchange(c.replica, a.replica)
  assert.equal(c.replica.get('setting', 'x')!.value, 'right')
  assert.equal(a.replica.get('setting', 'x')!.value, 'right')
  assert.equal(c.replica.hash(), a.replica.hash())
})

test('a wiped replica takes a new incarnation and gets its records back', async () => {
  const { a, b } = await pair()
  await b.replica.write([clientOp(1), clientOp(2)])
  await exchange(a.replica, b.replica)
  const wiped = await openReplica(1, new MemoryStore(), START + 1)
  assert.notEqual(wiped.replica.incarnation, b.replica.incarnation)
  await pull(wiped.replica, a.replica)
  assert.equal(wiped.replica.hash(), a.replica.hash())
  await wiped.replica.write([clientOp(3)])
  await exchange(wiped.replica, a.replica)
  assert.equal(wiped.replica.hash(), a.replica.hash())
})

test('a replica restored from an old copy loses neither its old nor its new writes', async () => {
  const { a, b } = await pair()
  await b.replica.write([clientOp(1)])
  const backup = (b.store as MemoryStore).copy()
  await b.replica.write([clientOp(2), settingOp('x', 'old life')])
  await exchange(a.replica, b.replica)
  const restored = await openReplica(1, backup, START + 1)
  const before = restored.replica.incarnation
  // The same sequence number as client 2 had, for something else.
  await restored.replica.write([clientOp(3)])
  await restored.replica.hear(a.replica.id, a.replica.vector())
  assert.notEqual(restored.replica.incarnation, before)
  assert.equal(restored.replica.problems.at(-1)!.code, 'amnesia')
  await exchange(restored.replica, a.replica)
  for (const { replica } of [a, restored]) {
    for (const index of [1, 2, 3]) assert.ok(replica.get('client', clientId(index)), `client ${index}`)
    assert.equal(replica.get('setting', 'x')!.value, 'old life')
  }
  assert.equal(restored.replica.hash(), a.replica.hash())
})

test('claims to know later writes do not spin a replica through incarnations', async () => {
  const { a } = await pair()
  for (let i = 0; i < 5; i++) {
    const origin = `${a.replica.id}/${a.replica.incarnation}` as const
    await a.replica.hear(identity(1).id, { [origin]: [1, 1e9] })
  }
  assert.equal(a.replica.problems.filter(problem => problem.code === 'amnesia').length, 1)
})

test('whoever says what this replica has written takes none of its writes from others', async () => {
  const { a, b } = await pair()
  const { incarnation, sequence } = a.replica
  const known = { [`${identity(0).id}/${incarnation}`]: [1, sequence + 5] }
  await a.replica.absorb({ records: [], known, base: {}, more: false })
  for (const id of ['s1', 's2', 's3']) {
    await a.replica.write([settingOp(id, 1)])
    await pull(b.replica, a.replica)
    assert.equal(b.replica.get('setting', id)?.value, 1)
  }
  // Nor does it take itself for one whose disk was set back.
  assert.equal(a.replica.incarnation, incarnation)
})

test('a tombstone stays while what a peer wrote before may still be on its way', () => {
  const tombstone = record({ kind: 'setting', id: 'gone', value: null, author: 0, sequence: 5 })
  const origin = originOf(tombstone)
  const other = `${identity(1).id}/${'1'.repeat(16)}` as typeof origin
  const known = (all: Record<string, number[]>) => parseVector(all)!
  const peer = known({ [origin]: [1, 5], [other]: [1, 3] })
  const goes = (ours: Record<string, number[]>, peers = [peer]) =>
    [...collectable([tombstone], { ours: known(ours), peers, now: START })].length === 1
  assert.equal(goes({ [origin]: [1, 5], [other]: [1, 3] }), true)
  assert.equal(goes({ [origin]: [1, 5], [other]: [1, 2] }), false)
  assert.equal(goes({ [origin]: [1, 5] }), false)
  // Nor while one has not said that it has it.
  assert.equal(goes({ [origin]: [1, 5], [other]: [1, 3] }, [peer, known({ [origin]: [1, 4] })]), false)
})

test('a tombstone goes when every controller has it, or after thirty days', async () => {
  const { a, b } = await pair()
  await a.replica.write([settingOp('x', 1), settingOp('y', 1)])
  await exchange(a.replica, b.replica)
  await a.replica.write([{ kind: 'setting', id: 'x', value: null }])
  const stored = async () => (await a.store.scan()).records.has('setting/x')
  a.time += TOMBSTONE_ROUND_MS
  await a.replica.poll()
  assert.equal(await stored(), true, 'b has not confirmed it')
  await exchange(a.replica, b.replica)
  await a.replica.hear(b.replica.id, b.replica.vector())
  a.time += TOMBSTONE_ROUND_MS
  await a.replica.poll()
  assert.equal(await stored(), false)
  assert.equal(a.replica.hash(), b.replica.hash())
  await a.replica.write([{ kind: 'setting', id: 'y', value: null }])
  a.time += TOMBSTONE_MS + TOMBSTONE_ROUND_MS
  await a.replica.poll()
  assert.equal((await a.store.scan()).records.has('setting/y'), false)
})

test('a collected deletion is not undone by a copy that missed it', async () => {
  const { a, b } = await pair()
  await a.replica.write([settingOp('x', 1)])
  const { records } = a.replica.missingFor({})!
  await a.replica.write([{ kind: 'setting', id: 'x', value: null }])
  await exchange(a.replica, b.replica)
  await a.replica.hear(b.replica.id, b.replica.vector())
  a.time += TOMBSTONE_ROUND_MS
  await a.replica.poll()
  await a.replica.receive(records)
  assert.equal(a.replica.get('setting', 'x'), undefined)
})

test('a failed batch ends the writing until the replica is opened again', async () => {
  for (const failure of ['before', 'after'] as const) {
    const store = new MemoryStore()
    const { replica } = await foundMesh(store)
    store.crash(failure)
    const told: string[] = []
    replica.onProblem = problem => told.push(problem.code)
    await assert.rejects(replica.write([clientOp(1)]), code('STORE_FAILED'))
    await assert.rejects(replica.write([clientOp(2)]), code('STORE_FAILED'))
    assert.deepEqual(told, ['store-failed'], 'said once')
    assert.match(replica.problems.at(-1)!.message, /the store crashed .*takes no change/)
    assert.equal(replica.get('client', clientId(1)), undefined)
    const again = (await openReplica(0, store)).replica
    assert.equal(again.get('client', clientId(1)) !== undefined, failure === 'after')
    assert.deepEqual(again.problems, [])
  }
})

test('a changed record on disk is found by verify', async () => {
  const store = new MemoryStore()
  const { replica } = await foundMesh(store)
  await replica.write([clientOp(1)])
  assert.deepEqual(await replica.verify(), { records: 3, faults: [] })
  const key = `client/${clientId(1)}`
  store.raw.get(key)![80] ^= 1
  const { faults } = await replica.verify()
  assert.deepEqual(faults, [{ key, reason: 'checksum does not fit' }])
})

test('however many ask at once, it is verified once, and anew for who asks later', async () => {
  const store = new MemoryStore()
  const { replica } = await foundMesh(store)
  let scans = 0
  const scan = store.scan.bind(store)
  store.scan = () => {
    scans++
    return scan()
  }
  const told = await Promise.all(Array.from({ length: 50 }, () => replica.verify()))
  assert.equal(scans, 1)
  for (const each of told) assert.deepEqual(each, { records: 2, faults: [] })
  store.scan = () => Promise.reject(new Error('gone'))
  await assert.rejects(replica.verify(), /gone/)
  store.scan = scan
  await replica.write([clientOp(1)])
  assert.deepEqual(await replica.verify(), { records: 3, faults: [] })
})

test('a damaged record is set aside at the start, said, and fetched again from a peer', async () => {
  const { a, b } = await pair()
  await a.replica.write([clientOp(1), clientOp(2)])
  await exchange(a.replica, b.replica)
  const store = a.store as MemoryStore
  store.raw.get(`client/${clientId(1)}`)![80] ^= 1
  const again = await openReplica(0, store, START + 1)
  assert.ok(
    again.replica.problems.some(problem => problem.code === 'damaged' && problem.message.includes('client/')),
  )
  assert.equal(again.replica.get('client', clientId(1)), undefined)
  assert.ok(again.replica.get('client', clientId(2)))
  await exchange(again.replica, b.replica)
  assert.deepEqual(again.replica.get('client', clientId(1)), clientValue(1))
  assert.equal(again.replica.hash(), b.replica.hash())
  assert.equal((await store.scan()).setAside, 1)
  const third = await openReplica(0, store, START + 2)
  assert.deepEqual(
    third.replica.problems.map(problem => problem.code),
    ['set-aside'],
  )
})

test('a record that vanished or fell back to an older version is noticed at the start', async () => {
  for (const spoil of ['vanish', 'older'] as const) {
    const store = new MemoryStore()
    const { replica } = await foundMesh(store)
    await replica.write([settingOp('x', 1)])
    const older = store.raw.get('setting/x')!
    await replica.write([settingOp('x', 2)])
    if (spoil === 'vanish') store.raw.delete('setting/x')
    else store.raw.set('setting/x', older)
    const again = await openReplica(0, store, START + 1)
    assert.deepEqual(
      again.replica.problems.map(problem => problem.code),
      ['records-lost'],
      spoil,
    )
    assert.notEqual(again.replica.incarnation, replica.incarnation)
  }
})

test('a clock that was far ahead is explained and stops nothing', async () => {
  const store = new MemoryStore()
  const year = 365 * 24 * 3_600_000
  const ahead = await openReplica(0, store, START + year)
  await ahead.replica.write([meshOp(), controllerOp(0)])
  const back = await openReplica(0, store, START)
  assert.deepEqual(
    back.replica.problems.map(problem => problem.code),
    ['clock-ahead'],
  )
  assert.match(back.replica.problems[0].message, /2027-01-01.*2026-01-01/)
  const last = back.replica.record('controller', identity(0).id)!.stamp
  await back.replica.write([controllerOp(0, { name: 'renamed' })])
  assert.ok(back.replica.record('controller', identity(0).id)!.stamp > last)
})

test('listeners hear of changes after they are on disk, and their mistakes are their own', async () => {
  const { a, b } = await pair()
  const heard: string[] = []
  const stop = a.replica.onChange(({ changes, cause }) => {
    for (const { kind, id, after } of changes) heard.push(`${cause} ${kind} ${id} ${after?.value === null}`)
  })
  await a.replica.write([settingOp('x', 1)])
  await a.replica.write([{ kind: 'setting', id: 'x', value: null }])
  await b.replica.write([settingOp('y', 1)])
  await pull(a.replica, b.replica)
  stop()
  await a.replica.write([settingOp('z', 1)])
  assert.deepEqual(heard, ['written setting x false', 'written setting x true', 'received setting y false'])
})

test('a store of another controller is refused, not overwritten', async () => {
  const store = new MemoryStore()
  await foundMesh(store)
  await assert.rejects(openReplica(1, store), code('STORE_FOREIGN'))
})

test('closed means closed', async () => {
  const { replica } = await foundMesh()
  await replica.close()
  await assert.rejects(replica.write([clientOp(1)]), code('CLOSED'))
})

test('what a record that is held back has superseded elsewhere does not count as known', async () => {
  const [a, b, ahead] = [await foundMesh(), await openReplica(1), await openReplica(2)]
  for (const [i, each] of [b, ahead].entries()) {
    await pull(each.replica, a.replica)
    await each.replica.write([controllerOp(i + 1)])
    await exchange(a.replica, each.replica)
  }
  await pull(b.replica, a.replica)
  await a.replica.write([settingOp('x', 'old')])
  await exchange(b.replica, a.replica)
  // Not yet at b: a newer version, and one that replaced it by a clock ten minutes ahead.
  await a.replica.write([settingOp('x', 'new')])
  ahead.time += 600_000
  await pull(ahead.replica, a.replica)
  await ahead.replica.write([settingOp('x', 'of the future')])
  await pull(b.replica, ahead.replica)
  assert.equal(b.replica.held, 1)
  assert.equal(b.replica.get('setting', 'x')?.value, 'old')
  // Who knows nothing of the future still has it.
  await pull(b.replica, a.replica)
  assert.equal(b.replica.get('setting', 'x')?.value, 'new')
})
