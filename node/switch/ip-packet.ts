// What IPv4 and IPv6 packets have in common, for a router. The packet is valid.
import { decrementTtl, type PacketBuffer, totalLength } from './ipv4.ts'
import { decrementHopLimit, totalLength6 } from './ipv6.ts'

export function isIpv6({ bytes }: PacketBuffer, offset: number): boolean {
  return bytes[offset] >> 4 === 6
}

/** Length of headers and payload in bytes. */
export function packetLength(packet: PacketBuffer, offset: number): number {
  return isIpv6(packet, offset) ? totalLength6(packet.view, offset) : totalLength(packet.view, offset)
}

/** Takes one hop off. False, with nothing changed, if no hop is left. */
export function spendHop(packet: PacketBuffer, offset: number): boolean {
  return isIpv6(packet, offset) ? decrementHopLimit(packet.view, offset) : decrementTtl(packet.view, offset)
}
