// Super-packets: cut as a reference cuts them, put together only from what they are cut into again, and whatever the bytes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { wordSum } from '../../../node/switch/checksum.ts'
import { Coalescer, type PacketSink } from '../../../node/switch/coalescer.ts'
import { Segmenter } from '../../../node/switch/segmenter.ts'
import type { Arena } from '../../../node/switch/sys/arena.ts'
import { GSO, GSO_ECN, VIRTIO_HEADER, writeVirtio } from '../../../node/switch/virtio.ts'
import { buffer, sumOf } from '../../unit/switch-pure/packets.ts'
import { headersOf, makeTransport, type Transport } from '../../unit/switch-pure/tcp-packets.ts'

const FIN = 0x01
const PSH = 0x08
const ACK = 0x10
const CWR = 0x80

const FLOW: Transport = {
  version: 4,
  protocol: 6,
  source: 0x0a4d0005,
  destination: 0x0a4d0006,
  sourcePort: 40000,
  destinationPort: 443,
  sequence: 1,
  acknowledgment: 2,
  window: 3,
  flags: ACK,
  urgent: 0,
  options: new Uint8Array(),
  ttl: 64,
  tos: 0,
  id: 1,
  fragment: 0x4000,
  payload: new Uint8Array(),
  badChecksum: false,
}

const payloadOf = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + seed) & 0xff)
const hex = (packets: readonly Uint8Array[]): string[] =>
  packets.map(each => Buffer.from(each).toString('hex'))

/** What a host without offloads would have sent. */
function cut(whole: Transport, size: number): Uint8Array[] {
  const count = Math.ceil(whole.payload.length / size)
  return Array.from({ length: count }, (_, i) => {
    let { flags } = whole
    if (i < count - 1) flags &= ~(FIN | PSH)
    if (i > 0) flags &= ~CWR
    const payload = whole.payload.subarray(i * size, (i + 1) * size)
    const sequence = (whole.sequence + i * size) >>> 0
    return makeTransport({ ...whole, flags, sequence, id: (whole.id + i) & 0xffff, payload })
  })
}

/** The super-packet as the kernel hands it over: its checksum field is not to be relied upon, but for its pseudo-header. */
function makeSuper(whole: Transport): Uint8Array {
  const bytes = makeTransport(whole)
  const start = whole.version === 4 ? 20 : 40
  const length = bytes.length - start
  const addresses = whole.version === 4 ? bytes.subarray(12, 20) : bytes.subarray(8, 40)
  const pseudo = Uint8Array.from([...addresses, 0, 0, length >> 8, length & 0xff, 0, 0, 0, whole.protocol])
  new DataView(bytes.buffer).setUint16(start + (whole.protocol === 17 ? 6 : 16), 0xffff - sumOf(pseudo))
  return bytes
}

const wholes = fc.record({
  version: fc.constantFrom<4 | 6>(4, 6),
  protocol: fc.constantFrom<6 | 17>(6, 6, 17),
  source: fc.nat(0xffffffff),
  destination: fc.nat(0xffffffff),
  sourcePort: fc.nat(0xffff),
  destinationPort: fc.nat(0xffff),
  sequence: fc.oneof(fc.nat(0xffffffff), fc.constant(0xffffff00)),
  acknowledgment: fc.nat(0xffffffff),
  window: fc.nat(0xffff),
  flags: fc.nat(0xff),
  urgent: fc.nat(0xffff),
  options: fc.uint8Array({ maxLength: 40 }),
  ttl: fc.integer({ min: 1, max: 255 }),
  tos: fc.nat(0xff),
  id: fc.oneof(fc.nat(0xffff), fc.constant(0xffff)),
  fragment: fc.constantFrom(0, 0x4000),
  badChecksum: fc.constant(false),
  length: fc.integer({ min: 2, max: 9000 }),
  seed: fc.nat(0xff),
  size: fc.oneof(fc.integer({ min: 8, max: 100 }), fc.integer({ min: 500, max: 1460 })),
})

const typeOf = ({ version, protocol }: Pick<Transport, 'version' | 'protocol'>): number =>
  protocol === 17 ? GSO.udp : version === 4 ? GSO.tcp4 : GSO.tcp6

function segments(segmenter: Segmenter, bytes: Uint8Array, virtio: ReturnType<typeof buffer>): Uint8Array[] {
  const packet = buffer(65536)
  packet.bytes.set(bytes)
  const count = segmenter.begin(packet, bytes.length, virtio)
  if (count < 2) return count === 0 ? [] : [packet.bytes.slice(0, bytes.length)]
  const packets: Uint8Array[] = []
  while (segmenter.next()) {
    assert.ok(segmenter.at + segmenter.length <= bytes.length)
    packets.push(packet.bytes.slice(segmenter.at, segmenter.at + segmenter.length))
  }
  assert.equal(packets.length, count)
  return packets
}

test('a super-packet is cut as a host without offloads would have sent it', () => {
  const segmenter = new Segmenter()
  fc.assert(
    fc.property(wholes, ({ length, seed, size, ...fields }) => {
      const whole = { ...fields, payload: payloadOf(length, seed) }
      const bytes = makeSuper(whole)
      const virtio = buffer(VIRTIO_HEADER)
      const ecn = (whole.flags & CWR) !== 0 && whole.protocol === 6 ? GSO_ECN : 0
      const start = whole.version === 4 ? 20 : 40
      const checksumAt = whole.protocol === 17 ? 6 : 16
      writeVirtio(virtio, typeOf(whole) | ecn, headersOf(whole), size, start, checksumAt)
      assert.deepEqual(hex(segments(segmenter, bytes, virtio)), hex(cut(whole, size)))
    }),
    { numRuns: 300 },
  )
})

test('a checksum that the kernel left open is completed', () => {
  const segmenter = new Segmenter()
  fc.assert(
    fc.property(wholes, ({ length, seed, ...fields }) => {
      const whole = { ...fields, payload: payloadOf(length % 1400, seed) }
      const virtio = buffer(VIRTIO_HEADER)
      writeVirtio(virtio, GSO.none, 0, 0, whole.version === 4 ? 20 : 40, whole.protocol === 17 ? 6 : 16)
      virtio.view.setUint8(0, 1)
      assert.deepEqual(hex(segments(segmenter, makeSuper(whole), virtio)), hex([makeTransport(whole)]))
    }),
  )
})

test('a checksum of UDP that comes to 0 is sent as 0xffff', () => {
  const segmenter = new Segmenter()
  const fields = { ...FLOW, protocol: 17 as const, payload: new Uint8Array(4) }
  // The first two bytes of the first segment make up for all others.
  const [first] = cut(fields, 2)
  new DataView(fields.payload.buffer).setUint16(0, Buffer.from(first).readUInt16BE(26))
  const virtio = buffer(VIRTIO_HEADER)
  writeVirtio(virtio, GSO.udp, 28, 2, 20, 6)
  const packets = segments(segmenter, makeSuper(fields), virtio)
  assert.equal(Buffer.from(packets[0]).readUInt16BE(26), 0xffff)
  assert.deepEqual(hex(packets), hex(cut(fields, 2)))
})

test('whatever the virtio header and the packet say, what comes out lies inside the packet', () => {
  const segmenter = new Segmenter()
  const header = fc.record({
    flags: fc.nat(3),
    type: fc.constantFrom(0, 1, 3, 4, 5, 6, 0x81, 0xff),
    headerLength: fc.nat(0xffff),
    size: fc.oneof(fc.nat(20), fc.nat(0xffff)),
    start: fc.oneof(fc.constantFrom(20, 40), fc.nat(70), fc.nat(0xffff)),
    offset: fc.oneof(fc.constantFrom(6, 16), fc.nat(0xffff)),
  })
  fc.assert(
    fc.property(
      header,
      fc.uint8Array({ minLength: 20, maxLength: 3000, size: 'max' }),
      fc.nat(2),
      (header, bytes, kind) => {
        if (kind > 0) bytes[0] = kind === 1 ? 0x45 : 0x60
        if (kind === 1) bytes[9] = 6
        const virtio = buffer(VIRTIO_HEADER)
        writeVirtio(virtio, header.type, header.headerLength, header.size, header.start, header.offset)
        virtio.view.setUint8(0, header.flags)
        const packet = buffer(bytes.length)
        packet.bytes.set(bytes)
        const count = segmenter.begin(packet, bytes.length, virtio)
        assert.ok(count >= 0 && count <= 1500)
        for (let i = 0; count > 1 && i < count; i++) {
          assert.equal(segmenter.next(), true)
          assert.ok(
            segmenter.at >= 0 && segmenter.length > 0 && segmenter.at + segmenter.length <= bytes.length,
          )
        }
        if (count > 1) assert.equal(segmenter.next(), false)
      },
    ),
    { numRuns: 3000 },
  )
})

test('a virtio header that does not fit the packet is refused', () => {
  const make = (version: 4 | 6, protocol: 6 | 17) => {
    const whole = { ...FLOW, version, protocol, payload: payloadOf(300, 1) }
    const start = version === 4 ? 20 : 40
    return { bytes: makeSuper(whole), type: typeOf(whole), size: 100, start, flags: 1 }
  }
  type Super = ReturnType<typeof make>
  const count = (of: Super, change: Partial<Super> = {}): number => {
    const { bytes, type, size, start, flags } = { ...of, ...change }
    const virtio = buffer(VIRTIO_HEADER)
    writeVirtio(virtio, type, 0, size, start, type === GSO.udp ? 6 : 16)
    virtio.view.setUint8(0, flags)
    const packet = buffer(bytes.length)
    packet.bytes.set(bytes)
    return new Segmenter().begin(packet, bytes.length, virtio)
  }
  const changed = (bytes: Uint8Array, at: number, value: number): Uint8Array =>
    bytes.map((byte, i) => (i === at ? value : byte))
  for (const [version, protocol] of [
    [4, 6],
    [4, 17],
    [6, 6],
    [6, 17],
  ] as const) {
    const sound = make(version, protocol)
    const { bytes, start } = sound
    const name = `IPv${version}, ${protocol}`
    const other = version === 4 ? GSO.tcp6 : GSO.tcp4
    assert.equal(count(sound), 3, name)
    assert.equal(count(sound, { size: 0 }), 0, `${name}: no size`)
    assert.equal(count(sound, { flags: 0 }), 0, `${name}: no checksum to complete`)
    assert.equal(count(sound, { type: 7 }), 0, `${name}: unknown type`)
    assert.equal(count(sound, { type: other }), 0, `${name}: other version`)
    assert.equal(count(sound, { start: start - 4 }), 0, `${name}: within the header of IP`)
    assert.equal(count(sound, { bytes: changed(bytes, 0, 0x55) }), 0, `${name}: no version of IP`)
    const headers = start + (protocol === 6 ? 20 : 8)
    assert.equal(count(sound, { bytes: bytes.slice(0, headers) }), 0, `${name}: no payload`)
    if (version === 4) {
      assert.equal(count(sound, { start: 24 }), 0, `${name}: behind the header of IP`)
      assert.equal(count(sound, { bytes: changed(bytes, 0, 0x44), start: 16 }), 0, `${name}: short header`)
      assert.equal(count(sound, { bytes: changed(bytes, 9, 1) }), 0, `${name}: another protocol`)
    }
  }
  // Extension headers in front of TCP, up to 256 bytes in all.
  const behind = (extensions: number): Super => {
    const { bytes, ...rest } = make(6, 6)
    const more = Buffer.concat([bytes.subarray(0, 40), new Uint8Array(extensions), bytes.subarray(40)])
    return { ...rest, bytes: Uint8Array.from(more), start: 40 + extensions }
  }
  assert.equal(count(behind(196)), 3)
  assert.equal(count(behind(200)), 0)
  const many = (segments: number): Super => ({
    ...make(4, 6),
    bytes: makeSuper({ ...FLOW, payload: payloadOf(segments * 10, 1) }),
    size: 10,
  })
  assert.equal(count(many(1500)), 1500)
  assert.equal(count(many(1501)), 0)
})

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

test('the fast sum is that of RFC 1071, wherever the bytes lie', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 3000, size: 'max' }),
      fc.nat(9),
      fc.boolean(),
      (bytes, offset, full) => {
        if (full) bytes.fill(0xff)
        const memory = buffer(bytes.length + 20)
        memory.bytes.fill(0x5a)
        memory.bytes.set(bytes, offset)
        // 0 and 0xffff are the same number in one's complement.
        assert.equal((0xffff - wordSum(memory.view, offset, bytes.length)) % 0xffff, sumOf(bytes) % 0xffff)
      },
    ),
  )
})
