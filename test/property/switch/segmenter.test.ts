// Super-packets are cut as a reference cuts them, and nothing outside them is touched, whatever the bytes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Segmenter } from '../../../node/switch/segmenter.ts'
import { GSO, GSO_ECN, VIRTIO_HEADER, writeVirtio } from '../../../node/switch/virtio.ts'
import { buffer, sumOf } from '../../unit/switch-pure/packets.ts'
import { headersOf, makeTransport, type Transport } from '../../unit/switch-pure/tcp-packets.ts'
import { CWR, cut, FLOW, hex, payloadOf, segments } from './super-packets.ts'

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
