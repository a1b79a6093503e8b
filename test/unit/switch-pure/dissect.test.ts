// How far headers reach: what a capture without payload may show.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DISSECTED, DISSECTED_WORDS, dissect } from '../../../node/switch/dissect.ts'
import { makePacket } from './packets.ts'
import { makePacket6 } from './packets6.ts'

function look(packet: Uint8Array, length = packet.length) {
  const found = new Int32Array(DISSECTED_WORDS)
  const moved = new Uint8Array(packet.length + 7)
  moved.set(packet, 7)
  dissect({ bytes: moved, view: new DataView(moved.buffer) }, 7, length, found)
  return [DISSECTED.version, DISSECTED.protocol, DISSECTED.transport, DISSECTED.headers].map(
    place => found[place],
  )
}

const tcp = (words: number, payload = 100): Uint8Array => {
  const bytes = new Uint8Array(words * 4 + payload).fill(0xee)
  bytes[12] = words << 4
  return bytes
}
const icmp = (type: number, rest: Uint8Array): Uint8Array => Uint8Array.of(type, 0, 0, 0, 0, 0, 0, 0, ...rest)

test('IPv4: headers end where payload begins', () => {
  const payload = new Uint8Array(100)
  assert.deepEqual(look(makePacket({ protocol: 17, payload })), [4, 17, 20, 28])
  assert.deepEqual(look(makePacket({ protocol: 6, payload: tcp(5) })), [4, 6, 20, 40])
  assert.deepEqual(look(makePacket({ protocol: 6, payload: tcp(15) })), [4, 6, 20, 80])
  assert.deepEqual(look(makePacket({ protocol: 6, payload: tcp(2) })), [4, 6, 20, 40], 'a lie of its length')
  assert.deepEqual(
    look(makePacket({ protocol: 6, options: new Uint8Array(8), payload: tcp(5) })),
    [4, 6, 28, 48],
  )
  assert.deepEqual(look(makePacket({ protocol: 1, payload: icmp(8, payload) })), [4, 1, 20, 28])
  assert.deepEqual(look(makePacket({ protocol: 132, payload })), [4, 132, 20, 32])
  assert.deepEqual(look(makePacket({ protocol: 50, payload })), [4, 50, 20, 28])
  assert.deepEqual(
    look(makePacket({ protocol: 99, payload })),
    [4, 99, 20, 20],
    'nothing of what is not known',
  )
  assert.deepEqual(look(makePacket({ protocol: 58, payload })), [4, 58, 20, 20])
})

test('an error of ICMP shows the headers that it quotes, and no more', () => {
  const quoted = makePacket({ protocol: 17, payload: new Uint8Array(200) })
  assert.deepEqual(look(makePacket({ protocol: 1, payload: icmp(3, quoted) })), [4, 1, 20, 56])
  assert.deepEqual(
    look(makePacket({ protocol: 1, payload: icmp(11, quoted.subarray(0, 10)) })),
    [4, 1, 20, 38],
  )
  const quotes = (type: number): boolean =>
    look(makePacket({ protocol: 1, payload: icmp(type, quoted) }))[3] === 56
  const types = Array.from({ length: 256 }, (_, type) => type)
  assert.deepEqual(types.filter(quotes), [3, 4, 5, 11, 12])
  for (const first of [0x44, 0x54, 0x00]) {
    const no = Uint8Array.of(first, ...quoted.subarray(1))
    assert.deepEqual(look(makePacket({ protocol: 1, payload: icmp(3, no) })), [4, 1, 20, 28], 'no packet')
  }
  const quoted6 = makePacket6({ payload: new Uint8Array(200) })
  assert.deepEqual(look(makePacket6({ nextHeader: 58, payload: icmp(1, quoted6) })), [6, 58, 40, 96])
  const quotes6 = (type: number): boolean =>
    look(makePacket6({ nextHeader: 58, payload: icmp(type, quoted6) }))[3] === 96
  assert.deepEqual(types.filter(quotes6), [1, 2, 3, 4])
})

test('a later fragment has no transport, and none of it is shown', () => {
  const payload = new Uint8Array(100)
  assert.deepEqual(look(makePacket({ protocol: 17, fragment: 0x2000, payload })), [4, 17, 20, 28])
  for (let bit = 0; bit < 13; bit++)
    assert.deepEqual(look(makePacket({ protocol: 17, fragment: 1 << bit, payload })), [4, 17, 0, 20])
  const fragment = (offset: number) => Uint8Array.of(17, 0, offset >> 8, offset & 255, 0, 0, 0, 1, ...payload)
  assert.deepEqual(look(makePacket6({ nextHeader: 44, payload: fragment(1) })), [6, 17, 48, 56])
  assert.deepEqual(look(makePacket6({ nextHeader: 44, payload: fragment(8) })), [6, 17, 0, 48])
  // An extension header behind it is payload already, whatever it looks like.
  const inside = Uint8Array.of(60, 0, 0, 8, 0, 0, 0, 1, 17, 0, 1, 4, 0, 0, 0, 0, ...payload)
  assert.deepEqual(look(makePacket6({ nextHeader: 44, payload: inside })), [6, -1, 0, 48])
})

test('IPv6: extension headers are headers', () => {
  const udp = new Uint8Array(50)
  assert.deepEqual(look(makePacket6({ payload: udp })), [6, 17, 40, 48])
  const options = Uint8Array.of(17, 1, ...new Uint8Array(14), ...udp)
  assert.deepEqual(look(makePacket6({ nextHeader: 0, payload: options })), [6, 17, 56, 64])
  const cut = Uint8Array.of(17, 200, ...new Uint8Array(14))
  assert.deepEqual(look(makePacket6({ nextHeader: 60, payload: cut })), [6, -1, 0, 40])
  const endless = new Uint8Array(20 * 8).fill(0)
  assert.deepEqual(look(makePacket6({ nextHeader: 0, payload: endless })), [6, -1, 0, 40 + 8 * 8])
  assert.deepEqual(look(makePacket6({ nextHeader: 59, payload: udp })), [6, 59, 0, 40])
})

test('headers of the transport that are cut short end with the packet', () => {
  for (const [protocol, whole] of [
    [17, 8],
    [132, 12],
    [50, 8],
    [1, 8],
    [6, 20],
  ]) {
    const packet = makePacket({ protocol, payload: new Uint8Array(100) })
    for (let there = 0; there <= whole; there++)
      assert.deepEqual(look(packet, 20 + there), [4, protocol, 20, 20 + there], `${protocol}: ${there}`)
    assert.deepEqual(look(packet.subarray(0, 23)), [4, protocol, 20, 23])
  }
})

test('what is cut short or no IP at all is told as such', () => {
  const packet = makePacket({ protocol: 6, payload: tcp(5) })
  assert.deepEqual(look(packet, 19), [4, -1, 0, 19])
  assert.deepEqual(look(packet, 25), [4, 6, 20, 25])
  assert.deepEqual(look(packet, 1), [4, -1, 0, 1])
  assert.deepEqual(look(makePacket6({}), 39), [6, -1, 0, 39])
  assert.deepEqual(look(makePacket6({}), 40), [6, 17, 40, 40])
  assert.deepEqual(look(makePacket6({ nextHeader: 60 }).subarray(0, 40)), [6, -1, 0, 40])
  const options = makePacket6({ nextHeader: 60, payload: Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0) })
  assert.deepEqual(look(options), [6, 17, 48, 48])
  assert.deepEqual(look(options, 47), [6, -1, 0, 40])
  const long = Uint8Array.from(packet)
  long[0] = 0x4f
  assert.deepEqual(look(long, 59), [4, -1, 0, 20], 'a header longer than the packet')
  assert.deepEqual(look(long, 60), [4, 6, 60, 60])
  assert.deepEqual(look(Uint8Array.of(0x2a, 1, 2, 3)), [0, -1, 0, 0])
  const short = Uint8Array.from(packet)
  short[0] = 0x44
  assert.deepEqual(look(short), [4, -1, 0, 20], 'a header of less than five words')
})
