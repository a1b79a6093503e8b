// tls-crypt-v2: each client has a tls-crypt key of its own and carries it along, wrapped for the server.
// Source: OpenVPN doc/tls-crypt-v2.txt, src/openvpn/tls_crypt.c.
// WKc = tag(32) | AES-256-CTR(Ke, IV = tag[0..15], Kc | metadata) | length(2), tag over length | Kc | metadata.
import { timingSafeEqual } from 'node:crypto'
import { HEADER_LENGTH } from './packet.ts'
import {
  MAX_WKC_LENGTH,
  MIN_WKC_LENGTH,
  SERVER_KEY_LENGTH,
  STATIC_KEY_LENGTH,
  type TlsCryptV2ClientKey,
} from './static-key.ts'
import { TLS_CRYPT_OVERHEAD } from './tls-crypt.ts'
import { type MakeWrapKeys, type WrapKeys, wrapKeys } from './wrap-keys.ts'

const TAG_LENGTH = 32
const LENGTH_LENGTH = 2
/** Type byte of metadata that belongs to whoever made the key. */
export const METADATA_USER = 0
/** Type byte of metadata that is the Unix time (u64) of making. */
export const METADATA_TIME = 1
/** Bytes of user metadata at most. */
export const MAX_METADATA = MAX_WKC_LENGTH - MIN_WKC_LENGTH - 1

export class TlsCryptV2Server {
  readonly #keys: WrapKeys

  /** @param key 128 bytes: encryption key in the first half, authentication key in the second */
  constructor(key: Uint8Array, make: MakeWrapKeys = wrapKeys) {
    if (key.length !== SERVER_KEY_LENGTH) throw new RangeError(`server key of ${key.length} bytes`)
    this.#keys = make(key.subarray(0, 32), key.subarray(64, 96))
  }

  /** @param metadata type byte and content @throws RangeError when a length is out of bounds */
  wrapClientKey(kc: Uint8Array, metadata: Uint8Array): Uint8Array {
    const length = TAG_LENGTH + STATIC_KEY_LENGTH + metadata.length + LENGTH_LENGTH
    if (kc.length !== STATIC_KEY_LENGTH || length > MAX_WKC_LENGTH) {
      throw new RangeError(`client key of ${kc.length} bytes, metadata of ${metadata.length}`)
    }
    const lengthField = Uint8Array.of(length >> 8, length & 0xff)
    const plain = Buffer.concat([kc, metadata])
    const tag = this.#keys.tag(lengthField, plain)
    return Uint8Array.from(Buffer.concat([tag, this.#keys.ctr(tag, plain), lengthField]))
  }

  /** Undefined when malformed or wrapped with another key; metadata begins with its type byte. */
  unwrapClientKey(wkc: Uint8Array): { kc: Uint8Array; metadata: Uint8Array } | undefined {
    if (wkc.length < MIN_WKC_LENGTH || wkc.length > MAX_WKC_LENGTH) return undefined
    const lengthField = wkc.subarray(wkc.length - LENGTH_LENGTH)
    if (((lengthField[0] << 8) | lengthField[1]) !== wkc.length) return undefined
    const tag = wkc.subarray(0, TAG_LENGTH)
    const plain = this.#keys.ctr(tag, wkc.subarray(TAG_LENGTH, wkc.length - LENGTH_LENGTH))
    if (!timingSafeEqual(this.#keys.tag(lengthField, plain), tag)) return undefined
    return { kc: plain.subarray(0, STATIC_KEY_LENGTH), metadata: plain.subarray(STATIC_KEY_LENGTH) }
  }
}

/** Takes the WKc off a packet that carries one at its end. Undefined when its length field cannot be right. */
export function splitWkc(packet: Uint8Array): { packet: Uint8Array; wkc: Uint8Array } | undefined {
  const least = HEADER_LENGTH + TLS_CRYPT_OVERHEAD + 1
  if (packet.length < least + MIN_WKC_LENGTH) return undefined
  const length = (packet[packet.length - 2] << 8) | packet[packet.length - 1]
  if (length < MIN_WKC_LENGTH || length > MAX_WKC_LENGTH || length > packet.length - least) return undefined
  const at = packet.length - length
  return { packet: packet.subarray(0, at), wkc: packet.subarray(at) }
}

/** @param random fills with random bytes */
export function generateServerKey(random: (size: number) => Uint8Array): Uint8Array {
  return random(SERVER_KEY_LENGTH)
}

/** @param metadata user bytes, without the type byte */
export function generateClientKey(
  server: TlsCryptV2Server,
  metadata: Uint8Array,
  random: (size: number) => Uint8Array,
): TlsCryptV2ClientKey {
  const kc = random(STATIC_KEY_LENGTH)
  return { kc, wkc: server.wrapClientKey(kc, Buffer.concat([Uint8Array.of(METADATA_USER), metadata])) }
}
