// The nftables ruleset of a sealed host: nothing passes its interfaces but the tunnel to the controllers and what keeps that
// up. Text in, text out; what goes in has been understood before, and is formatted from numbers.
import { parseIpv4, parseIpv6 } from '../net/ip.ts'
import type { Remote } from '../pki/clientpack.ts'
import { formatPeer, isIpv6, type SealException } from './exceptions.ts'

export const SEAL_TABLE = 'overmesh_seal'

export interface SealRequest {
  /** Where the controllers are dialled. Names are left to the script, which resolves them. */
  readonly controllers: readonly Remote[]
  readonly allow: readonly SealException[]
}

/**
 * The file for `nft -f`: replaces the table as a whole, in one transaction.
 *
 * Packets are judged where they have their last form: on the way in behind address translation, on the way out behind all
 * of it. A drop there is final, whatever other tables accept.
 */
export function sealRuleset({ controllers, allow }: SealRequest): string {
  const addresses = controllers.filter(({ host }) => isAddress(host))
  const four = addresses.filter(({ host }) => parseIpv4(host) !== undefined)
  const six = addresses.filter(({ host }) => parseIpv4(host) === undefined)
  return `# Shuts this host to everything but its overlay. Load it with \`seal apply\`, take it away with \`seal unseal\`.
# The tunnel's interface; another one if openvpn is told another \`dev\`.
define tunnel = "tun*"

add table inet ${SEAL_TABLE}
delete table inet ${SEAL_TABLE}
table inet ${SEAL_TABLE} {
  # Address and UDP port of every controller, so that a failover finds its way open.
  set controllers4 {
    type ipv4_addr . inet_service
${elements(four)}  }
  set controllers6 {
    type ipv6_addr . inet_service
${elements(six)}  }

  chain in {
    type filter hook input priority 0; policy drop;
    iifname "lo" accept
    iifname $tunnel accept
    # Answers of the controllers, and nobody else who bears their addresses.
    ip saddr . udp sport @controllers4 ct state established accept
    ip6 saddr . udp sport @controllers6 ct state established accept
    # The host keeps its address: DHCP, router advertisements, neighbours (RFC 4861: never from beyond the link).
    udp sport 67 udp dport 68 meta nfproto ipv4 accept
    ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
    ip6 hoplimit 255 icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
    # What a switch asks that sends multicast, and so neighbours' questions, only to who wants it (RFC 3810: never from beyond the link).
    ip6 saddr fe80::/10 ip6 hoplimit 1 icmpv6 type mld-listener-query accept
    # A path that takes less, and what else is said of packets that were let out.
    ct state related icmp type { destination-unreachable, time-exceeded } accept
    ct state related icmpv6 type { destination-unreachable, packet-too-big, time-exceeded } accept
${allow.map(each => rules(each, 'in')).join('')}    counter comment "refused"
  }

  # Nothing is carried between interfaces, but between the tunnel and networks that were opened whole.
  chain through {
    type filter hook forward priority 0; policy drop;
${allow.map(through).join('')}    counter comment "refused"
  }

  # After address translation, so that none of it leads out.
  chain out {
    type filter hook postrouting priority 300; policy drop;
    oifname "lo" accept
    oifname $tunnel accept
    ip daddr . udp dport @controllers4 accept
    ip6 daddr . udp dport @controllers6 accept
    udp sport 68 udp dport 67 meta nfproto ipv4 accept
    ip6 daddr { fe80::/10, ff02::1:2 } udp sport 546 udp dport 547 accept
    ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept
    ip6 hoplimit 1 icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } accept
${allow.map(each => rules(each, 'out')).join('')}    counter comment "refused"
  }
}
`
}

/** Controllers that are known by name, one \`name port\` a line. */
export function sealNames(controllers: readonly Remote[]): string {
  return controllers
    .filter(({ host }) => !isAddress(host))
    .map(({ host, port }) => `${host} ${port}\n`)
    .join('')
}

function isAddress(host: string): boolean {
  return parseIpv4(host) !== undefined || parseIpv6(host) !== undefined
}

function elements(remotes: readonly Remote[]): string {
  const texts = [...new Set(remotes.map(({ host, port }) => `${host} . ${port}`))]
  return texts.length === 0 ? '' : `    elements = { ${texts.join(', ')} }\n`
}

/** A network behind this host that the overlay reaches through it. */
function through({ protocol, with: peer }: SealException): string {
  if (protocol !== 'all' || peer === undefined) return ''
  const family = isIpv6(peer) ? 'ip6' : 'ip'
  const prefix = formatPeer(peer)
  return `    iifname $tunnel ${family} daddr ${prefix} accept\n    oifname $tunnel ${family} saddr ${prefix} accept\n`
}

/** What an exception opens in one chain: at one end it is begun, at the other only answered. */
function rules({ direction, protocol, ports, with: peer }: SealException, chain: 'in' | 'out'): string {
  const whom =
    peer === undefined
      ? ''
      : `${isIpv6(peer) ? 'ip6' : 'ip'} ${chain === 'in' ? 'saddr' : 'daddr'} ${formatPeer(peer)} `
  const line = (match: string): string => `    ${whom}${match}accept\n`
  if (protocol === 'all') return line('')
  if (protocol === 'icmp') {
    const types = 'type { echo-request, echo-reply } '
    const four = peer === undefined || !isIpv6(peer) ? line(`icmp ${types}`) : ''
    const six = peer === undefined || isIpv6(peer) ? line(`icmpv6 ${types}`) : ''
    return four + six
  }
  const [first, last] = ports!
  const range = first === last ? `${first}` : `${first}-${last}`
  const isBegun = direction === chain
  return line(`${protocol} ${isBegun ? 'dport' : 'sport'} ${range} ${isBegun ? '' : 'ct direction reply '}`)
}
