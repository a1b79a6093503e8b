// One captured packet as a line for a person, like those of tcpdump.
import { formatIpv4 } from '../../state/address.ts'
import { formatIpv6 } from '../../state/address6.ts'
import { DISSECTED, DISSECTED_WORDS, dissect } from '../switch/dissect.ts'

const TCP = 6
const SCTP = 132
const PROTOCOLS: Record<number, string> = {
  1: 'icmp',
  2: 'igmp',
  [TCP]: 'tcp',
  17: 'udp',
  47: 'gre',
  50: 'esp',
  58: 'icmp6',
  [SCTP]: 'sctp',
}
const WITH_PORTS: readonly number[] = [TCP, 17, SCTP]
const ICMP: Record<number, string> = {
  0: 'echo reply',
  3: 'unreachable',
  8: 'echo request',
  11: 'time exceeded',
}
const ICMP6: Record<number, string> = {
  1: 'unreachable',
  2: 'packet too big',
  3: 'time exceeded',
  128: 'echo request',
  129: 'echo reply',
}
/** From the lowest bit on (RFC 9293 section 3.1). */
const FLAGS = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG']

export interface PacketFacts {
  /** Nanoseconds since 1970. */
  time: bigint
  port: string
  /** 1 in, 2 out. */
  direction: number
  /** As much of it as was captured. */
  packet: Uint8Array
  length: number
  comment?: string
}

/** `12:00:01.000001  client web  in   10.77.0.2:4000 > 10.77.0.3:53  udp  64 bytes`; local time. */
export function packetLine({ time, port, direction, packet, length, comment }: PacketFacts): string {
  const parts = [
    clock(time),
    port.padEnd(16),
    direction === 1 ? 'in ' : 'out',
    ...describe(packet),
    `${length} bytes`,
    ...(comment === undefined ? [] : [comment]),
  ]
  return parts.join('  ')
}

function describe(packet: Uint8Array): [addresses: string, protocol: string] {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
  const found = new Int32Array(DISSECTED_WORDS)
  if (packet.length > 0) dissect({ bytes: packet, view }, 0, packet.length, found)
  const version = found[DISSECTED.version]
  if (version === 0 || packet.length < (version === 4 ? 20 : 40)) return ['?', 'malformed']
  const [source, destination] =
    version === 4
      ? [formatIpv4(view.getUint32(12)), formatIpv4(view.getUint32(16))]
      : [formatIpv6(packet, 8), formatIpv6(packet, 24)]
  const protocol = found[DISSECTED.protocol]
  const at = found[DISSECTED.transport]
  const name = PROTOCOLS[protocol] ?? (protocol < 0 ? 'malformed' : `protocol ${protocol}`)
  if (protocol >= 0 && at === 0) return [`${source} > ${destination}`, `${name} fragment`]
  if (WITH_PORTS.includes(protocol) && packet.length >= at + 4) {
    const ports = [view.getUint16(at), view.getUint16(at + 2)]
    const ends = [source, destination].map((address, i) => withPort(address, ports[i]))
    return [ends.join(' > '), [name, ...tcpFlags(protocol, packet, at)].join(' ')]
  }
  const type =
    packet.length > at ? (protocol === 1 ? ICMP : protocol === 58 ? ICMP6 : {})[packet[at]] : undefined
  return [`${source} > ${destination}`, type === undefined ? name : `${name} ${type}`]
}

function withPort(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

function tcpFlags(protocol: number, packet: Uint8Array, at: number): string[] {
  if (protocol !== TCP || packet.length < at + 14) return []
  return FLAGS.filter((_, bit) => (packet[at + 13] & (1 << bit)) !== 0)
}

function clock(time: bigint): string {
  const date = new Date(Number(time / 1_000_000n))
  const micros = String((time / 1000n) % 1_000_000n).padStart(6, '0')
  const two = (n: number): string => String(n).padStart(2, '0')
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${micros}`
}
