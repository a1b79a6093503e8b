// IPv6 prefixes behind clients, as the records have them: those that a client was added with, and routes that were added.
import { type Cidr6, compareCidr6, formatCidr6, parseCidr6 } from './address6.ts'
import { type ClientId, routeId } from './kinds.ts'
import type { Records, Views } from './views.ts'

export interface Subnet6 {
  readonly cidr: Cidr6
  readonly client: ClientId
  /** Lower is preferred. */
  readonly metric: number
  readonly source: 'subnet' | 'route'
  /** Of the route's record, or what it would have. */
  readonly id: string
}

/** Those of clients whose credential is usable, and all that were added. Sorted by prefix, metric and client. */
export function deriveSubnets6(views: Views, records: Records): readonly Subnet6[] {
  const subnets: Subnet6[] = []
  for (const client of views.clientsWithSubnets()) {
    const credential = views.standing(views.client(client)!)
    if (!credential.usable || credential.client.id !== client) continue
    for (const cidr of credential.subnets6) {
      const id = routeId({ cidr: formatCidr6(cidr), via: { kind: 'client', id: client } })
      subnets.push({ cidr, client, metric: 0, source: 'subnet', id })
    }
  }
  for (const { id, value } of records.all('route')) {
    const { via, metric } = value
    const cidr = parseCidr6(value.cidr)
    if (cidr !== undefined && via.kind === 'client')
      subnets.push({ cidr, client: via.id, metric, source: 'route', id })
  }
  return subnets.sort(compareSubnets)
}

/** One line each. */
export function serialiseSubnets6(subnets: readonly Subnet6[]): Uint8Array {
  const lines = subnets.map(
    ({ cidr, client, metric, source }) => `${formatCidr6(cidr)} client:${client} ${metric} ${source}\n`,
  )
  return Buffer.from(lines.join(''))
}

function compareSubnets(a: Subnet6, b: Subnet6): number {
  return (
    compareCidr6(a.cidr, b.cidr) ||
    a.metric - b.metric ||
    compareText(a.client, b.client) ||
    compareText(a.source, b.source)
  )
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
