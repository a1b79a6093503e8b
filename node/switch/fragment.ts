// Fragmentation by a router (RFC 791 sections 2.3 and 3.1, RFC 1812 section 4.2.2.7), one fragment at a time into the
// caller's buffer.
import {
  dontFragment,
  headerLength,
  MIN_HEADER,
  type PacketBuffer,
  totalLength,
  writeHeaderChecksum,
} from './ipv4.ts'

/** The smallest MTU of IPv4: the longest header and eight bytes (RFC 791 section 3.2). */
export const MIN_MTU = 68

const OPTION_END = 0
const OPTION_NOP = 1
/** Set in an option's type if every fragment must carry the option. */
const OPTION_COPIED = 0x80
const FLAG_MF = 0x2000
const OFFSET_MASK = 0x1fff

/**
 * How many fragments a valid packet needs to fit `mtu`; 1 if it fits as it is, 0 if it cannot be fragmented: "don't
 * fragment" is set, its options are malformed, the MTU is below {@link MIN_MTU}, or it reaches beyond the offset's
 * 13 bits.
 * @param mtu longest IP packet, in bytes
 */
export function planFragments(packet: PacketBuffer, offset: number, mtu: number): number {
  const { view } = packet
  const total = totalLength(view, offset)
  if (total <= mtu) return 1
  if (mtu < MIN_MTU || dontFragment(view, offset)) return 0
  const copied = copiedOptions(packet, offset)
  if (copied < 0) return 0
  const header = headerLength(view, offset)
  const payload = total - header
  const units = (view.getUint16(offset + 6) & OFFSET_MASK) + Math.ceil(payload / 8)
  if (units > OFFSET_MASK + 1) return 0
  const first = payloadRoom(mtu, header)
  return 1 + Math.ceil((payload - first) / payloadRoom(mtu, MIN_HEADER + copied))
}

/**
 * Writes fragment `index` of the {@link planFragments} many and returns its length, at most `mtu`. The target must
 * have room for `mtu` bytes at `at` and not overlap the packet.
 */
export function writeFragment(
  packet: PacketBuffer,
  offset: number,
  mtu: number,
  index: number,
  target: PacketBuffer,
  at: number,
): number {
  const { bytes, view } = packet
  const header = headerLength(view, offset)
  const payload = totalLength(view, offset) - header
  const laterHeader = MIN_HEADER + copiedOptions(packet, offset)
  const room = payloadRoom(mtu, index === 0 ? header : laterHeader)
  const skipped = index === 0 ? 0 : payloadRoom(mtu, header) + (index - 1) * room
  const carried = Math.min(room, payload - skipped)
  const ownHeader = index === 0 ? header : laterHeader
  copy(bytes, offset, index === 0 ? header : MIN_HEADER, target.bytes, at)
  if (index > 0) writeCopiedOptions(packet, offset, target, at)
  copy(bytes, offset + header + skipped, carried, target.bytes, at + ownHeader)
  const flags = view.getUint16(offset + 6)
  const more = skipped + carried < payload ? FLAG_MF : flags & FLAG_MF
  target.view.setUint8(at, 0x40 | (ownHeader / 4))
  target.view.setUint16(at + 2, ownHeader + carried)
  target.view.setUint16(at + 6, more | ((flags & OFFSET_MASK) + skipped / 8))
  writeHeaderChecksum(target, at)
  return ownHeader + carried
}

/** Payload bytes of a fragment that others follow: whole units of eight. */
function payloadRoom(mtu: number, header: number): number {
  return (mtu - header) & ~7
}

/** Bytes that the options for all fragments take, padded to whole words; -1 if the options are malformed. */
function copiedOptions(packet: PacketBuffer, offset: number): number {
  const end = offset + headerLength(packet.view, offset)
  let copied = 0
  for (let at = offset + MIN_HEADER; at < end; ) {
    const length = optionLength(packet.bytes, at, end)
    if (length < 0) return -1
    if (length === 0) break
    if ((packet.bytes[at] & OPTION_COPIED) !== 0) copied += length
    at += length
  }
  return (copied + 3) & ~3
}

function writeCopiedOptions(packet: PacketBuffer, offset: number, target: PacketBuffer, at: number): void {
  const end = offset + headerLength(packet.view, offset)
  let to = at + MIN_HEADER
  for (let from = offset + MIN_HEADER; from < end; ) {
    const length = optionLength(packet.bytes, from, end)
    if (length <= 0) break
    if ((packet.bytes[from] & OPTION_COPIED) !== 0) {
      copy(packet.bytes, from, length, target.bytes, to)
      to += length
    }
    from += length
  }
  while (((to - at) & 3) !== 0) target.bytes[to++] = OPTION_END
}

/** Length of the option at `at`; 0 at the end of the list, -1 if it is malformed. */
function optionLength(bytes: Uint8Array, at: number, end: number): number {
  const type = bytes[at]
  if (type === OPTION_END) return 0
  if (type === OPTION_NOP) return 1
  if (at + 2 > end) return -1
  const length = bytes[at + 1]
  return length >= 2 && at + length <= end ? length : -1
}

/** A loop, since `Uint8Array.set` of a part needs a view object for each call. */
function copy(from: Uint8Array, fromOffset: number, length: number, to: Uint8Array, toOffset: number): void {
  for (let i = 0; i < length; i++) to[toOffset + i] = from[fromOffset + i]
}
