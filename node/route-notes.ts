// What comes of a route that was added, beyond what its operator asked for: one line each.
import { cidrContains, cidrCovers, formatCidr, formatIpv4 } from '../state/address.ts'
import {
  type Cidr6,
  cidr6Contains,
  cidr6Overlaps,
  compareCidr6,
  formatAddress6,
  formatCidr6,
  isInternet6,
} from '../state/address6.ts'
import type { RouteEntry } from '../state/routing-table.ts'
import type { RouteEntry6 } from '../state/routing-table6.ts'
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
    if (closest) notes.push(winsWithin(text, named(closest, viaName)))
  }
  const inner = all.filter(each => each.cidr.length > added.cidr.length && cidrCovers(added.cidr, each.cidr))
  if (inner.length > 0) notes.push(winnersWithin(inner.map(each => named(each, viaName))))
  if (cidrCovers(added.cidr, mesh.subnet) && added.cidr.length > 0)
    notes.push(`the overlay's own subnet ${formatCidr(mesh.subnet)} lies within and stays the overlay`)
  const rivals = all.filter(each => each !== added && formatCidr(each.cidr) === text)
  if (rivals.length > 0) {
    const [best] = all.filter(each => formatCidr(each.cidr) === text)
    const better = best === added ? undefined : { name: viaName(best), metric: best.metric }
    notes.push(preference(rivals.length + 1, better))
  }
  return [...notes, ...bypassNotes(home, added)]
}

/** The same of an IPv6 prefix. */
export function addedNotes6(
  home: Home,
  id: string,
  viaName: (entry: Pick<RouteEntry, 'via' | 'nat' | 'exit'>) => string,
): string[] {
  const all = home.views.routes6()
  const added = all.find(each => each.id === id)
  if (added === undefined) return []
  const { cidr } = added
  const { subnet6 } = home.mesh
  const name = ({ cidr: _, ...entry }: RouteEntry6) => viaName(entry)
  const called = (each: RouteEntry6) => `${formatCidr6(each.cidr)} (${name(each)})`
  const notes: string[] = []
  if (cidr.length === 0)
    notes.push(
      'every client now sends what has no other route to the IPv6 Internet, 2000::/3, through the overlay',
    )
  const around = all.filter(each => each.cidr.length < cidr.length && cidr6Overlaps(each.cidr, cidr)).at(-1)
  if (around !== undefined && around.cidr.length > 0)
    notes.push(winsWithin(formatCidr6(cidr), called(around)))
  const inner = all.filter(each => each.cidr.length > cidr.length && cidr6Overlaps(each.cidr, cidr))
  if (inner.length > 0) notes.push(winnersWithin(inner.map(called)))
  if (subnet6 !== undefined && cidr.length > 0 && cidr6Overlaps(cidr, subnet6))
    notes.push(`the overlay's own subnet ${formatCidr6(subnet6)} lies within and stays the overlay`)
  const ways = all.filter(each => compareCidr6(each.cidr, cidr) === 0)
  const [best] = ways
  if (ways.length > 1)
    notes.push(preference(ways.length, best === added ? undefined : { ...best, name: name(best) }))
  return [...notes, ...bypassNotes6(home, cidr)]
}

function bypassNotes6(home: Home, cidr: Cidr6): string[] {
  const dialled = home.views.controllers().map(({ value }) => publicAddresses(value))
  const inside = dialled.flatMap(each => each.addresses6.filter(address => cidr6Contains(cidr, address)))
  const names = isInternet6(cidr) ? dialled.flatMap(each => each.names) : []
  const notes: string[] = []
  if (inside.length > 0) {
    const what = isInternet6(cidr) ? 'controllers in it and their /64' : 'controllers in it'
    notes.push(`clients go on to reach ${what} (${firstOf(inside.map(formatAddress6))}) beside the tunnel`)
  }
  if (names.length > 0)
    notes.push(
      `if ${firstOf(names)} has an IPv6 address, clients that dial it do not fail over by IPv6: give the address as --public`,
    )
  return notes
}

function firstOf(names: readonly string[]): string {
  return [...new Set(names)].slice(0, MAX_NAMED).join(', ')
}

function winsWithin(prefix: string, around: string): string {
  return `${prefix} lies within ${around} and wins there, also while it is down`
}

function winnersWithin(names: readonly string[]): string {
  const more = names.length > MAX_NAMED ? ' and more' : ''
  return `what lies within and is more specific goes on to win: ${names.slice(0, MAX_NAMED).join(', ')}${more}`
}

/** @param better undefined when it is this one */
function preference(ways: number, better: { name: string; metric: number } | undefined): string {
  return better === undefined
    ? `of ${ways} ways it is preferred; the others are used while it is down`
    : `${better.name} (metric ${better.metric}) is preferred; this way is used while that is down`
}

function bypassNotes(home: Home, { cidr }: RouteEntry): string[] {
  const dialled = home.views.controllers().map(({ value }) => publicAddresses(value))
  const inside = dialled.flatMap(({ addresses }) => addresses.filter(address => cidrContains(cidr, address)))
  const names = cidr.length < DEFAULT_LENGTH ? dialled.flatMap(each => each.names) : []
  const notes: string[] = []
  if (inside.length > 0) {
    const addresses = firstOf(inside.map(formatIpv4))
    notes.push(`clients go on to reach controllers in it (${addresses}) beside the tunnel`)
  }
  if (names.length > 0)
    notes.push(
      `${firstOf(names)} is resolved by the clients themselves, whose packs must be made ` +
        'anew if they are older than this version; an address as --public is surer',
    )
  return notes
}

function named(entry: RouteEntry, viaName: (entry: RouteEntry) => string): string {
  return `${formatCidr(entry.cidr)} (${viaName(entry)})`
}
