// What may be a prefix of a route, and its probe: everything else is refused with a reason.
import {
  type Cidr,
  cidrContains,
  cidrCovers,
  cidrHasHostBits,
  cidrLast,
  formatCidr,
  formatIpv4,
  parseCidr,
  parseIpv4,
} from '../state/address.ts'
import {
  type Cidr6,
  cidr6Contains,
  cidr6HasHostBits,
  cidr6Overlaps,
  formatAddress6,
  formatCidr6,
  isInternet6,
  parseAddress6,
  parseCidr6,
  routeProblem6,
  siteProblem6,
} from '../state/address6.ts'
import { parseIpv6 } from './net/ip.ts'
import { ServiceError } from './service-error.ts'

/** No router forwards to these (RFC 6890, RFC 5771). */
const UNROUTABLE = [
  ['0.0.0.0/8', 'addresses of "this network"'],
  ['127.0.0.0/8', 'loopback addresses'],
  ['169.254.0.0/16', 'link-local addresses'],
  ['224.0.0.0/4', 'multicast addresses'],
  ['240.0.0.0/4', 'reserved addresses'],
].map(([text, what]) => ({ cidr: parseCidr(text)!, what }))

/** Canonical text of a prefix of either version that may be there already, whatever is thought of it. @throws ServiceError invalid */
export function plainPrefix(text: string): string {
  return text.includes(':') ? formatCidr6(parsePrefix6(text)) : formatCidr(parsePrefix(text))
}

function parsePrefix(text: string): Cidr {
  const cidr = parseCidr(text)
  if (!cidr) throw invalid(notAPrefix(text))
  if (cidrHasHostBits(text)) throw invalid(`${text} names a host; the prefix is ${formatCidr(cidr)}`)
  return cidr
}

function parsePrefix6(text: string): Cidr6 {
  const cidr = parseCidr6(text)
  if (!cidr) throw invalid(notAPrefix6(text))
  if (cidr6HasHostBits(text)) throw invalid(`${text} names a host; the prefix is ${formatCidr6(cidr)}`)
  return cidr
}

/** @param subnet the overlay's own @throws ServiceError invalid */
export function readPrefix(text: string, subnet: Cidr): Cidr {
  const cidr = parsePrefix(text)
  const plain = formatCidr(cidr)
  if (cidrCovers(subnet, cidr))
    throw invalid(`${plain} is part of the overlay's own subnet ${formatCidr(subnet)}; route another prefix`)
  const special = unroutable(cidr)
  if (special) throw invalid(`${plain} are ${special}, which nobody routes`)
  return cidr
}

/** A prefix that a client is added with. @param subnet6 the overlay's own, if it has IPv6 @throws ServiceError invalid */
export function readPrefix6(text: string, subnet6: Cidr6 | undefined): Cidr6 {
  return readBeyond6(text, subnet6, siteProblem6)
}

/** The same of a route, which may stand for the Internet, too. @throws ServiceError invalid */
export function readRoute6(text: string, subnet6: Cidr6 | undefined): Cidr6 {
  return readBeyond6(text, subnet6, routeProblem6)
}

function readBeyond6(
  text: string,
  subnet6: Cidr6 | undefined,
  problemOf: (cidr: Cidr6) => string | undefined,
): Cidr6 {
  const cidr = parsePrefix6(text)
  const plain = formatCidr6(cidr)
  if (subnet6 === undefined)
    throw invalid(
      `${plain} is IPv6, and this overlay has IPv4 only; \`init --subnet6\` makes one that has both`,
    )
  const problem = problemOf(cidr)
  if (cidr6Overlaps(cidr, subnet6) && !(isInternet6(cidr) && problem === undefined))
    throw invalid(`${plain} overlaps the overlay's own ${formatCidr6(subnet6)}`)
  if (problem) throw invalid(problem)
  return cidr
}

/** Canonical text. @throws ServiceError invalid */
export function readProbe(text: string, cidr: Cidr, subnet: Cidr): string {
  const address = parseIpv4(text)
  if (address === undefined) throw invalid(`"${text.slice(0, 80)}" is no IPv4 address to probe`)
  const shown = formatIpv4(address)
  if (!cidrContains(cidr, address))
    throw invalid(`${shown} is not in ${formatCidr(cidr)}; probe an address that the route leads to`)
  if (cidrContains(subnet, address))
    throw invalid(`${shown} is in the overlay itself; probe an address beyond it`)
  // Of more addresses than two, the first and the last are no host's (RFC 922; RFC 3021).
  if (cidr.length <= 30 && (address === cidr.address || address === cidrLast(cidr)))
    throw invalid(
      `${shown} is the ${address === cidr.address ? 'first' : 'last'} address of ${formatCidr(cidr)}, which no host has; probe a host's`,
    )
  const special = unroutable({ address, length: 32 })
  if (special) throw invalid(`${shown} is one of the ${special}, which answer nobody`)
  return shown
}

/** The same of IPv6. */
export function readProbe6(text: string, cidr: Cidr6, subnet6: Cidr6): string {
  const address = parseAddress6(text)
  if (address === undefined) throw invalid(`"${text.slice(0, 80)}" is no IPv6 address to probe`)
  const shown = formatAddress6(address)
  if (!cidr6Contains(cidr, address))
    throw invalid(`${shown} is not in ${formatCidr6(cidr)}; probe an address that the route leads to`)
  if (cidr6Contains(subnet6, address))
    throw invalid(`${shown} is in the overlay itself; probe an address beyond it`)
  if (siteProblem6({ address, length: 128 }) !== undefined)
    throw invalid(`${shown} is nothing that a host can have; probe a host's`)
  return shown
}

/** What they are, in words; undefined for addresses that a host may have. */
export function unroutable(cidr: Cidr): string | undefined {
  return UNROUTABLE.find(each => cidrCovers(each.cidr, cidr))?.what
}

function notAPrefix(text: string): string {
  const shown = text.slice(0, 80)
  if (parseCidr6(shown) !== undefined) return `${shown} is IPv6, and this takes IPv4 prefixes only`
  if (parseIpv4(shown) !== undefined) return `${shown} has no prefix length; one host is ${shown}/32`
  return `"${shown}" is no IPv4 prefix such as 192.168.5.0/24`
}

function notAPrefix6(text: string): string {
  const shown = text.slice(0, 80)
  return parseIpv6(shown) === undefined
    ? `"${shown}" is no IPv6 prefix such as 2001:db8:5::/48`
    : `${shown} has no prefix length; one host is ${shown}/128`
}

function invalid(message: string): ServiceError {
  return new ServiceError('invalid', message)
}
