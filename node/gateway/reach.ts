// Which addresses a gateway opens: overlapping prefixes resolved, longest first, into ranges that meet nowhere. Pure.
import { type Cidr, cidrLast, compareCidr, parseCidr } from '../../state/address.ts'

/** Addresses from `first` to `last`, both u32 and included. */
export interface AddressRange {
  readonly first: number
  readonly last: number
}

/** Disjoint and in order, neighbours joined. */
export interface Reach {
  readonly forwarded: readonly AddressRange[]
  readonly masqueraded: readonly AddressRange[]
}

/** Shorter prefixes mean the Internet; the longest special-purpose blocks of one prefix are a /8. */
export const INTERNET_LENGTH = 8

/** What is not the Internet: private-use, shared, link-local, loopback, multicast and reserved (RFC 6890, RFC 5771). */
const SPECIAL_PURPOSE: readonly Cidr[] = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '224.0.0.0/4',
  '240.0.0.0/4',
].map(text => parseCidr(text)!)

type Kind = 'special' | 'closed' | 'forwarded' | 'masqueraded'

/** Of equal prefixes the later kind counts. */
const ORDER: readonly Kind[] = ['special', 'closed', 'forwarded', 'masqueraded']

interface Block {
  cidr: Cidr
  last: number
  kind: Kind
}

/**
 * For each address the longest prefix decides; of equal ones, that with masquerade. `subnet` itself is never part of it.
 * @param elsewhere prefixes that others reach
 */
export function reachOf(
  forwarded: readonly Cidr[],
  masqueraded: readonly Cidr[],
  subnet: Cidr,
  elsewhere: readonly Cidr[],
): Reach {
  const block = (kind: Kind) => (cidr: Cidr) => ({ cidr, last: cidrLast(cidr), kind })
  const blocks: Block[] = [
    ...SPECIAL_PURPOSE.map(block('special')),
    ...elsewhere.map(block('closed')),
    ...forwarded.map(block('forwarded')),
    ...masqueraded.map(block('masqueraded')),
  ].filter(({ cidr }) => !(subnet.length <= cidr.length && inside(cidr, subnet)))
  blocks.push(block('closed')(subnet))
  blocks.sort((a, b) => compareCidr(a.cidr, b.cidr) || ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind))

  const reach: Record<'forwarded' | 'masqueraded', AddressRange[]> = { forwarded: [], masqueraded: [] }
  const open: Block[] = []
  let next = 0
  const give = (end: number, kind: Kind): void => {
    if ((kind === 'forwarded' || kind === 'masqueraded') && end >= next)
      join(reach[kind], { first: next, last: end })
    next = Math.max(next, end + 1)
  }
  const closeBefore = (address: number): void => {
    for (let top = open.at(-1); top !== undefined && top.last < address; top = open.at(-1)) {
      give(top.last, top.kind)
      open.pop()
    }
  }
  for (const each of blocks) {
    closeBefore(each.cidr.address)
    const around = open.at(-1)
    if (around !== undefined) give(each.cidr.address - 1, around.kind)
    next = each.cidr.address
    const named = around !== undefined && around.kind !== 'special' && around.cidr.length >= INTERNET_LENGTH
    open.push(each.kind === 'special' && named ? { ...each, kind: around.kind, cidr: around.cidr } : each)
  }
  closeBefore(Number.POSITIVE_INFINITY)
  return reach
}

function inside(cidr: Cidr, outer: Cidr): boolean {
  return cidr.address >= outer.address && cidrLast(cidr) <= cidrLast(outer)
}

function join(ranges: AddressRange[], range: AddressRange): void {
  const before = ranges.at(-1)
  if (before?.last === range.first - 1) ranges[ranges.length - 1] = { first: before.first, last: range.last }
  else ranges.push(range)
}
