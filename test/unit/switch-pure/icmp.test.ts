import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ICMP_ERROR, type IcmpError, writeEchoReply, writeError } from '../../../node/switch/icmp.ts'
import { IPV4, type PacketBuffer, validate } from '../../../node/switch/ipv4.ts'
import { buffer, ip, makePacket, type PacketFields, sumOf } from './packets.ts'

const ORIGIN = { address: ip('10.77.0.1'), broadcast: ip('10.77.255.255') }
const AT = 13

/** The error about a packet, or undefined if none may be sent. */
function errorAbout(
  fields: Partial<PacketFields>,
  error: IcmpError = ICMP_ERROR.timeExceeded,
  mtu?: number,
): Uint8Array | undefined {
  const packet = makePacket(fields)
  return written(packet, (about, target) => writeError(error, ORIGIN, about, 5, target, AT, mtu))
}

function replyTo(fields: Partial<PacketFields>): Uint8Array | undefined {
  return written(makePacket(fields), (request, target) => writeEchoReply(request, 5, target, AT))
}

/** Runs a writer on guarded memory: what lies around the packet and around the result must not change. */
function written(
  packet: Uint8Array,
  write: (from: PacketBuffer, target: PacketBuffer) => number,
): Uint8Array | undefined {
  const from = buffer(packet.length + 10)
  from.bytes.set(packet, 5)
  const before = from.bytes.slice()
  const target = buffer(packet.length + 700)
  target.bytes.fill(0xaa)
  const length = write(from, target)
  assert.deepEqual(from.bytes, before)
  assert.ok(target.bytes.subarray(0, AT).every(byte => byte === 0xaa))
  assert.ok(target.bytes.subarray(AT + length).every(byte => byte === 0xaa))
  if (length === 0) return undefined
  const result = target.bytes.slice(AT, AT + length)
  assert.equal(validate(target.bytes, target.view, AT, length), IPV4.ok)
  assert.equal(result[2] * 256 + result[3], length)
  assert.equal(sumOf(result.subarray(20)), 0, 'ICMP checksum')
  return result
}

const echo = (type = 8, data = 56, code = 0): Uint8Array => {
  const message = new Uint8Array(8 + data).map((_, i) => i * 7)
  message.set([type, code, 0, 0])
  new DataView(message.buffer).setUint16(2, sumOf(message))
  return message
}
const withIcmp = (message: Uint8Array, fields: Partial<PacketFields> = {}) => ({
  protocol: 1,
  payload: message,
  ...fields,
})

test('an error comes from the router, goes to the sender and quotes the packet', () => {
  const packet = { payload: new Uint8Array(100).fill(3), source: ip('10.77.9.9'), ttl: 1 }
  const error = errorAbout(packet)!
  assert.deepEqual([...error.subarray(12, 16)], [10, 77, 0, 1])
  assert.deepEqual([...error.subarray(16, 20)], [10, 77, 9, 9])
  assert.deepEqual(
    [...error.subarray(4, 10)],
    [0, 0, 0x40, 0, 64, 1],
    'never fragmented, and so without a number',
  )
  assert.deepEqual([error[20], error[21]], [11, 0])
  assert.deepEqual([...error.subarray(24, 28)], [0, 0, 0, 0])
  assert.deepEqual(error.subarray(28), makePacket(packet))
})

test('an error is never longer than 576 bytes and quotes as much as that allows', () => {
  for (const [payload, length] of [
    [0, 48],
    [8, 56],
    [528, 576],
    [529, 576],
    [1480, 576],
    [65515, 576],
  ]) {
    assert.equal(errorAbout({ payload: new Uint8Array(payload) })!.length, length)
  }
})

test('bytes that came after the packet are not quoted', () => {
  const memory = buffer(200)
  memory.bytes.set(makePacket({ payload: new Uint8Array(10) }))
  memory.bytes.fill(0x55, 30)
  assert.equal(writeError(ICMP_ERROR.hostUnreachable, ORIGIN, memory, 0, buffer(600), 0), 20 + 8 + 30)
})

test('types and codes are those of the RFCs; the MTU stands where RFC 1191 wants it', () => {
  const expected: [IcmpError, number, number][] = [
    [ICMP_ERROR.networkUnreachable, 3, 0],
    [ICMP_ERROR.hostUnreachable, 3, 1],
    [ICMP_ERROR.protocolUnreachable, 3, 2],
    [ICMP_ERROR.portUnreachable, 3, 3],
    [ICMP_ERROR.fragmentationNeeded, 3, 4],
    [ICMP_ERROR.adminProhibited, 3, 13],
    [ICMP_ERROR.timeExceeded, 11, 0],
  ]
  for (const [error, type, code] of expected) {
    const bytes = errorAbout({}, error)!
    assert.deepEqual([...bytes.subarray(20, 22)], [type, code])
  }
  const tooBig = errorAbout({ payload: new Uint8Array(1400) }, ICMP_ERROR.fragmentationNeeded, 1280)!
  assert.deepEqual([...tooBig.subarray(24, 28)], [0, 0, 5, 0])
})

test('an error has precedence 6, the TOS of the packet and no ECN', () => {
  assert.equal(errorAbout({ tos: 0 })![1], 0xc0)
  assert.equal(errorAbout({ tos: 0x10 })![1], 0xd0)
  assert.equal(errorAbout({ tos: 0xff })![1], 0xdc)
})

test('no error is sent where RFC 1812 forbids one', () => {
  const host = ip('10.77.0.5')
  assert.ok(errorAbout({ source: host }))
  const sources = [
    '0.0.0.0',
    '0.1.2.3',
    '127.0.0.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '10.77.255.255',
  ]
  for (const text of sources) {
    assert.equal(errorAbout({ source: ip(text) }), undefined, `from ${text}`)
    assert.equal(errorAbout({ source: host, destination: ip(text) }), undefined, `to ${text}`)
  }
  assert.equal(errorAbout({ fragment: 1 }), undefined, 'a later fragment')
  assert.equal(errorAbout({ fragment: 0x2001 }), undefined, 'a fragment in the middle')
  assert.ok(errorAbout({ fragment: 0x2000 }), 'a first fragment')
})

test('no error is sent about an error, and one is about a query', () => {
  for (const type of [3, 4, 5, 11, 12, 1, 2, 6, 19, 41, 255]) {
    assert.equal(errorAbout(withIcmp(echo(type))), undefined, `type ${type}`)
  }
  for (const type of [0, 8, 13, 15, 17]) assert.ok(errorAbout(withIcmp(echo(type))), `type ${type}`)
  assert.equal(errorAbout(withIcmp(new Uint8Array())), undefined, 'no type at all')
  const hidden = withIcmp(echo(3), { options: new Uint8Array(12).fill(1) })
  assert.equal(errorAbout(hidden), undefined, 'an error behind options')
})

test('an echo request is answered with its own data, from the address it was sent to', () => {
  const request = echo(8, 56)
  const reply = replyTo(
    withIcmp(request, { source: ip('10.77.3.4'), destination: ip('10.77.0.1'), ttl: 3, tos: 0xb9 }),
  )!
  assert.deepEqual([...reply.subarray(12, 20)], [10, 77, 0, 1, 10, 77, 3, 4])
  assert.equal(reply[1], 0xb9)
  assert.equal(reply[8], 64)
  assert.deepEqual([reply[20], reply[21]], [0, 0])
  assert.deepEqual(reply.subarray(24), request.subarray(4))
})

test('echo requests of any length are answered, options left out', () => {
  for (const data of [0, 1, 2, 1471, 1472, 9000])
    assert.equal(replyTo(withIcmp(echo(8, data)))!.length, 28 + data)
  const reply = replyTo(withIcmp(echo(8, 8), { options: new Uint8Array(40).fill(1) }))!
  assert.equal(reply.length, 36)
  assert.equal(reply[0], 0x45)
})

test('what is no whole, sound echo request is not answered', () => {
  const broken = echo()
  broken[9] ^= 1
  const bad: [string, Partial<PacketFields>][] = [
    ['an echo reply', withIcmp(echo(0))],
    ['another code', withIcmp(echo(8, 56, 1))],
    ['a wrong checksum', withIcmp(broken)],
    ['a first fragment', withIcmp(echo(), { fragment: 0x2000 })],
    ['a later fragment', withIcmp(echo(), { fragment: 3 })],
    ['a message cut short', withIcmp(Uint8Array.of(8, 0, 0xf7, 0xff))],
    ['nothing', withIcmp(new Uint8Array())],
    ['another protocol', withIcmp(echo(), { protocol: 17 })],
    ['to a multicast group', withIcmp(echo(), { destination: ip('224.0.0.1') })],
    ['from a broadcast address', withIcmp(echo(), { source: ip('255.255.255.255') })],
  ]
  for (const [what, fields] of bad) assert.equal(replyTo(fields), undefined, what)
})
