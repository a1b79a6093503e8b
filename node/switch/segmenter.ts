// Cuts a super-packet that the kernel left uncut (TCP and UDP segmentation offload) into packets for the wire, in place:
// each segment's headers are written over the end of the segment before, which has been used by then. Follows the
// kernel's tcp_gso_segment and inet_gso_segment. IPv4 and IPv6.
import { fold, wordSum } from './checksum.ts'
import { type PacketBuffer, PROTOCOL } from './ipv4.ts'
import { TCP, TCP_FLAG, tcpHeaderLength } from './tcp.ts'
import {
  GSO,
  NEEDS_CHECKSUM,
  virtioChecksumOffset,
  virtioChecksumStart,
  virtioFlags,
  virtioSize,
  virtioType,
} from './virtio.ts'

const UDP_HEADER = 8
const UDP_LENGTH = 4
const UDP_CHECKSUM = 6
const IPV4_HEADER = 20
const IPV6_HEADER = 40
/** Longest headers that are cut: all options of IPv4 and TCP, or IPv6 with a few extensions. */
const MAX_HEADERS = 256
/** Most segments of one super-packet: 64 KiB by the least MSS that Linux takes (tcp_min_snd_mss). */
const MAX_SEGMENTS = 1500

/** One super-packet at a time. */
export class Segmenter {
  /** After `next`: where in the packet the segment begins, and its length. */
  at = 0
  length = 0
  #packet: PacketBuffer | undefined
  readonly #headers = new Uint8Array(MAX_HEADERS)
  #count = 0
  #done = 0
  #end = 0
  #headerLength = 0
  /** Payload bytes of each segment. */
  #size = 0
  #version = 0
  /** Where the header of TCP or UDP begins. */
  #start = 0
  #udp = false
  #sequence = 0
  #identification = 0
  /** Of the pseudo-header, without the length. */
  #pseudo = 0

  /**
   * Takes the `length` bytes at the start of `packet`, a valid IP packet, with the virtio header that came with it.
   * @returns how many packets it makes. 1: it is one as it lies there, complete. 0: the header makes no sense.
   */
  begin(packet: PacketBuffer, length: number, virtio: PacketBuffer): number {
    const type = virtioType(virtio)
    if (type === GSO.none) return complete(packet, length, virtio) ? 1 : 0
    const size = virtioSize(virtio)
    const start = virtioChecksumStart(virtio)
    const headers = this.#measure(packet, length, type, start)
    if (headers === 0 || size === 0 || (virtioFlags(virtio) & NEEDS_CHECKSUM) === 0) return 0
    const count = Math.ceil((length - headers) / size)
    if (count > MAX_SEGMENTS) return 0
    if (count <= 1) return complete(packet, length, virtio) ? 1 : 0
    this.#packet = packet
    this.#count = count
    this.#done = 0
    this.#end = length
    this.#headerLength = headers
    this.#size = size
    this.#start = start
    const { bytes, view } = packet
    for (let i = 0; i < headers; i++) this.#headers[i] = bytes[i]
    const protocol = this.#udp ? PROTOCOL.udp : PROTOCOL.tcp
    if (this.#version === 4) {
      this.#identification = view.getUint16(4)
      this.#pseudo = wordSum(view, 12, 8) + protocol
    } else {
      this.#pseudo = wordSum(view, 8, 32) + protocol
    }
    if (!this.#udp) this.#sequence = view.getInt32(start + TCP.sequence)
    return count
  }

  /** Length of all headers; 0 when type, version and lengths do not fit together. */
  #measure(packet: PacketBuffer, length: number, type: number, start: number): number {
    const { bytes } = packet
    this.#version = bytes[0] >>> 4
    this.#udp = type === GSO.udp
    if (this.#version === 4) {
      const wanted = this.#udp ? PROTOCOL.udp : PROTOCOL.tcp
      if (type === GSO.tcp6 || start !== (bytes[0] & 15) * 4 || start < IPV4_HEADER || bytes[9] !== wanted)
        return 0
    } else if (this.#version !== 6 || type === GSO.tcp4 || start < IPV6_HEADER) {
      return 0
    }
    if (!this.#udp && type !== GSO.tcp4 && type !== GSO.tcp6) return 0
    const own = this.#udp ? UDP_HEADER : tcpHeaderLength(packet, start, length)
    const headers = start + own
    return own > 0 && headers < length && headers <= MAX_HEADERS ? headers : 0
  }

  /** Makes the next segment ready; false after the last. */
  next(): boolean {
    const packet = this.#packet
    if (packet === undefined || this.#done === this.#count) return false
    const index = this.#done++
    const { bytes, view } = packet
    const at = index * this.#size
    const headers = this.#headerLength
    const length = Math.min(headers + this.#size, this.#end - at)
    for (let i = 0; i < headers; i++) bytes[at + i] = this.#headers[i]
    if (this.#version === 4) {
      view.setUint16(at + 2, length)
      view.setUint16(at + 4, (this.#identification + index) & 0xffff)
      view.setUint16(at + 10, 0)
      view.setUint16(at + 10, ~wordSum(view, at, this.#start) & 0xffff)
    } else {
      view.setUint16(at + 4, length - IPV6_HEADER)
    }
    if (this.#udp) this.#writeUdp(view, at + this.#start, length - this.#start)
    else this.#writeTcp(view, at + this.#start, length - this.#start, index)
    this.at = at
    this.length = length
    return true
  }

  #writeTcp(view: DataView, at: number, length: number, index: number): void {
    let flags = view.getUint8(at + TCP.flags)
    if (index < this.#count - 1) flags &= ~(TCP_FLAG.fin | TCP_FLAG.psh)
    if (index > 0) flags &= ~TCP_FLAG.cwr
    view.setUint8(at + TCP.flags, flags)
    view.setInt32(at + TCP.sequence, (this.#sequence + index * this.#size) | 0)
    view.setUint16(at + TCP.checksum, 0)
    view.setUint16(at + TCP.checksum, this.#checksum(view, at, length))
  }

  #writeUdp(view: DataView, at: number, length: number): void {
    view.setUint16(at + UDP_LENGTH, length)
    view.setUint16(at + UDP_CHECKSUM, 0)
    // 0 would say that there is none (RFC 768).
    view.setUint16(at + UDP_CHECKSUM, this.#checksum(view, at, length) || 0xffff)
  }

  #checksum(view: DataView, at: number, length: number): number {
    return ~fold(this.#pseudo + length + wordSum(view, at, length)) & 0xffff
  }
}

/** Completes a checksum that covers the pseudo-header only; false when it would not lie inside the packet. */
function complete({ view }: PacketBuffer, length: number, virtio: PacketBuffer): boolean {
  if ((virtioFlags(virtio) & NEEDS_CHECKSUM) === 0) return true
  const start = virtioChecksumStart(virtio)
  const offset = virtioChecksumOffset(virtio)
  if (start < IPV4_HEADER || start + Math.max(offset + 2, UDP_HEADER) > length) return false
  const checksum = ~wordSum(view, start, length - start) & 0xffff
  view.setUint16(start + offset, offset === UDP_CHECKSUM ? checksum || 0xffff : checksum)
  return true
}
