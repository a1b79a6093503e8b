// What a newcomer and the controller that invited it say to each other.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decode, encode } from '@ipld/dag-cbor'
import fc from 'fast-check'
import {
  decodeJoinMessage,
  encodeJoinMessage,
  MAX_REQUEST_BYTES,
  type SpokenMessage,
} from '../../../mesh/admission/messages.ts'
import { MAX_FRAME_BYTES } from '../../../mesh/transport.ts'

const ORIGIN = `${'ab'.repeat(10)}/${'0'.repeat(16)}` as const

const SAMPLES: SpokenMessage[] = [
  {
    type: 'join',
    version: 1,
    highest: 1,
    software: '0.1.0',
    inviteId: new Uint8Array(8).fill(1),
    proof: new Uint8Array(32).fill(2),
    now: Date.UTC(2026, 0, 1),
    name: 'beta',
    publicKey: new Uint8Array(91).fill(3),
    possession: new Uint8Array(70).fill(4),
  },
  {
    type: 'admitted',
    version: 1,
    meshId: '00112233445566778899',
    rootCertificate: 'root',
    issuingCertificate: 'issuing',
    tlsCryptKey: 'key',
    lifetimes: { issuing: 3, server: 2, client: 1, sessionKeys: 4 },
  },
  { type: 'refused', reason: 'no' },
  { type: 'vector', vector: { [ORIGIN]: [1, 4, 6, 9] } },
  { type: 'delta', records: [new Uint8Array(3), new Uint8Array(0)], known: { [ORIGIN]: [1, 2] }, more: true },
  { type: 'own', records: [new Uint8Array(9)] },
  { type: 'welcome' },
  { type: 'taken' },
]

const fieldsOf = (message: SpokenMessage) =>
  decode<[string, Record<string, unknown>]>(encodeJoinMessage(message))

test('every message is read as it was written', () => {
  for (const message of SAMPLES) assert.deepEqual(decodeJoinMessage(encodeJoinMessage(message)), message)
})

test('a message without one of its fields, or with one of another type, is none', () => {
  for (const message of SAMPLES) {
    const [type, fields] = fieldsOf(message)
    for (const name of Object.keys(fields)) {
      const { [name]: _, ...rest } = fields
      assert.equal(decodeJoinMessage(encode([type, rest])), undefined, `${type} without ${name}`)
      for (const value of [null, -1, 1.5, 'x'.repeat(40_000), [[]], { a: 1 }, new Uint8Array(65_537)]) {
        const read = decodeJoinMessage(encode([type, { ...fields, [name]: value }]))
        assert.equal(read, undefined, `${type} with ${name} ${JSON.stringify(value)?.slice(0, 40)}`)
      }
    }
  }
})

test('bounds', () => {
  const [own, delta, join, admitted] = [5, 4, 0, 1].map(i => fieldsOf(SAMPLES[i])[1])
  const read = (type: string, fields: object) => decodeJoinMessage(encode([type, fields]))
  assert.equal(read('own', { records: Array.from({ length: 17 }, () => new Uint8Array(1)) }), undefined)
  assert.ok(read('own', own))
  assert.deepEqual(read('own', { ...own, again: 1 }), { type: 'own', ...own })
  assert.deepEqual(read('own', { ...own, again: true }), { type: 'own', ...own, again: true })
  assert.equal(read('delta', { ...delta, known: { nonsense: [1, 2] } }), undefined)
  assert.equal(read('delta', { ...delta, known: { [ORIGIN]: [2, 1] } }), undefined)
  assert.equal(read('join', { ...join, now: 8.65e15 }), undefined)
  assert.equal(read('join', { ...join, name: 'No Name' }), undefined)
  assert.equal(read('join', { ...join, publicKey: new Uint8Array(257) }), undefined)
  for (const name of ['issuing', 'server', 'client', 'sessionKeys']) {
    const lifetimes = { ...(admitted.lifetimes as object), [name]: 0 }
    assert.equal(read('admitted', { ...admitted, lifetimes }), undefined)
  }
  const long = encodeJoinMessage({ type: 'refused', reason: 'x'.repeat(5000) })
  assert.equal(decodeJoinMessage(long, MAX_REQUEST_BYTES), undefined)
  const reason = (decodeJoinMessage(long) as { reason: string }).reason
  assert.equal(reason.length, 400)
  assert.equal(decodeJoinMessage(new Uint8Array(MAX_FRAME_BYTES + 1)), undefined)
})

test('a request of another version is told from nonsense', () => {
  const foreign = (fields: object) => decodeJoinMessage(encode(['join', fields]))
  const seven = { lowest: 7, highest: 7 }
  assert.deepEqual(foreign({ version: 7, x: 'else' }), { type: 'foreign', versions: seven, software: '' })
  assert.deepEqual(foreign({ version: 7, highest: 9, software: '3.1.0' }), {
    ...{ type: 'foreign', versions: { lowest: 7, highest: 9 }, software: '3.1.0' },
  })
  assert.equal(foreign({ version: 7, highest: 6 }), undefined)
  assert.deepEqual(foreign({ version: 7, software: 'two\nlines' }), {
    ...{ type: 'foreign', versions: seven, software: '' },
  })
  assert.equal(decodeJoinMessage(encode(['join', { version: 'x' }])), undefined)
  assert.equal(decodeJoinMessage(encode(['foreign', { version: 7 }])), undefined)
  for (const name of ['toString', 'constructor', '__proto__', 'hasOwnProperty']) {
    assert.equal(decodeJoinMessage(encode([name, {}])), undefined)
  }
})

test('no bytes make it throw', () => {
  assert.equal(decodeJoinMessage(undefined), undefined)
  assert.equal(decodeJoinMessage(new Uint8Array(2_000_000).fill(0x81)), undefined)
  assert.equal(decodeJoinMessage(Uint8Array.of(0x9b, 255, 255, 255, 255, 255, 255, 255, 255)), undefined)
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), bytes => void decodeJoinMessage(bytes)))
  fc.assert(
    fc.property(
      fc.constantFrom(...SAMPLES),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (message, at, turn) => {
        const bytes = encodeJoinMessage(message)
        bytes[at % bytes.length] ^= turn
        decodeJoinMessage(bytes)
        decodeJoinMessage(bytes.subarray(0, at % bytes.length))
      },
    ),
    { numRuns: 2000 },
  )
})
