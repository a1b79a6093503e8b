// IPv6 packets for the tests of the data plane's pure parts, in words of their own rather than in those of the code under
// test.
import { parseIpv6 } from '../../../state/address6.ts'
import { sumOf } from './packets.ts'

export interface Packet6Fields {
  source: string
  destination: string
  nextHeader: number
  hopLimit: number
  trafficClass: number
  flow: number
  payload: Uint8Array
}

export function ip6(text: string): Uint8Array {
  const bytes = parseIpv6(text)
  if (bytes === undefined) throw new TypeError(text)
  return bytes
}

export function makePacket6(fields: Partial<Packet6Fields>): Uint8Array {
  const { payload = new Uint8Array(8) } = fields
  const bytes = new Uint8Array(40 + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, 0x60000000 + (fields.trafficClass ?? 0) * 0x100000 + (fields.flow ?? 0))
  view.setUint16(4, payload.length)
  view.setUint8(6, fields.nextHeader ?? 17)
  view.setUint8(7, fields.hopLimit ?? 64)
  bytes.set(ip6(fields.source ?? 'fd00:77::a4d:5'), 8)
  bytes.set(ip6(fields.destination ?? 'fd00:77::a4d:6'), 24)
  bytes.set(payload, 40)
  return bytes
}

/** The checksum of an upper layer's bytes with the pseudo-header: 0 when they hold their own. */
export function sum6(packet: Uint8Array, upper: Uint8Array, protocol: number): number {
  const pseudo = new Uint8Array(40 + upper.length)
  pseudo.set(packet.subarray(8, 40))
  new DataView(pseudo.buffer).setUint32(32, upper.length)
  pseudo[39] = protocol
  pseudo.set(upper, 40)
  return sumOf(pseudo)
}

/** A packet that is one ICMPv6 message with a right checksum, behind extension headers if told. */
export function icmp6Packet(
  type: number,
  body: Uint8Array,
  fields: Partial<Packet6Fields> = {},
  code = 0,
  extensions: { first: number; bytes: Uint8Array } = { first: 58, bytes: new Uint8Array() },
): Uint8Array {
  const message = new Uint8Array(4 + body.length)
  message.set([type, code, 0, 0])
  message.set(body, 4)
  const payload = new Uint8Array(extensions.bytes.length + message.length)
  payload.set(extensions.bytes)
  payload.set(message, extensions.bytes.length)
  const packet = makePacket6({ ...fields, nextHeader: extensions.first, payload })
  const start = 40 + extensions.bytes.length
  new DataView(packet.buffer).setUint16(start + 2, sum6(packet, packet.subarray(start), 58))
  return packet
}
