// Where other controllers dial this one, and how a name becomes a way to a peer.
import { lookup } from 'node:dns/promises'
import { networkInterfaces } from 'node:os'
import { isAny } from './dialable.ts'
import { formatHostPort, parseHostPort } from './net/ip.ts'
import { DEFAULT_PORT } from './push.ts'
import type { Path } from './switch/path.ts'

/** TCP port of libp2p. */
export const DEFAULT_MESH_PORT = 4001
const MAX_ADDRESSES = 4

/** The machine's first address of a family that is not loopback. */
function ownAddress(family: 'IPv4' | 'IPv6'): string {
  const own = Object.values(networkInterfaces())
    .flatMap(addresses => addresses ?? [])
    .find(each => each.family === family && !each.internal && !each.address.startsWith('fe80'))
  return own?.address ?? (family === 'IPv6' ? '::1' : '127.0.0.1')
}

/**
 * `host:port`, UDP, that clients and other controllers dial: as told; else where it listens; else the machine's first
 * address that is not loopback.
 */
export function publicEndpointsOf(told: readonly string[], listen: readonly string[]): string[] {
  if (told.length > 0)
    return [...new Set(told.map(text => formatHostPort(parseHostPort(text, DEFAULT_PORT))))]
  return listen.map(text => {
    const { host, port } = parseHostPort(text, DEFAULT_PORT)
    return formatHostPort({ host: isAny(host) ? ownAddress(host === '::' ? 'IPv6' : 'IPv4') : host, port })
  })
}

/**
 * `host:port`, TCP, under which other controllers reach this one: where it listens if that is one address; else the hosts
 * that clients dial, too.
 * @param meshListen `host:port` @param publicEndpoints `host:port`, UDP
 */
export function meshEndpointsOf(meshListen: string, publicEndpoints: readonly string[]): string[] {
  const { host, port } = parseHostPort(meshListen, DEFAULT_MESH_PORT, 0)
  // The system is to choose: that is known once it has.
  if (port === 0) return []
  if (!isAny(host)) return [formatHostPort({ host, port })]
  const hosts = publicEndpoints.map(text => parseHostPort(text, DEFAULT_PORT).host)
  if (hosts.length === 0) hosts.push(ownAddress(host === '::' ? 'IPv6' : 'IPv4'))
  return [...new Set(hosts)].map(each => formatHostPort({ host: each, port }))
}

/** The ways from these sockets to an endpoint; its name may have several addresses. */
export async function pathsTo(
  endpoint: string,
  sockets: readonly { host: string }[],
  resolve: (host: string) => Promise<readonly { address: string; family: number }[]> = host =>
    lookup(host, { all: true }),
): Promise<Path[]> {
  const { host, port } = parseHostPort(endpoint, DEFAULT_PORT)
  const found = await resolve(host)
  // One of a link alone, fe80::1%eth0, leads nowhere from other machines.
  const known = found.filter(({ address }) => !address.includes('%'))
  return known.slice(0, MAX_ADDRESSES).flatMap(({ address, family }) => {
    const socket = sockets.findIndex(each => each.host.includes(':') === (family === 6))
    return socket < 0 ? [] : [{ socket, remote: address, port, local: '', ifindex: 0 }]
  })
}
