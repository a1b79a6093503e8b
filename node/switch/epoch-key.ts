// A data-channel key in OpenVPN's epoch format: header(4) epoch(2) counter(6) ciphertext tag(16); additional data is
// the first 12 bytes, the nonce is the epoch's IV XOR epoch and counter. Each side moves to the next epoch's key by
// itself, and the other follows. Source: OpenVPN crypto_epoch.c.
import { GCM_LIMIT, OPEN } from './data-limits.ts'
import type { ReplayWindows } from './replay.ts'
import type { Arena } from './sys/arena.ts'
import {
  type Cipher,
  type CipherName,
  freeCipher,
  keyLength,
  NONCE_LENGTH,
  newCipher,
  open,
  seal,
  TAG_LENGTH,
} from './sys/cipher.ts'
import { hmacSha256 } from './sys/hmac.ts'

const HEADER = 12
/** Bytes that the format adds to a packet. */
export const EPOCH_OVERHEAD = HEADER + TAG_LENGTH
/** Epochs ahead of the newest authenticated one that are taken. */
export const FUTURE_EPOCHS = 4
/** From this epoch on the key is to be replaced. */
export const REKEY_EPOCH = 0xf000
const LAST_EPOCH = 0xffff
/** Sent packets after which the next epoch begins, though the counter would go on to 2^48. */
const MAX_COUNTER = 2 ** 47
/** Live epochs are at most FUTURE_EPOCHS + 2, so that no two of them share a place. */
const RING = 8

/** One epoch's context. The IV's first two words are kept apart: the packet id is added to them. */
interface EpochContext {
  epoch: number
  cipher: Cipher
  iv0: number
  iv1: number
  iv2: number
}

const SECRET_LENGTH = 32
const NEXT_SECRET = label('datakey upd', SECRET_LENGTH)
const IV = label('data_iv', NONCE_LENGTH)
const iv = new DataView(new ArrayBuffer(NONCE_LENGTH))

/** What HKDF-Expand-Label (RFC 8446 section 7.1) authenticates for a result of one block. */
function label(name: string, length: number): Uint8Array {
  const full = new TextEncoder().encode(`ovpn ${name}`)
  return Uint8Array.of(length >> 8, length & 0xff, full.length, ...full, 0, 1)
}

function derive(secret: Uint8Array, cipher: CipherName, epoch: number, sealing: boolean): EpochContext {
  const key = new Uint8Array(keyLength(cipher))
  hmacSha256(secret, label('data_key', key.length), key)
  hmacSha256(secret, IV, new Uint8Array(iv.buffer))
  try {
    return {
      epoch,
      cipher: newCipher(cipher, key, sealing),
      iv0: iv.getInt32(0),
      iv1: iv.getInt32(4),
      iv2: iv.getInt32(8),
    }
  } finally {
    key.fill(0)
  }
}

/** Makes the secret that of the next epoch. */
function step(secret: Uint8Array): void {
  hmacSha256(secret, NEXT_SECRET, secret)
}

export interface EpochKeyInit {
  /** First word of this key's packets. */
  header: number
  cipher: CipherName
  /** Secrets of epoch 1: their first 32 bytes, copied. */
  send: Uint8Array
  receive: Uint8Array
  /** Where this key has two replay windows of its own, `window` and the next. */
  windows: ReplayWindows
  window: number
  /** Blocks of 16 bytes and packets that one epoch may protect. @default GCM_LIMIT; none for ChaCha20-Poly1305 */
  limit?: number
}

/** Both directions of a key. */
export class EpochKey {
  readonly #cipher: CipherName
  readonly #header: number
  /** Blocks and packets that one epoch's key may protect. */
  readonly #limit: number
  readonly #sendSecret: Uint8Array
  #sender: EpochContext
  #counter = 0
  #used = 0
  /** Newest authenticated epoch of the peer's. */
  #newest = 1
  /** Secret of epoch `#derived`, the newest that has a context. */
  readonly #receiveSecret: Uint8Array
  #derived = 1
  readonly #ring: (EpochContext | undefined)[] = new Array(RING).fill(undefined)
  /** Two windows, from `#window` on: one of the newest epoch, one of that before. */
  readonly #windows: ReplayWindows
  readonly #window: number

  /** Throws SysError when OpenSSL refuses. */
  constructor({ header, cipher, send, receive, windows, window, limit = GCM_LIMIT }: EpochKeyInit) {
    this.#header = header
    this.#cipher = cipher
    this.#windows = windows
    this.#window = window
    windows.reset(window)
    windows.reset(window + 1)
    this.#limit = cipher === 'CHACHA20-POLY1305' ? Number.POSITIVE_INFINITY : limit
    this.#sendSecret = send.slice(0, SECRET_LENGTH)
    this.#receiveSecret = receive.slice(0, SECRET_LENGTH)
    this.#sender = derive(this.#sendSecret, cipher, 1, true)
    this.#ring[1] = derive(this.#receiveSecret, cipher, 1, false)
  }

  get sendEpoch(): number {
    return this.#sender.epoch
  }

  /** True when the epochs come to an end. */
  get worn(): boolean {
    return this.#sender.epoch >= REKEY_EPOCH || this.#newest >= REKEY_EPOCH
  }

  /** As `Keys.open`; the nonce is put together at `nonceAt` of `nonces`. */
  open(
    nonces: Arena,
    nonceAt: number,
    packet: Arena,
    at: number,
    length: number,
    plain: Arena,
    plainAt: number,
  ): number {
    const size = length - EPOCH_OVERHEAD
    if (size < 0) return OPEN.badLength
    const epoch = packet.view.getUint16(at + 4)
    // One older epoch stays for packets that are late.
    if (epoch < this.#newest - 1 || epoch > this.#newest + FUTURE_EPOCHS || epoch === 0) return OPEN.replayed
    if (epoch > this.#derived) this.#deriveUpTo(epoch)
    const context = this.#ring[epoch & (RING - 1)]
    if (context === undefined || context.epoch !== epoch) return OPEN.replayed
    const counter = packet.view.getUint16(at + 6) * 0x100000000 + packet.view.getUint32(at + 8)
    const window = this.#window + (epoch & 1)
    // An epoch ahead has no window yet: nothing of it was seen.
    if (counter === 0 || (epoch <= this.#newest && !this.#windows.check(window, counter)))
      return OPEN.replayed
    this.#nonce(nonces, nonceAt, context, packet, at)
    const text = at + HEADER
    if (!open(context.cipher, nonces, nonceAt, packet, at, HEADER, text, size, text + size, plain, plainAt)) {
      return OPEN.badTag
    }
    if (epoch > this.#newest) this.#follow(epoch)
    this.#windows.mark(window, counter)
    return size
  }

  #nonce(nonces: Arena, nonceAt: number, context: EpochContext, packet: Arena, at: number): void {
    nonces.view.setInt32(nonceAt, context.iv0 ^ packet.view.getInt32(at + 4))
    nonces.view.setInt32(nonceAt + 4, context.iv1 ^ packet.view.getInt32(at + 8))
    nonces.view.setInt32(nonceAt + 8, context.iv2)
  }

  /** Makes contexts for the epochs up to this one, which is at most FUTURE_EPOCHS away: forgers gain no more. */
  #deriveUpTo(epoch: number): void {
    while (this.#derived < epoch) {
      step(this.#receiveSecret)
      const place = ++this.#derived & (RING - 1)
      freeCipher(this.#ring[place]?.cipher ?? null)
      this.#ring[place] = derive(this.#receiveSecret, this.#cipher, this.#derived, false)
    }
  }

  /** The peer has moved on: forget what is too old, and do not stay behind when sending. */
  #follow(epoch: number): void {
    this.#windows.reset(this.#window + (epoch & 1))
    if (epoch > this.#newest + 1) this.#windows.reset(this.#window + ((epoch - 1) & 1))
    this.#newest = epoch
    for (let place = 0; place < RING; place++) {
      const context = this.#ring[place]
      if (context === undefined || context.epoch >= epoch - 1) continue
      freeCipher(context.cipher)
      this.#ring[place] = undefined
    }
    while (this.#sender.epoch < epoch) this.#nextSendEpoch()
  }

  #nextSendEpoch(): void {
    step(this.#sendSecret)
    freeCipher(this.#sender.cipher)
    this.#sender = derive(this.#sendSecret, this.#cipher, this.#sender.epoch + 1, true)
    this.#counter = 0
    this.#used = 0
  }

  /** As `Keys.seal`; the nonce is put together at `nonceAt` of `nonces`. */
  seal(
    nonces: Arena,
    nonceAt: number,
    plain: Arena,
    plainAt: number,
    length: number,
    out: Arena,
    at: number,
  ): number {
    const blocks = 1 + ((length + 15) >> 4)
    if (this.#used + blocks > this.#limit || this.#counter >= MAX_COUNTER) {
      if (this.#sender.epoch >= LAST_EPOCH) return 0
      this.#nextSendEpoch()
    }
    this.#used += blocks
    const counter = ++this.#counter
    out.view.setInt32(at, this.#header)
    out.view.setUint16(at + 4, this.#sender.epoch)
    out.view.setUint16(at + 6, Math.floor(counter / 0x100000000))
    out.view.setUint32(at + 8, counter % 0x100000000)
    this.#nonce(nonces, nonceAt, this.#sender, out, at)
    const text = at + HEADER
    const sealed = seal(
      this.#sender.cipher,
      nonces,
      nonceAt,
      plain,
      plainAt,
      length,
      out,
      at,
      HEADER,
      text,
      text + length,
    )
    return sealed ? EPOCH_OVERHEAD + length : 0
  }

  /** Wipes everything. The key must not be used again. */
  close(): void {
    freeCipher(this.#sender.cipher)
    for (const context of this.#ring) freeCipher(context?.cipher ?? null)
    this.#ring.fill(undefined)
    this.#sendSecret.fill(0)
    this.#receiveSecret.fill(0)
  }
}
