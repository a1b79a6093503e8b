// Which packets a capture takes: a filter as numbers, so that it crosses to the switch's thread, and is asked for each packet
// there by arithmetic alone.
import type { Cidr } from '../../state/address.ts'
import { type Cidr6, cidr6Mask } from '../../state/address6.ts'
import { cidrMask } from '../net/ip.ts'
import { DISSECTED } from './dissect.ts'
import { type PacketBuffer, PROTOCOL } from './ipv4.ts'
import { DESTINATION6, NEXT_HEADER, SOURCE6 } from './ipv6.ts'

/** Prefixes of both versions of IP; an address is among them if any of them has it. */
export interface Networks {
  readonly four: readonly Cidr[]
  readonly six: readonly Cidr6[]
}

/** All that is given must hold. */
export interface TapFilter {
  /** By which port it passes: a session by its overlay address (u32), a link by its peer id, or this machine's own. */
  readonly port?: { readonly session: number } | { readonly link: number } | 'tun'
  /** Source or destination is in each of these. */
  readonly networks: readonly Networks[]
  /** IANA's protocol number, or ICMP of either version of IP. */
  readonly protocol?: number | 'icmp'
  /** Of TCP, UDP or SCTP, of source or destination. */
  readonly transportPort?: number
  /** What is dropped; otherwise what passes. */
  readonly dropped: boolean
  /** Bytes to take of each packet; 0: its headers. */
  readonly snap: number
}

const PLACE = {
  port: 0,
  portValue: 1,
  protocol: 2,
  transportPort: 3,
  dropped: 4,
  snap: 5,
  groups: 6,
} as const
const FIRST_GROUP = 7
const PORT = { any: 0, session: 1, link: 2, tun: 3 } as const
const ANY = -1
const ICMP_OF_EITHER = -2
const SCTP = 132
/** Words of a prefix. */
const FOUR = 2
const SIX = 8

/** Groups of networks, and prefixes in all. */
export const MAX_GROUPS = 8
export const MAX_PREFIXES = 512

/** @throws RangeError beyond {@link MAX_GROUPS} or {@link MAX_PREFIXES} */
export function encodeFilter(filter: TapFilter): Int32Array<ArrayBuffer> {
  const { port, networks, protocol, transportPort, dropped, snap } = filter
  const prefixes = networks.reduce((sum, { four, six }) => sum + four.length + six.length, 0)
  if (networks.length > MAX_GROUPS || prefixes > MAX_PREFIXES) throw new RangeError(`${prefixes} prefixes`)
  const [kind, value] = encodePort(port)
  return Int32Array.from([
    kind,
    value,
    protocol === 'icmp' ? ICMP_OF_EITHER : (protocol ?? ANY),
    transportPort ?? ANY,
    Number(dropped),
    snap,
    networks.length,
    ...networks.flatMap(({ four, six }) => [
      four.length,
      six.length,
      ...four.flatMap(({ address, length }) => {
        const mask = cidrMask(length)
        return [address & mask, mask]
      }),
      ...six.flatMap(({ address, length }) => {
        const mask = cidr6Mask(length)
        return [...address.map((word, i) => word & mask[i]), ...mask]
      }),
    ]),
  ])
}

function encodePort(port: TapFilter['port']): [kind: number, value: number] {
  if (port === undefined) return [PORT.any, 0]
  if (port === 'tun') return [PORT.tun, 0]
  return 'session' in port ? [PORT.session, port.session] : [PORT.link, port.link]
}

/** What a filter says beside which packets: its own cells. */
export function snapOf(filter: Int32Array): number {
  return filter[PLACE.snap]
}

/**
 * Whether a packet is to be captured.
 * @param peerId of the port, `THIS_MACHINE` for the TUN
 * @param address the session's overlay address; 0 for a link
 * @param isLink the port is a link
 * @param found what `dissect` says of the `length` bytes at `at`
 */
export function matchesFilter(
  filter: Int32Array,
  peerId: number,
  address: number,
  isLink: boolean,
  isDropped: boolean,
  packet: PacketBuffer,
  at: number,
  length: number,
  found: Int32Array,
): boolean {
  if ((filter[PLACE.dropped] !== 0) !== isDropped) return false
  const port = filter[PLACE.port]
  if (port !== PORT.any) {
    const value = filter[PLACE.portValue]
    if (port === PORT.tun ? peerId >= 0 : peerId < 0) return false
    if (port === PORT.session && (isLink || (address | 0) !== value)) return false
    if (port === PORT.link && (!isLink || peerId !== value)) return false
  }
  const protocol = filter[PLACE.protocol]
  if (protocol !== ANY && !isProtocol(protocol, found)) return false
  if (filter[PLACE.transportPort] !== ANY && !hasPort(filter[PLACE.transportPort], packet, at, length, found))
    return false
  return filter[PLACE.groups] === 0 || isAmong(filter, packet, at, length, found)
}

function isProtocol(wanted: number, found: Int32Array): boolean {
  const protocol = found[DISSECTED.protocol]
  if (wanted !== ICMP_OF_EITHER) return protocol === wanted
  return protocol === (found[DISSECTED.version] === 4 ? PROTOCOL.icmp : NEXT_HEADER.icmp)
}

function hasPort(
  wanted: number,
  { view }: PacketBuffer,
  at: number,
  length: number,
  found: Int32Array,
): boolean {
  const protocol = found[DISSECTED.protocol]
  if (protocol !== PROTOCOL.tcp && protocol !== PROTOCOL.udp && protocol !== SCTP) return false
  const transport = found[DISSECTED.transport]
  if (transport === 0 || transport + 4 > length) return false
  return view.getUint16(at + transport) === wanted || view.getUint16(at + transport + 2) === wanted
}

/** Whether each group has the source or the destination. */
function isAmong(
  filter: Int32Array,
  { view }: PacketBuffer,
  at: number,
  length: number,
  found: Int32Array,
): boolean {
  const isFour = found[DISSECTED.version] === 4
  if (length < (isFour ? 20 : 40)) return false
  let group = FIRST_GROUP
  for (let i = 0; i < filter[PLACE.groups]; i++) {
    const four = group + 2
    const six = four + filter[group] * FOUR
    const end = six + filter[group + 1] * SIX
    const has = isFour
      ? hasFour(filter, four, six, view.getInt32(at + 12)) ||
        hasFour(filter, four, six, view.getInt32(at + 16))
      : hasSix(filter, six, end, view, at + SOURCE6) || hasSix(filter, six, end, view, at + DESTINATION6)
    if (!has) return false
    group = end
  }
  return true
}

function hasFour(filter: Int32Array, first: number, end: number, address: number): boolean {
  for (let i = first; i < end; i += FOUR) {
    if ((address & filter[i + 1]) === filter[i]) return true
  }
  return false
}

function hasSix(filter: Int32Array, first: number, end: number, view: DataView, at: number): boolean {
  for (let i = first; i < end; i += SIX) {
    const differs =
      ((view.getInt32(at) & filter[i + 4]) ^ filter[i]) |
      ((view.getInt32(at + 4) & filter[i + 5]) ^ filter[i + 1]) |
      ((view.getInt32(at + 8) & filter[i + 6]) ^ filter[i + 2]) |
      ((view.getInt32(at + 12) & filter[i + 7]) ^ filter[i + 3])
    if (differs === 0) return true
  }
  return false
}
