// One data packet, sealed and opened in JavaScript: for the probe client and for tests. The controller's own packets
// go through node/switch. Source: OpenVPN src/openvpn/crypto.c (AEAD), crypto_epoch.c (epoch format).
import {
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  type KeyObject,
} from 'node:crypto'
import {
  aeadKey,
  type DataCipher,
  type DirectionKey,
  epochIv,
  epochKey,
  epochSecret,
  keyLengthOf,
  nextEpochSecret,
} from './data-keys.ts'
import { firstByte, OPCODE } from './packet.ts'

export type DataFormat = 'aead' | 'epoch'

const TAG = 16
const HEADER = 4
const EPOCH_COUNTER = 2 ** 48
/** Ids below the highest that are still taken. */
const WINDOW = 1024
/** Future epochs a receiver follows. */
const FUTURE_EPOCHS = 4

interface Keyed {
  key: KeyObject
  iv: Uint8Array
}

function algorithm(cipher: DataCipher): CipherGCMTypes {
  return cipher.toLowerCase() as CipherGCMTypes
}

function keyed(secret: Uint8Array, cipher: DataCipher): Keyed {
  return { key: createSecretKey(epochKey(secret, keyLengthOf(cipher))), iv: epochIv(secret) }
}

/** Nonce of the epoch format: the 8-byte packet id, padded right, XOR the epoch's IV. */
function epochNonce(iv: Uint8Array, id: Uint8Array): Uint8Array {
  return iv.map((byte, i) => (i < id.length ? byte ^ id[i] : byte))
}

/** Seals packets of one key in one direction; ids ascend from 1. */
export class DataSealer {
  readonly #cipher: DataCipher
  readonly #format: DataFormat
  readonly #header: Uint8Array
  #secret: Uint8Array
  #keyed: Keyed
  #epoch = 1
  #id = 0

  constructor(
    cipher: DataCipher,
    format: DataFormat,
    direction: DirectionKey,
    keyId: number,
    peerId: number,
  ) {
    this.#cipher = cipher
    this.#format = format
    this.#header = Uint8Array.of(
      firstByte(OPCODE.dataV2, keyId),
      peerId >> 16,
      (peerId >> 8) & 255,
      peerId & 255,
    )
    this.#secret = epochSecret(direction)
    const { key, implicitIv } = aeadKey(direction, cipher)
    this.#keyed =
      format === 'epoch' ? keyed(this.#secret, cipher) : { key: createSecretKey(key), iv: implicitIv }
  }

  /** Packets sealed in the present epoch, or with the key. */
  get sealed(): number {
    return this.#id
  }

  /** Moves to the next epoch; nothing in the classic format. */
  nextEpoch(): void {
    if (this.#format !== 'epoch') return
    this.#secret = nextEpochSecret(this.#secret)
    this.#keyed = keyed(this.#secret, this.#cipher)
    this.#epoch++
    this.#id = 0
  }

  seal(payload: Uint8Array): Uint8Array {
    return this.#format === 'epoch' ? this.#sealEpoch(payload) : this.#sealAead(payload, ++this.#id)
  }

  #sealAead(payload: Uint8Array, id: number): Uint8Array {
    const packet = Buffer.alloc(HEADER + 4 + TAG + payload.length)
    packet.set(this.#header)
    packet.writeUInt32BE(id, HEADER)
    const nonce = Buffer.concat([packet.subarray(HEADER, HEADER + 4), this.#keyed.iv])
    const cipher = createCipheriv(algorithm(this.#cipher), this.#keyed.key, nonce, { authTagLength: TAG })
    cipher.setAAD(packet.subarray(0, HEADER + 4))
    packet.set(cipher.update(payload), HEADER + 4 + TAG)
    cipher.final()
    packet.set(cipher.getAuthTag(), HEADER + 4)
    return packet
  }

  #sealEpoch(payload: Uint8Array): Uint8Array {
    const packet = Buffer.alloc(HEADER + 8 + payload.length + TAG)
    packet.set(this.#header)
    packet.writeUInt16BE(this.#epoch, HEADER)
    packet.writeUIntBE(++this.#id, HEADER + 2, 6)
    const nonce = epochNonce(this.#keyed.iv, packet.subarray(HEADER, HEADER + 8))
    const cipher = createCipheriv(algorithm(this.#cipher), this.#keyed.key, nonce, { authTagLength: TAG })
    cipher.setAAD(packet.subarray(0, HEADER + 8))
    packet.set(cipher.update(payload), HEADER + 8)
    cipher.final()
    packet.set(cipher.getAuthTag(), HEADER + 8 + payload.length)
    return packet
  }
}

/** Opens packets of one key in one direction, each once. */
export class DataOpener {
  readonly #cipher: DataCipher
  readonly #format: DataFormat
  readonly #aead: Keyed
  /** Epoch format: keys by epoch, from one before the newest seen to a few after. */
  readonly #epochs = new Map<number, Keyed>()
  #newestSecret: Uint8Array
  #newestDerived = 1
  #newestSeen = 1
  readonly #replay = new ReplayWindow()

  constructor(cipher: DataCipher, format: DataFormat, direction: DirectionKey) {
    this.#cipher = cipher
    this.#format = format
    const { key, implicitIv } = aeadKey(direction, cipher)
    this.#aead = { key: createSecretKey(key), iv: implicitIv }
    this.#newestSecret = epochSecret(direction)
    if (format === 'epoch') {
      this.#epochs.set(1, keyed(this.#newestSecret, cipher))
      this.#derive()
    }
  }

  /** Newest epoch of an authenticated packet. */
  get epoch(): number {
    return this.#newestSeen
  }

  /** The payload; undefined when malformed, forged or seen before. */
  open(packet: Uint8Array): Uint8Array | undefined {
    return this.#format === 'epoch' ? this.#openEpoch(packet) : this.#openAead(packet)
  }

  #openAead(packet: Uint8Array): Uint8Array | undefined {
    const text = HEADER + 4 + TAG
    if (packet.length < text) return undefined
    const id = new DataView(packet.buffer, packet.byteOffset).getUint32(HEADER)
    const nonce = Buffer.concat([packet.subarray(HEADER, HEADER + 4), this.#aead.iv])
    const tag = packet.subarray(HEADER + 4, text)
    const plain = this.#decrypt(
      this.#aead.key,
      nonce,
      packet.subarray(0, HEADER + 4),
      packet.subarray(text),
      tag,
    )
    return plain && this.#replay.accept(id) ? plain : undefined
  }

  #openEpoch(packet: Uint8Array): Uint8Array | undefined {
    const text = HEADER + 8
    if (packet.length < text + TAG) return undefined
    const id = packet.subarray(HEADER, text)
    const view = new DataView(packet.buffer, packet.byteOffset)
    const epoch = view.getUint16(HEADER)
    const keys = this.#epochs.get(epoch)
    if (!keys) return undefined
    const tag = packet.subarray(packet.length - TAG)
    const body = packet.subarray(text, packet.length - TAG)
    const plain = this.#decrypt(keys.key, epochNonce(keys.iv, id), packet.subarray(0, text), body, tag)
    if (!plain) return undefined
    const counter = view.getUint16(HEADER + 2) * 2 ** 32 + view.getUint32(HEADER + 4)
    // One window over all epochs would need 64-bit ids: the few live epochs fit a double.
    if (
      counter === 0 ||
      counter >= EPOCH_COUNTER ||
      !this.#replay.accept(epoch * 2 ** 36 + (counter % 2 ** 36))
    ) {
      return undefined
    }
    if (epoch > this.#newestSeen) {
      this.#newestSeen = epoch
      this.#derive()
      for (const old of this.#epochs.keys()) if (old < epoch - 1) this.#epochs.delete(old)
    }
    return plain
  }

  #derive(): void {
    while (this.#newestDerived < this.#newestSeen + FUTURE_EPOCHS) {
      this.#newestSecret = nextEpochSecret(this.#newestSecret)
      this.#epochs.set(++this.#newestDerived, keyed(this.#newestSecret, this.#cipher))
    }
  }

  #decrypt(
    key: KeyObject,
    nonce: Uint8Array,
    associated: Uint8Array,
    text: Uint8Array,
    tag: Uint8Array,
  ): Uint8Array | undefined {
    const decipher = createDecipheriv(algorithm(this.#cipher), key, nonce, { authTagLength: TAG })
    decipher.setAAD(associated)
    decipher.setAuthTag(tag)
    const plain = decipher.update(text)
    try {
      decipher.final()
    } catch {
      return undefined
    }
    return plain
  }
}

/** Each id once; what lies further back than the window is refused. */
class ReplayWindow {
  #highest = 0
  readonly #seen = new Float64Array(WINDOW)

  accept(id: number): boolean {
    if (id === 0 || id + WINDOW <= this.#highest || this.#seen[id % WINDOW] === id) return false
    this.#seen[id % WINDOW] = id
    this.#highest = Math.max(this.#highest, id)
    return true
  }
}
