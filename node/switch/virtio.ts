// The header that a TUN with IFF_VNET_HDR puts before each packet (virtio 1.1 section 5.1.6, linux/virtio_net.h): what is
// left to do to the packet. In the machine's byte order, which is little-endian here.
import type { PacketBuffer } from './ipv4.ts'

// flags(1) gso_type(1) hdr_len(2) gso_size(2) csum_start(2) csum_offset(2)
export const VIRTIO_HEADER = 10

/** The checksum at `csum_start + csum_offset` covers the pseudo-header only. */
export const NEEDS_CHECKSUM = 1

/** What a super-packet is to be cut into. */
export const GSO = { none: 0, tcp4: 1, tcp6: 4, udp: 5 } as const
/** Added to a type: the TCP header has CWR set (RFC 3168). */
export const GSO_ECN = 0x80

/** Writes the header of a super-packet whose checksum, too, is left to the kernel; all 0 for a packet as it is. */
export function writeVirtio(
  { view }: PacketBuffer,
  type: number,
  headerLength: number,
  size: number,
  checksumStart: number,
  checksumOffset: number,
): void {
  view.setUint8(0, type === GSO.none ? 0 : NEEDS_CHECKSUM)
  view.setUint8(1, type)
  view.setUint16(2, headerLength, true)
  view.setUint16(4, size, true)
  view.setUint16(6, checksumStart, true)
  view.setUint16(8, checksumOffset, true)
}

export function virtioFlags({ view }: PacketBuffer): number {
  return view.getUint8(0)
}

export function virtioType({ view }: PacketBuffer): number {
  return view.getUint8(1) & ~GSO_ECN
}

/** Bytes of payload in each segment but the last. */
export function virtioSize({ view }: PacketBuffer): number {
  return view.getUint16(4, true)
}

export function virtioChecksumStart({ view }: PacketBuffer): number {
  return view.getUint16(6, true)
}

export function virtioChecksumOffset({ view }: PacketBuffer): number {
  return view.getUint16(8, true)
}
