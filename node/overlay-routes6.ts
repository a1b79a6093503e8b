// IPv6 beside the overlay's own addresses: prefixes behind clients, to the switch's table and to what clients are told.
import { type Cidr6, compareCidr6, formatCidr6 } from '../state/address6.ts'
import type { ClientId } from '../state/kinds.ts'
import type { Subnet6 } from '../state/subnets6.ts'
import type { Views } from '../state/views.ts'
import type { Home } from './home.ts'
import type { SwitchRoute6 } from './switch/switch.ts'
import type { Way } from './ways.ts'

/** One client before a prefix, and how it stands here. */
export interface RouteStanding6 {
  readonly subnet: Subnet6
  readonly way: Way
  /** The first of its prefix that is up. */
  readonly active: boolean
}

export class OverlayRoutes6 {
  readonly #home: Home
  readonly #way: (subnet: Subnet6) => Way

  /** @param way through what is reached from here what lies behind a client */
  constructor(home: Home, way: (subnet: Subnet6) => Way) {
    this.#home = home
    this.#way = way
  }

  /** Prefixes that are reached through the overlay beside its own, each once. */
  beyond(): readonly Cidr6[] {
    const { views } = this.#home
    const live = this.#subnets().filter(({ client }) => !isClientDead(views, client))
    return [...new Map(live.map(({ cidr }) => [formatCidr6(cidr), cidr])).values()]
  }

  /** Prefixes behind a client, which its packets may come from. */
  behind(client: ClientId): readonly Cidr6[] {
    const own = this.#subnets().filter(each => each.client === client)
    return [...new Map(own.map(({ cidr }) => [formatCidr6(cidr), cidr])).values()]
  }

  /** Those of prefixes that have others. */
  contested(): Subnet6[] {
    const subnets = this.#subnets()
    return subnets.filter(({ cidr }, index) =>
      [subnets[index - 1], subnets[index + 1]].some(each => each && compareCidr6(each.cidr, cidr) === 0),
    )
  }

  /** Those of `beyond` that a client is told: what lies behind itself is not among them. */
  toldTo(client: ClientId): readonly Cidr6[] {
    const own = new Set(this.behind(client).map(formatCidr6))
    return this.beyond().filter(cidr => !own.has(formatCidr6(cidr)))
  }

  /** Every client before every prefix as it stands: in the order of prefix and preference. */
  standings(): RouteStanding6[] {
    const served = new Set<string>()
    return this.#subnets().map(subnet => {
      const way = this.#way(subnet)
      const name = formatCidr6(subnet.cidr)
      const active = !('problem' in way) && !served.has(name)
      if (active) served.add(name)
      return { subnet, way, active }
    })
  }

  /** The whole table but for the overlay's own addresses. */
  table(): SwitchRoute6[] {
    const { subnet6 } = this.#home.mesh
    if (subnet6 === undefined) return []
    // Of routes for one prefix the later counts.
    const away = this.#subnets().map(({ cidr }) => ({ ...cidr, peerId: 'unreachable' as const }))
    const up = this.standings().flatMap(({ subnet: { cidr }, way, active }): SwitchRoute6[] =>
      active && !('problem' in way) ? [{ ...cidr, peerId: way.hop }] : [],
    )
    return [...away, ...up, { ...subnet6, peerId: 'unreachable' }]
  }

  #subnets(): readonly Subnet6[] {
    const { mesh, views } = this.#home
    return mesh.subnet6 === undefined ? [] : views.subnets6()
  }
}

/** Nobody will come back through it: it was revoked or lost. */
export function isClientDead(views: Pick<Views, 'client' | 'standing'>, id: ClientId): boolean {
  const client = views.client(id)
  const standing = client && views.standing(client)
  return standing === undefined || (!standing.usable && standing.reason !== 'disabled')
}
