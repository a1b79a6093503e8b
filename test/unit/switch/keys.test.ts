// Data-channel keys against node:crypto: both formats, all ciphers, replay, forgery, limits.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { LAST_PACKET_ID, OPEN, REKEY_PACKET_ID } from '../../../node/switch/data-limits.ts'
import { EpochKey, FUTURE_EPOCHS } from '../../../node/switch/epoch-key.ts'
import { Keys } from '../../../node/switch/keys.ts'
import { ReplayWindows } from '../../../node/switch/replay.ts'
import { Arena } from '../../../node/switch/sys/arena.ts'
import { DataOpener, DataSealer } from '../../../node/vpn/data-packet.ts'
import { type CipherName, newKeys, openData, sealData, type TestKeys } from './peer.ts'

const CIPHERS: CipherName[] = ['AES-128-GCM', 'AES-192-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305']
const PEER = 0x0a0b0c
const packet = new Arena(4096)
const plain = new Arena(4096)

function add(keys: Keys, material: TestKeys, keyId = 3): number {
  return keys.add(PEER, keyId, material.cipher, material.format, material.send, material.receive)
}

/** Puts a packet at offset 64 and opens it to offset 0. */
function open(keys: Keys, key: number, bytes: Uint8Array): number {
  packet.bytes.set(bytes, 64)
  return keys.open(key, packet, 64, bytes.length, plain, 0)
}

function seal(keys: Keys, key: number, bytes: Uint8Array): Buffer {
  plain.bytes.set(bytes, 128)
  const length = keys.seal(key, plain, 128, bytes.length, packet, 192)
  return Buffer.from(packet.bytes.slice(192, 192 + length))
}

const opened = (length: number): Buffer => Buffer.from(plain.bytes.slice(0, length))

for (const cipher of CIPHERS) {
  test(`${cipher}: what node:crypto seals is opened, and the other way round`, () => {
    const keys = new Keys(1)
    const material = newKeys(cipher)
    const key = add(keys, material)
    let id = 0
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1500 }), payload => {
        const length = open(keys, key, sealData(material, 3, PEER, ++id, payload))
        assert.equal(length, payload.length)
        assert.deepEqual(opened(length), Buffer.from(payload))
        const sealed = seal(keys, key, payload)
        assert.equal(sealed.readUInt32BE(0), ((((9 << 3) | 3) << 24) | PEER) >>> 0)
        assert.deepEqual(openData(material, sealed), { keyId: 3, packetId: id, plain: Buffer.from(payload) })
      }),
      { numRuns: 200 },
    )
    keys.close()
  })

  test(`${cipher}: the epoch format agrees with the one written in JavaScript, over several epochs`, () => {
    const keys = new Keys(1)
    const material = newKeys(cipher, 'epoch')
    const key = add(keys, material)
    const sealer = new DataSealer(cipher, 'epoch', material.receive, 3, PEER)
    const opener = new DataOpener(cipher, 'epoch', material.send)
    for (let epoch = 1; epoch <= 12; epoch++) {
      for (let i = 0; i < 3; i++) {
        const payload = randomBytes(epoch * 7 + i)
        const length = open(keys, key, sealer.seal(payload))
        assert.equal(length, payload.length)
        assert.deepEqual(opened(length), payload)
        const sealed = seal(keys, key, payload)
        // Sending follows the newest epoch of the peer's.
        assert.equal(sealed.readUInt16BE(4), epoch)
        assert.deepEqual(Buffer.from(opener.open(sealed)!), payload)
      }
      sealer.advanceTo(epoch + 1)
    }
    keys.close()
  })
}

test('a packet is opened once, in any order within the window', () => {
  const keys = new Keys(1)
  const material = newKeys()
  const key = add(keys, material)
  const packets = [1, 2, 3, 4].map(id => sealData(material, 3, PEER, id, Buffer.from('x')))
  for (const i of [0, 3, 1]) assert.equal(open(keys, key, packets[i]), 1)
  for (const i of [0, 3, 1]) assert.equal(open(keys, key, packets[i]), OPEN.replayed)
  assert.equal(open(keys, key, packets[2]), 1)
  assert.equal(open(keys, key, sealData(material, 3, PEER, 0, Buffer.from('x'))), OPEN.replayed)
})

test('a forged packet does not move the window', () => {
  const keys = new Keys(1)
  const material = newKeys()
  const key = add(keys, material)
  const forged = sealData(material, 3, PEER, 0xffffffff, Buffer.from('forged'))
  forged[forged.length - 1] ^= 1
  assert.equal(open(keys, key, forged), OPEN.badTag)
  assert.equal(open(keys, key, sealData(material, 3, PEER, 1, Buffer.from('x'))), 1)
})

test('every flipped bit is noticed, in both formats', () => {
  for (const format of ['aead', 'epoch'] as const) {
    const keys = new Keys(1)
    const material = newKeys('AES-256-GCM', format)
    const key = add(keys, material)
    const good = new DataSealer('AES-256-GCM', format, material.receive, 3, PEER).seal(
      Buffer.from('a packet'),
    )
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bad = Uint8Array.from(good)
      bad[bit >> 3] ^= 1 << (bit & 7)
      assert.ok(open(keys, key, bad) < 0, `${format} bit ${bit}`)
    }
    assert.equal(open(keys, key, good), 8)
    keys.close()
  }
})

test('packets of any length and content are refused, never thrown at', () => {
  const keys = new Keys(2)
  const slots = [add(keys, newKeys()), add(keys, newKeys('CHACHA20-POLY1305', 'epoch'))]
  fc.assert(
    fc.property(fc.constantFrom(...slots), fc.uint8Array({ maxLength: 100 }), (key, bytes) => {
      assert.ok(open(keys, key, bytes) < 0)
    }),
    { numRuns: 2000 },
  )
  assert.equal(open(keys, slots[0], new Uint8Array(23)), OPEN.badLength)
  assert.equal(open(keys, slots[1], new Uint8Array(27)), OPEN.badLength)
})

test('a key asks once to be replaced, and never sends past the last packet id', () => {
  const keys = new Keys(1)
  const material = newKeys()
  const key = add(keys, material)
  seal(keys, key, Buffer.from('x'))
  assert.equal(keys.rekeyDue(key), false)
  keys.skipTo(key, REKEY_PACKET_ID - 1)
  seal(keys, key, Buffer.from('x'))
  assert.equal(keys.rekeyDue(key), true)
  assert.equal(keys.rekeyDue(key), false)
  keys.skipTo(key, LAST_PACKET_ID)
  assert.equal(openData(material, seal(keys, key, Buffer.from('last')))?.packetId, LAST_PACKET_ID)
  assert.equal(seal(keys, key, Buffer.from('beyond')).length, 0)
})

test('an epoch key takes the next epoch at its limit, and forgets all but one older', () => {
  const material = newKeys('AES-256-GCM', 'epoch')
  const nonces = new Arena(16)
  const key = new EpochKey({
    header: 0x48000001,
    cipher: 'AES-256-GCM',
    send: material.send.cipher,
    receive: material.receive.cipher,
    windows: new ReplayWindows(2),
    window: 0,
    limit: 10,
  })
  const opener = new DataOpener('AES-256-GCM', 'epoch', material.send)
  // One block and the packet: two of the limit of ten.
  for (let i = 0; i < 12; i++) {
    const length = key.seal(nonces, 0, plain, 0, 8, packet, 0)
    assert.equal(packet.view.getUint16(4), 1 + Math.floor(i / 5))
    assert.ok(opener.open(packet.bytes.slice(0, length)))
  }
  const sealer = new DataSealer('AES-256-GCM', 'epoch', material.receive, 0, 1)
  const byEpoch: Uint8Array[] = []
  for (let epoch = 1; epoch <= FUTURE_EPOCHS + 3; epoch++) {
    byEpoch[epoch] = sealer.seal(Buffer.from('x'))
    sealer.advanceTo(epoch + 1)
  }
  const take = (epoch: number): number => {
    packet.bytes.set(byEpoch[epoch], 0)
    return key.open(nonces, 0, packet, 0, byEpoch[epoch].length, plain, 0)
  }
  assert.equal(take(FUTURE_EPOCHS + 2), OPEN.replayed)
  assert.equal(take(FUTURE_EPOCHS + 1), 1)
  assert.equal(take(FUTURE_EPOCHS), 1)
  assert.equal(take(FUTURE_EPOCHS - 1), OPEN.replayed)
  assert.equal(take(FUTURE_EPOCHS + 2), 1)
  // Each of them once only, however far the epochs have jumped.
  for (const epoch of [FUTURE_EPOCHS, FUTURE_EPOCHS + 1, FUTURE_EPOCHS + 2]) {
    assert.equal(take(epoch), OPEN.replayed)
  }
  key.close()
})

test('the pool has room for so many keys and no more, and gives places back', () => {
  const keys = new Keys(2)
  const [first, second] = [add(keys, newKeys()), add(keys, newKeys())]
  assert.equal(keys.count, 2)
  assert.equal(add(keys, newKeys()), 0)
  keys.remove(first)
  const material = newKeys('CHACHA20-POLY1305')
  const third = add(keys, material)
  assert.equal(third, first)
  assert.equal(open(keys, third, sealData(material, 3, PEER, 1, Buffer.from('x'))), 1)
  keys.remove(second)
  keys.remove(third)
  assert.equal(keys.count, 0)
})
