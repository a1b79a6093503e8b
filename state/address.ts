// IPv4 addresses and prefixes of the overlay: strict text forms (RFC 6943 section 3.1.1, "strict") over u32 numbers.

declare const overlayAddressBrand: unique symbol

/** An IPv4 address as an unsigned 32-bit number in host order: 10.77.0.1 is 0x0a4d0001. */
export type OverlayAddress = number & { readonly [overlayAddressBrand]: true }

/** A prefix. `address` never has bits set beyond `length` when it came from this file. */
export interface Cidr {
  readonly address: number
  /** Prefix length in bits, 0 to 32. */
  readonly length: number
}

const PREFIX_LENGTH = /^(?:0|[1-9]|[12][0-9]|3[0-2])$/
/** `255.255.255.255/32`, and without the length: nothing longer is worth a look. */
const MAX_TEXT = 18
const MAX_ADDRESS = 15
const [ZERO, NINE, DOT] = [48, 57, 46]

/** Reads dotted-quad text; no leading zeros, spaces, hex or short forms. Undefined for anything else. */
export function parseIpv4(text: string): OverlayAddress | undefined {
  if (text.length > MAX_ADDRESS) return undefined
  let address = 0
  let octets = 0
  for (let at = 0; ; at++) {
    const start = at
    let octet = 0
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at)
      if (code < ZERO || code > NINE) break
      octet = octet * 10 + code - ZERO
    }
    const digits = at - start
    if (digits === 0 || octet > 255 || (digits > 1 && text.charCodeAt(start) === ZERO)) return undefined
    address = address * 256 + octet
    if (++octets === 4) return at === text.length ? (address as OverlayAddress) : undefined
    if (text.charCodeAt(at) !== DOT) return undefined
  }
}

/** Writes a u32 as dotted-quad text; bits beyond the 32nd are ignored. */
export function formatIpv4(address: number): string {
  return `${(address >>> 24) & 255}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`
}

/** The netmask of a prefix length from 0 to 32, as u32. */
export function cidrMask(length: number): number {
  return length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0
}

/**
 * Reads `A.B.C.D/LENGTH`. Host bits are cleared, so that one prefix has one form; whether the text had any is
 * `cidrHasHostBits`. Undefined for malformed text only.
 */
export function parseCidr(text: string): Cidr | undefined {
  const parts = split(text)
  if (parts === undefined) return undefined
  return { address: (parts.address & cidrMask(parts.length)) >>> 0, length: parts.length }
}

/** True for well-formed text such as `10.77.0.9/16` that names a host inside the prefix rather than the prefix. */
export function cidrHasHostBits(text: string): boolean {
  const parts = split(text)
  return parts !== undefined && (parts.address & ~cidrMask(parts.length)) !== 0
}

/** Writes a prefix as `A.B.C.D/LENGTH`. */
export function formatCidr(cidr: Cidr): string {
  return `${formatIpv4(cidr.address)}/${cidr.length}`
}

export function cidrContains(cidr: Cidr, address: number): boolean {
  return ((address ^ cidr.address) & cidrMask(cidr.length)) === 0
}

export function cidrOverlaps(a: Cidr, b: Cidr): boolean {
  return ((a.address ^ b.address) & cidrMask(Math.min(a.length, b.length))) === 0
}

/** True when all of `inner` lies in `outer`; a prefix lies in itself. */
export function cidrCovers(outer: Cidr, inner: Cidr): boolean {
  return outer.length <= inner.length && cidrContains(outer, inner.address)
}

/** What is left of `outer` without `inner`, as at most 32 prefixes; `outer` itself when the two do not meet. */
export function cidrWithout(outer: Cidr, inner: Cidr): Cidr[] {
  if (cidrCovers(inner, outer)) return []
  if (!cidrCovers(outer, inner)) return [outer]
  const rest: Cidr[] = []
  for (let length = outer.length + 1; length <= inner.length; length++) {
    // The half that `inner` is not in.
    const sibling = (inner.address ^ (1 << (32 - length))) & cidrMask(length)
    rest.push({ address: sibling >>> 0, length })
  }
  return rest
}

/** Addresses in the prefix, from 1 to 2^32. */
export function cidrSize(cidr: Cidr): number {
  return 2 ** (32 - cidr.length)
}

/** The highest address of the prefix: the broadcast address of a subnet. */
export function cidrLast(cidr: Cidr): OverlayAddress {
  return ((cidr.address | ~cidrMask(cidr.length)) >>> 0) as OverlayAddress
}

/** Order of prefixes by address, then shorter first: the one order in which views and tables list them. */
export function compareCidr(a: Cidr, b: Cidr): number {
  return a.address - b.address || a.length - b.length
}

function split(text: string): Cidr | undefined {
  if (text.length > MAX_TEXT) return undefined
  const slash = text.indexOf('/')
  if (slash < 0) return undefined
  const address = parseIpv4(text.slice(0, slash))
  const length = text.slice(slash + 1)
  if (address === undefined || !PREFIX_LENGTH.test(length)) return undefined
  return { address, length: Number(length) }
}
