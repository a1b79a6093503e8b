import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { clampMss } from '../../../node/switch/tcp.ts'
import { buffer } from '../../unit/switch-pure/packets.ts'
import { makeTransport } from '../../unit/switch-pure/tcp-packets.ts'

const SYN = 0x02

type Option =
  | { kind: 'mss'; value: number }
  | { kind: 'nop' }
  | { kind: 'other'; type: number; data: number[] }
const option: fc.Arbitrary<Option> = fc.oneof(
  fc.record({ kind: fc.constant('mss' as const), value: fc.nat(0xffff) }),
  fc.constant({ kind: 'nop' as const }),
  fc.record({
    kind: fc.constant('other' as const),
    type: fc.constantFrom(3, 4, 5, 8, 34),
    data: fc.array(fc.nat(0xff), { maxLength: 8 }),
  }),
)
const encode = (options: readonly Option[], most = 0xffff): number[] =>
  options.flatMap(each => {
    if (each.kind === 'nop') return [1]
    if (each.kind === 'other') return [each.type, each.data.length + 2, ...each.data]
    const value = Math.min(most, each.value)
    return [2, 4, value >> 8, value & 0xff]
  })

function clamped(packet: Uint8Array, mtu: number): Uint8Array {
  const memory = buffer(packet.length + 40)
  memory.bytes.fill(2)
  memory.bytes.set(packet, 8)
  clampMss(memory, 8, mtu)
  assert.ok(memory.bytes.subarray(0, 8).every(byte => byte === 2))
  assert.ok(memory.bytes.subarray(8 + packet.length).every(byte => byte === 2))
  return memory.bytes.slice(8, 8 + packet.length)
}

test('the MSS of a SYN fits the MTU, wherever the option stands, and the checksum stays right', () => {
  const options = fc.array(option, { maxLength: 8 }).filter(each => encode(each).length <= 40)
  const flags = fc.nat(0xff)
  fc.assert(
    fc.property(
      options,
      flags,
      fc.integer({ min: 100, max: 1500 }),
      fc.nat(40),
      fc.constantFrom(4 as const, 6 as const),
      (options, flags, mtu, data, version) => {
        const make = (most?: number): Uint8Array =>
          makeTransport({
            version,
            flags,
            options: Uint8Array.from(encode(options, most)),
            payload: new Uint8Array(data).fill(7),
          })
        const syn = (flags & SYN) !== 0
        assert.deepEqual(clamped(make(), mtu), syn ? make(mtu - (version === 4 ? 40 : 60)) : make())
      },
    ),
    { numRuns: 1000 },
  )
})

test('a wrong checksum stays wrong, so that the receiver drops the packet', () => {
  const fields = { flags: SYN, options: Uint8Array.of(2, 4, 0xff, 0xff) }
  const right = Buffer.from(clamped(makeTransport(fields), 1420)).readUInt16BE(36)
  assert.notEqual(
    Buffer.from(clamped(makeTransport({ ...fields, badChecksum: true }), 1420)).readUInt16BE(36),
    right,
  )
})

test('fragments behind the first, UDP and malformed options are left alone, and nothing is read past the end', () => {
  const options = Uint8Array.of(2, 4, 0xff, 0xff)
  // TCP behind a destination options header of IPv6 is a later one's to clamp.
  const behind = makeTransport({ version: 6, flags: SYN, options })
  behind[6] = 60
  assert.deepEqual(clamped(behind, 1420), behind)
  // What would be a SYN, in the place of a TCP header.
  const likeTcp = Uint8Array.of(...new Uint8Array(4), 0x60, SYN, ...new Uint8Array(6), ...options)
  for (const fields of [
    { fragment: 0x00b9 },
    { protocol: 17 as const, payload: likeTcp },
    { protocol: 17 as const, payload: likeTcp, version: 6 as const },
    // After the end of the list, behind one that is shorter than its head, and of another length.
    { options: Uint8Array.of(0, 2, ...options, 0, 0) },
    { options: Uint8Array.of(8, 1, ...options, 0, 0) },
    { options: Uint8Array.of(2, 6, 0xff, 0xff, 0, 0) },
  ]) {
    const packet = makeTransport({ flags: SYN, options, ...fields })
    assert.deepEqual(clamped(packet, 1420), packet)
  }
  // A header that is longer than the packet.
  const beyond = makeTransport({ flags: SYN, options: Uint8Array.of(1, 1, 1, 1, ...options) })
  beyond[3] = 44
  assert.deepEqual(clamped(beyond, 1420), beyond)
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 40, maxLength: 40 }),
      fc.integer({ min: 20, max: 80 }),
      (bytes, length) => {
        const packet = makeTransport({ flags: SYN, options: bytes })
        // A packet that ends within its headers: its length is the IP header's, which is valid.
        packet[2] = 0
        packet[3] = length
        const end = clamped(packet, 600).subarray(length)
        assert.deepEqual(end, packet.subarray(length))
        const six = makeTransport({ version: 6, flags: SYN, options: bytes })
        six.set([0, length - 20], 4)
        assert.deepEqual(clamped(six, 600).subarray(length + 20), six.subarray(length + 20))
      },
    ),
    { numRuns: 1000 },
  )
})
