// Segments are put together only into what is cut into the same segments again.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Coalescer, type PacketSink } from '../../../node/switch/coalescer.ts'
import { Segmenter } from '../../../node/switch/segmenter.ts'
import type { Arena } from '../../../node/switch/sys/arena.ts'
import { VIRTIO_HEADER, writeVirtio } from '../../../node/switch/virtio.ts'
import { buffer, sumOf } from '../../unit/switch-pure/packets.ts'
import { makeTransport, type Transport } from '../../unit/switch-pure/tcp-packets.ts'
import { ACK, cut, FIN, FLOW, hex, PSH, payloadOf, segments } from './super-packets.ts'

/** Keeps what is written: as the kernel's end of the TUN would have it, cut again. */
class Kernel implements PacketSink {
  readonly packets: Uint8Array[] = []
  writes = 0
  readonly #virtio = buffer(VIRTIO_HEADER)
  readonly #pieces: Uint8Array[] = []
  readonly #segmenter = new Segmenter()

  write(packet: Arena, length: number): boolean {
    this.writes++
    this.packets.push(packet.bytes.slice(0, length))
    return true
  }

  beginSuper(type: number, headerLength: number, size: number, start: number, offset: number): void {
    writeVirtio(this.#virtio, type, headerLength, size, start, offset)
    this.#pieces.length = 0
  }

  add(packet: Arena, offset: number, length: number): void {
    this.#pieces.push(packet.bytes.slice(offset, offset + length))
  }

  writeSuper(): boolean {
    this.writes++
    const bytes = Buffer.concat(this.#pieces)
    assert.ok(bytes.length <= 65535)
    assert.ok(this.#pieces.length >= 2 && this.#pieces.length <= 64)
    if (bytes[0] >> 4 === 4) {
      assert.equal(bytes.readUInt16BE(2), bytes.length)
      assert.equal(sumOf(bytes.subarray(0, 20)), 0)
    }
    const cut = segments(this.#segmenter, bytes, this.#virtio)
    assert.equal(cut.length, this.#pieces.length)
    this.packets.push(...cut)
    return true
  }
}

/** What a packet does otherwise than the one before it in its flow would have it. */
const step = fc.record({
  flow: fc.nat(3),
  length: fc.oneof({ arbitrary: fc.constant(300), weight: 6 }, fc.nat(400)),
  flags: fc.oneof(
    { arbitrary: fc.constant(ACK), weight: 8 },
    fc.constantFrom(ACK | PSH, ACK | FIN, 2, ACK | 0x40, 4),
  ),
  odd: fc.oneof(
    { arbitrary: fc.constant('none' as const), weight: 12 },
    fc.constantFrom(
      'gap',
      'again',
      'ack',
      'window',
      'ttl',
      'tos',
      'id',
      'options',
      'fragment',
      'bad',
      'udp',
      'flush',
      'mf',
    ),
  ),
})

function packetsOf(
  steps: readonly (typeof step extends fc.Arbitrary<infer T> ? T : never)[],
): (Uint8Array | 'flush')[] {
  const next = [5000, 0xfffffe00, 1, 2]
  const ids = [1, 0xfffe, 9, 9]
  return steps.map(({ flow, length, flags, odd }, index) => {
    if (odd === 'flush') return 'flush'
    const version = flow === 3 ? 6 : 4
    const fields: Partial<Transport> = {
      version,
      sourcePort: 40000 + (flow & 1),
      source: flow === 2 ? 0x0a4d0009 : 0x0a4d0005,
      options: flow === 1 ? Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2) : new Uint8Array(),
      sequence:
        odd === 'gap' ? (next[flow] + 1000) >>> 0 : odd === 'again' ? (next[flow] - 300) >>> 0 : next[flow],
      flags,
      payload: payloadOf(length, index & 0xff),
      fragment: flow === 0 ? 0 : 0x4000,
      id: ids[flow],
      badChecksum: odd === 'bad',
    }
    if (odd === 'ack') fields.acknowledgment = 78
    if (odd === 'window') fields.window = 502
    if (odd === 'ttl') fields.ttl = 63
    if (odd === 'tos') fields.tos = 3
    if (odd === 'id') fields.id = (ids[flow] + 5) & 0xffff
    if (odd === 'options') fields.options = Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 2)
    if (odd === 'fragment') fields.fragment = 0x0002
    if (odd === 'mf') fields.fragment = 0x2000
    if (odd === 'udp') fields.protocol = 17
    next[flow] = (fields.sequence! + length) >>> 0
    ids[flow] = (fields.id! + 1) & 0xffff
    return makeTransport(fields)
  })
}

/** By flow, with the identification of unfragmented packets, which means nothing, left out. */
function byFlow(packets: readonly Uint8Array[]): Map<string, string[]> {
  const flows = new Map<string, string[]>()
  for (const packet of packets) {
    const copy = Buffer.from(packet)
    const four = copy[0] >> 4 === 4
    if (four && (copy[6] & 0x40) !== 0) copy.fill(0, 4, 6).fill(0, 10, 12)
    const protocol = four ? copy[9] : copy[6]
    const key = `${protocol} ${copy.subarray(four ? 12 : 8, four ? 24 : 44).toString('hex')}`
    flows.set(key, [...(flows.get(key) ?? []), copy.toString('hex')])
  }
  return flows
}

test('what is put together is cut into the same packets again, in the order of each flow', () => {
  const kernel = new Kernel()
  let told = 0
  const coalescer = new Coalescer(kernel, (packets, bytes, taken) => {
    assert.ok(taken && bytes > 0)
    told += packets
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: 'max' }), steps => {
      kernel.packets.length = 0
      told = 0
      const given: Uint8Array[] = []
      for (const packet of packetsOf(steps)) {
        if (packet === 'flush') {
          coalescer.flush()
          assert.equal(kernel.packets.length, given.length)
          continue
        }
        given.push(packet)
        coalescer.packet.bytes.set(packet)
        coalescer.take(packet.length)
      }
      coalescer.flush()
      assert.equal(told, given.length)
      assert.deepEqual(byFlow(kernel.packets), byFlow(given))
    }),
    { numRuns: 300 },
  )
})

/** Whether the second of two packets is put together with the first; if not, both come as they are. */
function joined(first: Uint8Array, second: Uint8Array): boolean {
  const kernel = new Kernel()
  const coalescer = new Coalescer(kernel, () => {})
  for (const packet of [first, second]) {
    coalescer.packet.bytes.set(packet)
    coalescer.take(packet.length)
  }
  coalescer.flush()
  if (kernel.writes === 1) return true
  assert.deepEqual(hex(kernel.packets).sort(), hex([first, second]).sort())
  return false
}

test('a segment that differs from the one before in what a super-packet has but once is not put together with it', () => {
  const options = (last: number): Uint8Array => Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, last)
  for (const version of [4, 6] as const) {
    const first = { ...FLOW, version, options: options(2), payload: payloadOf(100, 1) }
    const next = { ...first, sequence: first.sequence + 100, id: 2, payload: payloadOf(100, 2) }
    const joins = (fields: Partial<Transport>): boolean =>
      joined(makeTransport(first), makeTransport({ ...next, ...fields }))
    assert.ok(joins({}))
    assert.ok(joins({ payload: payloadOf(99, 2) }))
    for (const fields of [
      { source: FLOW.source + 1 },
      { destination: FLOW.destination + 1 },
      { sourcePort: 1 },
      { destinationPort: 1 },
      { sequence: 100 },
      { sequence: 102 },
      { acknowledgment: 1 },
      { window: 4 },
      { urgent: 1 },
      { ttl: 63 },
      { tos: 1 },
      { flags: 0 },
      { flags: ACK | FIN },
      { flags: ACK | 0x40 },
      { options: options(3) },
      { options: Uint8Array.of(1, 1, 1, 1, ...options(2).subarray(4)) },
      { options: Uint8Array.of(...options(2), 1, 1, 1, 0) },
      { options: options(2).subarray(0, 8) },
      { payload: payloadOf(101, 2) },
      { payload: new Uint8Array() },
      { badChecksum: true },
    ])
      assert.ok(!joins(fields), `IPv${version}, ${JSON.stringify(fields)}`)
  }
})

test('the identification of what may be fragmented has to count on; of what may not, it means nothing', () => {
  const first = { ...FLOW, fragment: 0, id: 0xffff, payload: payloadOf(100, 1) }
  const joins = (fields: Partial<Transport>): boolean => {
    const next = { ...first, sequence: first.sequence + 100, id: 0, ...fields }
    return joined(makeTransport(first), makeTransport(next))
  }
  assert.ok(joins({}))
  for (const id of [0xffff, 0xfffe, 1]) assert.ok(!joins({ id }), `${id}`)
  assert.ok(!joins({ fragment: 0x4000 }))
  const whole = { ...FLOW, id: 7, payload: payloadOf(100, 1) }
  assert.ok(joined(makeTransport(whole), makeTransport({ ...whole, sequence: 101, id: 3 })))
})

test('every bit of an IPv6 address counts, and so does the flow label', () => {
  const first = makeTransport({ ...FLOW, version: 6, payload: payloadOf(100, 1) })
  const second = { ...FLOW, version: 6 as const, sequence: 101, payload: payloadOf(100, 2) }
  for (let at = 2; at < 40; at++) {
    // The lengths, the protocol and the hop limit have their own say.
    if (at >= 4 && at < 8) continue
    const bytes = makeTransport(second)
    const view = new DataView(bytes.buffer)
    bytes[at] ^= 0x10
    if (at >= 8) {
      const pseudo = Uint8Array.of(...bytes.subarray(8, 40), 0, 0, 0, bytes.length - 40, 0, 0, 0, 6)
      view.setUint16(56, 0)
      view.setUint16(56, sumOf(Uint8Array.of(...pseudo, ...bytes.subarray(40))))
    }
    assert.ok(!joined(first, bytes), `byte ${at}`)
  }
})

test('a super-packet has 64 segments and 65,535 bytes at most', () => {
  for (const [size, count] of [
    [10, 65],
    [6549, 11],
    [16_374, 4],
  ]) {
    const kernel = new Kernel()
    const coalescer = new Coalescer(kernel, () => {})
    const given = cut({ ...FLOW, payload: payloadOf(size * count, 1) }, size)
    for (const packet of given) {
      coalescer.packet.bytes.set(packet)
      coalescer.take(packet.length)
    }
    coalescer.flush()
    assert.equal(kernel.writes, 2, `${count} of ${size}`)
    assert.deepEqual(byFlow(kernel.packets), byFlow(given))
  }
})

test('a bulk transfer becomes few super-packets, full ones', () => {
  for (const version of [4, 6] as const) {
    const kernel = new Kernel()
    const coalescer = new Coalescer(kernel, () => {})
    const given = cut({ ...FLOW, version, payload: payloadOf(100 * 1380, 1) }, 1380)
    for (const packet of given) {
      coalescer.packet.bytes.set(packet)
      coalescer.take(packet.length)
    }
    coalescer.flush()
    assert.equal(kernel.writes, 3)
    assert.deepEqual(byFlow(kernel.packets), byFlow(given))
  }
})

test('more flows and packets than there is room for are written, none lost, each flow in order', () => {
  const kernel = new Kernel()
  const coalescer = new Coalescer(kernel, () => {})
  const given: Uint8Array[] = []
  for (let round = 0; round < 60; round++) {
    // At first more flows at once than are held, then more packets.
    for (let flow = 0; flow < (round < 20 ? 40 : 8); flow++) {
      const fields = { sourcePort: flow, sequence: round * 10, id: round, payload: payloadOf(10, flow) }
      given.push(makeTransport(fields))
    }
  }
  for (const packet of given) {
    coalescer.packet.bytes.set(packet)
    coalescer.take(packet.length)
  }
  coalescer.flush()
  assert.deepEqual(byFlow(kernel.packets), byFlow(given))
  // What is forgotten is not written later.
  coalescer.packet.bytes.set(given[0])
  coalescer.take(given[0].length)
  coalescer.clear()
  coalescer.flush()
  assert.equal(kernel.packets.length, given.length)
})

test('garbage that claims to be IP goes as it is', () => {
  const kernel = new Kernel()
  const coalescer = new Coalescer(kernel, () => {})
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 20, maxLength: 200, size: 'max' }), fc.nat(3), (bytes, kind) => {
      kernel.packets.length = 0
      bytes[0] = [0x45, 0x4f, 0x60, 0x45][kind]
      if (kind !== 2) bytes[9] = 6
      else bytes[6] = 6
      if (kind === 3) bytes.set([0x40, 0], 6)
      coalescer.packet.bytes.fill(0xff, 0, 300).set(bytes)
      coalescer.take(bytes.length)
      coalescer.flush()
      assert.deepEqual(hex(kernel.packets), hex([bytes]))
    }),
    { numRuns: 1000 },
  )
})
