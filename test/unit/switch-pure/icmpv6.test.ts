import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { IcmpError } from '../../../node/switch/icmp.ts'
import { ICMP6_ERROR, writeEchoReply6, writeError6 } from '../../../node/switch/icmpv6.ts'
import type { PacketBuffer } from '../../../node/switch/ipv4.ts'
import { IPV6, validate6 } from '../../../node/switch/ipv6.ts'
import { buffer } from './packets.ts'
import { icmp6Packet, ip6, makePacket6, type Packet6Fields, sum6 } from './packets6.ts'

const AT = 13
const origin = buffer(20)
origin.bytes.set(ip6('fd00:77::a4d:1'), 4)

function errorAbout(
  packet: Uint8Array,
  error: IcmpError = ICMP6_ERROR.timeExceeded,
  mtu?: number,
): Uint8Array | undefined {
  return written(packet, (about, target) => writeError6(error, origin, 4, about, 5, target, AT, mtu))
}

function replyTo(packet: Uint8Array): Uint8Array | undefined {
  return written(packet, (request, target) => writeEchoReply6(request, 5, target, AT))
}

/** Runs a writer on guarded memory: what lies around the packet and around the result must not change. */
function written(
  packet: Uint8Array,
  write: (from: PacketBuffer, target: PacketBuffer) => number,
): Uint8Array | undefined {
  const from = buffer(packet.length + 10)
  from.bytes.fill(0x55)
  from.bytes.set(packet, 5)
  const before = from.bytes.slice()
  const target = buffer(packet.length + 1400)
  target.bytes.fill(0xaa)
  const length = write(from, target)
  assert.deepEqual(from.bytes, before)
  assert.ok(target.bytes.subarray(0, AT).every(byte => byte === 0xaa))
  assert.ok(target.bytes.subarray(AT + length).every(byte => byte === 0xaa))
  if (length === 0) return undefined
  const result = target.bytes.slice(AT, AT + length)
  assert.equal(validate6(target.view, AT, length), IPV6.ok)
  assert.equal(result[4] * 256 + result[5], length - 40)
  assert.equal(result[6], 58)
  assert.equal(sum6(result, result.subarray(40), 58), 0, 'ICMPv6 checksum')
  return result
}

const echo = (fields: Partial<Packet6Fields> = {}, data = 56) =>
  icmp6Packet(
    128,
    new Uint8Array(4 + data).map((_, i) => i * 7),
    fields,
  )
/** A destination options header of eight bytes with padding, before another. */
const options = (next: number) => Uint8Array.of(next, 0, 1, 4, 0, 0, 0, 0)
/** A fragment header. */
const fragment = (next: number, offset: number, more: number) =>
  Uint8Array.of(next, 0, offset >> 5, ((offset & 31) << 3) | more, 0, 0, 0, 9)

test('an error comes from the router, goes to the sender and quotes the packet', () => {
  const packet = makePacket6({
    payload: new Uint8Array(100).fill(3),
    source: 'fd00:77::a4d:909',
    hopLimit: 1,
  })
  const error = errorAbout(packet)!
  assert.deepEqual(error.subarray(8, 24), ip6('fd00:77::a4d:1'))
  assert.deepEqual(error.subarray(24, 40), ip6('fd00:77::a4d:909'))
  assert.deepEqual([...error.subarray(40, 42)], [3, 0])
  assert.deepEqual([...error.subarray(44, 48)], [0, 0, 0, 0])
  assert.deepEqual(error.subarray(48), packet)
})

test('an error is never longer than what every path takes, and quotes as much as that allows', () => {
  for (const [payload, length] of [
    [8, 96],
    [1112, 1200],
    [1113, 1200],
    [65_535, 1200],
  ])
    assert.equal(errorAbout(makePacket6({ payload: new Uint8Array(payload) }))!.length, length)
})

test('types and codes are those of RFC 4443; the MTU stands where it wants it', () => {
  const expected: [IcmpError, number, number][] = [
    [ICMP6_ERROR.noRoute, 1, 0],
    [ICMP6_ERROR.adminProhibited, 1, 1],
    [ICMP6_ERROR.addressUnreachable, 1, 3],
    [ICMP6_ERROR.portUnreachable, 1, 4],
    [ICMP6_ERROR.packetTooBig, 2, 0],
    [ICMP6_ERROR.timeExceeded, 3, 0],
    [ICMP6_ERROR.unknownNextHeader, 4, 1],
  ]
  for (const [error, type, code] of expected)
    assert.deepEqual([...errorAbout(makePacket6({}), error)!.subarray(40, 42)], [type, code])
  const big = errorAbout(makePacket6({ payload: new Uint8Array(1400) }), ICMP6_ERROR.packetTooBig, 1380)!
  assert.deepEqual([...big.subarray(44, 48)], [0, 0, 5, 100])
  const unknown = errorAbout(makePacket6({ nextHeader: 200 }), ICMP6_ERROR.unknownNextHeader)!
  assert.deepEqual([...unknown.subarray(44, 48)], [0, 0, 0, 6])
})

test('no error is sent about what is from or to no single host', () => {
  const bad = ['::', '::1', '::ffff:10.77.0.5', 'ff02::1', 'ff05::2', 'fe80::1', 'febf::1']
  for (const text of bad) {
    assert.equal(errorAbout(makePacket6({ source: text })), undefined, `from ${text}`)
    assert.equal(errorAbout(makePacket6({ destination: text })), undefined, `to ${text}`)
  }
})

test('no error is sent about an error, and one is about a query', () => {
  const body = new Uint8Array(60)
  for (const type of [0, 1, 2, 3, 4, 100, 127, 137])
    assert.equal(errorAbout(icmp6Packet(type, body)), undefined, `type ${type}`)
  for (const type of [128, 129, 135, 143]) assert.ok(errorAbout(icmp6Packet(type, body)), `type ${type}`)
  const hidden = (type: number) => icmp6Packet(type, body, {}, 0, { first: 60, bytes: options(58) })
  assert.equal(errorAbout(hidden(1)), undefined, 'an error behind options')
  assert.ok(errorAbout(hidden(128)), 'a query behind options')
  assert.equal(errorAbout(makePacket6({ nextHeader: 58, payload: new Uint8Array() })), undefined)
  // What lies behind the packet is no message of it.
  const nothing = Uint8Array.of(...makePacket6({ nextHeader: 60, payload: options(58) }), 128, 0, 0, 0)
  assert.equal(errorAbout(nothing), undefined)
})

test('headers that cannot be followed are not reported on, later fragments among them', () => {
  const body = new Uint8Array(16)
  const later = icmp6Packet(128, body, {}, 0, { first: 44, bytes: fragment(58, 3, 0) })
  assert.equal(errorAbout(later), undefined)
  const first = icmp6Packet(128, body, {}, 0, { first: 44, bytes: fragment(58, 0, 1) })
  assert.ok(errorAbout(first))
  assert.equal(
    errorAbout(makePacket6({ nextHeader: 60, payload: Uint8Array.of(58, 40, 0, 0, 0, 0, 0, 0) })),
    undefined,
  )
  assert.equal(errorAbout(makePacket6({ nextHeader: 0, payload: Uint8Array.of(58, 0, 0) })), undefined)
  const long = new Uint8Array(8 * 20)
  for (let at = 0; at < long.length; at += 8) long[at] = 60
  assert.equal(errorAbout(makePacket6({ nextHeader: 60, payload: long })), undefined, 'twenty headers')
})

test('an echo request is answered with its own data, from the address it was sent to', () => {
  const request = echo({
    source: 'fd00:77::a4d:304',
    destination: 'fd00:77::a4d:1',
    hopLimit: 3,
    trafficClass: 0xb9,
  })
  const reply = replyTo(request)!
  assert.deepEqual(reply.subarray(8, 24), ip6('fd00:77::a4d:1'))
  assert.deepEqual(reply.subarray(24, 40), ip6('fd00:77::a4d:304'))
  assert.equal(((reply[0] & 15) << 4) | (reply[1] >> 4), 0xb9)
  assert.equal(reply[7], 64)
  assert.deepEqual([...reply.subarray(40, 42)], [129, 0])
  assert.deepEqual(reply.subarray(44), request.subarray(44))
  for (const data of [0, 1, 2, 1231, 1232, 9000]) assert.equal(replyTo(echo({}, data))!.length, 48 + data)
  const behind = icmp6Packet(128, new Uint8Array(12), {}, 0, { first: 60, bytes: options(58) })
  assert.equal(replyTo(behind)!.length, 40 + 16)
})

test('what is no whole, sound echo request is not answered', () => {
  const broken = echo()
  broken[60] ^= 1
  const body = new Uint8Array(16)
  const bad: [string, Uint8Array][] = [
    ['an echo reply', icmp6Packet(129, body)],
    ['another code', icmp6Packet(128, body, {}, 1)],
    ['a wrong checksum', broken],
    ['a fragment', icmp6Packet(128, body, {}, 0, { first: 44, bytes: fragment(58, 0, 1) })],
    ['a message cut short', icmp6Packet(128, new Uint8Array(3))],
    ['nothing', makePacket6({ nextHeader: 58, payload: new Uint8Array() })],
    ['another protocol', makePacket6({ nextHeader: 17 })],
    ['to a group', echo({ destination: 'ff02::1' })],
    ['from nowhere', echo({ source: '::' })],
  ]
  for (const [what, packet] of bad) assert.equal(replyTo(packet), undefined, what)
})
