import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  decodeMessage,
  encodeMessage,
  listOf,
  sectionOf,
  sectionsOf,
  textOf,
} from '../../../node/ipsec/vici/message.ts'
import { decodePacket, encodeRequest, MAX_PACKET, PacketReader } from '../../../node/ipsec/vici/packet.ts'

const name = (text: string): number[] => [text.length, ...Buffer.from(text)]
const value = (text: string): number[] => [0, text.length, ...Buffer.from(text)]
const bytes = (...parts: (number | number[])[]): Uint8Array => Uint8Array.from(parts.flat())

/** "Encoding example" of the protocol's description. */
const EXAMPLE = bytes(
  [3, ...name('key1'), ...value('value1')],
  [1, ...name('section1')],
  [1, ...name('sub-section'), 3, ...name('key2'), ...value('value2'), 2],
  [4, ...name('list1'), 5, ...value('item1'), 5, ...value('item2'), 6],
  2,
)

test('the encoding example of the protocol, both ways', () => {
  const message = {
    key1: 'value1',
    section1: { 'sub-section': { key2: 'value2' }, list1: ['item1', 'item2'] },
  }
  assert.deepEqual(encodeMessage(message), Buffer.from(EXAMPLE))
  const section = decodeMessage(EXAMPLE)
  assert.equal(JSON.stringify(section), JSON.stringify(message))
  assert.equal(textOf(section, 'key1'), 'value1')
  assert.equal(textOf(section, 'section1'), undefined)
  const inner = sectionOf(section, 'section1')
  assert.deepEqual(listOf(inner, 'list1'), ['item1', 'item2'])
  assert.deepEqual(listOf(inner, 'sub-section'), [])
  assert.deepEqual(
    sectionsOf(inner).map(([title]) => title),
    ['sub-section'],
  )
  assert.equal(textOf(undefined, 'key1'), undefined)
})

test('what is not set is not sent, and what is too long is refused', () => {
  assert.deepEqual(encodeMessage({ a: undefined, b: 'c' }), Buffer.from([3, 1, 98, 0, 1, 99]))
  assert.deepEqual(encodeMessage({ k: Uint8Array.of(0, 255) }), Buffer.from([3, 1, 107, 0, 2, 0, 255]))
  assert.throws(() => encodeMessage({ ['n'.repeat(256)]: '' }), RangeError)
  assert.throws(() => encodeMessage({ n: 'v'.repeat(65_536) }), RangeError)
  const many = Array.from({ length: 10 }, () => 'v'.repeat(65_535))
  assert.throws(() => encodeRequest('load', { many }), RangeError)
})

test('names that objects know are only names', () => {
  const section = decodeMessage(encodeMessage(JSON.parse('{"__proto__": "a", "constructor": "b"}')))
  assert.equal(textOf(section, '__proto__'), 'a')
  assert.equal(textOf(section, 'constructor'), 'b')
  assert.equal(({} as { a?: string }).a, undefined)
  assert.equal(textOf(section, 'toString'), undefined)
})

for (const [what, wrong] of [
  ['a name that ends early', bytes(3, 4, 107)],
  ['a name without a length', bytes(1)],
  ['a value that ends early', bytes(3, name('k'), 0, 9, 1)],
  ['a value without a length', bytes(3, name('k'), 0)],
  ['a name twice', bytes(3, name('k'), value('a'), 3, name('k'), value('b'))],
  ['a section that does not end', bytes(1, name('s'))],
  ['an end without a section', bytes(2)],
  ['a list that does not end', bytes(4, name('l'), 5, value('a'))],
  ['a list in a list', bytes(4, name('l'), 4, name('m'), 6, 6)],
  ['an item without a list', bytes(5, value('a'))],
  ['an unknown element', bytes(9)],
  ['too many sections in sections', bytes(...Array.from({ length: 17 }, () => [1, ...name('s')]))],
] as const)
  test(`a message is refused for ${what}`, () => {
    assert.throws(() => decodeMessage(wrong), { name: 'ViciError', code: 'malformed' })
  })

test('packets: answers and events, and nothing that only clients send', () => {
  assert.equal(
    JSON.stringify(decodePacket(bytes(1, 3, name('a'), value('b')))),
    '{"type":"response","message":{"a":"b"}}',
  )
  assert.equal(
    JSON.stringify(decodePacket(bytes(7, name('log')))),
    '{"type":"event","name":"log","message":{}}',
  )
  assert.deepEqual(decodePacket(bytes(2)), { type: 'command-unknown' })
  assert.deepEqual(decodePacket(bytes(5)), { type: 'event-confirm' })
  assert.deepEqual(decodePacket(bytes(6)), { type: 'event-unknown' })
  for (const wrong of [[], [0], [3], [4], [8], [7], [7, 3, 1]])
    assert.throws(() => decodePacket(Uint8Array.from(wrong)), { name: 'ViciError', code: 'malformed' })
})

test('a stream is cut into packets however it arrives', () => {
  const stream = bytes([0, 0, 0, 2, 1, 2], [0, 0, 0, 0], [0, 0, 0, 3, 7, 8, 9])
  for (let size = 1; size <= stream.length; size++) {
    const reader = new PacketReader()
    const packets: number[][] = []
    for (let at = 0; at < stream.length; at += size)
      for (const packet of reader.push(stream.slice(at, at + size))) packets.push([...packet])
    assert.deepEqual(packets, [[1, 2], [], [7, 8, 9]], `pieces of ${size}`)
  }
})

test('a packet that is announced too long is refused before it is there', () => {
  const header = Buffer.alloc(4)
  header.writeUInt32BE(MAX_PACKET + 1)
  assert.throws(() => new PacketReader().push(header), { code: 'malformed' })
  header.writeUInt32BE(MAX_PACKET)
  assert.deepEqual(new PacketReader().push(header), [])
})
