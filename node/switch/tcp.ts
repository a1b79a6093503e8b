// TCP headers in place (RFC 9293 section 3.1), as far as a switch looks into them.
import { updateChecksum } from './checksum.ts'
import { isIpv6 } from './ip-packet.ts'
import { fragmentOffset, headerLength, type PacketBuffer, PROTOCOL, protocol, totalLength } from './ipv4.ts'
import { IPV6_HEADER, nextHeader, totalLength6 } from './ipv6.ts'

export const MIN_TCP_HEADER = 20
/** Places in the header. */
export const TCP = {
  sequence: 4,
  acknowledgment: 8,
  dataOffset: 12,
  flags: 13,
  window: 14,
  checksum: 16,
} as const
export const TCP_FLAG = { fin: 0x01, syn: 0x02, psh: 0x08, ack: 0x10, cwr: 0x80 } as const

const OPTION_END = 0
const OPTION_NOP = 1
const OPTION_MSS = 2
const MSS_LENGTH = 4
/** What an MTU leaves for TCP's payload: less the fixed headers of IP and TCP, whatever their options (RFC 6691). */
const FIXED_HEADERS = 40
const FIXED_HEADERS6 = 60

/** Bytes of the header at `at` of a packet that ends at `end`; 0 if it does not fit there. */
export function tcpHeaderLength({ view }: PacketBuffer, at: number, end: number): number {
  if (at + MIN_TCP_HEADER > end) return 0
  const length = (view.getUint8(at + TCP.dataOffset) >>> 4) * 4
  return length >= MIN_TCP_HEADER && at + length <= end ? length : 0
}

/**
 * Lowers the MSS option of a valid packet's TCP SYN to what fits `mtu`, and repairs the checksum. Anything else is left as
 * it is: a SYN without the option, too, as it stands for 536 bytes or 1,220 of IPv6 (RFC 9293 section 3.7.1), and TCP
 * behind extension headers of IPv6.
 */
export function clampMss(packet: PacketBuffer, offset: number, mtu: number): void {
  const { view } = packet
  if (isIpv6(packet, offset)) {
    if (nextHeader(view, offset) !== PROTOCOL.tcp) return
    const end = offset + totalLength6(view, offset)
    clampSyn(packet, offset + IPV6_HEADER, end, mtu - FIXED_HEADERS6)
    return
  }
  if (protocol(view, offset) !== PROTOCOL.tcp || fragmentOffset(view, offset) !== 0) return
  const end = offset + totalLength(view, offset)
  clampSyn(packet, offset + headerLength(view, offset), end, mtu - FIXED_HEADERS)
}

/** Of the TCP segment from `at` to `end`. */
function clampSyn(packet: PacketBuffer, at: number, end: number, most: number): void {
  const { view } = packet
  if (at + MIN_TCP_HEADER > end || (view.getUint8(at + TCP.flags) & TCP_FLAG.syn) === 0) return
  clampOption(packet, at, at + tcpHeaderLength(packet, at, end), most)
}

/** Of the TCP header at `at`, whose options end at `end`. */
function clampOption({ view }: PacketBuffer, at: number, end: number, most: number): void {
  for (let option = at + MIN_TCP_HEADER; option + MSS_LENGTH <= end; ) {
    const kind = view.getUint8(option)
    if (kind === OPTION_END) return
    if (kind === OPTION_NOP) {
      option++
      continue
    }
    const length = view.getUint8(option + 1)
    if (length < 2) return
    if (kind === OPTION_MSS && length === MSS_LENGTH) {
      const value = option + 2
      const mss = view.getUint16(value)
      if (mss > most) {
        const checksum = view.getUint16(at + TCP.checksum)
        view.setUint16(value, most)
        view.setUint16(at + TCP.checksum, updateChecksum(checksum, mss, most, ((value - at) & 1) !== 0))
      }
    }
    option += length
  }
}
