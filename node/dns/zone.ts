// What the overlay's own part of DNS holds: names under the mesh's domain, and the reverse of its subnets. Pure: a question and
// a view of the names make an answer (RFC 1034 section 4.3.2; what is not there by RFC 2308 and RFC 8020; ANY by RFC 8482).
import type { Answer } from 'dns-packet'
import { type Cidr, cidrContains, formatIpv4, type OverlayAddress } from '../../state/address.ts'
import {
  type Address6,
  type Cidr6,
  cidr6Contains,
  formatAddress6,
  isSameAddress,
  overlayAddress6,
} from '../../state/address6.ts'

/** The names that there are now. Names are in lower case and relative to the domain; addresses IPv4. */
export interface NameView {
  /** Such as `prod.internal`. */
  readonly domain: string
  readonly subnet: Cidr
  /** What the domain itself stands for: every controller answers there. */
  readonly gateway: OverlayAddress
  find(name: string): OverlayAddress | undefined
  /** Whether a name ends with a dot and this one. */
  hasNamesBelow(name: string): boolean
  /** A name that `find` gives this address for. */
  nameOf(address: OverlayAddress): string | undefined
  /** Undefined where the overlay has no IPv6. */
  readonly subnet6?: Cidr6
}

export interface ZoneAnswer {
  /** False: the name is there, whether or not it has records of that type. */
  missing: boolean
  answers: Answer[]
  /** The zone's SOA when there is no answer, for how long that may be kept. */
  authorities: Answer[]
}

/** Seconds. Clients are added and revoked, and that is to count at once. */
export const TTL = 5
const REVERSE = '.in-addr.arpa'
const REVERSE6 = '.ip6.arpa'
const NIBBLE = /^[0-9a-f]$/
const OCTET = /^(?:0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])$/

/**
 * The answer to a question of class IN.
 * @param name as it was asked, in any case; without its last dot
 * @param type such as `A`
 * @returns undefined for a name that is not the overlay's
 */
export function answerFromZone(name: string, type: string, view: NameView): ZoneAnswer | undefined {
  const lower = name.toLowerCase()
  if (lower === view.domain) return found(name, type, view, view.gateway, true)
  if (lower.endsWith(`.${view.domain}`)) {
    const relative = lower.slice(0, -view.domain.length - 1)
    const address = view.find(relative)
    if (address !== undefined) return found(name, type, view, address)
    return nothing(view, view.domain, !view.hasNamesBelow(relative))
  }
  if (lower.endsWith(REVERSE6)) return reverse6(name, lower, type, view)
  return lower.endsWith(REVERSE) ? reverse(name, lower, type, view) : undefined
}

function found(
  name: string,
  type: string,
  view: NameView,
  address: OverlayAddress,
  isApex = false,
): ZoneAnswer {
  const answers = isApex ? ofApex(name, type, view) : []
  if (asks(type, 'A')) answers.push({ name, type: 'A', ttl: TTL, data: formatIpv4(address) })
  const { subnet6 } = view
  if (subnet6 !== undefined && asks(type, 'AAAA'))
    answers.push({ name, type: 'AAAA', ttl: TTL, data: formatAddress6(overlayAddress6(subnet6, address)) })
  return answers.length > 0 ? { missing: false, answers, authorities: [] } : nothing(view, view.domain, false)
}

/**
 * Addresses of the subnet. Its zones are cut at the octets: a /20 is sixteen zones of 256 addresses, and what is longer
 * than /24 a zone for each address, so that none claims what is not the overlay's.
 */
function reverse(name: string, lower: string, type: string, view: NameView): ZoneAnswer | undefined {
  const labels = lower.slice(0, -REVERSE.length).split('.')
  const octets = leading(labels, OCTET, 4)
  const address = octets.reduce(
    (sum, octet, i) => sum + Number(octet) * 2 ** (24 - 8 * i),
    0,
  ) as OverlayAddress
  if (octets.length * 8 < view.subnet.length || !cidrContains(view.subnet, address)) return undefined
  const cut = Math.max(1, Math.ceil(view.subnet.length / 8))
  const apex = `${octets.slice(0, cut).reverse().join('.')}${REVERSE}`
  if (octets.length < labels.length) return nothing(view, apex, true)
  const target = octets.length === 4 ? pointer(view, address) : undefined
  return pointing(name, type, view, {
    apex,
    isApex: octets.length === cut,
    isWhole: octets.length === 4,
    target,
  })
}

/** The same of IPv6 (RFC 3596 section 2.5), with zones cut at the half octets. */
function reverse6(name: string, lower: string, type: string, view: NameView): ZoneAnswer | undefined {
  const { subnet, subnet6 } = view
  if (subnet6 === undefined) return undefined
  const labels = lower.slice(0, -REVERSE6.length).split('.')
  const nibbles = leading(labels, NIBBLE, 32)
  const digits = nibbles.join('').padEnd(32, '0')
  const word = (i: number): number => Number.parseInt(digits.slice(8 * i, 8 * i + 8), 16)
  const address6: Address6 = [word(0), word(1), word(2), word(3)]
  if (nibbles.length * 4 < subnet6.length || !cidr6Contains(subnet6, address6)) return undefined
  const cut = Math.ceil(subnet6.length / 4)
  const apex = `${nibbles.slice(0, cut).reverse().join('.')}${REVERSE6}`
  if (nibbles.length < labels.length) return nothing(view, apex, true)
  const isWhole = nibbles.length === 32
  const address = word(3) as OverlayAddress
  // Between the prefix and the IPv4 address there is nothing.
  const isOne = isWhole && cidrContains(subnet, address)
  const isOwn = isOne && isSameAddress(overlayAddress6(subnet6, address), address6)
  const target = isOwn ? pointer(view, address) : undefined
  return pointing(name, type, view, { apex, isApex: nibbles.length === cut, isWhole, target })
}

/** The most significant parts of an address, the first of them first, as far as they are parts. */
function leading(labels: readonly string[], part: RegExp, most: number): string[] {
  const parts: string[] = []
  for (let i = labels.length - 1; i >= 0 && parts.length < most && part.test(labels[i]); i--)
    parts.push(labels[i])
  return parts
}

interface Reversed {
  readonly apex: string
  readonly isApex: boolean
  /** It is of one address, whose name is `target`. */
  readonly isWhole: boolean
  readonly target: string | undefined
}

function pointing(name: string, type: string, view: NameView, of: Reversed): ZoneAnswer {
  const { apex, isApex, isWhole, target } = of
  const answers = isApex ? ofApex(name, type, view) : []
  if (target !== undefined && asks(type, 'PTR')) answers.push({ name, type: 'PTR', ttl: TTL, data: target })
  if (answers.length > 0) return { missing: false, answers, authorities: [] }
  return nothing(view, apex, isWhole && target === undefined && !isApex)
}

function pointer(view: NameView, address: OverlayAddress): string | undefined {
  if (address === view.gateway) return view.domain
  const name = view.nameOf(address)
  return name === undefined ? undefined : `${name}.${view.domain}`
}

function ofApex(name: string, type: string, view: NameView): Answer[] {
  const answers: Answer[] = []
  if (asks(type, 'SOA')) answers.push(soa(view, name))
  if (asks(type, 'NS')) answers.push({ name, type: 'NS', ttl: TTL, data: view.domain })
  return answers
}

function nothing(view: NameView, apex: string, missing: boolean): ZoneAnswer {
  return { missing, answers: [], authorities: [soa(view, apex)] }
}

/** There are no secondaries, so the serial number never changes. */
function soa({ domain }: NameView, name: string): Answer {
  return {
    name,
    type: 'SOA',
    ttl: TTL,
    data: {
      mname: domain,
      rname: `hostmaster.${domain}`,
      serial: 1,
      refresh: 3600,
      retry: 600,
      expire: 86_400,
      minimum: TTL,
    },
  }
}

function asks(type: string, record: string): boolean {
  return type === record || type === 'ANY'
}
