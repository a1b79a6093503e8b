// A network beyond the overlay: one host in it, and routers that have a cable into it.
import type { Host } from './host.ts'
import type { Lab } from './lab.ts'

export interface RemoteNetwork {
  /** The host, at .10; its first router, at .1, is its default gateway. */
  server: Host
  address: string
  /** The same of IPv6, if the network has that: at ::10, and its first router at ::1. */
  address6: string
  /** Pulls the cable between the network and a router, or puts it back; neither end sees it. */
  cable(router: Host, state: 'in' | 'out'): Promise<void>
}

/**
 * @param prefix the first three octets of a /24. Routers get .1, .2 and so on, on an interface named like the host.
 * @param prefix6 the first groups of a /64, without the last colons
 */
export async function remoteNetwork(
  lab: Lab,
  name: string,
  prefix: string,
  routers: readonly Host[],
  prefix6?: string,
): Promise<RemoteNetwork> {
  const server = await lab.host(name)
  const address = `${prefix}.10`
  // With an address of its own, or it takes that of another port when a cable is pulled, and neighbours go on to use the old one.
  await server.ip('link', 'add', 'lan', 'address', '02:00:00:00:00:10', 'type', 'bridge')
  await server.ip('address', 'add', `${address}/24`, 'dev', 'lan')
  await server.ip('link', 'set', 'lan', 'up')
  const address6 = `${prefix6}::10`
  const add6 = async (host: Host, device: string, address: string): Promise<void> => {
    if (prefix6 !== undefined) await host.ip('address', 'add', `${address}/64`, 'dev', device, 'nodad')
  }
  await add6(server, 'lan', address6)
  for (const [index, router] of routers.entries()) {
    const port = `to-${router.name}`
    await server.ip('link', 'add', port, 'type', 'veth', 'peer', 'name', name, 'netns', router.namespace)
    await server.ip('link', 'set', port, 'master', 'lan', 'up')
    await router.ip('address', 'add', `${prefix}.${index + 1}/24`, 'dev', name)
    await router.ip('link', 'set', name, 'up')
    await add6(router, name, `${prefix6}::${index + 1}`)
  }
  await server.ip('route', 'add', 'default', 'via', `${prefix}.1`)
  if (prefix6 !== undefined) await server.ip('-6', 'route', 'add', 'default', 'via', `${prefix6}::1`)
  const cable = async (router: Host, state: 'in' | 'out'): Promise<void> => {
    const how = state === 'in' ? ['master', 'lan'] : ['nomaster']
    await server.ip('link', 'set', `to-${router.name}`, ...how)
  }
  return { server, address, address6, cable }
}
