// The overlay's routing table as the records have it: two replicas with the same records derive the same bytes.
import { type Cidr, compareCidr, formatCidr, parseCidr, parseIpv4 } from './address.ts'
import { type RouteValue, routeId } from './kinds.ts'
import type { Records, Views } from './views.ts'

export type Via = RouteValue['via']

export interface RouteEntry {
  readonly cidr: Cidr
  readonly via: Via
  /** Lower is preferred. */
  readonly metric: number
  /** What it follows from. */
  readonly source: 'address' | 'subnet' | 'route' | 'attachment'
  /** Id of the record of a route that was added; of a client's own subnet, what that would be. */
  readonly id?: string
  /** The controller gives packets its own address. */
  readonly nat?: boolean
  /** It was named as the way to the Internet; see the record. */
  readonly exit?: boolean
  /** What has to answer pings, in text. */
  readonly probe?: string
}

/**
 * Every way to a prefix that the records allow: addresses and subnets of clients whose credential is usable, addresses
 * of controllers, route records, remote subnets of attachments that have no route record: they stay the site's own while it is
 * disabled. Sorted by prefix, metric, next hop.
 */
export function deriveRoutes(views: Views, records: Records): readonly RouteEntry[] {
  const routes = [...derivePrefixes(views, records)]
  for (const { id, value } of records.all('client')) {
    const client = views.client(id)!
    const credential = views.standing(client)
    if (!credential.usable || credential.client.id !== id) continue
    const via = { kind: 'client', id: client.id } as const
    routes.push({ cidr: host(value.address), via, metric: 0, source: 'address' })
  }
  return routes.sort(compareRoutes)
}

/** The same without the addresses of clients, of which there are many, and which lie in the overlay's subnet. */
export function derivePrefixes(views: Views, records: Records): readonly RouteEntry[] {
  const routes: RouteEntry[] = []
  for (const { id, value } of views.controllers()) {
    if (records.get('lease', value.address)?.holder !== id) continue
    routes.push({ cidr: host(value.address), via: { kind: 'controller', id }, metric: 0, source: 'address' })
  }
  for (const id of views.clientsWithSubnets()) {
    const client = views.client(id)!
    const credential = views.standing(client)
    if (!credential.usable || credential.client.id !== id) continue
    const via = { kind: 'client', id: client.id } as const
    for (const cidr of credential.subnets)
      routes.push({ cidr, via, metric: 0, source: 'subnet', id: routeId({ cidr: formatCidr(cidr), via }) })
  }
  for (const { id, value } of records.all('route')) {
    const { via, metric, nat, exit, probe } = value
    const cidr = parseCidr(value.cidr)
    if (cidr !== undefined) routes.push({ cidr, via, metric, source: 'route', id, nat, exit, probe })
  }
  for (const { id, value } of records.all('attachment')) {
    for (const text of value.remoteSubnets) {
      const cidr = parseCidr(text)!
      const via = { kind: 'attachment', id } as const
      // A route that was added for it says what its metric and its probe are.
      if (records.get('route', routeId({ cidr: text, via })) !== undefined) continue
      routes.push({ cidr, via, metric: 0, source: 'attachment' })
    }
  }
  return routes.sort(compareRoutes)
}

/** One line a route. */
export function serialiseRoutes(routes: readonly RouteEntry[]): Uint8Array {
  return Buffer.from(routes.map(route => serialiseRoute(formatCidr(route.cidr), route)).join(''))
}

export function serialiseRoute(cidr: string, route: Omit<RouteEntry, 'cidr'>): string {
  const { via, metric, source, nat, probe } = route
  return `${cidr} ${formatVia(via)} ${metric} ${source}${nat ? ' nat' : ''}${probe ? ` probe ${probe}` : ''}\n`
}

/** `client:ID`, `controller:ID`, `attachment:ID` or `internet`. */
export function formatVia(via: Via): string {
  return via.kind === 'internet' ? via.kind : `${via.kind}:${via.id}`
}

function compareRoutes(a: RouteEntry, b: RouteEntry): number {
  return (
    compareCidr(a.cidr, b.cidr) ||
    a.metric - b.metric ||
    compareText(formatVia(a.via), formatVia(b.via)) ||
    compareText(a.source, b.source)
  )
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function host(address: string): Cidr {
  return { address: parseIpv4(address)!, length: 32 }
}
