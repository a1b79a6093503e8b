// The data plane of a controller: its switch, with a TUN interface where there may be one.
import { parseIpv4 } from '../state/address.ts'
import { gatewayOf } from '../state/allocator.ts'
import type { Home } from './home.ts'
import { parseHostPort } from './net/ip.ts'
import { DEFAULT_PORT, OVERLAY_MTU } from './push.ts'
import { SwitchError } from './switch/errors.ts'
import { Switch } from './switch/switch.ts'

/** What an operator has to know of an interface that lacks IPv6 although the overlay has it. */
export function ipv6Warning({ tun }: Pick<Switch, 'tun'>): string | undefined {
  if (tun?.problem6 === undefined) return undefined
  return `the TUN interface is without IPv6 (${tun.problem6}); clients have it`
}

/** The same of one that was deleted, renamed or moved while the controller runs. */
export function interfaceGone(name: string | undefined, reason: string): string {
  return `the TUN interface ${name} is gone (${reason}); clients reach each other, but not this machine and what is behind it; it is made anew as soon as may be`
}

/**
 * @param tun true: with an interface where that is possible; a name asks for that one
 * @param warn told that there is none although there might be
 * @throws SwitchError when a socket or the interface that was asked for cannot be had
 */
export async function startNetwork(
  { config, mesh, controller }: Home,
  tun: boolean | string,
  warn: (warning: string) => void,
): Promise<Switch> {
  const options = {
    listen: config.listen.map(text => parseHostPort(text, DEFAULT_PORT, 0)),
    gateway: gatewayOf(mesh.subnet),
    address: parseIpv4(controller.address)!,
    subnet: mesh.subnet,
    subnet6: mesh.subnet6,
    mtu: OVERLAY_MTU,
  }
  if (tun === false) return Switch.start({ ...options, tun: false })
  try {
    const network = await Switch.start({ ...options, tun: tun === true ? {} : { name: tun } })
    const withoutIpv6 = ipv6Warning(network)
    if (withoutIpv6 !== undefined) warn(withoutIpv6)
    return network
  } catch (error) {
    if (tun !== true || !(error instanceof SwitchError) || error.code !== 'TUN_UNAVAILABLE') throw error
    warn(`no TUN interface (${error.message}); switching between clients only`)
    return Switch.start({ ...options, tun: false })
  }
}
