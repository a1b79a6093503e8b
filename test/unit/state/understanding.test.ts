// Records of newer versions: kept, passed on and hashed byte for byte as they were signed, and acted on as far as they are
// understood.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { MAX_FOREIGN_BYTES } from '../../../state/batch.ts'
import { StateError } from '../../../state/errors.ts'
import { LevelStore } from '../../../state/level-store.ts'
import { MemoryStore } from '../../../state/memory-store.ts'
import { encodeNote, NOTE_FORMAT, STORE_FORMAT } from '../../../state/notes.ts'
import {
  decodeRecord,
  encodeRecord,
  MAX_RECORD_BYTES,
  rawValueOf,
  type StateRecord,
} from '../../../state/record.ts'
import type { RecordStore } from '../../../state/store.ts'
import { TOMBSTONE_ROUND_MS } from '../../../state/tombstones.ts'
import { carryOver, understand } from '../../../state/understanding.ts'
import { Views } from '../../../state/views.ts'
import {
  type Bench,
  clientId,
  clientOp,
  clientValue,
  controllerOp,
  controllerValue,
  exchange,
  foundMesh,
  identity,
  leaseOp,
  MESH_ID,
  meshValue,
  openReplica,
  pull,
  record,
  START,
  serial,
  twoHalves,
} from './samples.ts'

/** Numbers of the records that the newer controller writes. */
const INCARNATION = `${START.toString(16).padStart(12, '0')}0001`
let sequence = 0

/** Bytes of a record that controller 1, which runs a newer version, wrote. */
function newer(kind: string, id: string, value: object | null, more: object = {}): Uint8Array {
  const spec = { kind, id, value, author: 1, incarnation: INCARNATION, sequence: ++sequence, ...more }
  return encodeRecord(record(spec as never) as StateRecord)
}

/** An older replica that has admitted the newer controller. */
async function older(store?: RecordStore): Promise<Bench> {
  const bench = await foundMesh(store)
  await take(bench, newer('controller', identity(1).id, { ...controllerValue(1), colour: 'blue' }))
  return bench
}

async function take(bench: Bench, ...records: Uint8Array[]): Promise<string[]> {
  return (await bench.replica.receive(records)).map(({ outcome }) => outcome)
}

/** The bytes that are held of every record. */
async function bytesOf({ store }: Bench): Promise<Set<string>> {
  return new Set([...(await store.scan()).records.values()].map(bytes => Buffer.from(bytes).toString('hex')))
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const NOTED = { ...clientValue(1), note: 'of a newer version', limits: { up: 5, down: [1, 2] } }

test('what a newer version wrote is kept as it was signed, over a restart too, and passed on so', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'overmesh-newer-'))
  try {
    const records = [
      newer('client', clientId(1), NOTED),
      newer('group', 'staff', { members: [clientId(1)], raw: new Uint8Array([1, 2]), big: 2n ** 60n }),
      newer('group', 'gone', null),
      newer('attachment', 'ab'.repeat(8), { name: 'site', transport: 'quantum' }),
    ]
    const a = await older(await LevelStore.open(directory, { create: true }))
    assert.deepEqual(await take(a, ...records), ['merged', 'merged', 'merged', 'merged'])
    const hash = a.replica.hash()
    assert.deepEqual(a.replica.get('client', clientId(1)), clientValue(1), 'what is known of it')
    await a.replica.close()
    const again = await openReplica(0, await LevelStore.open(directory, { create: false }))
    assert.deepEqual(again.replica.problems, [])
    assert.equal(again.replica.hash(), hash)
    assert.deepEqual((await again.replica.verify()).faults, [])
    const c = await openReplica(2)
    await pull(c.replica, again.replica)
    assert.equal(c.replica.hash(), hash)
    const kept = await bytesOf(c)
    for (const bytes of records) assert.ok(kept.has(hex(bytes)))
    assert.deepEqual([...c.replica.foreign()].map(({ kind }) => kind as string).sort(), [
      'attachment',
      'group',
    ])
    await again.replica.close()
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('an older controller that writes a record anew hands on what it does not understand of it', async () => {
  const a = await older()
  await take(a, newer('client', clientId(1), NOTED))
  await a.replica.write([{ kind: 'client', id: clientId(1), value: clientValue(1, { enabled: false }) }])
  const written = a.replica.record('client', clientId(1))!
  assert.deepEqual(rawValueOf(written), { ...NOTED, enabled: false })
  assert.equal(written.author, identity(0).id)
  assert.deepEqual(a.replica.get('client', clientId(1)), clientValue(1, { enabled: false }))
  // In one batch as well, and when everything is issued again.
  await a.replica.write([clientOp(1, { name: 'x' }), clientOp(1, { name: 'y' })])
  assert.deepEqual(rawValueOf(a.replica.record('client', clientId(1))!), { ...NOTED, name: 'y' })
  const incarnation = a.replica.incarnation
  a.time += 120_000
  await a.replica.hear(identity(1).id, { [`${identity(0).id}/${incarnation}`]: [1, 9999] })
  assert.notEqual(a.replica.incarnation, incarnation)
  assert.deepEqual(rawValueOf(a.replica.record('client', clientId(1))!), { ...NOTED, name: 'y' })
  // What is deleted and made anew begins anew.
  await a.replica.write([{ kind: 'client', id: clientId(1), value: null }, clientOp(1)])
  assert.deepEqual(rawValueOf(a.replica.record('client', clientId(1))!), clientValue(1))
})

test('fields inside a field go on with it while it stays as it was', () => {
  const via = { kind: 'controller', id: identity(0).id, weight: 3 }
  const before = { cidr: '192.168.0.0/24', via, metric: 1, createdAt: START }
  const same = { ...before, via: { kind: 'controller', id: identity(0).id }, metric: 2 }
  assert.deepEqual(carryOver('route', same, before, 1e6), { ...before, metric: 2 })
  const other = { ...same, via: { kind: 'internet' } }
  assert.deepEqual(carryOver('route', other, before, 1e6), other)
  assert.deepEqual(carryOver('route', { ...same, nat: true }, { ...before, nat: false, x: 1 }, 1e6), {
    ...{ ...before, metric: 2, nat: true },
    x: 1,
  })
})

test('a change is not held up by what it would have to carry over', async () => {
  const a = await older()
  const value = { ...controllerValue(1), ballast: 'b'.repeat(MAX_RECORD_BYTES - 1500) }
  const bytes = newer('controller', identity(1).id, value, { time: START + 1 })
  assert.deepEqual(await take(a, bytes), ['merged'])
  await a.replica.write([controllerOp(1, { removedAt: START })])
  const { removedAt } = a.replica.get('controller', identity(1).id)!
  assert.equal(removedAt, START)
  const full = { ...controllerValue(1), ballast: 'b'.repeat(MAX_RECORD_BYTES - 800) }
  const b = await older()
  assert.deepEqual(await take(b, newer('controller', identity(1).id, full, { time: START + 1 })), ['merged'])
  await b.replica.write([controllerOp(1, { removedAt: START })])
  assert.deepEqual(
    rawValueOf(b.replica.record('controller', identity(1).id)!),
    controllerValue(1, { removedAt: START }),
  )
})

test('a record of which nothing is understood counts as if it were not there', async () => {
  const a = await older()
  const views = new Views(a.replica)
  const cidr = '192.168.9.0/24'
  await take(
    a,
    newer('route', `${cidr}|group:${'ab'.repeat(8)}`, {
      cidr,
      via: { kind: 'group', id: 'ab' },
      metric: 0,
      createdAt: START,
    }),
    newer('setting', 'dns.zone', { value: { nested: true } }),
    newer('client', clientId(3), { ...clientValue(3), address: null }),
  )
  assert.deepEqual([...a.replica.all('route')], [])
  assert.equal(views.routes().length, 0)
  assert.deepEqual(views.clients(), [])
  assert.equal(a.replica.get('setting', 'dns.zone'), undefined)
  assert.equal([...a.replica.foreign()].length, 3)
  // One that is understood takes its place.
  await a.replica.write([clientOp(3)])
  assert.equal([...a.replica.foreign()].length, 2)
  assert.equal(views.clients().length, 1)
})

test('a revocation counts in any form, and a lease in any form keeps its address', async () => {
  const a = await older()
  await a.replica.write([clientOp(1), leaseOp('10.77.0.1', 1)])
  const views = new Views(a.replica)
  assert.equal(views.credential(serial(1)).usable, true)
  await take(
    a,
    newer('revocation', serial(1), { why: { code: 7 } }),
    newer('lease', '10.77.0.9', { holder: 'service', holderKind: 'service' }),
  )
  for (const each of [views, new Views(a.replica)]) {
    const credential = each.credential(serial(1))
    assert.equal(credential.usable === false && credential.reason, 'revoked')
    assert.equal(each.addresses()!.isLeased(0x0a4d0009 as never), true)
  }
  await assert.rejects(
    a.replica.write([leaseOp('10.77.0.9', 1)]),
    (error: unknown) => error instanceof StateError && error.code === 'ADDRESS_TAKEN',
  )
  // Given up, it is free.
  await a.replica.write([{ kind: 'lease', id: '10.77.0.9', value: null }])
  assert.equal(views.addresses()!.isLeased(0x0a4d0009 as never), false)
  await a.replica.write([leaseOp('10.77.0.9', 1)])
  assert.equal(a.replica.record('lease', '10.77.0.9')!.term, 1)
})

test('a deletion of a newer kind is collected like any other', async () => {
  const { a, b } = await twoHalves()
  await take(a, newer('group', 'x', { a: 1 }), newer('group', 'x', null, { time: START + 1 }))
  assert.equal([...a.replica.foreign()].length, 0)
  await exchange(a.replica, b.replica)
  await a.replica.hear(identity(1).id, b.replica.vector())
  a.time += TOMBSTONE_ROUND_MS
  await a.replica.poll()
  assert.equal(
    [...(await a.store.scan()).records.keys()].some(key => key.startsWith('group/')),
    false,
  )
})

test('what an author wrote after its removal goes, of newer kinds too', async () => {
  const a = await older()
  await take(a, newer('group', 'late', { a: 1 }, { time: START + 10_000 }))
  assert.equal([...a.replica.foreign()].length, 1)
  const removal = controllerValue(1, { removedAt: START })
  await take(a, newer('controller', identity(1).id, removal, { author: 0, time: START + 5000 }))
  assert.equal([...a.replica.foreign()].length, 0)
})

test('authority rests on what is understood: mesh and controllers may have more fields, and nothing else', async () => {
  const a = await older()
  assert.deepEqual(
    await take(
      a,
      newer('mesh', MESH_ID, { ...meshValue(), subnet: 7 }),
      newer('controller', identity(1).id, { ...controllerValue(1), publicKey: 'other' }),
      newer('controller', identity(1).id, null),
      newer('revocation', serial(5), null),
      newer('mesh', MESH_ID, null),
    ),
    Array(5).fill('refused'),
  )
})

test('kinds, ids and values have bounds, whoever signed them', async () => {
  const a = await older()
  let deep: object = {}
  for (let depth = 0; depth < 40; depth++) deep = { deep }
  const records = [
    newer('Group', 'x', {}),
    newer('g/x', 'x', {}),
    newer('g'.repeat(33), 'x', {}),
    newer('__proto__', 'x', {}),
    newer('group', '', {}),
    newer('group', 'x y', {}),
    newer('group', 'x'.repeat(129), {}),
    newer('group', 'x', [] as object),
    newer('group', 'x', new Uint8Array(3)),
    newer('group', 'x', deep),
    newer('client', clientId(1), { ...clientValue(1), deep }),
    newer('group', 'x', {}, { term: 1 }),
  ]
  assert.deepEqual(
    await take(a, ...records),
    records.map(() => 'refused'),
  )
  assert.deepEqual(await take(a, newer('constructor', 'x', {}), newer('group', 'toString', {})), [
    'merged',
    'merged',
  ])
})

test('one author cannot fill the disk with what nobody understands, and upgrading makes room', async () => {
  const a = await older()
  const size = 60_000
  const many = Math.floor(MAX_FOREIGN_BYTES / size)
  const all = Array.from({ length: many + 5 }, (_, index) =>
    newer('blob', `b${index}`, { data: new Uint8Array(size) }),
  )
  const outcomes = await take(a, ...all)
  const kept = outcomes.filter(outcome => outcome === 'merged').length
  assert.ok(kept < many && kept > many - 5, `${kept} of ${all.length}`)
  assert.equal(outcomes.filter(outcome => outcome === 'refused').length, all.length - kept)
  // They are asked for again, and others are taken still.
  assert.equal((await take(a, all.at(-1)!))[0], 'refused')
  assert.deepEqual(await take(a, newer('client', clientId(1), NOTED)), ['merged'])
  // What is deleted makes room.
  assert.deepEqual(await take(a, newer('blob', 'b0', null, { time: START + 1 })), ['merged'])
  assert.deepEqual(await take(a, all.at(-1)!), ['merged'])
})

test('local writes stay as strict as they were', async () => {
  const a = await older()
  for (const op of [
    { kind: 'client', id: clientId(1), value: NOTED },
    { kind: 'group', id: 'x', value: {} },
    { kind: 'route', id: 'x', value: { cidr: 'x' } },
  ])
    await assert.rejects(a.replica.write([op as never]), { code: 'INVALID' })
})

test('whatever a newer version adds to a value, it stays with it through an older one', () => {
  const known = new Set(Object.keys(clientValue(1)).concat('prefer', 'packedFor'))
  const leaf = fc.oneof(
    fc.string(),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 8 }),
  )
  const field = fc.letrec(tie => ({
    node: fc.oneof(
      { maxDepth: 3 },
      leaf,
      fc.array(tie('node'), { maxLength: 3 }),
      fc.dictionary(fc.string({ minLength: 1, maxLength: 5 }), tie('node'), { maxKeys: 3 }),
    ),
  })).node
  const name = fc
    .string({ minLength: 1, maxLength: 8 })
    .filter(each => !known.has(each) && each !== '__proto__')
  fc.assert(
    fc.property(fc.dictionary(name, field, { minKeys: 1, maxKeys: 5 }), fc.boolean(), (more, enabled) => {
      const bytes = newer('client', clientId(1), { ...clientValue(1), ...more })
      const decoded = decodeRecord(bytes)
      assert.ok(decoded.ok)
      assert.deepEqual(decoded.record.value, clientValue(1))
      assert.deepEqual(encodeRecord(decoded.record), bytes)
      const raw = rawValueOf(decoded.record)!
      const carried = carryOver('client', clientValue(1, { enabled }), raw, 1e6)
      assert.deepEqual(carried, { ...raw, enabled })
      assert.deepEqual(understand('client', clientId(1), carried), {
        is: 'part',
        value: clientValue(1, { enabled }),
      })
    }),
    { numRuns: 300 },
  )
})

test('a store of another format is refused with what to do, and not touched', async () => {
  for (const [format, words] of [
    [
      STORE_FORMAT + 1,
      /of a newer Overmesh \(format 2, this version reads 1\); start the version that wrote it/,
    ],
    [0, /of an older Overmesh/],
  ] as const) {
    const store = new MemoryStore()
    await foundMesh(store)
    const notes = new Map([[NOTE_FORMAT, encodeNote(format)]])
    await store.commit({
      number: 2,
      put: new Map(),
      remove: new Set(),
      notes,
      dropNotes: new Set(),
      setAside: [],
    })
    const before = await store.scan()
    await assert.rejects(openReplica(0, store), (error: unknown) => {
      assert.ok(error instanceof StateError && error.code === 'STORE_FORMAT')
      assert.match(error.message, words)
      return true
    })
    assert.deepEqual(await store.scan(), before)
  }
})
