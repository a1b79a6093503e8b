import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode } from '@ipld/dag-cbor'
import fc from 'fast-check'
import { FIRST_STAMP, HybridClock, isStamp, makeStamp, stampTime } from '../../../state/clock.ts'
import {
  decodeRecord,
  encodeRecord,
  isSignedBy,
  MAX_RECORD_BYTES,
  publicKeyFromRaw,
} from '../../../state/record.ts'
import { RecordHash } from '../../../state/record-hash.ts'
import {
  clientId,
  clientValue,
  controllerValue,
  identity,
  MESH_ID,
  meshValue,
  record,
  START,
  serial,
} from '../../unit/state/samples.ts'

const samples = [
  record({ kind: 'mesh', id: MESH_ID, value: meshValue(), author: 0 }),
  record({ kind: 'controller', id: identity(1).id, value: controllerValue(1), author: 1 }),
  record({
    kind: 'client',
    id: clientId(1),
    value: clientValue(1, { tags: { a: 'b' } }),
    author: 0,
    sequence: 70_000,
  }),
  record({ kind: 'client', id: clientId(1), value: null, author: 0 }),
  record({
    kind: 'lease',
    id: '10.77.0.9',
    value: { holder: clientId(1), holderKind: 'client' },
    author: 2,
    term: 3,
  }),
  record({ kind: 'lease', id: '10.77.0.9', value: null, author: 2, term: 3 }),
  record({
    kind: 'revocation',
    id: serial(1),
    value: { client: clientId(1), reason: 'lost', at: START },
    author: 0,
  }),
  record({ kind: 'setting', id: 'x.y', value: { value: ['a', 'b'] }, author: 0 }),
]

test('a record survives its bytes, and they are signed', () => {
  for (const sample of samples) {
    const bytes = encodeRecord(sample)
    const decoded = decodeRecord(bytes)
    assert.ok(decoded.ok)
    assert.deepEqual(decoded.record, { ...sample, signature: Uint8Array.from(sample.signature) })
    const author = [0, 1, 2].map(identity).find(({ id }) => id === sample.author)!
    const key = publicKeyFromRaw(Buffer.from(author.publicKey, 'hex'))
    assert.equal(isSignedBy(bytes, key), true)
    assert.equal(isSignedBy(bytes, publicKeyFromRaw(Buffer.from(identity(9).publicKey, 'hex'))), false)
  }
})

test('no changed byte passes both the parser and the signature', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...samples),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (sample, place, change) => {
        const bytes = encodeRecord(sample)
        bytes[place % bytes.length] ^= change
        const author = [0, 1, 2].map(identity).find(({ id }) => id === sample.author)!
        const key = publicKeyFromRaw(Buffer.from(author.publicKey, 'hex'))
        assert.equal(decodeRecord(bytes).ok && isSignedBy(bytes, key), false)
      },
    ),
    { numRuns: 2000 },
  )
})

test('bad bytes never throw', () => {
  const mutated = fc
    .tuple(fc.constantFrom(...samples), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 8 }), fc.nat())
    .map(([sample, changes, cut]) => {
      const bytes = encodeRecord(sample)
      for (const [place, value] of changes) bytes[place % bytes.length] = value
      return cut % 3 === 0 ? bytes.subarray(0, cut % bytes.length) : bytes
    })
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 300 })), bytes => void decodeRecord(bytes)),
    { numRuns: 20_000 },
  )
  const head = new Uint8Array(64)
  const deep = new Uint8Array(60_000).fill(0x81)
  assert.equal(decodeRecord(Buffer.concat([head, deep])).ok, false)
  const huge = [0x9b, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]
  assert.equal(decodeRecord(Buffer.concat([head, Buffer.from(huge)])).ok, false)
})

test('any other data in the place of a record is refused', () => {
  const { ok } = decodeRecord(encodeRecord(samples[0]))
  assert.equal(ok, true)
  const field = fc.oneof(fc.constantFrom(1, 'mesh', 'client', null), fc.string(), fc.integer(), fc.boolean())
  fc.assert(
    fc.property(fc.array(field, { minLength: 8, maxLength: 10 }), fields => {
      assert.equal(decodeRecord(Buffer.concat([new Uint8Array(64), encode(fields)])).ok, false)
    }),
  )
})

test('a record is bounded, and has only one form', () => {
  const reasons = new Map<string, Uint8Array>([
    ['longer than', new Uint8Array(MAX_RECORD_BYTES + 1)],
    ['too short', new Uint8Array(64)],
  ])
  const bytes = encodeRecord(samples[0])
  // 0x1800 + n spells a small integer in two bytes: the version number 1 comes right after the array's head.
  const longer = Buffer.concat([bytes.subarray(0, 65), Buffer.from([0x18, 0x01]), bytes.subarray(66)])
  reasons.set('not dag-cbor', longer)
  for (const [reason, given] of reasons) {
    const decoded = decodeRecord(given)
    assert.ok(!decoded.ok && decoded.reason.startsWith(reason), JSON.stringify(decoded))
  }
})

test('stamps sort as text by time, then counter', () => {
  const time = fc.integer({ min: 0, max: 2 ** 48 - 1 })
  const count = fc.integer({ min: 0, max: 0xffff })
  fc.assert(
    fc.property(time, count, time, count, (t1, c1, t2, c2) => {
      const a = makeStamp(t1, c1)
      const b = makeStamp(t2, c2)
      assert.ok(isStamp(a))
      assert.equal(stampTime(a), t1)
      assert.equal(a < b, t1 < t2 || (t1 === t2 && c1 < c2))
    }),
  )
})

test('a clock only rises, whatever the wall clock and other stamps do', () => {
  const step = fc.oneof(
    fc.record({ wall: fc.integer({ min: 0, max: 1e6 }) }),
    fc.record({ seen: fc.nat(1e6) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), steps => {
      let wall = 5
      const clock = new HybridClock(() => wall)
      let last = FIRST_STAMP
      for (const each of steps) {
        if ('wall' in each) wall = each.wall
        else clock.witness(makeStamp(each.seen, each.seen % 0xffff))
        const next = clock.next()
        assert.ok(next > last && next >= clock.last)
        if ('seen' in each) assert.ok(next > makeStamp(each.seen, each.seen % 0xffff))
        last = next
      }
    }),
  )
})

test('a clock carries on when its counter is used up', () => {
  const clock = new HybridClock(() => 7, makeStamp(7, 0xffff))
  assert.equal(clock.next(), makeStamp(8, 0))
})

test('the hash of a set is that of the set, however it came about', () => {
  const digest = (n: number) => n.toString(16).padStart(64, '0')
  const entries = fc.uniqueArray(fc.tuple(fc.nat(500), fc.nat(9)), {
    selector: ([key]) => key,
    maxLength: 60,
  })
  const hashOf = (list: [number, number][]) => {
    const hash = new RecordHash()
    for (const [key, value] of list) hash.set(`k${key}`, digest(key * 10 + value))
    return hash
  }
  fc.assert(
    fc.property(entries, fc.array(fc.nat(500)), entries, (list, noise, other) => {
      const plain = hashOf(list).value()
      const busy = hashOf([...list].reverse())
      for (const key of noise) {
        if (list.some(([k]) => k === key)) continue
        busy.set(`k${key}`, digest(key))
        busy.value()
        busy.delete(`k${key}`)
      }
      assert.equal(busy.value(), plain)
      const sorted = (entries: [number, number][]) => JSON.stringify([...entries].sort((a, b) => a[0] - b[0]))
      assert.equal(hashOf(other).value() === plain, sorted(other) === sorted(list))
    }),
  )
})
