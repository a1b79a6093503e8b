// Whole packets of TCP and UDP over IPv4 and IPv6 for tests: what the code under test is compared with.
import { ip, makePacket, sumOf } from './packets.ts'

export interface Transport {
  version: 4 | 6
  protocol: 6 | 17
  source: number
  destination: number
  sourcePort: number
  destinationPort: number
  sequence: number
  acknowledgment: number
  window: number
  flags: number
  urgent: number
  /** Of TCP, padded with zeros to whole words; 40 bytes at most. */
  options: Uint8Array
  ttl: number
  tos: number
  id: number
  fragment: number
  payload: Uint8Array
  badChecksum: boolean
}

const DEFAULTS: Transport = {
  version: 4,
  protocol: 6,
  source: ip('10.77.0.5'),
  destination: ip('10.77.0.6'),
  sourcePort: 40000,
  destinationPort: 443,
  sequence: 1000,
  acknowledgment: 77,
  window: 501,
  flags: 0x10,
  urgent: 0,
  options: new Uint8Array(),
  ttl: 64,
  tos: 0,
  id: 0x1234,
  fragment: 0x4000,
  payload: new Uint8Array(),
  badChecksum: false,
}

/** Bytes of all headers. */
export function headersOf({
  version = 4,
  protocol = 6,
  options = new Uint8Array(),
}: Partial<Transport>): number {
  return (version === 4 ? 20 : 40) + (protocol === 17 ? 8 : 20 + Math.ceil(options.length / 4) * 4)
}

/** A packet whose checksums are right, unless a bad one is asked for. */
export function makeTransport(fields: Partial<Transport>): Uint8Array {
  const all = { ...DEFAULTS, ...fields }
  const body = all.protocol === 17 ? udp(all) : tcp(all)
  const bytes =
    all.version === 4 ? makePacket({ ...all, options: new Uint8Array(), payload: body }) : ipv6(all, body)
  const start = bytes.length - body.length
  const addresses = all.version === 4 ? bytes.subarray(12, 20) : bytes.subarray(8, 40)
  const lengths = new Uint8Array(8)
  new DataView(lengths.buffer).setUint32(0, body.length)
  lengths[7] = all.protocol
  const covered = Uint8Array.from([...addresses, ...lengths, ...body])
  const checksum = sumOf(covered)
  const value = all.protocol === 17 ? checksum || 0xffff : checksum
  new DataView(bytes.buffer).setUint16(
    start + (all.protocol === 17 ? 6 : 16),
    value ^ (all.badChecksum ? 0x55 : 0),
  )
  return bytes
}

function tcp(fields: Transport): Uint8Array {
  const header = 20 + Math.ceil(fields.options.length / 4) * 4
  const bytes = new Uint8Array(header + fields.payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, fields.sourcePort)
  view.setUint16(2, fields.destinationPort)
  view.setUint32(4, fields.sequence)
  view.setUint32(8, fields.acknowledgment)
  view.setUint8(12, header << 2)
  view.setUint8(13, fields.flags)
  view.setUint16(14, fields.window)
  view.setUint16(18, fields.urgent)
  bytes.set(fields.options, 20)
  bytes.set(fields.payload, header)
  return bytes
}

function udp(fields: Transport): Uint8Array {
  const bytes = new Uint8Array(8 + fields.payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, fields.sourcePort)
  view.setUint16(2, fields.destinationPort)
  view.setUint16(4, bytes.length)
  bytes.set(fields.payload, 8)
  return bytes
}

function ipv6(fields: Transport, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(40 + body.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, 0x60000000 | (fields.tos << 20))
  view.setUint16(4, body.length)
  view.setUint8(6, fields.protocol)
  view.setUint8(7, fields.ttl)
  view.setUint32(8, 0xfd000000)
  view.setUint32(20, fields.source)
  view.setUint32(24, 0xfd000000)
  view.setUint32(36, fields.destination)
  bytes.set(body, 40)
  return bytes
}
