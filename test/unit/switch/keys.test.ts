// Data-channel keys against node:crypto: both formats, all ciphers, replay, forgery, limits.
import assert from 'node:assert/strict'
import { createCipheriv, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { LAST_PACKET_ID, OPEN, REKEY_PACKET_ID } from '../../../node/switch/data-limits.ts'
import { EpochKey, FUTURE_EPOCHS } from '../../../node/switch/epoch-key.ts'
import { Keys } from '../../../node/switch/keys.ts'
import { ReplayWindows } from '../../../node/switch/replay.ts'
import { Arena } from '../../../node/switch/sys/arena.ts'
import { epochIv, epochKey, epochSecret, nextEpochSecret } from '../../../node/vpn/data-keys.ts'
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
  // Every byte of the packet is written.
  packet.bytes.fill(0xff)
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
        assert.equal(sealed.readUInt32BE(0), ((((9 << 3) | 3) << 24) | PEER) >>> 0)
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

/** A packet of this epoch and counter, whatever they are, that is sealed rightly. */
function sealEpoch(material: TestKeys, epoch: number, counter: number): Uint8Array {
  let secret = epochSecret(material.receive)
  for (let i = 1; i < epoch; i++) secret = nextEpochSecret(secret)
  const head = Buffer.alloc(12)
  head.writeUInt32BE((((9 << 3) | 3) << 24) | PEER)
  head.writeUInt16BE(epoch, 4)
  head.writeUIntBE(counter, 6, 6)
  const nonce = Buffer.from(epochIv(secret))
  for (let i = 0; i < 8; i++) nonce[i] ^= head[4 + i]
  const cipher = createCipheriv('aes-256-gcm', epochKey(secret, 32), nonce)
  cipher.setAAD(head)
  return Buffer.concat([head, cipher.update('x'), cipher.final(), cipher.getAuthTag()])
}

test('counter 0 is no packet of any epoch, though it is sealed rightly', () => {
  const keys = new Keys(1)
  const material = newKeys('AES-256-GCM', 'epoch')
  const key = add(keys, material)
  for (const epoch of [1, 2, 5]) assert.equal(open(keys, key, sealEpoch(material, epoch, 0)), OPEN.replayed)
  for (const epoch of [1, 2, 5]) assert.equal(open(keys, key, sealEpoch(material, epoch, 1)), 1)
  for (const epoch of [4, 5, 6]) assert.equal(open(keys, key, sealEpoch(material, epoch, 0)), OPEN.replayed)
  keys.close()
})

test('all 48 bits of a counter tell packets apart', () => {
  const keys = new Keys(1)
  const material = newKeys('AES-256-GCM', 'epoch')
  const key = add(keys, material)
  const far = 2 ** 40 + 2 ** 32 + 5
  for (const counter of [5, 2 ** 32 + 5, far, far - 1, 2 ** 48 - 1]) {
    assert.equal(open(keys, key, sealEpoch(material, 1, counter)), 1, `${counter}`)
    assert.equal(open(keys, key, sealEpoch(material, 1, counter)), OPEN.replayed, `${counter} again`)
  }
  assert.equal(open(keys, key, sealEpoch(material, 1, 6)), OPEN.replayed, 'far behind')
  keys.close()
})

test('after a jump over epochs, the one before the newest begins with nothing seen', () => {
  const keys = new Keys(1)
  const material = newKeys('AES-256-GCM', 'epoch')
  const key = add(keys, material)
  // Epochs 2 and 4 have the same window, as have 1 and 5.
  for (const epoch of [1, 2, 5, 4]) {
    assert.equal(open(keys, key, sealEpoch(material, epoch, 9)), 1, `epoch ${epoch}`)
    assert.equal(open(keys, key, sealEpoch(material, epoch, 9)), OPEN.replayed, `epoch ${epoch} again`)
  }
  keys.close()
})

test('after so many forgeries a key opens nothing any more, and the next one in its place does', () => {
  for (const format of ['aead', 'epoch'] as const) {
    const keys = new Keys(1, { forgeries: 3 })
    for (let round = 0; round < 2; round++) {
      const material = newKeys('AES-256-GCM', format)
      const key = add(keys, material)
      const sealer = new DataSealer('AES-256-GCM', format, material.receive, 3, PEER)
      const good = Array.from({ length: 6 }, () => sealer.seal(Buffer.from('x')))
      const forged = good.map(bytes => bytes.map((byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte)))
      for (let i = 0; i < 3; i++) {
        assert.equal(open(keys, key, good[i]), 1, `${format} ${i}`)
        // What was seen or is too short is no forgery.
        for (let times = 0; times < 5; times++) {
          assert.equal(open(keys, key, good[i]), OPEN.replayed)
          assert.equal(open(keys, key, new Uint8Array(10)), OPEN.badLength)
        }
        assert.equal(open(keys, key, forged[5]), OPEN.badTag)
      }
      assert.equal(open(keys, key, good[4]), OPEN.badTag)
      keys.remove(key)
    }
  }
})

test('an AES-GCM key asks to be replaced after so many blocks and packets, and one of ChaCha20 does not', () => {
  for (const [cipher, length, packets] of [
    ['AES-128-GCM', 0, 12],
    ['AES-256-GCM', 1, 6],
    ['AES-256-GCM', 16, 6],
    ['AES-256-GCM', 17, 4],
    ['CHACHA20-POLY1305', 1000, undefined],
  ] as const) {
    const keys = new Keys(1, { rekeyAtUse: 12 })
    for (let round = 0; round < 2; round++) {
      const key = add(keys, newKeys(cipher))
      const due = Array.from({ length: 20 }, () => {
        seal(keys, key, new Uint8Array(length))
        return keys.rekeyDue(key)
      })
      assert.equal(due.indexOf(true) + 1, packets ?? 0, `${cipher}, ${length} bytes`)
      assert.equal(due.lastIndexOf(true), due.indexOf(true))
      keys.remove(key)
    }
  }
})

test('a key in the place of another has nothing of it', () => {
  for (const format of ['aead', 'epoch'] as const) {
    const keys = new Keys(1)
    const before = newKeys('AES-256-GCM', format)
    const first = add(keys, before)
    const last = new DataSealer('AES-256-GCM', format, before.receive, 3, PEER, 900)
    assert.equal(open(keys, first, last.seal(Buffer.from('x'))), 1)
    keys.skipTo(first, REKEY_PACKET_ID)
    assert.equal(keys.rekeyDue(first), true)
    keys.remove(first)
    const material = newKeys('AES-256-GCM', format)
    const key = add(keys, material)
    assert.equal(key, first)
    assert.equal(keys.rekeyDue(key), false)
    const sealer = new DataSealer('AES-256-GCM', format, material.receive, 3, PEER)
    for (let i = 0; i < 3; i++) assert.equal(open(keys, key, sealer.seal(Buffer.from('x'))), 1)
    const sealed = seal(keys, key, Buffer.from('x'))
    assert.equal(sealed.length, 1 + keys.overhead(key))
    assert.ok(new DataOpener('AES-256-GCM', format, material.send).open(sealed))
    keys.skipTo(key, REKEY_PACKET_ID)
    assert.equal(keys.rekeyDue(key), true)
    keys.close()
  }
})

test('of thousands of keys, each has windows of its own', () => {
  const keys = new Keys(2100)
  const material = newKeys('AES-256-GCM')
  const slots = Array.from({ length: 2100 }, () => add(keys, material))
  const bytes = sealData(material, 3, PEER, 7, Buffer.from('x'))
  for (const key of slots) assert.equal(open(keys, key, bytes), 1, `${key}`)
  for (const key of slots) assert.equal(open(keys, key, bytes), OPEN.replayed, `${key} again`)
  keys.close()
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
