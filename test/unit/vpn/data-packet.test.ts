import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DATA_CIPHERS, type DirectionKey, splitKeyBlock } from '../../../node/vpn/data-keys.ts'
import { type DataFormat, DataOpener, DataSealer, sealingOverhead } from '../../../node/vpn/data-packet.ts'
import { counting, hex } from './published-keys.ts'

// OpenVPN's tests/unit_tests/openvpn/test_ssl.c, test_data_channel_known_vectors: key block, text and tags.
const BLOCK = Uint8Array.from(
  { length: 256 },
  (_, i) => 'abcdefgh01234567ABCDEFGHjkuchenl'.charCodeAt(i % 32) ^ i,
)
const TEXT = Buffer.from('The quick little fox jumps over the bureaucratic hurdles')
const KEY: DirectionKey = splitKeyBlock(BLOCK, 'client').send

/**
 * A packet of test_ssl.c. Its first byte is 07, which is no data packet but covered by the tag; the ciphertext does
 * not depend on it, and so is ours.
 */
function published(format: DataFormat, epoch: number, tag: string): Uint8Array {
  const sealer = new DataSealer('AES-256-GCM', format, KEY, 7, 23)
  sealer.advanceTo(epoch)
  const packet = sealer.seal(TEXT)
  assert.equal(packet.length, TEXT.length + sealingOverhead(format))
  packet[0] = 7
  packet.set(hex(tag), format === 'aead' ? 8 : packet.length - 16)
  return packet
}

test('the published AEAD packet is made and opened', () => {
  const packet = published('aead', 1, '1fdd908f0e9dc25e79d832020d58e73f')
  assert.deepEqual(Uint8Array.from(packet.subarray(0, 8)), hex('07000017 00000001'))
  assert.deepEqual(Uint8Array.from(packet.subarray(34, 40)), hex('a82e6b1706d9'))
  assert.deepEqual(new DataOpener('AES-256-GCM', 'aead', KEY).open(packet), TEXT)
})

test('the published epoch packet is made and opened', () => {
  const packet = published('epoch', 4, '0ffff5913d39d75b18573b5748589a7d')
  assert.deepEqual(Uint8Array.from(packet.subarray(0, 12)), hex('07000017 0004000000000001'))
  assert.deepEqual(Uint8Array.from(packet.subarray(18, 24)), hex('36aab4d49ce6'))
  assert.deepEqual(new DataOpener('AES-256-GCM', 'epoch', KEY).open(packet), TEXT)
})

// OpenVPN's test_packet_id.c, test_packet_id_write_epoch.
test('the first id of epoch 0x23 is written as published', () => {
  const sealer = new DataSealer('AES-256-GCM', 'epoch', KEY, 0, 1)
  sealer.advanceTo(0x23)
  assert.deepEqual(Uint8Array.from(sealer.seal(TEXT).subarray(4, 12)), hex('0023000000000001'))
})

for (const format of ['aead', 'epoch'] as const) {
  const pair = (): { sealer: DataSealer; opener: DataOpener } => ({
    sealer: new DataSealer('CHACHA20-POLY1305', format, KEY, 2, 0xabcdef),
    opener: new DataOpener('CHACHA20-POLY1305', format, KEY),
  })

  test(`${format}: every cipher carries every length`, () => {
    for (const cipher of DATA_CIPHERS) {
      const sealer = new DataSealer(cipher, format, KEY, 1, 5)
      const opener = new DataOpener(cipher, format, KEY)
      for (const length of [0, 1, 15, 16, 17, 1500]) {
        const payload = counting(length)
        assert.deepEqual(Uint8Array.from(opener.open(sealer.seal(payload))!), payload, `${cipher} ${length}`)
      }
      assert.equal(sealer.sealed, 6)
    }
  })

  test(`${format}: the header names key and peer, and ids ascend from 1`, () => {
    const { sealer } = pair()
    const at = format === 'aead' ? 4 : 6
    const size = format === 'aead' ? 4 : 6
    for (const id of [1, 2, 3]) {
      const packet = Buffer.from(sealer.seal(TEXT))
      assert.equal(packet.readUInt32BE(0), 0x4aabcdef)
      assert.equal(packet.readUIntBE(at, size), id)
    }
  })

  test(`${format}: a packet changed anywhere or cut is refused, and does no harm`, () => {
    const { sealer, opener } = pair()
    const packet = sealer.seal(TEXT)
    for (let at = 0; at < packet.length; at++) {
      const damaged = Uint8Array.from(packet)
      damaged[at] ^= 0x10
      assert.equal(opener.open(damaged), undefined, `byte ${at}`)
      assert.equal(opener.open(packet.subarray(0, at)), undefined, `cut to ${at}`)
    }
    assert.deepEqual(opener.open(packet), TEXT)
  })

  test(`${format}: each packet is opened once, late ones within the window`, () => {
    const { sealer, opener } = pair()
    const packets = Array.from({ length: 1200 }, () => sealer.seal(TEXT))
    assert.ok(opener.open(packets[1100]))
    assert.equal(opener.open(packets[1100]), undefined, 'a replay')
    assert.ok(opener.open(packets[1000]), 'late by 100')
    assert.equal(opener.open(packets[1000]), undefined, 'late, and a replay')
    assert.equal(opener.open(packets[50]), undefined, 'late by more than the window')
  })
}

test('a packet of the other direction or another key is refused', () => {
  const { send, receive } = splitKeyBlock(counting(256), 'client')
  const packet = new DataSealer('AES-256-GCM', 'aead', send, 0, 1).seal(TEXT)
  assert.equal(new DataOpener('AES-256-GCM', 'aead', receive).open(packet), undefined)
  assert.equal(new DataOpener('AES-128-GCM', 'aead', send).open(packet), undefined)
  assert.deepEqual(new DataOpener('AES-256-GCM', 'aead', send).open(packet), TEXT)
})

// OpenVPN's test_crypto.c, crypto_test_epoch_key_receive_lookup, with the four future keys of the format.
test('a receiver opens the epoch before the newest and four after it', () => {
  const opener = new DataOpener('AES-128-GCM', 'epoch', KEY)
  const inEpoch = (epoch: number): Uint8Array => {
    const sealer = new DataSealer('AES-128-GCM', 'epoch', KEY, 0, 1)
    sealer.advanceTo(epoch)
    return sealer.seal(TEXT)
  }
  assert.equal(opener.open(inEpoch(6)), undefined)
  assert.ok(opener.open(inEpoch(5)))
  assert.equal(opener.epoch, 5)
  assert.ok(opener.open(inEpoch(4)), 'a packet that was overtaken by the change')
  assert.equal(opener.epoch, 5)
  assert.equal(opener.open(inEpoch(4)), undefined, 'once')
  for (const epoch of [0, 1, 2, 3, 10, 0xffff]) {
    const packet = Buffer.from(inEpoch(Math.max(epoch, 1)))
    packet.writeUInt16BE(epoch, 4)
    assert.equal(opener.open(packet), undefined, `epoch ${epoch}`)
  }
  assert.ok(opener.open(inEpoch(9)))
  assert.equal(opener.open(inEpoch(5)), undefined, 'two before the newest')
})

test('a sealer follows its peer to a newer epoch and never goes back', () => {
  const sealer = new DataSealer('AES-256-GCM', 'epoch', KEY, 0, 1)
  sealer.seal(TEXT)
  sealer.advanceTo(3)
  assert.deepEqual([sealer.epoch, sealer.sealed], [3, 0])
  sealer.seal(TEXT)
  sealer.advanceTo(3)
  sealer.advanceTo(2)
  assert.deepEqual([sealer.epoch, sealer.sealed], [3, 1])
  const classic = new DataSealer('AES-256-GCM', 'aead', KEY, 0, 1)
  classic.advanceTo(3)
  assert.equal(classic.epoch, 1)
})

test('the last id of a key is sent, and none after it', () => {
  const sealer = new DataSealer('AES-256-GCM', 'aead', KEY, 0, 1, 0xffffffff)
  assert.ok(new DataOpener('AES-256-GCM', 'aead', KEY).open(sealer.seal(TEXT)))
  assert.throws(() => sealer.seal(TEXT), RangeError)
})

// test_packet_id.c: the counter of an epoch ends at 2^48 - 1; then the next epoch begins.
test('a used-up epoch is followed by the next', () => {
  const sealer = new DataSealer('AES-256-GCM', 'epoch', KEY, 0, 1, 2 ** 48 - 2)
  sealer.advanceTo(1)
  const ids = Array.from({ length: 3 }, () => Buffer.from(sealer.seal(TEXT).subarray(4, 12)).toString('hex'))
  assert.deepEqual(ids, ['0001fffffffffffe', '0001ffffffffffff', '0002000000000001'])
})
