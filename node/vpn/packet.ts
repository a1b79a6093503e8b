// OpenVPN packets before and after wrapping: opcode, key id, session ids, acknowledgements, message id.
// Source: OpenVPN src/openvpn/ssl_pkt.h, ssl.c; draft-openvpn-wire-protocol.

/** The opcodes of versions 2.4 to 2.7; 1 and 2 are obsolete and refused. */
export const OPCODE = {
  softResetV1: 3,
  controlV1: 4,
  ackV1: 5,
  dataV1: 6,
  hardResetClientV2: 7,
  hardResetServerV2: 8,
  dataV2: 9,
  hardResetClientV3: 10,
  controlWkcV1: 11,
} as const

/** Opcode and key id in one byte, then the sender's session id. */
export const HEADER_LENGTH = 9
export const SID_LENGTH = 8
/** Most acknowledgements that a receiver accepts in one packet. */
export const MAX_ACKS = 8

/** What follows the header once the wrapping is off. */
export interface ControlBody {
  /** Message ids, at most {@link MAX_ACKS}. */
  acks: number[]
  /** Session id of the receiver; there exactly when `acks` is not empty. */
  remoteSid?: Uint8Array
  /** Absent in ACK_V1 only. */
  messageId?: number
  payload: Uint8Array
}

export interface PlainPacket {
  opcode: number
  keyId: number
  /** Session id of the sender. */
  sid: Uint8Array
  body: ControlBody
}

const NOTHING = new Uint8Array(0)

export function opcodeOf(firstByte: number): number {
  return firstByte >> 3
}

export function keyIdOf(firstByte: number): number {
  return firstByte & 7
}

export function firstByte(opcode: number, keyId: number): number {
  return (opcode << 3) | keyId
}

/** Whether two session ids are one; false where either is missing. */
export function isSameSid(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && Buffer.compare(a, b) === 0
}

/** The nine bytes every control packet begins with. */
export function encodeHeader(opcode: number, keyId: number, sid: Uint8Array): Uint8Array {
  const header = new Uint8Array(HEADER_LENGTH)
  header[0] = firstByte(opcode, keyId)
  header.set(sid.subarray(0, SID_LENGTH), 1)
  return header
}

/** Bytes that {@link encodeControlBody} makes beside the payload. */
export function bodyOverhead(acks: number, hasMessageId: boolean): number {
  return 1 + (acks > 0 ? 4 * acks + SID_LENGTH : 0) + (hasMessageId ? 4 : 0)
}

export function encodeControlBody(opcode: number, body: ControlBody): Uint8Array {
  const hasMessageId = opcode !== OPCODE.ackV1
  const { acks, remoteSid, messageId, payload } = body
  const out = new Uint8Array(bodyOverhead(acks.length, hasMessageId) + payload.length)
  const view = new DataView(out.buffer)
  let at = 0
  out[at++] = acks.length
  for (const ack of acks) {
    view.setUint32(at, ack)
    at += 4
  }
  if (acks.length > 0) {
    out.set((remoteSid ?? NOTHING).subarray(0, SID_LENGTH), at)
    at += SID_LENGTH
  }
  if (hasMessageId) {
    view.setUint32(at, messageId ?? 0)
    at += 4
  }
  out.set(payload, at)
  return out
}

/** Reads hostile bytes; undefined for anything malformed. The result's arrays are views of `bytes`. */
export function decodeControlBody(opcode: number, bytes: Uint8Array): ControlBody | undefined {
  if (bytes.length < 1) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const count = bytes[0]
  if (count > MAX_ACKS) return undefined
  const hasMessageId = opcode !== OPCODE.ackV1
  const overhead = bodyOverhead(count, hasMessageId)
  if (bytes.length < overhead) return undefined
  const acks: number[] = []
  let at = 1
  for (let i = 0; i < count; i++, at += 4) acks.push(view.getUint32(at))
  let remoteSid: Uint8Array | undefined
  if (count > 0) {
    remoteSid = bytes.subarray(at, at + SID_LENGTH)
    at += SID_LENGTH
  }
  if (!hasMessageId) return count === 0 ? undefined : { acks, remoteSid, payload: NOTHING }
  const messageId = view.getUint32(at)
  return { acks, remoteSid, messageId, payload: bytes.subarray(at + 4) }
}

/** The form without any wrapping, as peers without tls-auth or tls-crypt send it. */
export function encodePlain(packet: PlainPacket): Uint8Array {
  const body = encodeControlBody(packet.opcode, packet.body)
  const out = new Uint8Array(HEADER_LENGTH + body.length)
  out.set(encodeHeader(packet.opcode, packet.keyId, packet.sid))
  out.set(body, HEADER_LENGTH)
  return out
}

/** The reverse of {@link encodePlain}; undefined for malformed bytes and for opcodes that are not control packets. */
export function decodePlain(bytes: Uint8Array): PlainPacket | undefined {
  if (bytes.length <= HEADER_LENGTH) return undefined
  const opcode = opcodeOf(bytes[0])
  if (!isControl(opcode)) return undefined
  const body = decodeControlBody(opcode, bytes.subarray(HEADER_LENGTH))
  return body && { opcode, keyId: keyIdOf(bytes[0]), sid: bytes.subarray(1, HEADER_LENGTH), body }
}

export function isControl(opcode: number): boolean {
  return (
    (opcode >= OPCODE.softResetV1 && opcode <= OPCODE.ackV1) ||
    (opcode >= OPCODE.hardResetClientV2 && opcode <= OPCODE.controlWkcV1 && opcode !== OPCODE.dataV2)
  )
}
