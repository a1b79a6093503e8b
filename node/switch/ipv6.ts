// IPv6 headers in place (RFC 8200), as a router treats them: checks, fields, hop limit. Extension headers are passed over
// only where the transport has to be known. Nothing here allocates, and nothing is read outside [offset, offset + length).
import type { PacketBuffer } from './ipv4.ts'

export const IPV6_HEADER = 40
/** Every link takes packets of this size whole (RFC 8200 section 5). */
export const IPV6_MIN_MTU = 1280

/** Next header values (IANA's protocol numbers). */
export const NEXT_HEADER = {
  hopByHop: 0,
  tcp: 6,
  routing: 43,
  fragment: 44,
  authentication: 51,
  icmp: 58,
  none: 59,
  destinationOptions: 60,
} as const

/** What {@link validate6} answers. */
export const IPV6 = {
  ok: 0,
  /** Fewer bytes than a header, or than the header claims. */
  tooShort: 1,
  notIpv6: 2,
  /** No payload where one must be: jumbograms (RFC 2675) among them. */
  badLength: 3,
} as const
export type Ipv6Verdict = (typeof IPV6)[keyof typeof IPV6]

/** Extension headers that are passed over at most: more are a game. */
const MAX_EXTENSIONS = 8
const FRAGMENT_HEADER = 8
/** Of the fragment header's third and fourth byte: all but the flag "more" and the reserved bits. */
const OFFSET_MASK = 0xfff8

/**
 * The checks of a router. Bytes after the payload are allowed, and to be ignored: use {@link totalLength6} from here on.
 * @param length bytes that are there
 */
export function validate6(view: DataView, offset: number, length: number): Ipv6Verdict {
  if (length < 1) return IPV6.tooShort
  if (view.getUint8(offset) >>> 4 !== 6) return IPV6.notIpv6
  if (length < IPV6_HEADER) return IPV6.tooShort
  const payload = view.getUint16(offset + 4)
  if (payload === 0 && nextHeader(view, offset) !== NEXT_HEADER.none) return IPV6.badLength
  return IPV6_HEADER + payload > length ? IPV6.tooShort : IPV6.ok
}

/** Length of header and payload in bytes. */
export function totalLength6(view: DataView, offset: number): number {
  return IPV6_HEADER + view.getUint16(offset + 4)
}

/** What follows the fixed header: of {@link NEXT_HEADER}, or a transport. */
export function nextHeader(view: DataView, offset: number): number {
  return view.getUint8(offset + 6)
}

export function hopLimit(view: DataView, offset: number): number {
  return view.getUint8(offset + 7)
}

/** Where the source and the destination address stand. */
export const SOURCE6 = 8
export const DESTINATION6 = 24

/** Takes one hop off. False, with nothing changed, if no hop is left: to be answered with "time exceeded". */
export function decrementHopLimit(view: DataView, offset: number): boolean {
  const before = view.getUint8(offset + 7)
  if (before < 2) return false
  view.setUint8(offset + 7, before - 1)
  return true
}

/** Whether the address at `at` is a multicast group's (ff00::/8). */
export function isMulticast6(view: DataView, at: number): boolean {
  return view.getUint8(at) === 0xff
}

/** Whether the address at `at` counts on one link only (fe80::/10). */
export function isLinkLocal(view: DataView, at: number): boolean {
  return (view.getUint16(at) & 0xffc0) === 0xfe80
}

/** Whether the address at `at` is the unspecified one, `::`. */
export function isUnspecified(view: DataView, at: number): boolean {
  return (
    view.getInt32(at) === 0 &&
    view.getInt32(at + 4) === 0 &&
    view.getInt32(at + 8) === 0 &&
    view.getInt32(at + 12) === 0
  )
}

/** Whether a packet is not to be forwarded: from no address or one link's, or to anything but one host beyond it. */
export function isLinkScoped(view: DataView, offset: number): boolean {
  const source = offset + SOURCE6
  return isLinkLocal(view, source) || isUnspecified(view, source) || !isUnicast6(view, offset + DESTINATION6)
}

/** Whether the address at `at` names one host that may be anywhere: no group, not `::`, `::1` and other special ones. */
export function isUnicast6(view: DataView, at: number): boolean {
  // ::/8 holds the unspecified, the loopback and the IPv4-mapped addresses (RFC 4291 section 2.4).
  const first = view.getUint8(at)
  return first !== 0 && first !== 0xff && !isLinkLocal(view, at)
}

/**
 * Where the ICMPv6 message of a valid packet begins, behind its extension headers; 0 if it holds none, and -1 if that
 * cannot be told: a later fragment, headers that are cut short or too many.
 */
export function icmpOffset(view: DataView, offset: number): number {
  const end = offset + totalLength6(view, offset)
  let next = nextHeader(view, offset)
  let at = offset + IPV6_HEADER
  for (let i = 0; i <= MAX_EXTENSIONS; i++) {
    if (next === NEXT_HEADER.icmp) return at
    if (!isExtension(next)) return 0
    if (at + 8 > end) return -1
    if (next === NEXT_HEADER.fragment && (view.getUint16(at + 2) & OFFSET_MASK) !== 0) return -1
    const length = extensionLength(next, view.getUint8(at + 1))
    next = view.getUint8(at)
    at += length
    if (at > end) return -1
  }
  return -1
}

/** Whether a valid packet has a fragment header within the first extension headers. */
export function isFragment6(view: DataView, offset: number): boolean {
  const end = offset + totalLength6(view, offset)
  let next = nextHeader(view, offset)
  let at = offset + IPV6_HEADER
  for (let i = 0; i <= MAX_EXTENSIONS && isExtension(next) && at + 8 <= end; i++) {
    if (next === NEXT_HEADER.fragment) return true
    const length = extensionLength(next, view.getUint8(at + 1))
    next = view.getUint8(at)
    at += length
  }
  return false
}

/** Whether a header of this kind only stands before others. */
export function isExtension(next: number): boolean {
  return (
    next === NEXT_HEADER.hopByHop ||
    next === NEXT_HEADER.routing ||
    next === NEXT_HEADER.fragment ||
    next === NEXT_HEADER.authentication ||
    next === NEXT_HEADER.destinationOptions
  )
}

/** Bytes of an extension header, from its length field (RFC 8200 sections 4.3 to 4.6, RFC 4302 section 2.2). */
export function extensionLength(kind: number, field: number): number {
  if (kind === NEXT_HEADER.fragment) return FRAGMENT_HEADER
  return kind === NEXT_HEADER.authentication ? (field + 2) * 4 : (field + 1) * 8
}

/** Copies the address at `from` of one packet to `to` of another. */
export function copyAddress6(source: PacketBuffer, from: number, target: PacketBuffer, to: number): void {
  for (let i = 0; i < 16; i += 4) target.view.setInt32(to + i, source.view.getInt32(from + i))
}
