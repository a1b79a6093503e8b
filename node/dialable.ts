// Which addresses a controller cannot be dialled at, and which it cannot listen on (RFC 6890, RFC 4291 section 2).
import { type Cidr, cidrContains, formatCidr, parseCidr, parseIpv4 } from '../state/address.ts'
import { type Cidr6, cidr6Contains, formatCidr6, parseAddress6, parseCidr6 } from '../state/address6.ts'
import { type HostPort, parseHostPort } from './net/ip.ts'
import { DEFAULT_PORT } from './push.ts'
import { ServiceError } from './service-error.ts'

type Host = Pick<HostPort, 'host' | 'family'>

/** Of a mesh. */
export interface Subnets {
  readonly subnet: Cidr
  readonly subnet6?: Cidr6
}

const NOBODYS = [
  ['255.255.255.255/32', 'the broadcast address'],
  ['0.0.0.0/8', 'an address of "this network"'],
  ['224.0.0.0/4', 'a multicast address'],
  ['240.0.0.0/4', 'a reserved address'],
].map(([text, what]) => ({ cidr: parseCidr(text)!, what }))

const NOBODYS6 = [
  ['ff00::/8', 'a multicast address'],
  ['fe80::/10', 'a link-local address, which means nothing without an interface'],
].map(([text, what]) => ({ cidr: parseCidr6(text)!, what }))

export const isAny = (host: string): boolean => host === '0.0.0.0' || host === '::'

/** Why no machine can have this address for its own, in words; undefined for names and for those that one may have. */
function nobodys({ host, family }: Host): string | undefined {
  if (family === 'ipv4') return NOBODYS.find(({ cidr }) => cidrContains(cidr, parseIpv4(host)!))?.what
  if (family === 'ipv6') return NOBODYS6.find(({ cidr }) => cidr6Contains(cidr, parseAddress6(host)!))?.what
}

/** Why nobody can listen there, in words; undefined when one can. */
export function listenProblem(endpoint: Host): string | undefined {
  if (isAny(endpoint.host)) return undefined
  const what = nobodys(endpoint)
  return what && `${endpoint.host} is ${what}; give an address of this machine, or 0.0.0.0 for all of them`
}

/** Why nobody can dial it from another machine, in words; undefined when one can. Loopback counts: demos run on one machine. */
export function dialProblem(endpoint: Host, overlay?: Subnets): string | undefined {
  const { host } = endpoint
  const what = isAny(host) ? 'where to listen, not an address to dial' : nobodys(endpoint)
  if (what) return `${host} is ${what}; ${GIVE}`
  const within = overlay && overlayOf(endpoint, overlay)
  return (
    within &&
    `${host} is in the overlay's own ${within}, which is there only for those that are connected; ${GIVE}`
  )
}

const GIVE =
  'give the address or name by which clients reach this controller from outside, such as --public vpn.example.com:1194'

function overlayOf({ host, family }: Host, { subnet, subnet6 }: Subnets): string | undefined {
  if (family === 'ipv4' && cidrContains(subnet, parseIpv4(host)!)) return formatCidr(subnet)
  if (family === 'ipv6' && subnet6 && cidr6Contains(subnet6, parseAddress6(host)!))
    return formatCidr6(subnet6)
}

/**
 * @param endpoints `host:port`, which clients are to dial @param more what is to be done beside giving others
 * @throws ServiceError invalid
 */
export function checkDialable(endpoints: readonly string[], overlay: Subnets, more = ''): void {
  for (const text of endpoints) {
    const problem = dialProblem(parseHostPort(text, DEFAULT_PORT), overlay)
    if (problem) throw new ServiceError('invalid', `clients cannot dial this controller: ${problem}${more}`)
  }
}
