// Fragments of an IPv6 packet (RFC 8200 section 4.5), made on the way where a path takes less than the 1,280 bytes that IPv6 is to have
// everywhere: stock clients know nothing below IPv6 that would put a packet together again (RFC 8200 section 5). One at a time into the
// caller's buffer; nothing is allocated.
import type { PacketBuffer } from './ipv4.ts'
import { extensionLength, IPV6_HEADER, isFragment6, NEXT_HEADER, nextHeader, totalLength6 } from './ipv6.ts'

const FRAGMENT_HEADER = 8
const MORE = 1
const OFFSET_MASK = 0xfff8
/** Headers that are passed over at most. */
const MAX_EXTENSIONS = 8
const NEXT_HEADER_AT = 6
const PAYLOAD_LENGTH_AT = 4

/**
 * How many fragments a valid packet needs to fit `mtu`; 1 if it fits as it is, 0 if it cannot be fragmented: its headers are malformed or
 * leave no room, or it reaches beyond the offset's 13 bits.
 * @param mtu longest IP packet, in bytes
 */
export function planFragments6({ view }: PacketBuffer, offset: number, mtu: number): number {
  if (totalLength6(view, offset) <= mtu) return 1
  const carried = carriedLength(view, offset)
  if (carried < 0) return 0
  const isPart = isPartAt(view, offset, carried)
  // One in an unusual place: nobody takes fragments of fragments.
  if (!isPart && isFragment6(view, offset)) return 0
  const room = roomOf(mtu, carried)
  if (room <= 0) return 0
  const data = dataLength(view, offset, carried)
  const before = isPart ? view.getUint16(offset + carried + 2) & OFFSET_MASK : 0
  return before + data > OFFSET_MASK + 8 ? 0 : Math.ceil(data / room)
}

/**
 * Writes fragment `index` of the {@link planFragments6} many and returns its length, at most `mtu`. The target must have room for `mtu`
 * bytes at `at` and not overlap the packet.
 * @param identification of a packet that is whole so far, the same for all of its fragments
 */
export function writeFragment6(
  { bytes, view }: PacketBuffer,
  offset: number,
  mtu: number,
  index: number,
  identification: number,
  target: PacketBuffer,
  at: number,
): number {
  const carried = carriedLength(view, offset)
  const isPart = isPartAt(view, offset, carried)
  const header = offset + carried
  const data = dataLength(view, offset, carried)
  const room = roomOf(mtu, carried)
  const skipped = index * room
  const length = Math.min(room, data - skipped)
  const nextAt = nextHeaderAt(view, offset, carried)
  const begin = header + (isPart ? FRAGMENT_HEADER : 0) + skipped
  for (let i = 0; i < carried; i++) target.bytes[at + i] = bytes[offset + i]
  for (let i = 0; i < length; i++) target.bytes[at + carried + FRAGMENT_HEADER + i] = bytes[begin + i]
  target.view.setUint8(at + nextAt, NEXT_HEADER.fragment)
  target.view.setUint16(at + PAYLOAD_LENGTH_AT, carried - IPV6_HEADER + FRAGMENT_HEADER + length)
  const word = isPart ? view.getUint16(header + 2) : 0
  const more = skipped + length < data ? MORE : word & MORE
  target.view.setUint8(at + carried, isPart ? view.getUint8(header) : view.getUint8(offset + nextAt))
  target.view.setUint8(at + carried + 1, 0)
  target.view.setUint16(at + carried + 2, (word & OFFSET_MASK) + skipped + more)
  target.view.setInt32(at + carried + 4, isPart ? view.getInt32(header + 4) : identification)
  return carried + FRAGMENT_HEADER + length
}

/** Bytes of a fragment that others follow: whole units of eight. */
function roomOf(mtu: number, carried: number): number {
  return (mtu - carried - FRAGMENT_HEADER) & ~7
}

/** Bytes behind the headers that every fragment has. */
function dataLength(view: DataView, offset: number, carried: number): number {
  return totalLength6(view, offset) - carried - (isPartAt(view, offset, carried) ? FRAGMENT_HEADER : 0)
}

/** Whether the packet is a fragment already, with its header behind the `carried` bytes. */
function isPartAt(view: DataView, offset: number, carried: number): boolean {
  const hasRoom = carried + FRAGMENT_HEADER <= totalLength6(view, offset)
  return hasRoom && view.getUint8(offset + nextHeaderAt(view, offset, carried)) === NEXT_HEADER.fragment
}

/** Length of the headers that routers read, which every fragment has: all up to the last of hop-by-hop and routing; -1 if malformed. */
function carriedLength(view: DataView, offset: number): number {
  const end = totalLength6(view, offset)
  let next = nextHeader(view, offset)
  let at = IPV6_HEADER
  let carried = at
  for (let i = 0; i < MAX_EXTENSIONS; i++) {
    const { hopByHop, routing, destinationOptions } = NEXT_HEADER
    if (next !== hopByHop && next !== routing && next !== destinationOptions) return carried
    if (at + 8 > end) return -1
    const length = extensionLength(next, view.getUint8(offset + at + 1))
    const following = view.getUint8(offset + at)
    at += length
    if (at > end) return -1
    if (next !== destinationOptions) carried = at
    next = following
  }
  return -1
}

/** Where the field stands that names what follows the first `carried` bytes. */
function nextHeaderAt(view: DataView, offset: number, carried: number): number {
  let field = NEXT_HEADER_AT
  for (let at = IPV6_HEADER; at < carried; ) {
    const kind = view.getUint8(offset + field)
    field = at
    at += extensionLength(kind, view.getUint8(offset + at + 1))
  }
  return field
}
