// ICMPv6 echo (RFC 4443 section 4) of a client without a kernel interface: asks, and answers others.
import type { Address6 } from '../../state/address6.ts'
import {
  ECHO6_REQUEST,
  ICMP6_HEADER,
  writeEchoReply6,
  writeHeader6,
  writeIcmp6Checksum,
} from '../switch/icmpv6.ts'
import type { PacketBuffer } from '../switch/ipv4.ts'
import { DESTINATION6, IPV6, IPV6_HEADER, SOURCE6, validate6 } from '../switch/ipv6.ts'

const PAYLOAD = 56

/** A whole IPv6 packet. @param identifier u16 @param sequence u16 */
export function echoRequest6(from: Address6, to: Address6, identifier: number, sequence: number): Uint8Array {
  const bytes = new Uint8Array(IPV6_HEADER + ICMP6_HEADER + PAYLOAD)
  const view = new DataView(bytes.buffer)
  const packet = { bytes, view }
  writeHeader6(packet, 0, ICMP6_HEADER + PAYLOAD, 0)
  for (const [i, word] of from.entries()) view.setUint32(SOURCE6 + 4 * i, word)
  for (const [i, word] of to.entries()) view.setUint32(DESTINATION6 + 4 * i, word)
  view.setUint8(IPV6_HEADER, ECHO6_REQUEST)
  view.setUint16(IPV6_HEADER + 4, identifier)
  view.setUint16(IPV6_HEADER + 6, sequence)
  writeIcmp6Checksum(packet, 0)
  return bytes
}

/** The answer to an echo request for `address`; undefined for whatever is none. */
export function answerEcho6(bytes: Uint8Array, address: Address6): Uint8Array | undefined {
  const packet = packetOf(bytes)
  const { view } = packet
  if (validate6(view, 0, bytes.length) !== IPV6.ok) return undefined
  if (address.some((word, i) => view.getUint32(DESTINATION6 + 4 * i) !== word)) return undefined
  const reply = packetOf(new Uint8Array(bytes.length))
  const length = writeEchoReply6(packet, 0, reply, 0)
  return length > 0 ? reply.bytes.subarray(0, length) : undefined
}

function packetOf(bytes: Uint8Array): PacketBuffer {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) }
}
