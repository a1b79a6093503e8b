// IPv6 prefixes beside the overlay's own, as the records have them: those behind clients, and routes that were added.
import { type Cidr6, compareCidr6, formatCidr6, parseCidr6 } from './address6.ts'
import { routeId } from './kinds.ts'
import { formatVia, type RouteEntry, serialiseRoute } from './routing-table.ts'
import type { Records, Views } from './views.ts'

/** As a route of IPv4; addresses and attachments are not among them. */
export interface RouteEntry6 extends Omit<RouteEntry, 'cidr' | 'source' | 'id'> {
  readonly cidr: Cidr6
  readonly source: 'subnet' | 'route'
  readonly id: string
}

/** Subnets of clients whose credential is usable, and all that were added. Sorted by prefix, metric and next hop. */
export function deriveRoutes6(views: Views, records: Records): readonly RouteEntry6[] {
  const routes: RouteEntry6[] = []
  for (const client of views.clientsWithSubnets()) {
    const credential = views.standing(views.client(client)!)
    if (!credential.usable || credential.client.id !== client) continue
    const via = { kind: 'client', id: client } as const
    for (const cidr of credential.subnets6)
      routes.push({ cidr, via, metric: 0, source: 'subnet', id: routeId({ cidr: formatCidr6(cidr), via }) })
  }
  for (const { id, value } of records.all('route')) {
    const { via, metric, nat, exit, probe } = value
    const cidr = parseCidr6(value.cidr)
    if (cidr !== undefined) routes.push({ cidr, via, metric, source: 'route', id, nat, exit, probe })
  }
  return routes.sort(compareRoutes)
}

/** One line each. */
export function serialiseRoutes6(routes: readonly RouteEntry6[]): Uint8Array {
  return Buffer.from(routes.map(route => serialiseRoute(formatCidr6(route.cidr), route)).join(''))
}

function compareRoutes(a: RouteEntry6, b: RouteEntry6): number {
  return (
    compareCidr6(a.cidr, b.cidr) ||
    a.metric - b.metric ||
    compareText(formatVia(a.via), formatVia(b.via)) ||
    compareText(a.source, b.source)
  )
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
