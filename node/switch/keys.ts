// Data-channel keys: OpenSSL contexts, nonces, packet ids, replay windows and usage of each key, by slot number.
// Packet format "aead" is that of DATA_V2: header(4) packet-id(4) tag(16) ciphertext; additional data is the first 8
// bytes, the nonce is packet id and 8 bytes of the key block.
import type { DirectionKey } from '../vpn/data-keys.ts'
import type { DataFormat } from '../vpn/data-packet.ts'
import { FORGERY_LIMIT, LAST_PACKET_ID, OPEN, REKEY_AT_USE, REKEY_PACKET_ID } from './data-limits.ts'
import { EPOCH_OVERHEAD, EpochKey } from './epoch-key.ts'
import { ReplayWindows } from './replay.ts'
import { Arena } from './sys/arena.ts'
import { type Cipher, type CipherName, freeCipher, newCipher, open, seal, TAG_LENGTH } from './sys/cipher.ts'

const NONCE_STRIDE = 16
const HEADER = 8
/** Bytes that format "aead" adds to a packet. */
export const AEAD_OVERHEAD = HEADER + TAG_LENGTH
const DATA_V2 = 9

/** Keys whose replay windows are in one chunk of half a megabyte. */
const CHUNK_BITS = 10

/** The first of a key's windows in its chunk. */
function windowOf(key: number): number {
  return (key & ((1 << CHUNK_BITS) - 1)) * 2
}

/** How much one key may bear. */
export interface KeyLimits {
  /** Forgeries after which it decrypts nothing any more. @default FORGERY_LIMIT */
  forgeries: number
  /** Blocks and packets after which it asks to be replaced, for AES-GCM in format "aead". @default REKEY_AT_USE */
  rekeyAtUse: number
}

/** A pool of keys. Slot numbers are 1 and up; 0 is none. */
export class Keys {
  readonly capacity: number
  readonly #limits: KeyLimits
  // Contexts of OpenSSL's are numbers beyond V8's small integers. An array that also holds a null keeps them as the
  // objects they were born as; any other would make a new object for each packet.
  readonly #sealers: (Cipher | null)[] = [null]
  readonly #openers: (Cipher | null)[] = [null]
  /** Keys in the epoch format; the others are here entirely. */
  readonly #epochs: (EpochKey | undefined)[] = []
  readonly #sendNonces: Arena
  readonly #receiveNonces: Arena
  /** The first word of a data packet under this key. */
  readonly #header: Int32Array
  readonly #live: Uint8Array
  readonly #nextId: Float64Array
  /** Blocks and packets protected, for AES-GCM only. */
  readonly #used: Float64Array
  readonly #limited: Uint8Array
  readonly #forged: Float64Array
  readonly #rekeyAsked: Uint8Array
  /** Two windows for each key, the second for the epoch format only; in chunks that are made when first needed. */
  readonly #windows: ReplayWindows[] = []
  readonly #free: Int32Array
  #freeCount = 0
  #highest = 0

  constructor(capacity: number, limits: Partial<KeyLimits> = {}) {
    const size = capacity + 1
    this.capacity = capacity
    this.#limits = { forgeries: FORGERY_LIMIT, rekeyAtUse: REKEY_AT_USE, ...limits }
    this.#sendNonces = new Arena(size * NONCE_STRIDE)
    this.#receiveNonces = new Arena(size * NONCE_STRIDE)
    this.#header = new Int32Array(size)
    this.#live = new Uint8Array(size)
    this.#nextId = new Float64Array(size)
    this.#used = new Float64Array(size)
    this.#limited = new Uint8Array(size)
    this.#forged = new Float64Array(size)
    this.#rekeyAsked = new Uint8Array(size)
    this.#free = new Int32Array(size)
  }

  /** Keys installed. */
  get count(): number {
    return this.#highest - this.#freeCount
  }

  /**
   * Installs a key for both directions and returns its slot; 0 when the pool is full. The caller wipes the parts.
   * Throws SysError when OpenSSL refuses.
   */
  add(
    peerId: number,
    keyId: number,
    cipher: CipherName,
    format: DataFormat,
    send: DirectionKey,
    receive: DirectionKey,
  ): number {
    if (this.#freeCount === 0 && this.#highest === this.capacity) return 0
    const header = (((DATA_V2 << 3) | keyId) << 24) | peerId
    let sealer: Cipher | null = null
    let opener: Cipher | null = null
    let epochs: EpochKey | undefined
    if (format === 'epoch') {
      epochs = new EpochKey({
        header,
        cipher,
        send: send.cipher,
        receive: receive.cipher,
        windows: this.#windowsOf(this.#freeSlot()),
        window: windowOf(this.#freeSlot()),
      })
    } else {
      sealer = newCipher(cipher, send.cipher, true)
      try {
        opener = newCipher(cipher, receive.cipher, false)
      } catch (error) {
        freeCipher(sealer)
        throw error
      }
    }
    const key = this.#freeSlot()
    if (key > this.#highest) this.#highest = key
    else this.#freeCount--
    this.#epochs[key] = epochs
    this.#sealers[key] = sealer
    this.#openers[key] = opener
    this.#sendNonces.bytes.set(send.hmac.subarray(0, 8), key * NONCE_STRIDE + 4)
    this.#receiveNonces.bytes.set(receive.hmac.subarray(0, 8), key * NONCE_STRIDE + 4)
    this.#header[key] = header
    this.#nextId[key] = 1
    this.#used[key] = 0
    this.#limited[key] = cipher === 'CHACHA20-POLY1305' ? 0 : 1
    this.#forged[key] = 0
    this.#rekeyAsked[key] = 0
    this.#live[key] = 1
    if (epochs === undefined) this.#windowsOf(key).reset(windowOf(key))
    return key
  }

  /** The slot that the next key gets. */
  #freeSlot(): number {
    return this.#freeCount > 0 ? this.#free[this.#freeCount - 1] : this.#highest + 1
  }

  #windowsOf(key: number): ReplayWindows {
    this.#windows[key >> CHUNK_BITS] ??= new ReplayWindows(2 << CHUNK_BITS)
    return this.#windows[key >> CHUNK_BITS]
  }

  /** Wipes and forgets a key. */
  remove(key: number): void {
    this.#live[key] = 0
    this.#epochs[key]?.close()
    this.#epochs[key] = undefined
    freeCipher(this.#sealers[key])
    freeCipher(this.#openers[key])
    this.#sealers[key] = null
    this.#openers[key] = null
    this.#sendNonces.bytes.fill(0, key * NONCE_STRIDE, (key + 1) * NONCE_STRIDE)
    this.#receiveNonces.bytes.fill(0, key * NONCE_STRIDE, (key + 1) * NONCE_STRIDE)
    this.#free[this.#freeCount++] = key
  }

  /**
   * Decrypts the data packet of `length` bytes at `at` to `plainAt` of `plain`: the plaintext's length, or one of
   * `OPEN`. A packet that passes is marked as seen.
   */
  open(key: number, packet: Arena, at: number, length: number, plain: Arena, plainAt: number): number {
    const epochs = this.#epochs[key]
    if (epochs !== undefined) return this.#openEpoch(epochs, key, packet, at, length, plain, plainAt)
    const size = length - AEAD_OVERHEAD
    if (size < 0) return OPEN.badLength
    const id = packet.view.getUint32(at + 4)
    const windows = this.#windows[key >> CHUNK_BITS]
    const window = windowOf(key)
    if (!windows.check(window, id)) return OPEN.replayed
    if (this.#forged[key] >= this.#limits.forgeries) return OPEN.badTag
    const nonce = key * NONCE_STRIDE
    this.#receiveNonces.view.setUint32(nonce, id)
    const text = at + AEAD_OVERHEAD
    if (
      !open(
        this.#openers[key]!,
        this.#receiveNonces,
        nonce,
        packet,
        at,
        HEADER,
        text,
        size,
        at + HEADER,
        plain,
        plainAt,
      )
    ) {
      this.#forged[key]++
      return OPEN.badTag
    }
    windows.mark(window, id)
    return size
  }

  #openEpoch(
    epochs: EpochKey,
    key: number,
    packet: Arena,
    at: number,
    length: number,
    plain: Arena,
    plainAt: number,
  ): number {
    if (this.#forged[key] >= this.#limits.forgeries) return OPEN.badTag
    const size = epochs.open(this.#receiveNonces, key * NONCE_STRIDE, packet, at, length, plain, plainAt)
    if (size === OPEN.badTag) this.#forged[key]++
    return size
  }

  /**
   * Encrypts `length` bytes at `plainAt` of `plain` into a data packet at `at` of `out`: the packet's length, or 0
   * when the key is used up.
   */
  seal(key: number, plain: Arena, plainAt: number, length: number, out: Arena, at: number): number {
    const epochs = this.#epochs[key]
    if (epochs !== undefined) {
      return epochs.seal(this.#sendNonces, key * NONCE_STRIDE, plain, plainAt, length, out, at)
    }
    const id = this.#nextId[key]
    if (id > LAST_PACKET_ID) return 0
    this.#nextId[key] = id + 1
    this.#used[key] += 1 + ((length + 15) >> 4)
    out.view.setInt32(at, this.#header[key])
    out.view.setUint32(at + 4, id)
    const nonce = key * NONCE_STRIDE
    this.#sendNonces.view.setUint32(nonce, id)
    const text = at + AEAD_OVERHEAD
    const sealed = seal(
      this.#sealers[key]!,
      this.#sendNonces,
      nonce,
      plain,
      plainAt,
      length,
      out,
      at,
      HEADER,
      text,
      at + HEADER,
    )
    return sealed ? AEAD_OVERHEAD + length : 0
  }

  /** Bytes that a packet under this key is longer by than what it carries. */
  overhead(key: number): number {
    return this.#epochs[key] === undefined ? AEAD_OVERHEAD : EPOCH_OVERHEAD
  }

  /** True once for a key that has to be replaced soon: by packet id or by what it has protected. */
  rekeyDue(key: number): boolean {
    if (this.#rekeyAsked[key] !== 0) return false
    const epochs = this.#epochs[key]
    const worn =
      epochs !== undefined
        ? epochs.worn
        : this.#limited[key] !== 0 && this.#used[key] >= this.#limits.rekeyAtUse
    if (this.#nextId[key] < REKEY_PACKET_ID && !worn) return false
    this.#rekeyAsked[key] = 1
    return true
  }

  /** Goes on from a packet id: for a session that is taken over, and to come near the end in tests. */
  skipTo(key: number, packetId: number): void {
    this.#nextId[key] = Math.max(this.#nextId[key], packetId)
  }

  /** Wipes all keys. */
  close(): void {
    for (let key = 1; key <= this.#highest; key++) {
      if (this.#live[key] !== 0) this.remove(key)
    }
  }
}
