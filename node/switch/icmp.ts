// ICMP as a router sends it (RFC 792, RFC 1812 section 4.3, RFC 1191): errors about packets that go no further, and
// answers to echo requests. Written into the caller's buffer; nothing is allocated.
import {
  checksum,
  destination,
  fragmentOffset,
  headerLength,
  isFragment,
  isUnicast,
  MIN_HEADER,
  type PacketBuffer,
  PROTOCOL,
  protocol,
  source,
  totalLength,
  typeOfService,
  writeHeaderChecksum,
} from './ipv4.ts'

export interface IcmpError {
  readonly type: number
  readonly code: number
}

export const ICMP_ERROR = {
  networkUnreachable: { type: 3, code: 0 },
  hostUnreachable: { type: 3, code: 1 },
  protocolUnreachable: { type: 3, code: 2 },
  portUnreachable: { type: 3, code: 3 },
  /** Carries the MTU of the next hop (RFC 1191). */
  fragmentationNeeded: { type: 3, code: 4 },
  /** Communication administratively prohibited (RFC 1812 section 5.2.7.1). */
  adminProhibited: { type: 3, code: 13 },
  timeExceeded: { type: 11, code: 0 },
} as const satisfies Record<string, IcmpError>

/** RFC 1812 section 4.3.2.3: an error quotes as much as fits this many bytes of IP packet. */
export const MAX_ERROR_LENGTH = 576

const ICMP_HEADER = 8
const ECHO_REPLY = 0
const ECHO_REQUEST = 8
const TTL = 64
const FLAG_DF = 0x4000
/** Precedence "internetwork control": RFC 1812 section 4.3.2.5 wants 6 or 7 on errors. */
const PRECEDENCE = 0xc0
/** The TOS bits of RFC 1349 without the two that have become ECN, which an error must not echo. */
const TOS_MASK = 0x1c
/** Messages that are questions or answers. Whatever else has or may come to have a number counts as an error. */
const QUERY_TYPES: readonly number[] = [ECHO_REPLY, ECHO_REQUEST, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43]

export interface ErrorOrigin {
  /** Address the error comes from, u32: the router's own in the overlay. */
  readonly address: number
  /** Directed broadcast address of the overlay, u32: what was sent to it is never answered. */
  readonly broadcast: number
}

/**
 * Writes an error about a valid packet.
 * @param about buffer that holds the packet, unchanged or with its TTL decremented
 * @param target has {@link MAX_ERROR_LENGTH} bytes of room at `at` and does not overlap the packet
 * @param mtu of the next hop, for `fragmentationNeeded`
 * @returns length of the IP packet written; 0 if RFC 1812 section 4.3.2.7 forbids an error about this one
 */
export function writeError(
  error: IcmpError,
  origin: ErrorOrigin,
  about: PacketBuffer,
  offset: number,
  target: PacketBuffer,
  at: number,
  mtu = 0,
): number {
  if (!mayReport(about, offset, origin)) return 0
  const quoted = Math.min(totalLength(about.view, offset), MAX_ERROR_LENGTH - MIN_HEADER - ICMP_HEADER)
  const length = MIN_HEADER + ICMP_HEADER + quoted
  const tos = PRECEDENCE | (typeOfService(about.view, offset) & TOS_MASK)
  writeIcmpHeader(target, at, length, tos, origin.address, source(about.view, offset))
  const icmp = at + MIN_HEADER
  for (let i = 0; i < quoted; i++) target.bytes[icmp + ICMP_HEADER + i] = about.bytes[offset + i]
  target.view.setUint8(icmp, error.type)
  target.view.setUint8(icmp + 1, error.code)
  target.view.setUint32(icmp + 4, Math.min(mtu, 0xffff))
  writeIcmpChecksum(target, icmp, ICMP_HEADER + quoted)
  return length
}

/**
 * Writes the answer to a valid packet if that is a whole echo request, from the address it was sent to. Options are
 * not returned: nothing in the overlay routes or records by them.
 * @param target has room for the packet's total length at `at` and does not overlap it
 * @returns length of the IP packet written; 0 if there is nothing to answer
 */
export function writeEchoReply(
  request: PacketBuffer,
  offset: number,
  target: PacketBuffer,
  at: number,
): number {
  const { bytes, view } = request
  if (protocol(view, offset) !== PROTOCOL.icmp || isFragment(view, offset)) return 0
  const header = headerLength(view, offset)
  const message = totalLength(view, offset) - header
  if (message < ICMP_HEADER || view.getUint8(offset + header) !== ECHO_REQUEST) return 0
  if (view.getUint8(offset + header + 1) !== 0 || checksum(bytes, offset + header, message) !== 0) return 0
  const from = destination(view, offset)
  const to = source(view, offset)
  if (!isUnicast(from) || !isUnicast(to)) return 0
  writeIcmpHeader(target, at, MIN_HEADER + message, typeOfService(view, offset), from, to)
  const icmp = at + MIN_HEADER
  for (let i = 0; i < message; i++) target.bytes[icmp + i] = bytes[offset + header + i]
  target.view.setUint8(icmp, ECHO_REPLY)
  writeIcmpChecksum(target, icmp, message)
  return MIN_HEADER + message
}

/** RFC 1812 section 4.3.2.7: what no error may be sent about. */
function mayReport({ view }: PacketBuffer, offset: number, { broadcast }: ErrorOrigin): boolean {
  const from = source(view, offset)
  const to = destination(view, offset)
  if (!isUnicast(from) || !isUnicast(to) || from === broadcast || to === broadcast) return false
  if (fragmentOffset(view, offset) !== 0) return false
  if (protocol(view, offset) !== PROTOCOL.icmp) return true
  const header = headerLength(view, offset)
  return totalLength(view, offset) > header && QUERY_TYPES.includes(view.getUint8(offset + header))
}

/** A header without options that is never fragmented, so that RFC 6864 lets its identification be 0. */
export function writeIcmpHeader(
  target: PacketBuffer,
  at: number,
  length: number,
  tos: number,
  from: number,
  to: number,
): void {
  const { view } = target
  view.setUint8(at, 0x45)
  view.setUint8(at + 1, tos)
  view.setUint16(at + 2, length)
  view.setUint16(at + 4, 0)
  view.setUint16(at + 6, FLAG_DF)
  view.setUint8(at + 8, TTL)
  view.setUint8(at + 9, PROTOCOL.icmp)
  view.setUint32(at + 12, from)
  view.setUint32(at + 16, to)
  writeHeaderChecksum(target, at)
}

/** Of the message at `icmp`, `length` bytes long. */
export function writeIcmpChecksum(target: PacketBuffer, icmp: number, length: number): void {
  target.view.setUint16(icmp + 2, 0)
  target.view.setUint16(icmp + 2, checksum(target.bytes, icmp, length))
}
