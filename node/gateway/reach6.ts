// Which IPv6 addresses a gateway opens, as reach.ts has it for IPv4. Pure.
import { type Cidr6, cidr6Covers, cidr6Range, parseCidr6, SHORTEST_SITE6 } from '../../state/address6.ts'
import { flatten } from '../switch/ranges.ts'

/** Addresses from `first` to `last`, both included. */
export interface AddressRange6 {
  readonly first: bigint
  readonly last: bigint
}

/** Disjoint and in order, neighbours joined. */
export interface Reach6 {
  readonly forwarded: readonly AddressRange6[]
  readonly masqueraded: readonly AddressRange6[]
}

/** Shorter prefixes mean the Internet. */
export const INTERNET_LENGTH6 = SHORTEST_SITE6

/** All that is the Internet (RFC 4291 section 2.4): no unique local, link-local, multicast and reserved addresses. */
export const GLOBAL_UNICAST: Cidr6 = parseCidr6('2000::/3')!

const CLOSED = 0
const FORWARDED = 1
const MASQUERADED = 2
const END = 1n << 128n

/**
 * For each address the longest prefix decides; of equal ones, that with masquerade. `subnet` itself is never part of it.
 * @param elsewhere prefixes that others reach
 */
export function reach6Of(
  forwarded: readonly Cidr6[],
  masqueraded: readonly Cidr6[],
  subnet: Cidr6,
  elsewhere: readonly Cidr6[],
): Reach6 {
  const entry = (kind: number) => (cidr: Cidr6) => ({ cidr, kind })
  const entries = [
    ...elsewhere.map(entry(CLOSED)),
    ...forwarded.map(entry(FORWARDED)),
    ...masqueraded.map(entry(MASQUERADED)),
  ].filter(({ cidr }) => !cidr6Covers(subnet, cidr))
  // What is cut down to the Internet may have equals then, of which the later counts: the longer was it before.
  entries.sort((a, b) => a.cidr.length - b.cidr.length)
  const prefixes = [...entries, { cidr: subnet, kind: CLOSED }].flatMap(({ cidr, kind }) => {
    const inside = withinInternet(cidr)
    return inside === undefined ? [] : [{ ...cidr6Range(inside), nextHop: kind }]
  })
  const { starts, nextHops } = flatten(prefixes, 0n, END, CLOSED)
  const ranges = (kind: number) =>
    starts.flatMap((first, i) => (nextHops[i] === kind ? [{ first, last: (starts[i + 1] ?? END) - 1n }] : []))
  return { forwarded: ranges(FORWARDED), masqueraded: ranges(MASQUERADED) }
}

/** What a prefix means; undefined for a short one that is not of the Internet. */
function withinInternet(cidr: Cidr6): Cidr6 | undefined {
  if (cidr.length >= INTERNET_LENGTH6 || cidr6Covers(GLOBAL_UNICAST, cidr)) return cidr
  return cidr6Covers(cidr, GLOBAL_UNICAST) ? GLOBAL_UNICAST : undefined
}
