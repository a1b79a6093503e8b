// What the data plane reads from strangers' packets, and address text from files and commands.
import assert from 'node:assert/strict'
import { readEchoAnswer6 } from '../../node/cli/echo6.ts'
import { formatHostPort, formatIpv6, HostPortError, parseHostPort, parseIpv6 } from '../../node/net/ip.ts'
import { planFragments, writeFragment } from '../../node/switch/fragment.ts'
import { planFragments6, writeFragment6 } from '../../node/switch/fragment6.ts'
import { ICMP_ERROR, MAX_ERROR_LENGTH, writeEchoReply, writeError } from '../../node/switch/icmp.ts'
import { ICMP6_ERROR, MAX_ERROR6_LENGTH, writeEchoReply6, writeError6 } from '../../node/switch/icmpv6.ts'
import {
  checksum,
  decrementTtl,
  destination,
  headerLength,
  IPV4,
  source,
  totalLength,
  validate,
  writeHeaderChecksum,
} from '../../node/switch/ipv4.ts'
import { decrementHopLimit, IPV6, totalLength6, validate6 } from '../../node/switch/ipv6.ts'
import { Overlay6 } from '../../node/switch/overlay6.ts'
import { ForwardingTable } from '../../node/switch/table.ts'
import { ForwardingTable6 } from '../../node/switch/table6.ts'
import { clampMss } from '../../node/switch/tcp.ts'
import { answerEcho6 } from '../../node/vpn/client-echo6.ts'
import { parseCidr, parseIpv4 } from '../../state/address.ts'
import { formatCidr6, parseCidr6 } from '../../state/address6.ts'
import { buffer, ip, makePacket, sumOf } from '../unit/switch-pure/packets.ts'
import { icmp6Packet, ip6, makePacket6, sum6 } from '../unit/switch-pure/packets6.ts'
import { fuzz, MAX_INPUT } from './mutate.ts'

const echo = Uint8Array.from(Buffer.from('0800f7ff0000000000', 'hex'))
const packets = [
  makePacket({ payload: new Uint8Array(64).fill(7) }),
  makePacket({ payload: new Uint8Array(1480).fill(9), tos: 0xb8, ttl: 1 }),
  makePacket({
    payload: new Uint8Array(1000),
    options: Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 1),
    fragment: 0x2000,
  }),
  makePacket({
    payload: new Uint8Array(600),
    options: Uint8Array.of(131, 7, 4, 1, 2, 3, 4, 148, 4, 0, 0, 0),
    fragment: 80,
  }),
  makePacket({ protocol: 1, payload: echo, destination: ip('10.77.0.1') }),
  makePacket({ protocol: 1, payload: Uint8Array.of(3, 3, 0xfc, 0xfc, 0, 0, 0, 0) }),
]
const ORIGIN = { address: ip('10.77.0.1'), broadcast: ip('10.77.255.255') }
const GUARD = 64
const table = ForwardingTable.build([
  { address: ip('10.77.0.0'), length: 16, nextHop: 1 },
  { address: ip('10.77.0.6'), length: 32, nextHop: 2 },
])

// The packet lies at the very end of its memory: to read past it is to throw, or to read `undefined` and be found out.
function received(input: Uint8Array) {
  const memory = buffer(GUARD + input.length)
  memory.bytes.set(input, GUARD)
  return memory
}

const out = buffer(MAX_INPUT + 2 * GUARD)
/** Runs a writer and checks that it stayed inside the room it was given, and that what it wrote is sound. */
function writing(room: number, write: () => number): number {
  out.bytes.fill(0xa5, 0, GUARD)
  out.bytes.fill(0xa5, GUARD + room, room + 2 * GUARD)
  const length = write()
  assert.ok(length >= 0 && length <= room)
  for (let i = 0; i < GUARD; i++) {
    assert.equal(out.bytes[i], 0xa5)
    assert.equal(out.bytes[GUARD + room + i], 0xa5)
  }
  if (length > 0) assert.equal(validate(out.bytes, out.view, GUARD, length), IPV4.ok)
  return length
}

/** What a router does with one packet. */
function route(input: Uint8Array): void {
  const packet = received(input)
  const verdict = validate(packet.bytes, packet.view, GUARD, input.length)
  if (verdict !== IPV4.ok) return
  const total = totalLength(packet.view, GUARD)
  assert.ok(total <= input.length && total >= headerLength(packet.view, GUARD))
  assert.ok([-1, 1, 2].includes(table.lookup(destination(packet.view, GUARD))))
  table.lookup(source(packet.view, GUARD))
  writing(MAX_ERROR_LENGTH, () =>
    writeError(ICMP_ERROR.fragmentationNeeded, ORIGIN, packet, GUARD, out, GUARD, 1280),
  )
  writing(total, () => writeEchoReply(packet, GUARD, out, GUARD))
  for (const mtu of [68, 576]) {
    const count = planFragments(packet, GUARD, mtu)
    if (total <= mtu) {
      assert.equal(count, 1)
      continue
    }
    let payload = 0
    for (let index = 0; index < count; index++) {
      const length = writing(mtu, () => writeFragment(packet, GUARD, mtu, index, out, GUARD))
      payload += length - headerLength(out.view, GUARD)
    }
    if (count > 0) assert.equal(payload, total - headerLength(packet.view, GUARD))
  }
  const decremented = decrementTtl(packet.view, GUARD)
  assert.equal(checksum(packet.bytes, GUARD, headerLength(packet.view, GUARD)), 0)
  if (!decremented) assert.deepEqual(packet.bytes.subarray(GUARD), input)
}

fuzz({ name: 'IPv4 packets', corpus: packets, check: route })

fuzz({
  // Most mutations die at the header's checksum; with that and the ICMP checksum repaired, they get further.
  name: 'IPv4 packets with right checksums',
  corpus: packets,
  check: input => {
    const memory = { bytes: input, view: new DataView(input.buffer) }
    if (input.length >= 20) {
      const header = headerLength(memory.view, 0)
      if (header >= 20 && header <= input.length) {
        if (input[9] === 1 && input.length >= header + 4) {
          memory.view.setUint16(header + 2, 0)
          memory.view.setUint16(header + 2, sumOf(input.subarray(header)))
        }
        if (memory.view.getUint16(2) > input.length) memory.view.setUint16(2, input.length)
        writeHeaderChecksum(memory, 0)
      }
    }
    route(input)
  },
})

const ORIGIN6 = received(ip6('fd00:77::a4d:1'))
const table6 = ForwardingTable6.build([
  { ...parseCidr6('fd00:77::/64')!, nextHop: 1 },
  { ...parseCidr6('fd00:77::a4d:6/128')!, nextHop: 2 },
])
const overlay6 = new Overlay6(
  parseCidr6('fd00:77::/64')!,
  { address: ip('10.77.0.0'), length: 16 },
  ip('10.77.0.1'),
)

/** What a router does with one IPv6 packet. */
function route6(input: Uint8Array): void {
  const packet = received(input)
  readEchoAnswer6(input)
  answerEcho6(input, [0xfd000077, 0, 0, 0x0a4d0006])
  if (validate6(packet.view, GUARD, input.length) !== IPV6.ok) return
  const total = totalLength6(packet.view, GUARD)
  assert.ok(total <= input.length && total >= 40)
  assert.ok([-1, 1, 2].includes(table6.lookup(packet.view, GUARD + 24)))
  if (overlay6.has(packet.view, GUARD + 8)) assert.notEqual(table6.lookup(packet.view, GUARD + 8), -1)
  const writing = (room: number, write: () => number): number => {
    out.bytes.fill(0xa5, 0, GUARD)
    out.bytes.fill(0xa5, GUARD + room, room + 2 * GUARD)
    const length = write()
    assert.ok(length >= 0 && length <= room)
    for (let i = 0; i < GUARD; i++) {
      assert.equal(out.bytes[i], 0xa5)
      assert.equal(out.bytes[GUARD + room + i], 0xa5)
    }
    if (length > 0) assert.equal(validate6(out.view, GUARD, length), IPV6.ok)
    return length
  }
  const sound = (room: number, write: () => number): void => {
    const length = writing(room, write)
    if (length === 0) return
    const written = out.bytes.slice(GUARD, GUARD + length)
    assert.equal(sum6(written, written.subarray(40), 58), 0)
  }
  sound(MAX_ERROR6_LENGTH, () =>
    writeError6(ICMP6_ERROR.packetTooBig, ORIGIN6, GUARD, packet, GUARD, out, GUARD, 1280),
  )
  sound(total, () => writeEchoReply6(packet, GUARD, out, GUARD))
  for (const mtu of [60, 576, 1228]) {
    const count = planFragments6(packet, GUARD, mtu)
    if (count > 1)
      for (let index = 0; index < count; index++)
        assert.ok(writing(mtu, () => writeFragment6(packet, GUARD, mtu, index, 1, out, GUARD)) > 48)
  }
  assert.deepEqual(packet.bytes.subarray(GUARD), input)
  clampMss(packet, GUARD, 1280)
  decrementHopLimit(packet.view, GUARD)
}

const padding = Uint8Array.of(58, 0, 1, 4, 0, 0, 0, 0)
fuzz({
  name: 'IPv6 packets',
  corpus: [
    makePacket6({ payload: new Uint8Array(1200).fill(9), nextHeader: 6 }),
    makePacket6({
      payload: Uint8Array.of(...new Uint8Array(12), 0x60, 2, ...new Uint8Array(6), 2, 4, 5, 180),
      nextHeader: 6,
    }),
    icmp6Packet(128, new Uint8Array(20)),
    icmp6Packet(128, new Uint8Array(20), {}, 0, { first: 60, bytes: padding }),
    icmp6Packet(1, new Uint8Array(60), {}, 0, { first: 0, bytes: padding }),
    icmp6Packet(128, new Uint8Array(20), {}, 0, { first: 44, bytes: Uint8Array.of(58, 0, 0, 1, 0, 0, 0, 9) }),
    icmp6Packet(128, new Uint8Array(20), {}, 0, {
      first: 51,
      bytes: Uint8Array.of(58, 1, 0, 0, ...new Uint8Array(8)),
    }),
  ],
  check: route6,
})

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

fuzz({
  name: 'addresses, prefixes and HOST:PORT as text',
  corpus: [
    '10.77.0.1',
    '10.77.0.0/16',
    '::1',
    '2001:db8::ffff:1.2.3.4',
    '2001:db8::/32',
    '[fe80::1]:1194',
    'vpn.example.net:443',
  ].map(text),
  check: input => {
    const value = Buffer.from(input).toString('latin1')
    const v4 = parseIpv4(value)
    assert.ok(v4 === undefined || (v4 >= 0 && v4 <= 0xffffffff))
    const cidr = parseCidr(value)
    assert.ok(cidr === undefined || cidr.length <= 32)
    const v6 = parseIpv6(value)
    if (v6 !== undefined) assert.deepEqual(parseIpv6(formatIpv6(v6)), v6)
    const cidr6 = parseCidr6(value)
    if (cidr6 !== undefined) assert.deepEqual(parseCidr6(formatCidr6(cidr6)), cidr6)
    try {
      const end = parseHostPort(value, 1194)
      assert.deepEqual(parseHostPort(formatHostPort(end), 1), end)
    } catch (error) {
      if (!(error instanceof HostPortError)) throw error
      assert.ok(error.message.length < 200)
    }
  },
})
