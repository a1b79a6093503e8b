// The nftables ruleset of a gateway, as text for `nft -f -`. Pure. nft(8) describes the language.
import { type Cidr, cidrCovers, formatCidr, formatIpv4 } from '../../state/address.ts'
import { address6Of, formatAddress6, formatCidr6 } from '../../state/address6.ts'
import type { GatewayDescription } from './description.ts'
import { FORWARDING4, FORWARDING6 } from './forwarding.ts'
import { type AddressRange, reachOf } from './reach.ts'
import { type AddressRange6, reach6Of } from './reach6.ts'

/** Tables of controllers begin so; nothing else on the machine is touched. */
export const TABLE_PREFIX = 'overmesh-'

export interface Ruleset {
  /** One transaction that puts the table in the place of any of that name. */
  readonly text: string
  /** Whether anything is forwarded, by version of IP, so that the kernel must do so at all. */
  readonly forwards: Readonly<Record<4 | 6, boolean>>
}

/** What is open of one version of IP, in the language of rules. */
interface Open {
  /** Key of its addresses. */
  readonly ip: 'ip' | 'ip6'
  /** Ends the names of its sets. */
  readonly suffix: '' | '6'
  readonly subnet: string
  readonly forwarded: readonly string[]
  readonly masqueraded: readonly string[]
}

/**
 * @param table begins with `TABLE_PREFIX`
 * @param marks names of empty chains, for other controllers: how forwarding was before controllers came
 */
export function rulesetOf(table: string, description: GatewayDescription, marks: readonly string[]): Ruleset {
  const { tunName, tunIndex } = description
  const [four, six] = [open4(description), open6(description)]
  const open = six === undefined ? [four] : [four, six]
  const attached = attachedOf(description)
  const forwards = { 4: isOpen(four) || attached !== undefined, 6: six !== undefined && isOpen(six) }
  const hides = open.filter(each => each.masqueraded.length > 0)
  const tun = `"${tunName}"`
  // One that was made anew has the name, one that was renamed the number: neither passes for an interface of others.
  const [isOther, leadsToOther] = ['iif', 'oif'].map(key =>
    tunIndex === undefined ? `${key}name != ${tun}` : `${key} != ${tunIndex} ${key}name != ${tun}`,
  )
  const lines = [
    ...open.flatMap(sets),
    ...(attached?.set ?? []),
    ...[FORWARDING4, FORWARDING6].flatMap(({ version, mark }) => (forwards[version] ? [empty(mark)] : [])),
    ...marks.map(empty),
    // The machine's other addresses are closed like its other networks.
    ...chain('input', 'type filter hook input priority filter', [
      `${isOther} accept`,
      'ip6 daddr { fe80::/10, ff00::/8 } accept',
      ...open.flatMap(({ ip, suffix }) =>
        ['overlay', 'forwarded', 'masqueraded'].map(name => `${ip} daddr @${name}${suffix} accept`),
      ),
      'counter drop',
    ]),
    ...chain('forward', 'type filter hook forward priority filter', [
      `${isOther} ${leadsToOther} accept`,
      // It has the number alone.
      ...(tunIndex === undefined ? [] : [`iifname != ${tun} oifname != ${tun} counter drop`]),
      // Nothing that came out of the overlay goes back into it: the switch would have sent it on itself.
      `iifname ${tun} oifname ${tun} counter drop`,
      ...(attached?.sealing(tun) ?? []),
      ...(forwards[4] || forwards[6] ? [...ANSWERING, ...open.flatMap(each => passing(tun, each))] : []),
      ...(attached?.passing(tun) ?? []),
      'counter drop',
    ]),
    // A packet of the overlay to a site is routed back to where it came from, and there is no better way to tell its sender.
    ...(attached?.isByKernel
      ? chain('output', 'type filter hook output priority filter', [`oifname ${tun} icmp type redirect drop`])
      : []),
    ...(hides.length === 0
      ? []
      : chain('postrouting', 'type nat hook postrouting priority srcnat', [
          `oifname ${tun} accept`,
          ...(attached === undefined ? [] : ['ip daddr @sites accept']),
          ...hides.flatMap(each => hiding(tun, each)),
        ])),
  ]
  const body = lines.map(line => `  ${line}\n`).join('')
  return { text: `${removalOf(table)}table inet ${table} {\n${body}}\n`, forwards }
}

/** Removes the table, whether it is there or not. */
export function removalOf(table: string): string {
  return `add table inet ${table}\ndelete table inet ${table}\n`
}

interface Attached {
  readonly set: string[]
  /** The kernel does ESP. */
  readonly isByKernel: boolean
  /** Nothing from a site comes in, and nothing to it goes out, in clear or under another site's addresses. */
  sealing(tun: string): string[]
  passing(tun: string): string[]
}

function attachedOf({ attached }: GatewayDescription): Attached | undefined {
  if (attached === undefined || attached.expected.length === 0) return undefined
  const { device } = attached
  const [from, notFrom] =
    device === undefined ? ['meta ipsec exists', 'meta ipsec missing'] : matches('iifname', device)
  const [to, notTo] =
    device === undefined ? ['rt ipsec exists', 'rt ipsec missing'] : matches('oifname', device)
  return {
    isByKernel: device === undefined,
    set: [
      ...set('sites', merged(attached.prefixes).map(formatCidr)),
      ...set('expected', merged(attached.expected).map(formatCidr)),
    ],
    sealing: tun => [
      `oifname ${tun} ip saddr @sites ${notFrom} counter drop`,
      `oifname ${tun} ${from} ip saddr != @expected counter drop`,
      `iifname ${tun} ip daddr @sites ${notTo} counter drop`,
    ],
    passing: tun => [
      `iifname ${tun} ip daddr @sites ${to} accept`,
      `oifname ${tun} ip saddr @expected ${from} accept`,
    ],
  }
}

function matches(key: string, device: string): [is: string, isNot: string] {
  return [`${key} "${device}"`, `${key} != "${device}"`]
}

/** Without those that lie in others: an interval set takes each address once. */
function merged(prefixes: readonly Cidr[]): Cidr[] {
  const isInside = (inner: Cidr, outer: Cidr) => inner !== outer && cidrCovers(outer, inner)
  const unique = [...new Map(prefixes.map(cidr => [formatCidr(cidr), cidr])).values()]
  return unique.filter(cidr => !unique.some(other => isInside(cidr, other)))
}

const ANSWERING = [
  // The lower of the MTUs of both ways; only ever made smaller.
  'tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu',
  // In the direction of the first packet the prefixes always decide, so that a route that is removed ends what used it.
  'ct direction reply ct state established,related accept',
  'ct state related accept',
]

function passing(tun: string, { ip, suffix, masqueraded }: Open): string[] {
  return [
    `iifname ${tun} ${ip} daddr @forwarded${suffix} accept`,
    `oifname ${tun} ${ip} saddr @forwarded${suffix} accept`,
    // What conntrack cannot place would leave with the source address of the overlay.
    ...(masqueraded.length > 0
      ? [`iifname ${tun} ct state new,established ${ip} daddr @masqueraded${suffix} accept`]
      : []),
  ]
}

function hiding(tun: string, { ip, suffix }: Open): string[] {
  return [
    // Before Linux 5.7 the first does not match here; the second does without.
    `iifname ${tun} ${ip} daddr @masqueraded${suffix} masquerade`,
    `${ip} saddr @overlay${suffix} ${ip} daddr @masqueraded${suffix} masquerade`,
  ]
}

function open4({ subnet, forwarded, masqueraded, kernelRoutes }: GatewayDescription): Open {
  const reach = reachOf(forwarded, masqueraded, subnet, kernelRoutes)
  return {
    ...{ ip: 'ip', suffix: '', subnet: formatCidr(subnet) },
    forwarded: reach.forwarded.map(formatRange),
    masqueraded: reach.masqueraded.map(formatRange),
  }
}

function open6({ six }: GatewayDescription): Open | undefined {
  if (six === undefined) return undefined
  const reach = reach6Of(six.forwarded, six.masqueraded, six.subnet, six.kernelRoutes)
  return {
    ...{ ip: 'ip6', suffix: '6', subnet: formatCidr6(six.subnet) },
    forwarded: reach.forwarded.map(formatRange6),
    masqueraded: reach.masqueraded.map(formatRange6),
  }
}

function isOpen({ forwarded, masqueraded }: Open): boolean {
  return forwarded.length + masqueraded.length > 0
}

function sets({ ip, suffix, subnet, forwarded, masqueraded }: Open): string[] {
  const type = ip === 'ip' ? 'ipv4_addr' : 'ipv6_addr'
  return [
    ...set(`overlay${suffix}`, [subnet], type),
    ...set(`forwarded${suffix}`, forwarded, type),
    ...set(`masqueraded${suffix}`, masqueraded, type),
  ]
}

function set(name: string, elements: readonly string[], type = 'ipv4_addr'): string[] {
  const listed = elements.length === 0 ? [] : [`  elements = { ${elements.join(', ')} }`]
  return [`set ${name} {`, `  type ${type}`, '  flags interval', ...listed, '}']
}

function empty(name: string): string {
  return `chain ${name} { }`
}

function chain(name: string, hook: string, rules: string[]): string[] {
  return [`chain ${name} {`, `  ${hook}; policy accept;`, ...rules.map(rule => `  ${rule}`), '}']
}

function formatRange6({ first, last }: AddressRange6): string {
  const [from, to] = [first, last].map(each => formatAddress6(address6Of(each)))
  return first === last ? from : `${from}-${to}`
}

function formatRange({ first, last }: AddressRange): string {
  return first === last ? formatIpv4(first) : `${formatIpv4(first)}-${formatIpv4(last)}`
}
