// tls-crypt: control packets encrypted and authenticated with a pre-shared key.
// Source: OpenVPN src/openvpn/tls_crypt.c; tag = HMAC-SHA256(Ka, header | packet id | plaintext), IV = first half of the
// tag, AES-256-CTR.
import { timingSafeEqual } from 'node:crypto'
import { HEADER_LENGTH, keyIdOf, opcodeOf } from './packet.ts'
import { STATIC_KEY_LENGTH } from './static-key.ts'
import { type MakeWrapKeys, type WrapKeys, wrapKeys } from './wrap-keys.ts'

const PACKET_ID_AT = HEADER_LENGTH
const TAG_AT = PACKET_ID_AT + 8
const TAG_LENGTH = 32
const TEXT_AT = TAG_AT + TAG_LENGTH

/** Bytes that wrapping adds to header and body. */
export const TLS_CRYPT_OVERHEAD = TEXT_AT - HEADER_LENGTH

export interface Unwrapped {
  opcode: number
  keyId: number
  sid: Uint8Array
  /** Packet id: see packet-id.ts. */
  counter: number
  time: number
  /** Acknowledgements, message id, payload. */
  plaintext: Uint8Array
}

export class TlsCrypt {
  readonly #send: WrapKeys
  readonly #receive: WrapKeys

  /**
   * @param key 256 bytes: cipher and HMAC key of direction 0, the same of direction 1
   * @param role the server sends with direction 0, the client with direction 1
   * @throws RangeError for a key of another length
   */
  constructor(key: Uint8Array, role: 'server' | 'client', make: MakeWrapKeys = wrapKeys) {
    if (key.length !== STATIC_KEY_LENGTH) throw new RangeError(`tls-crypt key of ${key.length} bytes`)
    const direction = (at: number): WrapKeys =>
      make(key.subarray(at, at + 32), key.subarray(at + 64, at + 96))
    const [zero, one] = [direction(0), direction(128)]
    this.#send = role === 'server' ? zero : one
    this.#receive = role === 'server' ? one : zero
  }

  /** The whole packet. @param header opcode, key id and session id @param packetId 8 bytes, never used twice */
  wrap(header: Uint8Array, packetId: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const tagAt = header.length + packetId.length
    const packet = new Uint8Array(tagAt + TAG_LENGTH + plaintext.length)
    packet.set(header)
    packet.set(packetId, header.length)
    const tag = this.#send.tag(packet.subarray(0, tagAt), plaintext)
    packet.set(tag, tagAt)
    packet.set(this.#send.ctr(tag, plaintext), tagAt + TAG_LENGTH)
    return packet
  }

  /** Undefined when too short or not made with this key. Replays are the caller's to see. */
  unwrap(packet: Uint8Array): Unwrapped | undefined {
    if (packet.length <= TEXT_AT) return undefined
    const tag = packet.subarray(TAG_AT, TEXT_AT)
    const plaintext = this.#receive.ctr(tag, packet.subarray(TEXT_AT))
    if (!timingSafeEqual(this.#receive.tag(packet.subarray(0, TAG_AT), plaintext), tag)) return undefined
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length)
    return {
      opcode: opcodeOf(packet[0]),
      keyId: keyIdOf(packet[0]),
      sid: new Uint8Array(packet.subarray(1, HEADER_LENGTH)),
      counter: view.getUint32(PACKET_ID_AT),
      time: view.getUint32(PACKET_ID_AT + 4),
      plaintext,
    }
  }
}

/**
 * The key of dynamic tls-crypt: what the first TLS session exported under
 * `EXPORTER-OpenVPN-dynamic-tls-crypt`, XORed with the original key.
 */
export function dynamicTlsCryptKey(exported: Uint8Array, original?: Uint8Array): Uint8Array {
  return original ? exported.map((byte, i) => byte ^ original[i]) : exported
}
