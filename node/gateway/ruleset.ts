// The nftables ruleset of a gateway, as text for `nft -f -`. Pure. nft(8) describes the language.
import { type Cidr, cidrCovers, formatCidr, formatIpv4 } from '../../state/address.ts'
import type { GatewayDescription } from './description.ts'
import { type AddressRange, reachOf } from './reach.ts'

/** Tables of controllers begin so; nothing else on the machine is touched. */
export const TABLE_PREFIX = 'overmesh-'
/** An empty chain that says: this table's controller forwards. Others on the same machine look for it. */
export const FORWARDS_MARK = 'forwards'
/** An empty chain that says: forwarding was off before controllers came. */
export const WAS_OFF_MARK = 'forwarding-was-off'

export interface Ruleset {
  /** One transaction that puts the table in the place of any of that name. */
  readonly text: string
  /** Whether anything is forwarded, so that the kernel must do so at all. */
  readonly forwards: boolean
}

/**
 * @param table begins with `TABLE_PREFIX`
 * @param wasOff forwarding was off before controllers came
 */
export function rulesetOf(table: string, description: GatewayDescription, wasOff: boolean): Ruleset {
  const { tunName, subnet, subnet6, forwarded, masqueraded, kernelRoutes } = description
  const reach = reachOf(forwarded, masqueraded, subnet, kernelRoutes)
  const attached = attachedOf(description)
  const forwards = reach.forwarded.length + reach.masqueraded.length > 0 || attached !== undefined
  const tun = `"${tunName}"`
  const local6 = ['fe80::/10', 'ff00::/8', ...(subnet6 === undefined ? [] : [subnet6])]
  const lines = [
    ...set('overlay', [formatCidr(subnet)]),
    ...set('forwarded', reach.forwarded.map(formatRange)),
    ...set('masqueraded', reach.masqueraded.map(formatRange)),
    ...(attached?.set ?? []),
    ...(forwards ? [`chain ${FORWARDS_MARK} { }`] : []),
    ...(wasOff ? [`chain ${WAS_OFF_MARK} { }`] : []),
    // The machine's other addresses are closed like its other networks.
    ...chain('input', 'type filter hook input priority filter', [
      `iifname != ${tun} accept`,
      'ip daddr @overlay accept',
      'ip daddr @forwarded accept',
      'ip daddr @masqueraded accept',
      `ip6 daddr { ${local6.join(', ')} } accept`,
      'counter drop',
    ]),
    ...chain('forward', 'type filter hook forward priority filter', [
      `iifname != ${tun} oifname != ${tun} accept`,
      // Nothing that came out of the overlay goes back into it: the switch would have sent it on itself.
      `iifname ${tun} oifname ${tun} counter drop`,
      ...(attached?.sealing(tun) ?? []),
      ...(forwards ? passing(tun, reach.masqueraded.length > 0) : []),
      ...(attached?.passing(tun) ?? []),
      'counter drop',
    ]),
    ...(reach.masqueraded.length === 0
      ? []
      : chain('postrouting', 'type nat hook postrouting priority srcnat', [
          `oifname ${tun} accept`,
          ...(attached === undefined ? [] : ['ip daddr @sites accept']),
          // Before Linux 5.7 the first does not match here; the second does without.
          `iifname ${tun} ip daddr @masqueraded masquerade`,
          'ip saddr @overlay ip daddr @masqueraded masquerade',
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

function passing(tun: string, masquerade: boolean): string[] {
  return [
    // The lower of the MTUs of both ways; only ever made smaller.
    'tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu',
    // In the direction of the first packet the prefixes always decide, so that a route that is removed ends what used it.
    'ct direction reply ct state established,related accept',
    'ct state related accept',
    `iifname ${tun} ip daddr @forwarded accept`,
    `oifname ${tun} ip saddr @forwarded accept`,
    // What conntrack cannot place would leave with the source address of the overlay.
    ...(masquerade ? [`iifname ${tun} ct state new,established ip daddr @masqueraded accept`] : []),
  ]
}

function set(name: string, elements: string[]): string[] {
  const listed = elements.length === 0 ? [] : [`  elements = { ${elements.join(', ')} }`]
  return [`set ${name} {`, '  type ipv4_addr', '  flags interval', ...listed, '}']
}

function chain(name: string, hook: string, rules: string[]): string[] {
  return [`chain ${name} {`, `  ${hook}; policy accept;`, ...rules.map(rule => `  ${rule}`), '}']
}

function formatRange({ first, last }: AddressRange): string {
  return first === last ? formatIpv4(first) : `${formatIpv4(first)}-${formatIpv4(last)}`
}
