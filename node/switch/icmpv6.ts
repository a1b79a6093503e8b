// ICMPv6 as a router sends it (RFC 4443): errors about packets that go no further, and answers to echo requests. Written
// into the caller's buffer; nothing is allocated.
import { fold, wordSum } from './checksum.ts'
import type { IcmpError } from './icmp.ts'
import type { PacketBuffer } from './ipv4.ts'
import {
  copyAddress6,
  DESTINATION6,
  IPV6_HEADER,
  icmpOffset,
  isFragment6,
  isUnicast6,
  NEXT_HEADER,
  SOURCE6,
  totalLength6,
} from './ipv6.ts'
import { BASE_MTU } from './path-mtu.ts'

export const ICMP6_ERROR = {
  noRoute: { type: 1, code: 0 },
  /** Communication administratively prohibited. */
  adminProhibited: { type: 1, code: 1 },
  addressUnreachable: { type: 1, code: 3 },
  portUnreachable: { type: 1, code: 4 },
  /** Carries the MTU of the next hop. */
  packetTooBig: { type: 2, code: 0 },
  timeExceeded: { type: 3, code: 0 },
  /** Parameter problem: unrecognized next header. */
  unknownNextHeader: { type: 4, code: 1 },
} as const satisfies Record<string, IcmpError>

/** An error is never longer: within 1,280 bytes (RFC 4443 section 2.4 (c)), and whole on every way of the overlay. */
export const MAX_ERROR6_LENGTH = BASE_MTU

export const ICMP6_HEADER = 8
export const ECHO6_REQUEST = 128
export const ECHO6_REPLY = 129
const REDIRECT = 137
/** Types below are errors. */
const FIRST_QUERY = 128
const HOP_LIMIT = 64
/** Where the next header field stands, to which "unrecognized next header" points. */
const NEXT_HEADER_AT = 6

/**
 * Writes an error about a valid packet.
 * @param origin buffer that holds the address the error comes from at `originAt`
 * @param about buffer that holds the packet, unchanged or with its hop limit decremented
 * @param target has {@link MAX_ERROR6_LENGTH} bytes of room at `at` and does not overlap the packet
 * @param mtu of the next hop, for `packetTooBig`: at least 1280, as hosts believe no less (RFC 8201 section 4)
 * @returns length of the IP packet written; 0 if RFC 4443 section 2.4 (e) forbids an error about this one
 */
export function writeError6(
  error: IcmpError,
  origin: PacketBuffer,
  originAt: number,
  about: PacketBuffer,
  offset: number,
  target: PacketBuffer,
  at: number,
  mtu = 0,
): number {
  if (!mayReport(about.view, offset)) return 0
  const room = MAX_ERROR6_LENGTH - IPV6_HEADER - ICMP6_HEADER
  const quoted = Math.min(totalLength6(about.view, offset), room)
  writeHeader6(target, at, ICMP6_HEADER + quoted, 0)
  copyAddress6(origin, originAt, target, at + SOURCE6)
  copyAddress6(about, offset + SOURCE6, target, at + DESTINATION6)
  const icmp = at + IPV6_HEADER
  for (let i = 0; i < quoted; i++) target.bytes[icmp + ICMP6_HEADER + i] = about.bytes[offset + i]
  target.view.setUint8(icmp, error.type)
  target.view.setUint8(icmp + 1, error.code)
  target.view.setUint32(icmp + 4, error === ICMP6_ERROR.unknownNextHeader ? NEXT_HEADER_AT : mtu)
  writeIcmp6Checksum(target, at)
  return IPV6_HEADER + ICMP6_HEADER + quoted
}

/**
 * Writes the answer to a valid packet if that is a whole echo request, from the address it was sent to. Extension headers
 * are not returned.
 * @param target has room for the packet's total length at `at` and does not overlap it
 * @returns length of the IP packet written; 0 if there is nothing to answer
 */
export function writeEchoReply6(
  request: PacketBuffer,
  offset: number,
  target: PacketBuffer,
  at: number,
): number {
  const { bytes, view } = request
  const start = echoOffset(view, offset, ECHO6_REQUEST)
  if (start === 0 || view.getUint8(start + 1) !== 0) return 0
  if (!isUnicast6(view, offset + SOURCE6) || !isUnicast6(view, offset + DESTINATION6)) return 0
  const message = offset + totalLength6(view, offset) - start
  writeHeader6(target, at, message, (view.getUint16(offset) >>> 4) & 0xff)
  copyAddress6(request, offset + DESTINATION6, target, at + SOURCE6)
  copyAddress6(request, offset + SOURCE6, target, at + DESTINATION6)
  const icmp = at + IPV6_HEADER
  for (let i = 0; i < message; i++) target.bytes[icmp + i] = bytes[start + i]
  target.view.setUint8(icmp, ECHO6_REPLY)
  writeIcmp6Checksum(target, at)
  return IPV6_HEADER + message
}

/** Where a valid packet's echo message of this type begins, whole and with a right checksum; 0 if it has none. */
export function echoOffset(view: DataView, offset: number, type: number): number {
  const start = icmpOffset(view, offset)
  if (start <= 0 || isFragment6(view, offset)) return 0
  const message = offset + totalLength6(view, offset) - start
  if (message < ICMP6_HEADER || view.getUint8(start) !== type) return 0
  return icmp6Checksum(view, offset, start, message) === 0 ? start : 0
}

/**
 * The checksum over the `length` bytes of the message at `start` and the pseudo-header (RFC 8200 section 8.1); 0 over a
 * message that contains its own correct checksum.
 */
export function icmp6Checksum(view: DataView, offset: number, start: number, length: number): number {
  const sum = wordSum(view, offset + SOURCE6, 32) + length + NEXT_HEADER.icmp + wordSum(view, start, length)
  return ~fold(sum) & 0xffff
}

/** Writes the checksum of the ICMPv6 message that follows the fixed header at `at` at once. */
export function writeIcmp6Checksum({ view }: PacketBuffer, at: number): void {
  const icmp = at + IPV6_HEADER
  view.setUint16(icmp + 2, 0)
  view.setUint16(icmp + 2, icmp6Checksum(view, at, icmp, view.getUint16(at + 4)))
}

/** Writes all of a header but its addresses. */
export function writeHeader6(
  { view }: PacketBuffer,
  at: number,
  payload: number,
  trafficClass: number,
): void {
  view.setUint32(at, 0x60000000 | (trafficClass << 20))
  view.setUint16(at + 4, payload)
  view.setUint8(at + 6, NEXT_HEADER.icmp)
  view.setUint8(at + 7, HOP_LIMIT)
}

/** RFC 4443 section 2.4 (e): what no error may be sent about. */
function mayReport(view: DataView, offset: number): boolean {
  if (!isUnicast6(view, offset + SOURCE6) || !isUnicast6(view, offset + DESTINATION6)) return false
  const icmp = icmpOffset(view, offset)
  if (icmp === 0) return true
  if (icmp < 0 || icmp >= offset + totalLength6(view, offset)) return false
  const type = view.getUint8(icmp)
  return type >= FIRST_QUERY && type !== REDIRECT
}
