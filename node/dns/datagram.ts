// UDP datagrams in IPv4 packets (RFC 768): how queries come and answers go where there is no kernel between.
import {
  checksum,
  headerLength,
  MIN_HEADER,
  PROTOCOL,
  totalLength,
  writeHeaderChecksum,
} from '../switch/ipv4.ts'

export interface Datagram {
  /** u32 */
  source: number
  destination: number
  sourcePort: number
  destinationPort: number
  payload: Uint8Array
}

const UDP_HEADER = 8
const TTL = 64

/** @param packet a valid, whole IPv4 packet of UDP; @returns undefined when its lengths or checksum are wrong */
export function readDatagram(packet: Uint8Array): Datagram | undefined {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
  const header = headerLength(view, 0)
  const room = totalLength(view, 0) - header
  if (room < UDP_HEADER || packet.length < header + room) return undefined
  const length = view.getUint16(header + 4)
  if (length < UDP_HEADER || length > room) return undefined
  const sum = pseudoHeader(view, length)
  // 0: its sender made none.
  if (view.getUint16(header + 6) !== 0 && checksum(packet, header, length, sum) !== 0) return undefined
  return {
    source: view.getUint32(12),
    destination: view.getUint32(16),
    sourcePort: view.getUint16(header),
    destinationPort: view.getUint16(header + 2),
    payload: packet.subarray(header + UDP_HEADER, header + length),
  }
}

/** @param id identification: the packet may be cut into fragments on its way */
export function writeDatagram(datagram: Datagram, id: number): Uint8Array<ArrayBuffer> {
  const { source, destination, sourcePort, destinationPort, payload } = datagram
  const length = UDP_HEADER + payload.length
  const bytes = new Uint8Array(MIN_HEADER + length)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, 0x45)
  view.setUint16(2, bytes.length)
  view.setUint16(4, id)
  view.setUint8(8, TTL)
  view.setUint8(9, PROTOCOL.udp)
  view.setUint32(12, source)
  view.setUint32(16, destination)
  writeHeaderChecksum({ bytes, view }, 0)
  view.setUint16(MIN_HEADER, sourcePort)
  view.setUint16(MIN_HEADER + 2, destinationPort)
  view.setUint16(MIN_HEADER + 4, length)
  bytes.set(payload, MIN_HEADER + UDP_HEADER)
  // 0 would mean that there is none.
  const sum = checksum(bytes, MIN_HEADER, length, pseudoHeader(view, length)) || 0xffff
  view.setUint16(MIN_HEADER + 6, sum)
  return bytes
}

/** The sum of what the checksum covers beside the datagram. */
function pseudoHeader(view: DataView, length: number): number {
  return (
    view.getUint16(12) + view.getUint16(14) + view.getUint16(16) + view.getUint16(18) + PROTOCOL.udp + length
  )
}
