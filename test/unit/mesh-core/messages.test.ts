// What controllers say to each other: it arrives as it was said, and nothing else is taken for it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode } from '@ipld/dag-cbor'
import fc from 'fast-check'
import {
  decodeFrame,
  decodeStatement,
  encodeFrame,
  encodeStatement,
  type Frame,
  MAX_ANSWER,
  MAX_ATTACHMENTS,
  MAX_FAILING,
  MAX_PARTS,
  PART_SESSIONS,
  type PresenceUpdate,
  type Statement,
} from '../../../mesh/messages.ts'
import { factsOf, fromTuple, linksOf } from '../../../mesh/presence-update.ts'
import { MAX_FRAME_BYTES } from '../../../mesh/transport.ts'
import { MAX_TIME } from '../../../state/clock.ts'
import type { ClientId, ControllerId } from '../../../state/kinds.ts'
import { type Incarnation, MAX_RECORD_BYTES } from '../../../state/record.ts'
import { BUCKETS } from '../../../state/record-hash.ts'
import { MAX_RANGES, SequenceSet } from '../../../state/sequence-set.ts'

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(model, { noNullPrototype: true })
const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length })
const controller = hex(20) as fc.Arbitrary<ControllerId>
const client = hex(16) as fc.Arbitrary<ClientId>
const incarnation = hex(16) as fc.Arbitrary<Incarnation>
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const instant = fc.nat({ max: MAX_TIME })
const time = fc.oneof(count, fc.double({ min: 0, max: 2 ** 52, noNaN: true }).map(Math.abs))
const ranges = fc.array(fc.integer({ min: 1, max: 10_000 }), { maxLength: 40 }).map(numbers => {
  const set = new SequenceSet()
  for (const number of numbers) set.add(number)
  return set.ranges()
})
const origin = fc.tuple(controller, incarnation).map(([author, life]) => `${author}/${life}` as const)
const vector = fc
  .array(fc.tuple(origin, ranges), { maxLength: 5 })
  .map(entries => Object.fromEntries(entries) as Record<`${string}/${string}`, number[]>)
const bytes = (max: number) => fc.uint8Array({ maxLength: max })
const records = fc.array(bytes(200), { maxLength: 5 })
const flag = fc.boolean()
const shortText = fc.string({ maxLength: 80 })

const frames: fc.Arbitrary<Frame> = fc.oneof(
  record({
    type: fc.constant('heartbeat' as const),
    sent: time,
    echo: time,
    held: time,
    boot: count,
    version: count,
  }),
  record({
    type: fc.constant('summary' as const),
    vectorHash: hex(64),
    stateHash: hex(64),
    records: count,
    answer: flag,
  }),
  record({ type: fc.constant('vector' as const), vector, stateHash: hex(64), answer: flag }),
  record({ type: fc.constant('delta' as const), records, known: vector, base: vector, more: flag }),
  record({
    type: fc.constant('buckets' as const),
    hashes: fc.array(hex(64), { minLength: BUCKETS, maxLength: BUCKETS }),
    answer: flag,
  }),
  record({ type: fc.constant('repair' as const), records }),
  record({ type: fc.constant('records' as const), records }),
  record({ type: fc.constant('stored' as const), incarnation, ranges }),
  record({ type: fc.constant('link' as const), payload: bytes(4096) }),
  record({ type: fc.constant('ask' as const), number: count, about: shortText }),
  record({ type: fc.constant('told' as const), number: count, text: fc.string() }),
  record({
    type: fc.constant('signed' as const),
    author: controller,
    signature: fc.uint8Array({ minLength: 64, maxLength: 64 }),
    body: bytes(500),
  }),
)

const updates: fc.Arbitrary<PresenceUpdate> = record({
  boot: count,
  base: count,
  version: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  part: fc.nat({ max: MAX_PARTS - 1 }),
  parts: fc.integer({ min: 1, max: MAX_PARTS }),
  facts: fc.tuple(
    ...([shortText, instant, flag, flag, hex(64), count, flag] as const),
    fc.array(shortText, { maxLength: 5 }),
    flag,
    fc.array(fc.tuple(client, instant, flag), { maxLength: 5 }),
    flag,
    flag,
    flag,
  ),
  links: fc.array(fc.tuple(controller, flag, time, fc.nat({ max: 100 })), { maxLength: 5 }),
  up: fc.array(fc.tuple(client, instant, shortText), { maxLength: 5 }),
  down: fc.array(client, { maxLength: 5 }),
}).map(update => ({
  ...update,
  base: update.parts > 1 ? 0 : Math.min(update.base, update.version),
  links: update.parts > 1 || update.base === 0 || update.links.length > 0 ? update.links : null,
  part: update.part % update.parts,
}))

const statements: fc.Arbitrary<Statement> = fc.oneof(
  record({ type: fc.constant('presence' as const), at: count, update: updates }),
  record({ type: fc.constant('want' as const), controller, at: count }),
  record({ type: fc.constant('kick' as const), controller, client, at: count }),
)

test('a frame arrives as it was sent', () => {
  fc.assert(fc.property(frames, frame => assert.deepEqual(decodeFrame(encodeFrame(frame)), frame)))
})

test('a statement is read as it was made', () => {
  fc.assert(
    fc.property(statements, statement => {
      assert.deepEqual(decodeStatement(encodeStatement(statement)), statement)
    }),
  )
})

test('no bytes make the decoders throw', () => {
  const values = fc.anything({ withNullPrototype: false }).map(value => {
    try {
      return encode(value)
    } catch {
      return new Uint8Array()
    }
  })
  fc.assert(
    fc.property(fc.oneof(bytes(300), values), input => {
      decodeFrame(input)
      decodeStatement(input)
    }),
    { numRuns: 2000 },
  )
})

test('a frame with one field of another kind, or missing, is none', () => {
  const wrong = fc.constantFrom<unknown>(null, -1, 1.5, 'x', [], {}, [null], new Uint8Array(1), true, 2 ** 60)
  fc.assert(
    fc.property(frames, wrong, fc.nat(), (frame, value, at) => {
      const { type, ...fields } = frame
      const names = Object.keys(fields)
      const name = names[at % names.length]
      const decoded = decodeFrame(encode([type, { ...fields, [name]: value }]))
      // What is taken in spite of that must be what it says.
      if (decoded !== undefined) assert.deepEqual(decoded, { ...frame, [name]: value })
      const without: Record<string, unknown> = { ...fields }
      delete without[name]
      assert.equal(decodeFrame(encode([type, without])), undefined)
    }),
  )
})

test('types that are not there, and those of every object, are unknown', () => {
  for (const type of ['', 'x'.repeat(33), 'Hello', '__proto__', 'toString', 'hasOwnProperty']) {
    assert.equal(decodeFrame(encode([type, {}])), undefined)
    assert.equal(decodeStatement(encode([type, {}])), undefined)
  }
  for (const type of ['hello', 'constructor', 'foreign']) {
    assert.deepEqual(decodeFrame(encode([type, {}])), { type: 'foreign' })
    assert.deepEqual(decodeStatement(encode([type, {}])), { type: 'foreign' })
  }
})

test('what newer versions add to what is said is passed over', () => {
  const heartbeat = { sent: 1, echo: 2, held: 3, boot: 4, version: 5 }
  assert.deepEqual(decodeFrame(encode(['heartbeat', { ...heartbeat, load: 0.5 }])), {
    type: 'heartbeat',
    ...heartbeat,
  })
  const id = 'ab'.repeat(10)
  const told = update({
    more: 1,
    facts: [...FACTS.slice(0, 9), [['ab'.repeat(8), 1, true, 'more']], true, false, true, { more: true }],
    links: [[id, true, 1, 0, 'more']],
    up: [['cd'.repeat(8), 1, '192.0.2.1:1', 'more']],
  })
  assert.ok(told?.type === 'presence')
  assert.equal(factsOf(told.update).gateway6, true)
  assert.deepEqual(factsOf(told.update).attachments, [{ id: 'ab'.repeat(8), since: 1, several: true }])
  assert.deepEqual(linksOf(told.update), [{ peer: id, up: true, rtt: 1, loss: 0 }])
  assert.deepEqual(told.update.up.map(fromTuple), [
    { client: 'cd'.repeat(8), since: 1, remote: '192.0.2.1:1' },
  ])
})
const FACTS = ['1', 0, false, false, '00'.repeat(32), 0, true, [], true, []] as const
const update = (change: Record<string, unknown>) =>
  decodeStatement(
    encode([
      'presence',
      {
        at: 1,
        update: {
          boot: 1,
          base: 0,
          version: 1,
          part: 0,
          parts: 1,
          facts: FACTS,
          links: [],
          up: [],
          down: [],
          ...change,
        },
      },
    ]),
  )

test('everything has a limit', () => {
  assert.equal(decodeFrame(new Uint8Array(MAX_FRAME_BYTES + 1)), undefined)
  const records = (list: Uint8Array[]) => decodeFrame(encode(['records', { records: list }]))
  assert.ok(records([new Uint8Array(MAX_RECORD_BYTES)]))
  assert.equal(records([new Uint8Array(MAX_RECORD_BYTES + 1)]), undefined)
  assert.equal(records(Array.from({ length: 65_537 }, () => new Uint8Array())), undefined)
  const stored = (ranges: number[]) =>
    decodeFrame(encode(['stored', { incarnation: '0'.repeat(16), ranges }]))
  const many = Array.from({ length: 2 * MAX_RANGES }, (_, i) => 1 + 2 * Math.floor(i / 2))
  assert.ok(stored(many))
  assert.equal(stored([...many, 1000, 1000]), undefined)
  assert.equal(decodeFrame(encode(['link', { payload: new Uint8Array(4097) }])), undefined)
  assert.equal(decodeFrame(encode(['buckets', { hashes: ['00'], answer: true }])), undefined)

  const session = (i: number) => [i.toString(16).padStart(16, '0'), 1, 'x']
  const sessions = (length: number) => Array.from({ length }, (_, i) => session(i))
  assert.ok(update({ up: sessions(PART_SESSIONS) }))
  assert.equal(update({ up: sessions(PART_SESSIONS + 1) }), undefined)
  const since = (time: number) => update({ up: [['0'.repeat(16), time, 'x']] })
  const carried = (time: number) =>
    update({ facts: [...FACTS.slice(0, 9), [['0'.repeat(16), time, true]], true, false, true] })
  const started = (time: number) => update({ facts: [FACTS[0], time, ...FACTS.slice(2)] })
  for (const told of [since, carried, started]) {
    assert.ok(told(MAX_TIME))
    assert.equal(told(MAX_TIME + 1), undefined)
  }
  assert.ok(update({ part: MAX_PARTS - 1, parts: MAX_PARTS }))
  assert.equal(update({ part: 0, parts: MAX_PARTS + 1 }), undefined)
  assert.equal(update({ part: 1, parts: 1 }), undefined)
  assert.equal(update({ base: 2, version: 1 }), undefined)
  assert.equal(update({ base: 1, version: 2, parts: 2 }), undefined)
  assert.equal(update({ facts: ['x'.repeat(81), ...FACTS.slice(1)] }), undefined)
  const failing = (length: number) =>
    update({ facts: [...FACTS.slice(0, 7), Array(length).fill('x'), ...FACTS.slice(8)] })
  assert.ok(failing(MAX_FAILING))
  assert.equal(failing(MAX_FAILING + 1), undefined)
  assert.equal(update({ facts: [...FACTS.slice(0, 10), 'yes'] }), undefined)
  assert.equal(update({ facts: [...FACTS.slice(0, 10), true, true, 'yes'] }), undefined)
  const attached = (...all: unknown[]) => update({ facts: [...FACTS.slice(0, 9), all] })
  const one = ['0'.repeat(16), 1, false]
  assert.ok(attached(...Array(MAX_ATTACHMENTS).fill(one)))
  assert.equal(attached(...Array(MAX_ATTACHMENTS + 1).fill(one)), undefined)
  for (const bad of [
    ['x', 1, false],
    ['0'.repeat(16), -1, false],
    ['0'.repeat(16), 1],
  ])
    assert.equal(attached(bad), undefined)
  assert.equal(decodeFrame(encode(['ask', { number: 1, about: 'x'.repeat(81) }])), undefined)
  assert.ok(decodeFrame(encode(['told', { number: 1, text: 'x'.repeat(MAX_ANSWER) }])))
  assert.equal(decodeFrame(encode(['told', { number: 1, text: 'x'.repeat(MAX_ANSWER + 1) }])), undefined)
  assert.equal(update({ links: null }), undefined)
  assert.ok(update({ base: 1, version: 2, links: null }))
  assert.equal(update({ links: [['0'.repeat(20), true, -1, 0]] }), undefined)
  assert.equal(update({ links: [['0'.repeat(20), true, 0, 101]] }), undefined)
})
