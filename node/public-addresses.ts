// Where controllers are dialled, as a routing table needs it: IPv4 addresses, and names that stand for some.
import { type OverlayAddress, parseIpv4 } from '../state/address.ts'
import type { ControllerValue } from '../state/kinds.ts'
import { parseHostPort } from './net/ip.ts'
import { DEFAULT_PORT } from './push.ts'

export interface PublicAddresses {
  readonly addresses: readonly OverlayAddress[]
  readonly names: readonly string[]
}

/** IPv6 endpoints are neither: no IPv4 route leads to them. */
export function publicAddresses({
  publicEndpoints,
}: Pick<ControllerValue, 'publicEndpoints'>): PublicAddresses {
  const hosts = publicEndpoints.map(text => parseHostPort(text, DEFAULT_PORT))
  return {
    addresses: hosts.flatMap(({ host, family }) => (family === 'ipv4' ? [parseIpv4(host)!] : [])),
    names: hosts.flatMap(({ host, family }) => (family === 'name' ? [host] : [])),
  }
}
