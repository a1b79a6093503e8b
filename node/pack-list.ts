// The controllers that a clientpack lists: in which order, and whether that list is still the right one.
import { createHash } from 'node:crypto'
import type { ClientView } from '../state/views.ts'
import type { Home } from './home.ts'
import { readHostPort } from './net/ip.ts'
import { MAX_REMOTES, type Remote } from './pki/clientpack.ts'
import { DEFAULT_PORT } from './push.ts'

/**
 * The controllers that a client prefers, then all others in an order of its own: so clients spread over the
 * controllers, and those of one that dies over all that remain.
 */
export function remotesOf(home: Home, client: ClientView): Remote[] {
  const preferred = client.value.prefer ?? []
  const others = home.views
    .controllers()
    .map(({ id, value }) => ({ id, value, weight: digest(`${client.id} ${id}`) }))
    .sort((a, b) => (a.weight < b.weight ? -1 : 1))
  const first = preferred.flatMap(id => others.filter(each => each.id === id))
  return [...new Set([...first, ...others])]
    .flatMap(({ value }) => value.publicEndpoints)
    .flatMap(text => readHostPort(text, DEFAULT_PORT) ?? [])
    .slice(0, MAX_REMOTES)
    .map(({ host, port }) => ({ host, port }))
}

/** `host:port` of every controller that clients can dial. */
export function dialledEndpoints(home: Home): string[] {
  return home.views
    .controllers()
    .flatMap(({ value }) => value.publicEndpoints)
    .filter(text => readHostPort(text, DEFAULT_PORT) !== undefined)
}

/** Names the list of controllers that packs made now contain, whatever its order. */
export function packedFor(home: Home): string {
  return digest(dialledEndpoints(home).sort().join(' ')).slice(0, 16)
}

/**
 * Whether a client's latest pack names other controllers than there are.
 * @param current what `packedFor` says, for whoever asks of many
 */
export function isPackStale(
  home: Home,
  client: Pick<ClientView, 'value'> & { id: string },
  current = packedFor(home),
): boolean {
  const noted = home.replica.get('setting', packSetting(client.id))?.value
  const packed = noted ?? client.value.packedFor
  return packed !== undefined && packed !== current
}

/** The setting under which it is kept for whom a client's latest pack was made, if not in the client's own record. */
export function packSetting(client: string): string {
  return `pack.${client}`
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
