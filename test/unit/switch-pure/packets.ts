// Buffers and IPv4 packets for the tests of the data plane's pure parts.
import type { PacketBuffer } from '../../../node/switch/ipv4.ts'
import { parseIpv4 } from '../../../state/address.ts'

export function buffer(size: number): PacketBuffer {
  const memory = new ArrayBuffer(size)
  return { bytes: new Uint8Array(memory), view: new DataView(memory) }
}

export interface PacketFields {
  source: number
  destination: number
  protocol: number
  ttl: number
  tos: number
  id: number
  /** Flags and fragment offset as they stand in the header. */
  fragment: number
  /** Padded with zeros to whole words; 40 bytes at most. */
  options: Uint8Array
  payload: Uint8Array
}

export const ip = (text: string): number => {
  const address = parseIpv4(text)
  if (address === undefined) throw new TypeError(text)
  return address
}

/** Writes a packet with a right checksum at `offset`, and returns its length. */
export function writePacket(target: PacketBuffer, offset: number, fields: Partial<PacketFields>): number {
  const packet = makePacket(fields)
  target.bytes.set(packet, offset)
  return packet.length
}

export function makePacket(fields: Partial<PacketFields>): Uint8Array {
  const { options = new Uint8Array(), payload = new Uint8Array() } = fields
  const header = 20 + Math.ceil(options.length / 4) * 4
  const bytes = new Uint8Array(header + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, 0x40 | (header / 4))
  view.setUint8(1, fields.tos ?? 0)
  view.setUint16(2, bytes.length)
  view.setUint16(4, fields.id ?? 0x1234)
  view.setUint16(6, fields.fragment ?? 0)
  view.setUint8(8, fields.ttl ?? 64)
  view.setUint8(9, fields.protocol ?? 17)
  view.setUint32(12, fields.source ?? ip('10.77.0.5'))
  view.setUint32(16, fields.destination ?? ip('10.77.0.6'))
  bytes.set(options, 20)
  bytes.set(payload, header)
  view.setUint16(10, sumOf(bytes.subarray(0, header)))
  return bytes
}

/** The Internet checksum, in words of RFC 1071 rather than in those of the code under test. */
export function sumOf(bytes: Uint8Array): number {
  let sum = 0n
  for (let i = 0; i < bytes.length; i += 2) sum += BigInt(bytes[i] * 256 + (bytes[i + 1] ?? 0))
  while (sum > 0xffffn) sum = (sum & 0xffffn) + (sum >> 16n)
  return Number(0xffffn - sum)
}
