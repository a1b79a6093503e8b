// The data plane of a controller: its switch, with a TUN interface where there may be one.
import { parseIpv4 } from '../state/address.ts'
import { gatewayOf } from '../state/allocator.ts'
import type { Home } from './home.ts'
import { parseHostPort } from './net/ip.ts'
import { DEFAULT_PORT, OVERLAY_MTU } from './push.ts'
import { SwitchError } from './switch/errors.ts'
import { Switch } from './switch/switch.ts'

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
    if (network.tun?.problem6 !== undefined)
      warn(`the TUN interface is without IPv6 (${network.tun.problem6}); clients have it`)
    return network
  } catch (error) {
    if (tun !== true || !(error instanceof SwitchError) || error.code !== 'TUN_UNAVAILABLE') throw error
    warn(`no TUN interface (${error.message}); switching between clients only`)
    return Switch.start({ ...options, tun: false })
  }
}
