// More lives of one controller than are accounted for: made up by whoever has its key, or lived.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeFrame, encodeFrame } from '../../../mesh/messages.ts'
import { livesEach, MAX_LIVES } from '../../../state/lives.ts'
import { MemoryStore } from '../../../state/memory-store.ts'
import { encodeNote, knownNote } from '../../../state/notes.ts'
import { encodeRecord, type Incarnation, type Origin } from '../../../state/record.ts'
import type { Replica } from '../../../state/replica.ts'
import { MAX_ORIGINS, parseVector } from '../../../state/vector.ts'
import {
  type Bench,
  controllerOp,
  exchange,
  foundMesh,
  identity,
  openReplica,
  pull,
  record,
  START,
  settingOp,
  twoHalves,
} from './samples.ts'

const life = (n: number) => n.toString(16).padStart(16, '0') as Incarnation
/** Begun at that time. */
const timed = (ms: number) => `${ms.toString(16).padStart(12, '0')}0000`
const setting = (replica: Replica, id: string) => replica.get('setting', id)?.value
const livesOf = (replica: Replica, index: number) =>
  Object.keys(replica.vector()).filter(origin => origin.startsWith(identity(index).id))

/** One record for each of many lives of controller 1. */
function madeUp(from: number, to: number, id = (_: number) => 'x'): Uint8Array[] {
  return Array.from({ length: to - from }, (_, n) => {
    const count = from + n
    const spec = { id: id(count), value: { value: count }, author: 1, time: START, count }
    return encodeRecord(record({ ...spec, kind: 'setting', incarnation: life(count + 1) }))
  })
}

async function deceive(replica: Replica, lives: number, id?: (n: number) => string): Promise<void> {
  for (let from = 0; from < lives; from += 100) await replica.receive(madeUp(from, from + 100, id))
}

async function equalize(a: Replica, b: Replica): Promise<void> {
  await exchange(a, b)
  assert.deepEqual(a.vector(), b.vector())
  for (let round = 0; round < 20 && a.hash() !== b.hash(); round++) {
    await a.repair(b.differing(a.buckets()))
    await b.repair(a.differing(b.buckets()))
  }
  assert.equal(a.hash(), b.hash())
}

test('so many lives are accounted for that all of them fit into a vector', () => {
  assert.equal(livesEach(1), MAX_LIVES)
  for (let controllers = 1; controllers <= MAX_ORIGINS; controllers++)
    assert.ok(controllers * livesEach(controllers) <= MAX_ORIGINS)
})

test('thousands of lives end no exchange, neither before a restart nor after, and nobody is kept from joining', async () => {
  const { a, b } = await twoHalves()
  await deceive(a.replica, 4100)
  const { replica } = await openReplica(0, a.store)
  for (const each of [a.replica, replica]) {
    assert.equal(livesOf(each, 1).length, MAX_LIVES)
    const frame = encodeFrame({ type: 'vector', vector: each.vector(), stateHash: each.hash(), answer: true })
    assert.equal(decodeFrame(frame)?.type, 'vector')
  }
  const { notes } = await a.store.scan()
  assert.ok(notes.size < MAX_LIVES + 10, 'nor is it kept on disk')
  await replica.write([settingOp('after', 1)])
  const c = await openReplica(2)
  await pull(c.replica, replica)
  await c.replica.write([controllerOp(2)])
  for (const each of [b.replica, c.replica]) await equalize(replica, each)
  for (const each of [b.replica, c.replica]) assert.equal(setting(each, 'after'), 1)
})

test('records of lives that are not accounted for stay, are told by repair, and are not sent again and again', async () => {
  const { a, b } = await twoHalves()
  await deceive(a.replica, 300, n => `x${n}`)
  await exchange(a.replica, b.replica)
  assert.equal(setting(b.replica, 'x299'), 299)
  assert.equal(setting(b.replica, 'x0'), undefined)
  await equalize(a.replica, b.replica)
  assert.equal(setting(b.replica, 'x0'), 0)
  assert.ok(a.replica.missingFor(b.replica.vector())!.records.length < 2)
  await a.replica.write([settingOp('x1', 'mine')])
  await equalize(a.replica, b.replica)
  assert.equal(setting(b.replica, 'x1'), 'mine')
})

test('a store that accounts for more is mended at its next start', async () => {
  const { a, b } = await twoHalves()
  const store = a.store as MemoryStore
  const { witnessed } = await store.scan()
  const notes = new Map<string, Uint8Array>()
  for (const author of [identity(1).id, 'f'.repeat(20)])
    for (let n = 1; n <= 2100; n++) notes.set(knownNote(`${author}/${life(n)}` as Origin), encodeNote([1, 1]))
  const nothing = { put: new Map(), remove: new Set<string>(), dropNotes: new Set<string>(), setAside: [] }
  await store.commit({ ...nothing, number: witnessed, notes })
  const { replica } = await openReplica(0, store)
  assert.deepEqual(replica.problems, [])
  assert.ok(parseVector(replica.vector()))
  await equalize(replica, b.replica)
})

test('nobody is believed about lives of strangers, nor about those that begin in the future', async () => {
  const { a } = await twoHalves()
  const claims = (author: string, from: number) =>
    Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`${author}/${timed(from + n)}`, [1, 9]]))
  const before = a.replica.vector()
  await a.replica.absorb({ records: [], known: claims('f'.repeat(20), 1), more: false })
  await a.replica.absorb({ records: [], known: claims(identity(1).id, START + 120_000), more: false })
  assert.deepEqual(a.replica.vector(), before)
})

test('a controller whose life is pushed out by others that somebody makes up begins one above them', async () => {
  const { a, b } = await twoHalves()
  await a.replica.write([settingOp('own', 1)])
  const first = a.replica.incarnation
  const from = Number.parseInt(first.slice(0, 12), 16) + 1
  const known = Object.fromEntries(
    Array.from({ length: MAX_LIVES }, (_, n) => [`${identity(0).id}/${timed(from + n)}`, [1, 1]]),
  )
  await b.replica.absorb({ records: [], known, more: false })
  assert.equal(`${identity(0).id}/${first}` in b.replica.vector(), false)
  await exchange(a.replica, b.replica)
  assert.ok(a.replica.incarnation > first)
  assert.match(a.replica.problems.at(-1)!.message, /many later lives/)
  await a.replica.write([settingOp('after', 1)])
  const { sequence } = a.replica
  await exchange(a.replica, b.replica)
  await exchange(a.replica, b.replica)
  assert.equal(a.replica.holders(sequence), 1)
  for (const id of ['own', 'after']) assert.equal(setting(b.replica, id), 1)
})

test('a controller that lived more often than is accounted for loses nothing, and newcomers get all of it', async () => {
  const store = new MemoryStore()
  let a: Bench = await foundMesh(store)
  const b = await openReplica(1)
  await pull(b.replica, a.replica)
  await b.replica.write([controllerOp(1)])
  await exchange(a.replica, b.replica)
  for (let n = 0; n < MAX_LIVES + 20; n++) {
    await a.replica.write([settingOp(`s${n}`, n)])
    await exchange(a.replica, b.replica)
    // Its log loses what it held of another record, and it begins anew.
    store.raw.delete(`setting/s${n}`)
    a = await openReplica(0, store, a.time + 61_000)
    b.time = a.time
    assert.equal(setting(a.replica, `s${n}`), undefined)
    await exchange(a.replica, b.replica)
    assert.equal(setting(a.replica, `s${n}`), n)
    for (const bench of [a, b]) bench.time += 61_000
    await a.replica.poll()
  }
  await exchange(a.replica, b.replica)
  assert.ok(livesOf(b.replica, 0).length <= MAX_LIVES)
  assert.deepEqual(a.replica.vector(), b.replica.vector())
  const c = await openReplica(2, undefined, a.time)
  await pull(c.replica, b.replica)
  for (const { replica } of [b, c]) assert.equal(replica.hash(), a.replica.hash())
})
