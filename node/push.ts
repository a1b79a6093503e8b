// What every controller pushes to a client. The text must be the same from all of them, since a stock client keeps
// its TUN interface across a reconnect only if the pushed options did not change (openvpn(8), --persist-tun).
import { type Cidr, cidrMask, formatIpv4, type OverlayAddress } from '../state/address.ts'
import { type Cidr6, formatAddress6, formatCidr6, onLinkLength, overlayAddress6 } from '../state/address6.ts'

/** UDP port of clients and backbone, registered for OpenVPN. */
export const DEFAULT_PORT = 1194

/** Seconds without a packet after which either side sends a ping. */
export const PING_SECONDS = 1

/**
 * Seconds of silence after which a client takes its controller for dead. Timers of stock clients count whole seconds:
 * with 2 they restart for nothing even on loopback, 3 holds.
 */
export const PING_RESTART_SECONDS = 3

/** Seconds of silence after which the controller ends a session; longer than a client needs to notice first. */
export const SESSION_TIMEOUT_SECONDS = 10

/** Seconds after which a session gets new keys, as in stock servers. */
export const SESSION_KEY_SECONDS = 3600

/**
 * Bytes of an overlay packet: 1,500 less the IPv6 and UDP headers (48) and the data channel's own (28 in the epoch
 * format), rounded down, so that no underlay packet is fragmented on an ordinary path.
 */
export const OVERLAY_MTU = 1420

/** Shorter prefixes stand for the Internet: nothing that an operator owns is as large. */
export const DEFAULT_LENGTH = 8

export interface PushContext {
  address: OverlayAddress
  subnet: Cidr
  gateway: OverlayAddress
  /** With it the client has the IPv6 address that goes with its own. */
  subnet6?: Cidr6
  /** As `routes`, of IPv6, and without what stays beside the tunnel. */
  routes6?: readonly Cidr6[]
  /** Prefixes reached through the overlay beside the subnet itself, without those behind the client. */
  routes: readonly Cidr[]
  /** Addresses and names of controllers, which stay reachable beside the tunnel. */
  bypassed?: readonly string[]
  /** Undefined without DNS. */
  dns?: PushedDns
  /** The client takes the option `dns`. @default false */
  takesDns?: boolean
}

/** Where names of the overlay are asked for, and their domain. */
export interface PushedDns {
  server: OverlayAddress
  domain: string
  /** Other names are answered there, too. */
  answersAll: boolean
}

/** The network part of PUSH_REPLY, in `topology subnet` form (openvpn(8), --topology). */
export function pushOptions(context: PushContext): string[] {
  const mask = formatIpv4(cidrMask(context.subnet.length))
  return [
    `route-gateway ${formatIpv4(context.gateway)}`,
    'topology subnet',
    `ping ${PING_SECONDS}`,
    `ping-restart ${PING_RESTART_SECONDS}`,
    `ifconfig ${formatIpv4(context.address)} ${mask}`,
    ...push6(context),
    ...new Set(context.routes.flatMap(routeOptions)),
    ...(context.bypassed ?? []).map(host => `route ${host} 255.255.255.255 net_gateway`),
    ...(context.dns === undefined ? [] : dnsOptions(context.dns, context.takesDns)),
  ]
}

/**
 * A default route goes out as its two halves, which leave the machine's own in place. `redirect-gateway` would bypass the tunnel
 * for the controller in use alone, and a client with `persist-tun` keeps that when it goes to the next.
 */
function routeOptions({ address, length }: Cidr): string[] {
  if (length === 0) return ['route 0.0.0.0 128.0.0.0', 'route 128.0.0.0 128.0.0.0']
  return [`route ${formatIpv4(address)} ${formatIpv4(cidrMask(length))}`]
}

/**
 * openvpn(8), --dhcp-option: what clients do with them is for their system's scripts or services. OpenVPN 2.7 acts on them itself, and
 * by these asks such a server for every name there is: that it is for one domain only `--dns` can say.
 */
function dnsOptions({ server, domain, answersAll }: PushedDns, takesDns = false): string[] {
  const address = formatIpv4(server)
  if (!takesDns) return [`dhcp-option DNS ${address}`, `dhcp-option DOMAIN ${domain}`]
  return [
    `dns server 0 address ${address}`,
    ...(answersAll ? [] : [`dns server 0 resolve-domains ${domain}`]),
    `dns search-domains ${domain}`,
  ]
}

/** Its IPv6 part (openvpn(8), --ifconfig-ipv6); the overlay's own prefix is on the interface, so it needs no route. */
function push6({ subnet6, address, gateway, routes6 = [] }: PushContext): string[] {
  if (subnet6 === undefined) return []
  const [own, router] = [address, gateway].map(each => formatAddress6(overlayAddress6(subnet6, each)))
  const routes = routes6.map(route => `route-ipv6 ${formatCidr6(route)}`)
  return [`ifconfig-ipv6 ${own}/${onLinkLength(subnet6)} ${router}`, ...routes]
}
