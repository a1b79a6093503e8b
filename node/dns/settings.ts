// What the operator decided about DNS, as settings of the whole mesh: records, so that all controllers push and answer the same.
import type { OverlayAddress } from '../../state/address.ts'
import { gatewayOf } from '../../state/allocator.ts'
import type { Op } from '../../state/writing.ts'
import type { Home } from '../home.ts'
import { type HostPort, parseIpv4 } from '../net/ip.ts'
import type { PushedDns } from '../push.ts'
import { ServiceError } from '../service-error.ts'
import { formatForwarder, MAX_FORWARDERS, parseForwarder } from './forwarders.ts'
import { meshDomain } from './names.ts'

/** Ids of the settings. */
const ENABLED = 'dns'
const FORWARDERS = 'dns.forwarders'

export interface DnsSettings {
  /** On unless it was switched off, or the mesh's name is none that DNS can carry. */
  enabled: boolean
  /** Undefined for a mesh whose name DNS cannot carry. */
  domain: string | undefined
  /** Where clients ask: every controller answers there. */
  server: OverlayAddress
  /** Who is asked what is not the overlay's, in this order. */
  forwarders: HostPort[]
}

export function dnsSettings({ mesh, replica }: Pick<Home, 'mesh' | 'replica'>): DnsSettings {
  const domain = meshDomain(mesh.value.name)
  const forwarders = replica.get('setting', FORWARDERS)?.value
  return {
    enabled: domain !== undefined && replica.get('setting', ENABLED)?.value !== false,
    domain,
    server: gatewayOf(mesh.subnet),
    forwarders: (Array.isArray(forwarders) ? forwarders : [])
      .slice(0, MAX_FORWARDERS)
      .flatMap(text => parseForwarder(text) ?? []),
  }
}

/** What clients are pushed; undefined while there is no DNS. */
export function pushedDns(home: Pick<Home, 'mesh' | 'replica'>): PushedDns | undefined {
  const { enabled, domain, server, forwarders } = dnsSettings(home)
  return enabled && domain !== undefined ? { server, domain, answersAll: forwarders.length > 0 } : undefined
}

/** Whether what clients are pushed may follow from it. */
export const isDnsSetting = (id: string): boolean => id === ENABLED || id === FORWARDERS

export interface DnsChange {
  enabled?: boolean
  /** All of them, each an address with or without a port. */
  forwarders?: readonly string[]
}

/** Writes what changes. @throws ServiceError */
export async function changeDns(home: Home, change: DnsChange): Promise<void> {
  dnsOps(home, change)
  await home.replica.write(() => dnsOps(home, change))
}

/** What is to be written; nothing for what is so already. @throws ServiceError */
export function dnsOps(home: Home, { enabled, forwarders }: DnsChange): Op[] {
  const { mesh, replica } = home
  if (enabled === true && dnsSettings(home).domain === undefined) {
    throw new ServiceError('refused', `DNS cannot carry the name of this mesh, "${mesh.value.name}"`)
  }
  const checked = forwarders === undefined ? undefined : checkForwarders(home, forwarders)
  const ops: Op[] = []
  const set = (id: string, value: boolean | string[]) => {
    const before = replica.get('setting', id)?.value
    if (JSON.stringify(before) !== JSON.stringify(value)) ops.push({ kind: 'setting', id, value: { value } })
  }
  if (enabled !== undefined) set(ENABLED, enabled)
  if (checked !== undefined) set(FORWARDERS, checked)
  return ops
}

function checkForwarders({ mesh, views }: Home, texts: readonly string[]): string[] {
  const own = new Set(views.controllers().map(({ value }) => parseIpv4(value.address)))
  own.add(gatewayOf(mesh.subnet))
  const servers = texts.map(text => {
    const server = parseForwarder(text)
    if (server === undefined) {
      throw new ServiceError(
        'invalid',
        `"${text.slice(0, 80)}" is no address of a resolver; write it as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353`,
      )
    }
    if (own.has(parseIpv4(server.host))) {
      throw new ServiceError(
        'invalid',
        `${server.host} is a controller of this mesh, which would ask itself; name another resolver`,
      )
    }
    return formatForwarder(server)
  })
  if (servers.length > MAX_FORWARDERS) {
    throw new ServiceError('invalid', `${servers.length} resolvers are more than ${MAX_FORWARDERS}`)
  }
  if (new Set(servers).size !== servers.length) throw new ServiceError('invalid', 'a resolver is named twice')
  return servers
}
