// One data packet, sealed and opened in JavaScript: for the probe client and for tests. The controller's own packets
// go through node/switch. Source: OpenVPN src/openvpn/crypto.c (AEAD), crypto_epoch.c (epoch format).
//   aead:  header(4) | packet id(4) | tag(16) | ciphertext                 nonce = packet id | implicit IV(8)
//   epoch: header(4) | epoch(2) counter(6) | ciphertext | tag(16)          nonce = IV XOR epoch, counter, 0(4)
// All before the tag or the ciphertext is additional data.
import {
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  type KeyObject,
} from 'node:crypto'
import { MAX_PACKET_ID, ReplayWindows } from '../switch/replay.ts'
import {
  aeadKey,
  type DataCipher,
  type DirectionKey,
  epochIv,
  epochKey,
  epochSecret,
  keyLengthOf,
  NONCE_LENGTH,
  nextEpochSecret,
} from './data-keys.ts'
import { firstByte, OPCODE } from './packet.ts'

export type DataFormat = 'aead' | 'epoch'

const HEADER = 4
const TAG = { authTagLength: 16 }
const TAG_LENGTH = TAG.authTagLength
/** Bytes before the tag ("aead") or the ciphertext ("epoch"). */
const PREFIX = { aead: HEADER + 4, epoch: HEADER + 8 } as const
const LAST_PACKET_ID = 0xffffffff
/** Bits of replay window per key; stock looks back over 64 ids. */
const WINDOW_BITS = 1024
/** Future epochs a receiver follows. */
const FUTURE_EPOCHS = 4
const LAST_EPOCH = 0xffff

/** Bytes that sealing adds to a payload. */
export function sealingOverhead(format: DataFormat): number {
  return PREFIX[format] + TAG_LENGTH
}

/** A key and the nonces that go with it. */
class PacketKey {
  readonly algorithm: CipherGCMTypes
  readonly key: KeyObject
  readonly #iv: Uint8Array
  readonly #nonce = new Uint8Array(NONCE_LENGTH)

  /** @param iv XORed with the packet id, which stands at the left of the nonce */
  constructor(cipher: DataCipher, key: Uint8Array, iv: Uint8Array) {
    this.algorithm = cipher.toLowerCase() as CipherGCMTypes
    this.key = createSecretKey(key)
    this.#iv = iv
    this.#nonce.set(iv)
  }

  static classic(cipher: DataCipher, direction: DirectionKey): PacketKey {
    const { key, implicitIv } = aeadKey(direction, cipher)
    const iv = new Uint8Array(NONCE_LENGTH)
    iv.set(implicitIv, NONCE_LENGTH - implicitIv.length)
    return new PacketKey(cipher, key, iv)
  }

  static ofEpoch(cipher: DataCipher, secret: Uint8Array): PacketKey {
    return new PacketKey(cipher, epochKey(secret, keyLengthOf(cipher)), epochIv(secret))
  }

  /** Good until the next call. The packet id is what lies between the header and the end of `prefix`. */
  nonce(prefix: Uint8Array): Uint8Array {
    for (let i = HEADER; i < prefix.length; i++) this.#nonce[i - HEADER] = this.#iv[i - HEADER] ^ prefix[i]
    return this.#nonce
  }
}

/** Seals packets of one key in one direction, with ascending ids. */
export class DataSealer {
  readonly #cipher: DataCipher
  readonly #format: DataFormat
  readonly #header: number
  #secret: Uint8Array
  #key: PacketKey
  #epoch = 1
  /** Of the last packet. */
  #id: number

  /** @param firstId id of the first packet, to come near the end of a key */
  constructor(
    cipher: DataCipher,
    format: DataFormat,
    direction: DirectionKey,
    keyId: number,
    peerId: number,
    firstId = 1,
  ) {
    this.#id = firstId - 1
    this.#cipher = cipher
    this.#format = format
    this.#header = ((firstByte(OPCODE.dataV2, keyId) << 24) | (peerId & 0xffffff)) >>> 0
    this.#secret = epochSecret(direction)
    this.#key =
      format === 'epoch' ? PacketKey.ofEpoch(cipher, this.#secret) : PacketKey.classic(cipher, direction)
  }

  /** Id of the last packet: packets sealed in the present epoch, or with the key. */
  get sealed(): number {
    return this.#id
  }

  /** The present epoch; 1 in the classic format. */
  get epoch(): number {
    return this.#epoch
  }

  /** Moves on to an epoch that the peer was seen to use; nothing for an older one and in the classic format. */
  advanceTo(epoch: number): void {
    if (this.#format !== 'epoch' || epoch <= this.#epoch || epoch > LAST_EPOCH) return
    for (; this.#epoch < epoch; this.#epoch++) this.#secret = nextEpochSecret(this.#secret)
    this.#key = PacketKey.ofEpoch(this.#cipher, this.#secret)
    this.#id = 0
  }

  /** @throws RangeError when all ids of the key are used: it has to be renegotiated long before */
  seal(payload: Uint8Array): Uint8Array {
    const epoch = this.#format === 'epoch'
    if (epoch && this.#id === MAX_PACKET_ID) this.advanceTo(this.#epoch + 1)
    if (this.#id >= (epoch ? MAX_PACKET_ID : LAST_PACKET_ID)) throw new RangeError('data key is used up')
    const size = PREFIX[this.#format]
    const packet = Buffer.allocUnsafeSlow(size + TAG_LENGTH + payload.length)
    packet.writeUInt32BE(this.#header)
    if (epoch) {
      packet.writeUInt16BE(this.#epoch, HEADER)
      packet.writeUIntBE(++this.#id, HEADER + 2, 6)
    } else {
      packet.writeUInt32BE(++this.#id, HEADER)
    }
    const prefix = packet.subarray(0, size)
    const { algorithm, key } = this.#key
    const cipher = createCipheriv(algorithm, key, this.#key.nonce(prefix), TAG)
    cipher.setAAD(prefix)
    packet.set(cipher.update(payload), epoch ? size : size + TAG_LENGTH)
    cipher.final()
    packet.set(cipher.getAuthTag(), epoch ? size + payload.length : size)
    return packet
  }
}

/** A receiving key with what was seen under it. */
interface Receiving {
  key: PacketKey
  seen: ReplayWindows
}

function receiving(key: PacketKey): Receiving {
  return { key, seen: new ReplayWindows(1, WINDOW_BITS) }
}

/** Opens packets of one key in one direction, each once. */
export class DataOpener {
  readonly #cipher: DataCipher
  readonly #format: DataFormat
  /** By epoch, from one before the newest seen to a few after; the classic format has its one key under 0. */
  readonly #keys = new Map<number, Receiving>()
  /** Secret of the newest epoch in `#keys`, and which that is. */
  #secret: Uint8Array
  #derived = 1
  #epoch = 1

  constructor(cipher: DataCipher, format: DataFormat, direction: DirectionKey) {
    this.#cipher = cipher
    this.#format = format
    this.#secret = epochSecret(direction)
    if (format === 'aead') {
      this.#keys.set(0, receiving(PacketKey.classic(cipher, direction)))
    } else {
      this.#keys.set(1, receiving(PacketKey.ofEpoch(cipher, this.#secret)))
      this.#follow(1)
    }
  }

  /** Newest epoch of an authenticated packet. */
  get epoch(): number {
    return this.#epoch
  }

  /** The payload; undefined when malformed, forged, seen before or too old. */
  open(packet: Uint8Array): Uint8Array | undefined {
    const epochFormat = this.#format === 'epoch'
    const size = PREFIX[this.#format]
    if (packet.length < size + TAG_LENGTH) return undefined
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length)
    const epoch = epochFormat ? view.getUint16(HEADER) : 0
    const id = epochFormat
      ? view.getUint16(HEADER + 2) * 2 ** 32 + view.getUint32(HEADER + 4)
      : view.getUint32(HEADER)
    const keys = this.#keys.get(epoch)
    if (!keys?.seen.check(0, id)) return undefined
    const tagAt = epochFormat ? packet.length - TAG_LENGTH : size
    const text = epochFormat ? packet.subarray(size, tagAt) : packet.subarray(size + TAG_LENGTH)
    const prefix = packet.subarray(0, size)
    const plain = decrypt(keys.key, prefix, text, packet.subarray(tagAt, tagAt + TAG_LENGTH))
    if (!plain) return undefined
    keys.seen.mark(0, id)
    if (epochFormat && epoch > this.#epoch) this.#follow(epoch)
    return plain
  }

  /** `epoch` is in use: the keys of the next ones are made ready, those before the last are dropped. */
  #follow(epoch: number): void {
    this.#epoch = epoch
    while (this.#derived < Math.min(epoch + FUTURE_EPOCHS, LAST_EPOCH)) {
      this.#secret = nextEpochSecret(this.#secret)
      this.#keys.set(++this.#derived, receiving(PacketKey.ofEpoch(this.#cipher, this.#secret)))
    }
    for (const old of this.#keys.keys()) if (old < epoch - 1) this.#keys.delete(old)
  }
}

function decrypt(
  key: PacketKey,
  prefix: Uint8Array,
  text: Uint8Array,
  tag: Uint8Array,
): Uint8Array | undefined {
  const decipher = createDecipheriv(key.algorithm, key.key, key.nonce(prefix), TAG)
  decipher.setAAD(prefix)
  decipher.setAuthTag(tag)
  const plain = decipher.update(text)
  try {
    decipher.final()
  } catch {
    return undefined
  }
  return plain
}
