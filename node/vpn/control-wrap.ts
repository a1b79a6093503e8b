// The wrapping of one session's control packets in both directions: tls-crypt, packet ids, replay check.
import { exportDynamicTlsCrypt } from './key-exchange.ts'
import { type ControlBody, decodeControlBody, encodeControlBody, encodeHeader } from './packet.ts'
import { WrapPacketIdSender, WrapPacketIdWindow } from './packet-id.ts'
import type { TlsChannel } from './tls.ts'
import { dynamicTlsCryptKey, TlsCrypt, type Unwrapped } from './tls-crypt.ts'
import type { MakeWrapKeys } from './wrap-keys.ts'

export interface ControlPacket {
  opcode: number
  keyId: number
  sid: Uint8Array
  /** Counter of the wrapping's packet id. */
  counter: number
  body: ControlBody
}

export class ControlWrap {
  readonly #crypt: TlsCrypt
  readonly #ids: WrapPacketIdSender
  readonly #window = new WrapPacketIdWindow()

  /** @param nowMs begins the series of packet ids @param first its first counter */
  constructor(crypt: TlsCrypt, nowMs: number, first = 1) {
    this.#crypt = crypt
    this.#ids = new WrapPacketIdSender(Math.floor(nowMs / 1000), first)
  }

  wrap(opcode: number, keyId: number, sid: Uint8Array, body: ControlBody): Uint8Array {
    return this.#crypt.wrap(
      encodeHeader(opcode, keyId, sid),
      this.#ids.next(),
      encodeControlBody(opcode, body),
    )
  }

  /** Undefined when forged or malformed; `'replay'` when seen before. */
  unwrap(packet: Uint8Array): ControlPacket | 'replay' | undefined {
    const unwrapped = this.#crypt.unwrap(packet)
    if (!unwrapped) return undefined
    const body = decodeControlBody(unwrapped.opcode, unwrapped.plaintext)
    if (!body) return undefined
    if (!this.#window.accept(unwrapped.counter, unwrapped.time)) return 'replay'
    return packetOf(unwrapped, body)
  }
}

/**
 * Dynamic tls-crypt: the wrapping of all key ids but the first, where both ends agreed on that.
 * @param tls the first TLS session
 * @param clientKey the client's own tls-crypt key
 * @param nowMs begins the series of packet ids
 */
export function dynamicWrap(
  role: 'server' | 'client',
  tls: TlsChannel,
  clientKey: Uint8Array,
  nowMs: number,
  make?: MakeWrapKeys,
): ControlWrap {
  const key = dynamicTlsCryptKey(exportDynamicTlsCrypt(tls), clientKey)
  return new ControlWrap(new TlsCrypt(key, role, make), nowMs)
}

/** One packet of a session that does not exist yet. */
export function unwrapAlone(crypt: TlsCrypt, packet: Uint8Array): ControlPacket | undefined {
  const unwrapped = crypt.unwrap(packet)
  const body = unwrapped && decodeControlBody(unwrapped.opcode, unwrapped.plaintext)
  return body && packetOf(unwrapped, body)
}

function packetOf({ opcode, keyId, sid, counter }: Unwrapped, body: ControlBody): ControlPacket {
  return { opcode, keyId, sid, counter, body }
}
