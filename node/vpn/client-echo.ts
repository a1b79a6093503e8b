// ICMP echo (RFC 792) of a client without a kernel interface: asks, recognises answers, and answers others.
import { writeEchoReply } from '../switch/icmp.ts'
import {
  checksum,
  destination,
  headerLength,
  IPV4,
  isFragment,
  MIN_HEADER,
  PROTOCOL,
  protocol,
  source,
  totalLength,
  validate,
  writeHeaderChecksum,
} from '../switch/ipv4.ts'

const ICMP_HEADER = 8
const ECHO_REQUEST = 8
const ECHO_REPLY = 0
const TTL = 64
const PAYLOAD = 56

/** A whole IPv4 packet. @param from u32 @param to u32 @param identifier u16 @param sequence u16 */
export function echoRequest(from: number, to: number, identifier: number, sequence: number): Uint8Array {
  const bytes = new Uint8Array(MIN_HEADER + ICMP_HEADER + PAYLOAD)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, 0x45)
  view.setUint16(2, bytes.length)
  view.setUint8(8, TTL)
  view.setUint8(9, PROTOCOL.icmp)
  view.setUint32(12, from)
  view.setUint32(16, to)
  writeHeaderChecksum({ bytes, view }, 0)
  view.setUint8(MIN_HEADER, ECHO_REQUEST)
  view.setUint16(MIN_HEADER + 4, identifier)
  view.setUint16(MIN_HEADER + 6, sequence)
  view.setUint16(MIN_HEADER + 2, checksum(bytes, MIN_HEADER, ICMP_HEADER + PAYLOAD))
  return bytes
}

export interface EchoReply {
  /** u32 */
  from: number
  identifier: number
  sequence: number
}

/** Undefined for whatever is no echo reply. */
export function readEchoReply(bytes: Uint8Array): EchoReply | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (validate(bytes, view, 0, bytes.length) !== IPV4.ok) return undefined
  if (protocol(view, 0) !== PROTOCOL.icmp || isFragment(view, 0)) return undefined
  const start = headerLength(view, 0)
  const size = totalLength(view, 0) - start
  if (size < ICMP_HEADER || view.getUint8(start) !== ECHO_REPLY || checksum(bytes, start, size) !== 0) {
    return undefined
  }
  return {
    from: source(view, 0),
    identifier: view.getUint16(start + 4),
    sequence: view.getUint16(start + 6),
  }
}

/** The answer to an echo request for `address`; undefined for whatever is none. */
export function answerEcho(bytes: Uint8Array, address: number): Uint8Array | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (validate(bytes, view, 0, bytes.length) !== IPV4.ok || destination(view, 0) !== address) return undefined
  const reply = new Uint8Array(bytes.length)
  const length = writeEchoReply({ bytes, view }, 0, { bytes: reply, view: new DataView(reply.buffer) }, 0)
  return length > 0 ? reply.subarray(0, length) : undefined
}
