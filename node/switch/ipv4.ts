// IPv4 headers in place (RFC 791), as a router treats them (RFC 1812): checks, fields, TTL, checksum. Nothing here
// allocates, and nothing is read outside [offset, offset + length).

/** Memory with both views of it, over the same bytes. */
export interface PacketBuffer {
  readonly bytes: Uint8Array
  readonly view: DataView
}

export const MIN_HEADER = 20
export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const

/** What {@link validate} answers. */
export const IPV4 = {
  ok: 0,
  /** Fewer bytes than a header, or than its own length fields claim. */
  tooShort: 1,
  notIpv4: 2,
  /** Header length below 20 bytes or beyond the total length. */
  badLength: 3,
  badChecksum: 4,
} as const
export type Ipv4Verdict = (typeof IPV4)[keyof typeof IPV4]

const FLAGS_DF = 0x4000
const FLAGS_MF = 0x2000
const OFFSET_MASK = 0x1fff

/**
 * The checks of RFC 1812 section 5.2.2, all of them, the header checksum included. Bytes after the total length are
 * allowed, and to be ignored: use {@link totalLength} from here on.
 * @param length bytes that are there
 */
export function validate(bytes: Uint8Array, view: DataView, offset: number, length: number): Ipv4Verdict {
  if (length < 1) return IPV4.tooShort
  const first = bytes[offset]
  if (first >>> 4 !== 4) return IPV4.notIpv4
  if (length < MIN_HEADER) return IPV4.tooShort
  const header = (first & 15) * 4
  if (header < MIN_HEADER) return IPV4.badLength
  const total = view.getUint16(offset + 2)
  if (total < header) return IPV4.badLength
  if (total > length) return IPV4.tooShort
  return checksum(bytes, offset, header) === 0 ? IPV4.ok : IPV4.badChecksum
}

/** Header length in bytes, 20 to 60. */
export function headerLength(view: DataView, offset: number): number {
  return (view.getUint8(offset) & 15) * 4
}

/** Length of header and payload in bytes. */
export function totalLength(view: DataView, offset: number): number {
  return view.getUint16(offset + 2)
}

/** The former TOS byte: DSCP and ECN. */
export function typeOfService(view: DataView, offset: number): number {
  return view.getUint8(offset + 1)
}

export function identification(view: DataView, offset: number): number {
  return view.getUint16(offset + 4)
}

export function dontFragment(view: DataView, offset: number): boolean {
  return (view.getUint16(offset + 6) & FLAGS_DF) !== 0
}

export function moreFragments(view: DataView, offset: number): boolean {
  return (view.getUint16(offset + 6) & FLAGS_MF) !== 0
}

/** Where this fragment's payload belongs in the whole, in bytes. */
export function fragmentOffset(view: DataView, offset: number): number {
  return (view.getUint16(offset + 6) & OFFSET_MASK) * 8
}

/** True for every fragment, the first included. */
export function isFragment(view: DataView, offset: number): boolean {
  return (view.getUint16(offset + 6) & (FLAGS_MF | OFFSET_MASK)) !== 0
}

export function timeToLive(view: DataView, offset: number): number {
  return view.getUint8(offset + 8)
}

export function protocol(view: DataView, offset: number): number {
  return view.getUint8(offset + 9)
}

/** Source address as u32. */
export function source(view: DataView, offset: number): number {
  return view.getUint32(offset + 12)
}

/** Destination address as u32. */
export function destination(view: DataView, offset: number): number {
  return view.getUint32(offset + 16)
}

/**
 * Takes one hop off the TTL and repairs the checksum (RFC 1624, equation 3). False, with nothing changed, if no hop
 * is left: the packet is to be answered with "time exceeded".
 */
export function decrementTtl(view: DataView, offset: number): boolean {
  const before = view.getUint16(offset + 8)
  if (before < 0x200) return false
  const after = before - 0x100
  const sum = (~view.getUint16(offset + 10) & 0xffff) + (~before & 0xffff) + after
  view.setUint16(offset + 8, after)
  view.setUint16(offset + 10, ~fold(sum) & 0xffff)
  return true
}

/**
 * The Internet checksum (RFC 1071) of a range, as the number to store; 0 over a range that contains its own correct
 * checksum.
 * @param initial a partial sum to go on from, such as that of a pseudo-header; not complemented
 */
export function checksum(bytes: Uint8Array, offset: number, length: number, initial = 0): number {
  let sum = initial
  const end = offset + length
  const even = end - (length & 1)
  for (let i = offset; i < even; i += 2) sum += (bytes[i] << 8) | bytes[i + 1]
  if (even < end) sum += bytes[even] << 8
  return ~fold(sum) & 0xffff
}

/** Brings a sum of 16-bit words below 2^32 down to 16 bits, with end-around carry. */
function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16)
  return (once & 0xffff) + (once >>> 16)
}

/** Writes the header checksum of a header that is otherwise complete. */
export function writeHeaderChecksum(packet: PacketBuffer, offset: number): void {
  packet.view.setUint16(offset + 10, 0)
  packet.view.setUint16(offset + 10, checksum(packet.bytes, offset, headerLength(packet.view, offset)))
}

/**
 * Whether an address names one host: not in 0/8 ("this network"), 127/8 (loopback), 224/4 (multicast) or 240/4
 * (reserved, and the limited broadcast). RFC 1812 sections 4.2.2.11 and 5.3.7.
 */
export function isUnicast(address: number): boolean {
  const first = (address >>> 24) & 0xff
  return first !== 0 && first !== 127 && first < 224
}
