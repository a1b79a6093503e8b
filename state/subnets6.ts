// IPv6 prefixes behind clients, as the records have them.
import { type Cidr6, compareCidr6, formatCidr6 } from './address6.ts'
import type { ClientId } from './kinds.ts'
import type { Views } from './views.ts'

export interface Subnet6 {
  readonly cidr: Cidr6
  readonly client: ClientId
}

/** Those of clients whose credential is usable, sorted by prefix and client. */
export function deriveSubnets6(views: Views): readonly Subnet6[] {
  const subnets: Subnet6[] = []
  for (const id of views.clientsWithSubnets()) {
    const client = views.client(id)!
    const credential = views.standing(client)
    if (!credential.usable || credential.client.id !== id) continue
    for (const cidr of credential.subnets6) subnets.push({ cidr, client: id })
  }
  return subnets.sort((a, b) => compareCidr6(a.cidr, b.cidr) || (a.client < b.client ? -1 : 1))
}

/** One line each. */
export function serialiseSubnets6(subnets: readonly Subnet6[]): Uint8Array {
  return Buffer.from(
    subnets.map(({ cidr, client }) => `${formatCidr6(cidr)} client:${client} 0 subnet\n`).join(''),
  )
}
