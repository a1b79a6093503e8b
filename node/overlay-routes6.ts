// IPv6 beside the overlay's own addresses: prefixes behind clients, to the switch's table and to what clients are told.
import { type Cidr6, formatCidr6 } from '../state/address6.ts'
import type { ClientId } from '../state/kinds.ts'
import type { Home } from './home.ts'
import type { SwitchRoute6 } from './switch/switch.ts'

export class OverlayRoutes6 {
  readonly #home: Home
  readonly #hop: (client: ClientId) => SwitchRoute6['peerId'] | undefined

  /** @param hop where packets for what lies behind a client go from here; undefined while it is away */
  constructor(home: Home, hop: (client: ClientId) => SwitchRoute6['peerId'] | undefined) {
    this.#home = home
    this.#hop = hop
  }

  /** Prefixes that are reached through the overlay beside its own, each once. */
  beyond(): readonly Cidr6[] {
    const { mesh, views } = this.#home
    if (mesh.subnet6 === undefined) return []
    return [...new Map(views.subnets6().map(({ cidr }) => [formatCidr6(cidr), cidr])).values()]
  }

  /** Prefixes behind a client, which its packets may come from. */
  behind(client: ClientId): readonly Cidr6[] {
    const { mesh, views } = this.#home
    if (mesh.subnet6 === undefined) return []
    return views.subnets6().flatMap(each => (each.client === client ? [each.cidr] : []))
  }

  /** The whole table but for the overlay's own addresses. Of several clients before a prefix the first that is up is taken. */
  table(): SwitchRoute6[] {
    const { mesh, views } = this.#home
    if (mesh.subnet6 === undefined) return []
    const best = new Map<string, SwitchRoute6>()
    for (const { cidr, client } of views.subnets6()) {
      const key = formatCidr6(cidr)
      const known = best.get(key)
      if (known !== undefined && known.peerId !== 'unreachable') continue
      best.set(key, { ...cidr, peerId: this.#hop(client) ?? 'unreachable' })
    }
    return [{ ...mesh.subnet6, peerId: 'unreachable' }, ...best.values()]
  }
}
