// IPv6 addresses and prefixes: text as RFC 4291 section 2.2 reads it and RFC 5952 writes it; the overlay's own, which follow
// from the IPv4 overlay addresses.
import { formatIpv4, parseIpv4 } from './address.ts'

/** An IPv6 address as four unsigned 32-bit numbers, the highest first. */
export type Address6 = readonly [number, number, number, number]

/** An address of either version: IPv4 as u32. */
export type IpAddress = number | Address6

/** A prefix. `address` never has bits set beyond `length` when it came from this file. */
export interface Cidr6 {
  readonly address: Address6
  /** Prefix length in bits, 0 to 128. */
  readonly length: number
}

const ADDRESS_BITS = 128
const PREFIX_LENGTH = /^(?:0|[1-9][0-9]?|1[01][0-9]|12[0-8])$/
/** The overlay's IPv6 prefixes: an IPv4 address has room behind the longest; no site owns more than the shortest. */
export const SHORTEST_SUBNET6 = 32
export const LONGEST_SUBNET6 = 96
/** The shortest prefix behind a client: no registry hands out a larger one, so that shorter ones stand for the Internet. */
export const SHORTEST_SITE6 = 16
/** Global unicast (RFC 4291 section 2.4) and unique local addresses (RFC 4193). */
const UNICAST: readonly Cidr6[] = [
  { address: [0x20000000, 0, 0, 0], length: 3 },
  { address: [0xfc000000, 0, 0, 0], length: 7 },
]
/** Stock clients take interface prefixes from /64 to /124 only. */
const SHORTEST_ON_LINK = 64

/** The longest form: six full groups and a dotted quad. */
const MAX_IPV6_TEXT = 45
const GROUPS = 8
const GROUP = /^[0-9a-fA-F]{1,4}$/

/** Reads IPv6 text into 16 bytes, network order. No zone, brackets or prefix length. Undefined for anything else. */
export function parseIpv6(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length > MAX_IPV6_TEXT) return undefined
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const elided = halves.length === 2
  const head = parseGroups(halves[0], !elided)
  const tail = elided ? parseGroups(halves[1], true) : []
  if (head === undefined || tail === undefined) return undefined
  const given = head.length + tail.length
  // "::" stands for at least one group.
  if (elided ? given >= GROUPS : given !== GROUPS) return undefined
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  head.forEach((group, i) => {
    view.setUint16(i * 2, group)
  })
  tail.forEach((group, i) => {
    view.setUint16((GROUPS - tail.length + i) * 2, group)
  })
  return bytes
}

/** Colon-separated groups; the last may be a dotted quad, if nothing follows it in the address. */
function parseGroups(text: string, atEnd: boolean): number[] | undefined {
  if (text === '') return []
  const parts = text.split(':')
  if (parts.length > GROUPS) return undefined
  const groups: number[] = []
  for (const [i, part] of parts.entries()) {
    if (GROUP.test(part)) {
      groups.push(Number.parseInt(part, 16))
      continue
    }
    const quad = atEnd && i === parts.length - 1 ? parseIpv4(part) : undefined
    if (quad === undefined) return undefined
    groups.push(quad >>> 16, quad & 0xffff)
  }
  return groups
}

/**
 * Writes the 16 bytes at `offset` in the one form of RFC 5952: lower case, the longest run of zero groups elided (the
 * first of equals, never a single group), IPv4-mapped addresses with a dotted quad.
 */
export function formatIpv6(bytes: Uint8Array, offset = 0): string {
  const groups: number[] = []
  for (let i = 0; i < GROUPS; i++) groups.push((bytes[offset + i * 2] << 8) | bytes[offset + i * 2 + 1])
  if (groups[5] === 0xffff && groups.slice(0, 5).every(group => group === 0)) {
    return `::ffff:${formatIpv4(((groups[6] << 16) | groups[7]) >>> 0)}`
  }
  let start = 0
  let length = 0
  for (let i = 0; i < GROUPS; ) {
    let end = i
    while (end < GROUPS && groups[end] === 0) end++
    if (end - i > length) {
      start = i
      length = end - i
    }
    i = end + 1
  }
  const text = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map(group => group.toString(16))
      .join(':')
  return length < 2 ? text(0, GROUPS) : `${text(0, start)}::${text(start + length, GROUPS)}`
}

/** Reads IPv6 text; undefined for anything else. */
export function parseAddress6(text: string): Address6 | undefined {
  const bytes = parseIpv6(text)
  return bytes === undefined ? undefined : wordsOf(bytes)
}

/** Whether they are one, and of one version. */
export function isSameAddress(a: IpAddress, b: IpAddress): boolean {
  if (typeof a === 'number' || typeof b === 'number') return a === b
  return equal(a, b)
}

export function formatAddress6(address: Address6): string {
  const view = new DataView(new ArrayBuffer(16))
  for (const [i, word] of address.entries()) view.setUint32(4 * i, word)
  return formatIpv6(new Uint8Array(view.buffer))
}

/**
 * Reads `ADDRESS/LENGTH`. Host bits are cleared, so that one prefix has one form; whether the text had any is
 * `cidr6HasHostBits`. Undefined for malformed text only.
 */
export function parseCidr6(text: string): Cidr6 | undefined {
  const parts = split(text)
  return parts === undefined ? undefined : networkOf(parts.address, parts.length)
}

/** True for well-formed text that names a host inside the prefix rather than the prefix. */
export function cidr6HasHostBits(text: string): boolean {
  const parts = split(text)
  return parts !== undefined && !equal(networkOf(parts.address, parts.length).address, parts.address)
}

export function formatCidr6({ address, length }: Cidr6): string {
  return `${formatAddress6(address)}/${length}`
}

/** The netmask of a prefix length from 0 to 128. */
export function cidr6Mask(length: number): Address6 {
  const word = (index: number): number => {
    const bits = Math.min(32, Math.max(0, length - 32 * index))
    return bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0
  }
  return [word(0), word(1), word(2), word(3)]
}

export function cidr6Contains(cidr: Cidr6, address: Address6): boolean {
  return equal(networkOf(address, cidr.length).address, cidr.address)
}

export function cidr6Overlaps(a: Cidr6, b: Cidr6): boolean {
  return a.length <= b.length ? cidr6Contains(a, b.address) : cidr6Contains(b, a.address)
}

/** True when all of `inner` lies in `outer`; a prefix lies in itself. */
export function cidr6Covers(outer: Cidr6, inner: Cidr6): boolean {
  return outer.length <= inner.length && cidr6Contains(outer, inner.address)
}

/** What is left of `outer` without `inner`, as at most 128 prefixes; `outer` itself when the two do not meet. */
export function cidr6Without(outer: Cidr6, inner: Cidr6): Cidr6[] {
  if (cidr6Covers(inner, outer)) return []
  if (!cidr6Covers(outer, inner)) return [outer]
  const rest: Cidr6[] = []
  for (let length = outer.length + 1; length <= inner.length; length++) {
    // The half that `inner` is not in.
    const word = (length - 1) >>> 5
    const bit = 1 << (31 - ((length - 1) & 31))
    const address = inner.address.map((each, i) => (i === word ? each ^ bit : each)) as [
      number,
      number,
      number,
      number,
    ]
    rest.push(networkOf(address, length))
  }
  return rest
}

/** The first address, and the one behind the last, as numbers. */
export function cidr6Range({ address, length }: Cidr6): { first: bigint; end: bigint } {
  const first = networkOf(address, length).address.reduce((sum, word) => (sum << 32n) | BigInt(word), 0n)
  return { first, end: first + (1n << BigInt(ADDRESS_BITS - length)) }
}

/** The address that is this number. */
export function address6Of(number: bigint): Address6 {
  const word = (index: number) => Number((number >> BigInt(32 * (3 - index))) & 0xffffffffn)
  return [word(0), word(1), word(2), word(3)]
}

/** Order of prefixes by address, then shorter first. */
export function compareCidr6(a: Cidr6, b: Cidr6): number {
  const index = a.address.findIndex((word, i) => word !== b.address[i])
  return index < 0 ? a.length - b.length : a.address[index] - b.address[index]
}

/** Why no client can have this prefix behind it, in words; undefined when one can. */
export function siteProblem6(cidr: Cidr6): string | undefined {
  const text = formatCidr6(cidr)
  if (!isUnicast(cidr))
    return `${text} is nothing that a host can have; take a prefix of fc00::/7 or 2000::/3`
  return cidr.length < SHORTEST_SITE6
    ? `${text} is more than anyone owns; take a prefix of /${SHORTEST_SITE6} or longer`
    : undefined
}

/** Why nothing can lead to this prefix, in words; undefined when something can. A part of the Internet may be of any size. */
export function routeProblem6(cidr: Cidr6): string | undefined {
  return isInternet6(cidr) ? undefined : siteProblem6(cidr)
}

/** Whether it stands for the Internet: all addresses, or more of the global ones than anyone owns. */
export function isInternet6(cidr: Cidr6): boolean {
  return cidr.length === 0 || (cidr.length < SHORTEST_SITE6 && cidr6Covers(UNICAST[0], cidr))
}

/** Why this cannot be the IPv6 side of an overlay, in words; undefined when it can. */
export function subnet6Problem(subnet6: Cidr6): string | undefined {
  const text = formatCidr6(subnet6)
  if (!isUnicast(subnet6)) {
    return `${text} cannot be an overlay; take a prefix of fc00::/7 (unique local) or 2000::/3 (global)`
  }
  if (subnet6.length >= SHORTEST_SUBNET6 && subnet6.length <= LONGEST_SUBNET6) return undefined
  return `${text} cannot be an overlay: the IPv4 address makes the last 32 bits; take a prefix from /${SHORTEST_SUBNET6} to /${LONGEST_SUBNET6}`
}

/**
 * The IPv6 address that goes with an IPv4 overlay address, whose 32 bits are its last: whoever holds one holds both.
 * @param address u32
 */
export function overlayAddress6(subnet6: Cidr6, address: number): Address6 {
  const [first, second, third] = subnet6.address
  return [first, second, third, address >>> 0]
}

/** The prefix length that an interface of the overlay has: all overlay addresses lie in the first /64 at most. */
export function onLinkLength(subnet6: Cidr6): number {
  return Math.max(SHORTEST_ON_LINK, subnet6.length)
}

function isUnicast(cidr: Cidr6): boolean {
  return UNICAST.some(range => cidr.length >= range.length && cidr6Contains(range, cidr.address))
}

function split(text: string): Cidr6 | undefined {
  const slash = text.indexOf('/')
  if (slash < 0 || slash > MAX_IPV6_TEXT) return undefined
  const address = parseAddress6(text.slice(0, slash))
  const length = text.slice(slash + 1)
  if (address === undefined || !PREFIX_LENGTH.test(length)) return undefined
  return { address, length: Number(length) }
}

function networkOf(address: Address6, length: number): Cidr6 {
  const mask = cidr6Mask(Math.min(ADDRESS_BITS, length))
  const word = (index: 0 | 1 | 2 | 3): number => (address[index] & mask[index]) >>> 0
  return { address: [word(0), word(1), word(2), word(3)], length }
}

function equal(a: Address6, b: Address6): boolean {
  return a.every((word, index) => word === b[index])
}

function wordsOf(bytes: Uint8Array<ArrayBuffer>): Address6 {
  const view = new DataView(bytes.buffer)
  return [view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12)]
}
