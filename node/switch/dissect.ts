// How far the headers of a packet reach, for captures: IP, its extension headers and the transport's. The packet may be
// anything: nothing is read outside [offset, offset + length), and nothing here allocates.
import { type PacketBuffer, PROTOCOL } from './ipv4.ts'
import { extensionLength, IPV6_HEADER, isExtension, NEXT_HEADER } from './ipv6.ts'

/** Places of what {@link dissect} finds. */
export const DISSECTED = {
  /** 4 or 6; 0 for what is neither. */
  version: 0,
  /** Of the transport (IANA's protocol numbers); -1 if that cannot be told. */
  protocol: 1,
  /** Bytes before the transport's header; 0 where there is none: a later fragment, or headers that are cut short. */
  transport: 2,
  /** Bytes of all headers. */
  headers: 3,
} as const
export const DISSECTED_WORDS = 4

const MIN_HEADER = 20
const UDP_HEADER = 8
const ICMP_HEADER = 8
const SCTP = 132
const SCTP_HEADER = 12
const ESP = 50
const ESP_HEADER = 8
const OFFSET_MASK = 0x1fff
const OFFSET6_MASK = 0xfff8
const MAX_EXTENSIONS = 8
/** Of a packet that an ICMP error quotes, this much of the transport (RFC 792): ports, and no payload. */
const QUOTED = 8
/** Errors of ICMP that quote a packet: 3 unreachable, 4 quench, 5 redirect, 11 time exceeded, 12 parameter. */
const QUOTING = (1 << 3) | (1 << 4) | (1 << 5) | (1 << 11) | (1 << 12)
const LAST_ERROR6 = 4

/** Describes the `length` bytes at `offset`, of which the first is there, in the first words of `found`. */
export function dissect(packet: PacketBuffer, offset: number, length: number, found: Int32Array): void {
  const version = packet.bytes[offset] >>> 4
  found[DISSECTED.version] = version === 4 || version === 6 ? version : 0
  found[DISSECTED.protocol] = -1
  found[DISSECTED.transport] = 0
  found[DISSECTED.headers] = 0
  if (version === 4) dissect4(packet, offset, length, found)
  else if (version === 6) dissect6(packet, offset, length, found)
  const transport = found[DISSECTED.transport]
  if (transport > 0)
    found[DISSECTED.headers] = transport + transportLength(packet, offset, length, found, transport)
}

function dissect4({ bytes, view }: PacketBuffer, offset: number, length: number, found: Int32Array): void {
  const header = (bytes[offset] & 15) * 4
  if (length < MIN_HEADER || header < MIN_HEADER || header > length) {
    found[DISSECTED.headers] = Math.min(length, MIN_HEADER)
    return
  }
  found[DISSECTED.protocol] = bytes[offset + 9]
  found[DISSECTED.headers] = header
  if ((view.getUint16(offset + 6) & OFFSET_MASK) === 0) found[DISSECTED.transport] = header
}

function dissect6({ bytes, view }: PacketBuffer, offset: number, length: number, found: Int32Array): void {
  found[DISSECTED.headers] = Math.min(length, IPV6_HEADER)
  if (length < IPV6_HEADER) return
  let next = bytes[offset + 6]
  let at = IPV6_HEADER
  let isFirst = true
  for (let i = 0; i < MAX_EXTENSIONS && isExtension(next); i++) {
    // What follows in a later fragment is payload already.
    if (!isFirst || at + 8 > length) return
    if (next === NEXT_HEADER.fragment) isFirst = (view.getUint16(offset + at + 2) & OFFSET6_MASK) === 0
    const bytesOfIt = extensionLength(next, bytes[offset + at + 1])
    if (at + bytesOfIt > length) return
    next = bytes[offset + at]
    at += bytesOfIt
    found[DISSECTED.headers] = at
  }
  if (isExtension(next)) return
  found[DISSECTED.protocol] = next
  if (isFirst && next !== NEXT_HEADER.none) found[DISSECTED.transport] = at
}

/** Bytes of the transport's header that are there. */
function transportLength(
  packet: PacketBuffer,
  offset: number,
  length: number,
  found: Int32Array,
  transport: number,
): number {
  const there = length - transport
  const at = offset + transport
  const protocol = found[DISSECTED.protocol]
  if (protocol === PROTOCOL.tcp) {
    // Less than 5 words are no header of TCP; those are shown.
    const own = there > 12 ? (packet.bytes[at + 12] >>> 4) * 4 : MIN_HEADER
    return Math.min(there, Math.max(MIN_HEADER, own))
  }
  if (protocol === PROTOCOL.udp) return Math.min(there, UDP_HEADER)
  if (protocol === SCTP) return Math.min(there, SCTP_HEADER)
  if (protocol === ESP) return Math.min(there, ESP_HEADER)
  if (protocol !== (found[DISSECTED.version] === 4 ? PROTOCOL.icmp : NEXT_HEADER.icmp)) return 0
  if (there <= ICMP_HEADER) return there
  const type = packet.bytes[at]
  const quotes =
    found[DISSECTED.version] === 4
      ? type < 32 && ((1 << type) & QUOTING) !== 0
      : type > 0 && type <= LAST_ERROR6
  return quotes ? ICMP_HEADER + quotedLength(packet, at + ICMP_HEADER, there - ICMP_HEADER) : ICMP_HEADER
}

/** Of a packet that is quoted. */
function quotedLength({ bytes }: PacketBuffer, at: number, there: number): number {
  const version = bytes[at] >>> 4
  const own = version === 4 ? (bytes[at] & 15) * 4 : version === 6 ? IPV6_HEADER : 0
  return own < MIN_HEADER ? 0 : Math.min(there, own + QUOTED)
}
