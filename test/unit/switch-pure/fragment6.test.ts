import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import { test } from 'node:test'
import { planFragments6, writeFragment6 } from '../../../node/switch/fragment6.ts'
import { buffer } from './packets.ts'
import { makePacket6 } from './packets6.ts'

const UDP = 17
const HOP_BY_HOP = 0
const ROUTING = 43
const FRAGMENT = 44
const DESTINATION_OPTIONS = 60
const ID = 0x80000001 | 0

function packetOf(bytes: Uint8Array) {
  const packet = buffer(bytes.length)
  packet.bytes.set(bytes)
  return packet
}

/** All fragments of a packet that stands at 3, none longer than `mtu`. */
function fragmentsOf(packet: Uint8Array, mtu: number): Buffer[] {
  const source = packetOf(Buffer.concat([Buffer.alloc(3, 0xee), packet]))
  const count = planFragments6(source, 3, mtu)
  return Array.from({ length: count }, (_, i) => {
    const target = packetOf(new Uint8Array(mtu + 10).fill(0xaa))
    const length = writeFragment6(source, 3, mtu, i, ID, target, 5)
    assert.ok(length <= mtu)
    const around = Buffer.concat([target.bytes.subarray(0, 5), target.bytes.subarray(5 + length)])
    assert.ok(around.every(byte => byte === 0xaa))
    return Buffer.from(target.bytes.subarray(5, 5 + length))
  })
}

/** What a host makes of fragments whose fragment header is at `header` (RFC 8200 section 4.5), `field` naming it. */
function together(fragments: Buffer[], header: number, field: number): Buffer {
  const data = fragments.map((each, i) => {
    assert.equal(each.readUInt16BE(4), each.length - 40)
    assert.equal(each[field], FRAGMENT)
    assert.deepEqual(each.subarray(0, 4), fragments[0].subarray(0, 4))
    assert.equal(each[header + 1], 0)
    assert.equal(each.readInt32BE(header + 4), ID)
    assert.equal(each.readUInt16BE(header + 2) & 1, Number(i < fragments.length - 1))
    const before = fragments.slice(0, i).reduce((sum, { length }) => sum + length - header - 8, 0)
    assert.equal(each.readUInt16BE(header + 2) & ~7, before)
    return each.subarray(header + 8)
  })
  const whole = Buffer.concat([fragments[0].subarray(0, header), ...data])
  whole[field] = fragments[0][header]
  whole.writeUInt16BE(whole.length - 40, 4)
  return whole
}

test('a packet is what it was once its fragments are together', () => {
  for (let i = 0; i < 300; i++) {
    const packet = Buffer.from(makePacket6({ nextHeader: UDP, payload: randomBytes(randomInt(1161, 1241)) }))
    const mtu = randomInt(200, 1200)
    const fragments = fragmentsOf(packet, mtu)
    assert.ok(fragments.length > 1)
    assert.deepEqual(together(fragments, 40, 6), packet)
  }
})

test('one that fits stays as it is', () => {
  const packet = packetOf(makePacket6({ payload: randomBytes(1160) }))
  assert.equal(planFragments6(packet, 0, 1200), 1)
})

test('headers that routers read are in every fragment, and options for the destination are not', () => {
  const extension = (next: number) => Buffer.from([next, 0, 1, 4, 0, 0, 0, 0])
  const rest = randomBytes(1200)
  const payload = Buffer.concat([extension(ROUTING), extension(DESTINATION_OPTIONS), extension(UDP), rest])
  const packet = Buffer.from(makePacket6({ nextHeader: HOP_BY_HOP, payload }))
  assert.deepEqual(together(fragmentsOf(packet, 700), 56, 48), packet)
})

test('fragments are divided further, and keep their identification, place and what follows', () => {
  const data = randomBytes(1232)
  const header = Buffer.from([UDP, 0, 0, 0, 0, 0, 0, 0])
  header.writeUInt16BE(2464 | 1, 2)
  header.writeInt32BE(77, 4)
  const packet = makePacket6({ nextHeader: FRAGMENT, payload: Buffer.concat([header, data]) })
  const fragments = fragmentsOf(packet, 1228)
  assert.deepEqual(
    fragments.map(each => [each.readUInt16BE(42), each.readInt32BE(44), each[40], each[6]]),
    [
      [2464 | 1, 77, UDP, FRAGMENT],
      [(2464 + 1176) | 1, 77, UDP, FRAGMENT],
    ],
  )
  assert.deepEqual(Buffer.concat(fragments.map(each => each.subarray(48))), data)
})

test('what cannot be divided is not', () => {
  const long = randomBytes(1232)
  const cut = Buffer.concat([Buffer.from([UDP, 255]), long])
  assert.deepEqual(fragmentsOf(makePacket6({ nextHeader: HOP_BY_HOP, payload: cut }), 1200), [])
  assert.deepEqual(fragmentsOf(makePacket6({ payload: long }), 55), [])
  const nested = Buffer.concat([Buffer.from([FRAGMENT, 0, 1, 4, 0, 0, 0, 0, UDP, 0, 0, 1, 0, 0, 0, 1]), long])
  assert.deepEqual(fragmentsOf(makePacket6({ nextHeader: DESTINATION_OPTIONS, payload: nested }), 1200), [])
  const endless = Buffer.from(Array.from({ length: 1240 }, (_, i) => (i % 8 === 0 ? HOP_BY_HOP : 0)))
  assert.deepEqual(fragmentsOf(makePacket6({ nextHeader: HOP_BY_HOP, payload: endless }), 1200), [])
  // Options for the destination that reach beyond the packet, or end with it where another header would be.
  const beyond = Buffer.concat([Buffer.from([UDP, 154]), long.subarray(0, 1230)])
  assert.deepEqual(fragmentsOf(makePacket6({ nextHeader: DESTINATION_OPTIONS, payload: beyond }), 1200), [])
  const none = Buffer.concat([Buffer.from([DESTINATION_OPTIONS, 153]), long.subarray(0, 1230)])
  assert.deepEqual(fragmentsOf(makePacket6({ nextHeader: DESTINATION_OPTIONS, payload: none }), 1200), [])
  none[0] = UDP
  assert.equal(fragmentsOf(makePacket6({ nextHeader: DESTINATION_OPTIONS, payload: none }), 1200).length, 2)
  const headers = (count: number): Buffer =>
    Buffer.from(Array.from({ length: 1240 }, (_, i) => (i % 8 === 0 && i < 8 * (count - 1) ? ROUTING : UDP)))
  const chain = (count: number): Buffer =>
    headers(count).map((byte, i) => (i % 8 === 1 && i < 8 * count ? 0 : byte)) as Buffer
  assert.equal(fragmentsOf(makePacket6({ nextHeader: ROUTING, payload: chain(7) }), 1200).length, 2)
  assert.deepEqual(fragmentsOf(makePacket6({ nextHeader: ROUTING, payload: chain(8) }), 1200), [])
  // Up to the last unit, and beyond it.
  const at = (units: number): Uint8Array => {
    const header = Buffer.from([UDP, 0, 0, 0, 0, 0, 0, 1])
    header.writeUInt16BE(units * 8, 2)
    return makePacket6({ nextHeader: FRAGMENT, payload: Buffer.concat([header, long]) })
  }
  assert.equal(fragmentsOf(at(8192 - 154), 1200).length, 2)
  assert.deepEqual(fragmentsOf(at(8192 - 153), 1200), [])
  const last = Buffer.concat([Buffer.from([UDP, 0, 0xff, 0xf8, 0, 0, 0, 1]), long])
  assert.deepEqual(fragmentsOf(makePacket6({ nextHeader: FRAGMENT, payload: last }), 1200), [])
})
