// What a switch meets on an ordinary day, one packet of each kind, between two addresses of warm-up.ts.
import { type Cidr6, overlayAddress6 } from '../../state/address6.ts'
import { PING } from '../vpn/in-tunnel.ts'
import { fold, wordSum } from './checksum.ts'
import { writeEchoProbe } from './echo-probe.ts'
import { writeIcmpChecksum, writeIcmpHeader } from './icmp.ts'
import { MIN_HEADER, PROTOCOL, writeHeaderChecksum } from './ipv4.ts'
import { DESTINATION6, IPV6_HEADER, NEXT_HEADER, SOURCE6 } from './ipv6.ts'
import { Arena } from './sys/arena.ts'
import { MIN_TCP_HEADER, TCP, TCP_FLAG } from './tcp.ts'

export const WARM_UP_BYTES = 100
/** How often a packet goes from port to port. */
const HOPS = 24

/** An ICMP echo request (type 8) or its answer (0), as ping has them. */
export function echoPacket(type: 8 | 0, from: number, to: number, bytes = WARM_UP_BYTES): Arena {
  const packet = new Arena(bytes)
  writeIcmpHeader(packet, 0, bytes, 0, from, to)
  packet.bytes[8] = HOPS
  writeHeaderChecksum(packet, 0)
  packet.bytes[MIN_HEADER] = type
  writeIcmpChecksum(packet, MIN_HEADER, bytes - MIN_HEADER)
  return packet
}

/** The answer to a probe of a session's path, see session-paths.ts. */
export function probeAnswer(from: number, to: number): Arena {
  const packet = new Arena(WARM_UP_BYTES)
  writeEchoProbe(packet, WARM_UP_BYTES, from, to, WARM_UP_BYTES, 1)
  packet.bytes[MIN_HEADER] = 0
  return packet
}

/** A TCP segment with data. @param number of a row of them */
export function tcpPacket(from: number, to: number, number: number): Arena {
  const packet = new Arena(WARM_UP_BYTES)
  const { bytes, view } = packet
  const transport = WARM_UP_BYTES - MIN_HEADER
  bytes[0] = 0x45
  view.setUint16(2, WARM_UP_BYTES)
  view.setUint16(6, 0x4000)
  bytes[8] = HOPS
  bytes[9] = PROTOCOL.tcp
  view.setUint32(12, from)
  view.setUint32(16, to)
  writeHeaderChecksum(packet, 0)
  view.setUint32(MIN_HEADER + TCP.sequence, number * (transport - MIN_TCP_HEADER))
  bytes[MIN_HEADER + TCP.dataOffset] = (MIN_TCP_HEADER / 4) << 4
  bytes[MIN_HEADER + TCP.flags] = TCP_FLAG.ack
  const pseudo = wordSum(view, 12, 8) + PROTOCOL.tcp + transport
  view.setUint16(MIN_HEADER + TCP.checksum, ~fold(pseudo + wordSum(view, MIN_HEADER, transport)) & 0xffff)
  return packet
}

/** An IPv6 packet that carries nothing. */
export function emptyPacket6(subnet6: Cidr6, from: number, to: number): Arena {
  const packet = new Arena(WARM_UP_BYTES)
  packet.view.setUint8(0, 0x60)
  packet.view.setUint16(4, WARM_UP_BYTES - IPV6_HEADER)
  packet.view.setUint8(6, NEXT_HEADER.none)
  packet.view.setUint8(7, HOPS)
  for (const [at, address] of [
    [SOURCE6, from],
    [DESTINATION6, to],
  ]) {
    for (const [i, word] of overlayAddress6(subnet6, address).entries())
      packet.view.setUint32(at + 4 * i, word)
  }
  return packet
}

/** OpenVPN's ping. */
export function keepalive(): Arena {
  const packet = new Arena(PING.length)
  packet.bytes.set(PING)
  return packet
}
