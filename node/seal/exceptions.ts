// What an operator leaves open on a sealed host, in a small language of its own. Everything that goes into a ruleset is made
// anew from what was understood, so that no text of the operator's gets there.
import { type Cidr, cidrHasHostBits, formatCidr, parseCidr } from '../../state/address.ts'
import { type Cidr6, cidr6HasHostBits, formatCidr6, parseCidr6 } from '../../state/address6.ts'

/** One thing that a sealed host may do beside the overlay. */
export interface SealException {
  /** `in`: others may begin it; `out`: the host may. Pings, and `all`, go both ways. */
  readonly direction: 'in' | 'out' | 'both'
  readonly protocol: 'tcp' | 'udp' | 'icmp' | 'all'
  /** First and last port; undefined for protocols without. */
  readonly ports?: readonly [number, number]
  /** With whom; undefined for anyone. */
  readonly with?: Cidr | Cidr6
}

const SEAL_GRAMMAR =
  'use tcp/22, udp/5000-5010@192.0.2.0/24, out:udp/53@192.0.2.53, icmp or icmp@PREFIX, or a PREFIX for everything to and from it'

const SERVICE = /^(out:)?(tcp|udp)\/(\d{1,5})(?:-(\d{1,5}))?(?:@(.{1,64}))?$/
const PING = /^icmp(?:@(.{1,64}))?$/
const MAX_PORT = 65_535

/** What is wrong with a text that is no exception: its prefix, where that is to blame; else how one is written. */
export function exceptionProblem(text: string): string {
  const at = text.indexOf('@')
  const prefix = text.slice(at + 1)
  const six = parseCidr6(prefix)
  const cidr = six ?? parseCidr(prefix)
  if (cidr?.length === 0)
    return at < 0
      ? 'a host that is open to everyone is not sealed'
      : `without ${text.slice(at)} it is open to everyone`
  if (cidr === undefined || !(six ? cidr6HasHostBits(prefix) : cidrHasHostBits(prefix))) return SEAL_GRAMMAR
  return `${prefix} names a host; the prefix is ${formatPeer(cidr)}`
}

/** Undefined for text that is no exception; see {@link SEAL_GRAMMAR}. */
export function parseException(text: string): SealException | undefined {
  const service = SERVICE.exec(text)
  if (service) {
    const [, out, protocol, first, last = first, peer] = service
    const ports = [Number(first), Number(last)] as const
    if (ports[0] < 1 || ports[0] > ports[1] || ports[1] > MAX_PORT) return undefined
    const direction = out === undefined ? 'in' : 'out'
    return withPeer({ direction, protocol: protocol as 'tcp' | 'udp', ports }, peer)
  }
  const ping = PING.exec(text)
  if (ping) return withPeer({ direction: 'both', protocol: 'icmp' }, ping[1])
  const peer = parsePeer(text)
  return peer && { direction: 'both', protocol: 'all', with: peer }
}

/** The text of a prefix, as nftables reads it. */
export function formatPeer(peer: Cidr | Cidr6): string {
  return isIpv6(peer) ? formatCidr6(peer) : formatCidr(peer)
}

export function isIpv6(peer: Cidr | Cidr6): peer is Cidr6 {
  return typeof peer.address !== 'number'
}

function withPeer(exception: SealException, peer: string | undefined): SealException | undefined {
  if (peer === undefined) return exception
  const parsed = parsePeer(peer)
  return parsed && { ...exception, with: parsed }
}

/** A prefix, or one address. Host bits would say that something else was meant. */
function parsePeer(text: string): Cidr | Cidr6 | undefined {
  const isSix = text.includes(':')
  const whole = text.includes('/') ? text : `${text}/${isSix ? 128 : 32}`
  if (isSix ? cidr6HasHostBits(whole) : cidrHasHostBits(whole)) return undefined
  const peer = isSix ? parseCidr6(whole) : parseCidr(whole)
  return peer?.length === 0 ? undefined : peer
}
