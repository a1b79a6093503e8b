// Where controllers are dialled, as a routing table needs it: addresses, and names that stand for some.
import { type OverlayAddress, parseIpv4 } from '../state/address.ts'
import { type Address6, parseAddress6 } from '../state/address6.ts'
import type { ControllerValue } from '../state/kinds.ts'
import { readHostPort } from './net/ip.ts'
import { DEFAULT_PORT } from './push.ts'

export interface PublicAddresses {
  readonly addresses: readonly OverlayAddress[]
  readonly addresses6: readonly Address6[]
  readonly names: readonly string[]
}

/** Of a record that another controller wrote: what no client can dial is left out. */
export function publicAddresses({
  publicEndpoints,
}: Pick<ControllerValue, 'publicEndpoints'>): PublicAddresses {
  const hosts = publicEndpoints.flatMap(text => readHostPort(text, DEFAULT_PORT) ?? [])
  return {
    addresses: hosts.flatMap(({ host, family }) => (family === 'ipv4' ? [parseIpv4(host)!] : [])),
    addresses6: hosts.flatMap(({ host, family }) => (family === 'ipv6' ? [parseAddress6(host)!] : [])),
    names: hosts.flatMap(({ host, family }) => (family === 'name' ? [host] : [])),
  }
}
