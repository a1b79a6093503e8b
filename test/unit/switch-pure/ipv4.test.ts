import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  checksum,
  decrementTtl,
  destination,
  dontFragment,
  fragmentOffset,
  headerLength,
  IPV4,
  identification,
  isFragment,
  isUnicast,
  moreFragments,
  protocol,
  source,
  timeToLive,
  totalLength,
  typeOfService,
  validate,
} from '../../../node/switch/ipv4.ts'
import { buffer, ip, makePacket, writePacket } from './packets.ts'

// The header of RFC 1071's usual example: 4500 0073 ... with checksum b861.
const EXAMPLE = Uint8Array.from(
  Buffer.from('450000730000400040 11b861c0a80001c0a800c7'.replace(' ', ''), 'hex'),
)

function verdict(bytes: Uint8Array, length = bytes.length): number {
  // In the middle of a larger buffer, so that a wrong offset is noticed.
  const memory = buffer(bytes.length + 64)
  memory.bytes.fill(0xee)
  memory.bytes.set(bytes, 32)
  return validate(memory.bytes, memory.view, 32, length)
}

/** A valid packet with some bytes changed, and the checksum made right again unless it is what was changed. */
function altered(change: (bytes: Uint8Array, view: DataView) => void): Uint8Array {
  const bytes = makePacket({ payload: new Uint8Array(20) })
  const view = new DataView(bytes.buffer)
  change(bytes, view)
  view.setUint16(10, 0)
  view.setUint16(10, checksum(bytes, 0, Math.min((bytes[0] & 15) * 4, bytes.length)))
  return bytes
}

test('the checksum of the textbook header', () => {
  const header = EXAMPLE.slice()
  assert.equal(checksum(header, 0, 20), 0)
  header[10] = header[11] = 0
  assert.equal(checksum(header, 0, 20), 0xb861)
})

test('a checksum may go on from a partial sum and end on an odd byte', () => {
  const bytes = Uint8Array.of(0x12, 0x34, 0x56, 0x78, 0x9a)
  assert.equal(checksum(bytes, 0, 5), 0xffff - (((0x1234 + 0x5678 + 0x9a00) % 0x10000) + 1))
  assert.equal(checksum(bytes, 2, 3, 0x1234), checksum(bytes, 0, 5))
  assert.equal(
    checksum(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0, 1), 0, 6),
    0xfffe,
    'a carry that carries again',
  )
  assert.equal(checksum(new Uint8Array(65535).fill(0xff), 0, 65535, 0xffff), 0x00ff)
})

test('a valid packet is valid, with bytes after it too', () => {
  const packet = makePacket({ payload: new Uint8Array(11), options: Uint8Array.of(1, 1, 1, 0) })
  assert.equal(verdict(packet), IPV4.ok)
  assert.equal(verdict(Uint8Array.of(...packet, 1, 2, 3)), IPV4.ok)
})

test('every malformation has its verdict', () => {
  const good = makePacket({ payload: new Uint8Array(20) })
  assert.equal(verdict(good, 0), IPV4.tooShort)
  assert.equal(verdict(good, 19), IPV4.tooShort)
  assert.equal(verdict(good, 39), IPV4.tooShort)
  const versioned = (version: number) =>
    altered(bytes => {
      bytes[0] = (version << 4) | 5
    })
  assert.equal(verdict(versioned(6)), IPV4.notIpv4)
  assert.equal(verdict(versioned(6), 1), IPV4.notIpv4)
  assert.equal(verdict(versioned(0)), IPV4.notIpv4)
  const headed = (words: number) =>
    altered(bytes => {
      bytes[0] = 0x40 | words
    })
  assert.equal(verdict(headed(4)), IPV4.badLength)
  assert.equal(verdict(headed(0)), IPV4.badLength)
  assert.equal(verdict(headed(10)), IPV4.ok)
  assert.equal(verdict(headed(11)), IPV4.badLength)
  const claiming = (total: number) => altered((_, view) => view.setUint16(2, total))
  assert.equal(verdict(claiming(19)), IPV4.badLength)
  assert.equal(verdict(claiming(20)), IPV4.ok)
  assert.equal(verdict(claiming(41)), IPV4.tooShort)
  for (let bit = 0; bit < 160; bit++) {
    const flipped = good.slice()
    flipped[bit >>> 3] ^= 1 << (bit & 7)
    assert.notEqual(verdict(flipped), IPV4.ok, `bit ${bit} of the header`)
  }
})

test('fields are read from their places', () => {
  const memory = buffer(100)
  writePacket(memory, 7, {
    tos: 0xb8,
    id: 0xbeef,
    fragment: 0x2000 | 185,
    ttl: 9,
    protocol: 6,
    source: ip('192.168.1.2'),
    destination: ip('255.1.2.254'),
    options: new Uint8Array(8),
    payload: new Uint8Array(5),
  })
  const { view } = memory
  assert.equal(headerLength(view, 7), 28)
  assert.equal(totalLength(view, 7), 33)
  assert.equal(typeOfService(view, 7), 0xb8)
  assert.equal(identification(view, 7), 0xbeef)
  assert.equal(fragmentOffset(view, 7), 1480)
  assert.equal(moreFragments(view, 7), true)
  assert.equal(dontFragment(view, 7), false)
  assert.equal(isFragment(view, 7), true)
  assert.equal(timeToLive(view, 7), 9)
  assert.equal(protocol(view, 7), 6)
  assert.equal(source(view, 7), ip('192.168.1.2'))
  assert.equal(destination(view, 7), ip('255.1.2.254'))
  writePacket(memory, 7, { fragment: 0x4000 })
  assert.equal(dontFragment(view, 7), true)
  assert.equal(isFragment(view, 7), false)
  writePacket(memory, 7, { fragment: 1 })
  assert.equal(isFragment(view, 7), true)
  assert.equal(moreFragments(view, 7), false)
})

test('the TTL counts down to 1 and the checksum stays right, whatever it is', () => {
  const memory = buffer(40)
  // All identifications walk the checksum through every value, both ends included.
  for (let id = 0; id <= 0xffff; id++) {
    writePacket(memory, 3, { id, ttl: 2 + (id % 254) })
    assert.ok(decrementTtl(memory.view, 3))
    assert.equal(timeToLive(memory.view, 3), 1 + (id % 254))
    assert.equal(checksum(memory.bytes, 3, 20), 0)
  }
})

test('a packet without a hop left is not touched', () => {
  for (const ttl of [0, 1]) {
    const memory = buffer(20)
    writePacket(memory, 0, { ttl })
    const before = memory.bytes.slice()
    assert.equal(decrementTtl(memory.view, 0), false)
    assert.deepEqual(memory.bytes, before)
  }
})

test('unicast addresses are told from the others', () => {
  for (const text of ['1.0.0.0', '10.77.0.1', '126.255.255.255', '128.0.0.0', '223.255.255.255']) {
    assert.ok(isUnicast(ip(text)), text)
  }
  for (const text of [
    '0.0.0.0',
    '0.1.2.3',
    '127.0.0.1',
    '224.0.0.0',
    '239.1.1.1',
    '240.0.0.1',
    '255.255.255.255',
  ]) {
    assert.ok(!isUnicast(ip(text)), text)
  }
})
