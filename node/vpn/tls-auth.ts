// tls-auth: control packets with a digest but in clear. The controller speaks tls-crypt-v2 alone; this states the
// format of peers that do not, for telling them apart and for the published vectors.
// Source: OpenVPN src/openvpn/ssl_pkt.c, crypto.c: header(9) | digest | packet id(8) | body, digest over
// packet id | header | body.
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import { HEADER_LENGTH, keyIdOf, opcodeOf } from './packet.ts'
import { WRAP_PACKET_ID_LENGTH } from './packet-id.ts'
import { STATIC_KEY_LENGTH } from './static-key.ts'
import type { Unwrapped } from './tls-crypt.ts'

/** Digests of the `auth` option and their lengths in bytes, which are also the key lengths. */
const DIGEST_LENGTHS = { sha1: 20, sha256: 32, sha512: 64 } as const

export type TlsAuthDigest = keyof typeof DIGEST_LENGTHS

/** The server's direction is 0, the client's 1; without one both ends use the first key both ways. */
export type KeyDirection = 0 | 1 | undefined

/** Offsets of the HMAC keys in the 256 bytes. */
const HMAC_KEYS = [64, 192] as const

export class TlsAuth {
  readonly #digest: TlsAuthDigest
  readonly #send: KeyObject
  readonly #receive: KeyObject

  /** @param key the 256 bytes of a static key file @throws RangeError for a key of another length */
  constructor(key: Uint8Array, direction: KeyDirection, digest: TlsAuthDigest = 'sha1') {
    if (key.length !== STATIC_KEY_LENGTH) throw new RangeError(`tls-auth key of ${key.length} bytes`)
    this.#digest = digest
    const keyAt = (at: number): KeyObject => createSecretKey(key.subarray(at, at + DIGEST_LENGTHS[digest]))
    this.#send = keyAt(HMAC_KEYS[direction ?? 0])
    this.#receive = keyAt(HMAC_KEYS[direction === undefined ? 0 : 1 - direction])
  }

  /** The whole packet. @param header opcode, key id and session id @param packetId 8 bytes, never used twice */
  wrap(header: Uint8Array, packetId: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const digest = digestOf(this.#digest, this.#send, packetId, header, plaintext)
    return Uint8Array.from(Buffer.concat([header, digest, packetId, plaintext]))
  }

  /** Undefined when too short or not made with this key. Replays are the caller's to see. */
  unwrap(packet: Uint8Array): Unwrapped | undefined {
    const idAt = HEADER_LENGTH + DIGEST_LENGTHS[this.#digest]
    const textAt = idAt + WRAP_PACKET_ID_LENGTH
    if (packet.length <= textAt) return undefined
    const plaintext = packet.subarray(textAt)
    const header = packet.subarray(0, HEADER_LENGTH)
    const expected = digestOf(this.#digest, this.#receive, packet.subarray(idAt, textAt), header, plaintext)
    if (!timingSafeEqual(expected, packet.subarray(HEADER_LENGTH, idAt))) return undefined
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length)
    return {
      opcode: opcodeOf(packet[0]),
      keyId: keyIdOf(packet[0]),
      sid: new Uint8Array(packet.subarray(1, HEADER_LENGTH)),
      counter: view.getUint32(idAt),
      time: view.getUint32(idAt + 4),
      plaintext: new Uint8Array(plaintext),
    }
  }
}

function digestOf(
  name: TlsAuthDigest,
  key: KeyObject,
  packetId: Uint8Array,
  header: Uint8Array,
  plaintext: Uint8Array,
): Buffer {
  return createHmac(name, key).update(packetId).update(header).update(plaintext).digest()
}
