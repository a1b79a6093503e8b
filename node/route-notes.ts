// What comes of a route that was added, beyond what its operator asked for: one line each.
import { cidrContains, cidrCovers, formatCidr, formatIpv4 } from '../state/address.ts'
import type { RouteEntry } from '../state/routing-table.ts'
import type { Home } from './home.ts'
import { publicAddresses } from './public-addresses.ts'
import { DEFAULT_LENGTH } from './push.ts'

/** Prefixes named in one line at most. */
const MAX_NAMED = 3

/** @param id of the route's record, which is there @param viaName names what a route goes through */
export function addedNotes(home: Home, id: string, viaName: (entry: RouteEntry) => string): string[] {
  const { views, mesh } = home
  const all = views.prefixes().filter(({ source }) => source !== 'address')
  const added = all.find(each => each.id === id)
  if (added === undefined) return []
  const text = formatCidr(added.cidr)
  const notes: string[] = []
  if (added.cidr.length === 0) {
    notes.push('every client now sends what has no other route through the overlay')
  } else {
    const covering = all.filter(
      each => each.cidr.length < added.cidr.length && cidrCovers(each.cidr, added.cidr),
    )
    const closest = covering.filter(each => each.cidr.length > 0).at(-1)
    if (closest)
      notes.push(`${text} lies within ${named(closest, viaName)} and wins there, also while it is down`)
  }
  const inner = all.filter(each => each.cidr.length > added.cidr.length && cidrCovers(added.cidr, each.cidr))
  if (inner.length > 0) {
    const more = inner.length > MAX_NAMED ? ' and more' : ''
    const names = inner.slice(0, MAX_NAMED).map(each => named(each, viaName))
    notes.push(`what lies within and is more specific goes on to win: ${names.join(', ')}${more}`)
  }
  if (cidrCovers(added.cidr, mesh.subnet) && added.cidr.length > 0)
    notes.push(`the overlay's own subnet ${formatCidr(mesh.subnet)} lies within and stays the overlay`)
  const rivals = all.filter(each => each !== added && formatCidr(each.cidr) === text)
  if (rivals.length > 0) {
    const [best] = all.filter(each => formatCidr(each.cidr) === text)
    notes.push(
      best === added
        ? `of ${rivals.length + 1} ways it is preferred; the others are used while it is down`
        : `${viaName(best)} (metric ${best.metric}) is preferred; this way is used while that is down`,
    )
  }
  return [...notes, ...bypassNotes(home, added)]
}

function bypassNotes(home: Home, { cidr }: RouteEntry): string[] {
  const dialled = home.views.controllers().map(({ value }) => publicAddresses(value))
  const inside = dialled.flatMap(({ addresses }) => addresses.filter(address => cidrContains(cidr, address)))
  const names = cidr.length < DEFAULT_LENGTH ? dialled.flatMap(each => each.names) : []
  const notes: string[] = []
  if (inside.length > 0) {
    const addresses = [...new Set(inside.map(formatIpv4))].slice(0, MAX_NAMED).join(', ')
    notes.push(`clients go on to reach controllers in it (${addresses}) beside the tunnel`)
  }
  if (names.length > 0)
    notes.push(
      `${[...new Set(names)].slice(0, MAX_NAMED).join(', ')} is resolved by the clients themselves, whose packs must be made ` +
        'anew if they are older than this version; an address as --public is surer',
    )
  return notes
}

function named(entry: RouteEntry, viaName: (entry: RouteEntry) => string): string {
  return `${formatCidr(entry.cidr)} (${viaName(entry)})`
}
