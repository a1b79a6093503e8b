// From the records and from who is where now to the switch's forwarding table, and to what clients are told.
import { type Cidr, formatCidr, parseIpv4 } from '../state/address.ts'
import { gatewayOf } from '../state/allocator.ts'
import type { ClientId, ControllerId } from '../state/kinds.ts'
import type { Via } from '../state/routing-table.ts'
import type { Home } from './home.ts'
import { OverlayRoutes6 } from './overlay-routes6.ts'
import type { SwitchRoute } from './switch/switch.ts'

/** Where packets go from here. */
export interface Whereabouts {
  /** All that are connected, here or elsewhere. */
  clients(): Iterable<ClientId>
  /** Name of the port of a client's session here. */
  session(client: ClientId): number | undefined
  /** On which controller a client is. */
  controllerOf(client: ClientId): ControllerId | undefined
  /** Name of the link that leads to another controller. */
  linkTo(controller: ControllerId): number | undefined
}

export type Hop = number | 'tun'

export class OverlayRoutes {
  readonly #home: Home
  readonly #where: Whereabouts
  /** The same of IPv6. */
  readonly six: OverlayRoutes6
  /** Derived once for each change of the records, not for each of a thousand clients that come at once. */
  #version = -1
  #beyond: readonly Cidr[] = []
  #behind: ReadonlyMap<string, readonly Cidr[]> = new Map()

  constructor(home: Home, where: Whereabouts) {
    this.#home = home
    this.#where = where
    this.six = new OverlayRoutes6(home, id => this.hop({ kind: 'client', id }))
  }

  /** Prefixes that are reached through the overlay beside its own subnet, each once. */
  beyond(): readonly Cidr[] {
    this.#derive()
    return this.#beyond
  }

  /** Prefixes behind a client, which its packets may come from. */
  behind(client: ClientId): readonly Cidr[] {
    this.#derive()
    return this.#behind.get(client) ?? []
  }

  /** The next hop of a route; undefined while there is none. */
  hop(via: Via): Hop | undefined {
    if (via.kind === 'client') {
      const port = this.#where.session(via.id)
      if (port !== undefined) return port
      const controller = this.#where.controllerOf(via.id)
      return controller === undefined || controller === this.#home.id
        ? undefined
        : this.#where.linkTo(controller)
    }
    if (via.kind !== 'controller') return undefined
    return via.id === this.#home.id ? 'tun' : this.#where.linkTo(via.id)
  }

  /**
   * The whole table. Of several ways to a prefix the first that is up is taken, in order of their metrics. Clients that are
   * not connected are not in it: the subnet's own entry says that they are away.
   */
  table(): SwitchRoute[] {
    const { mesh, controller, views } = this.#home
    const best = new Map<string, SwitchRoute>()
    for (const { cidr, via } of views.prefixes()) {
      const key = `${cidr.address}/${cidr.length}`
      const known = best.get(key)
      if (known !== undefined && known.peerId !== 'unreachable') continue
      best.set(key, { ...cidr, peerId: this.hop(via) ?? 'unreachable' })
    }
    for (const id of this.#where.clients()) {
      const client = views.client(id)
      const credential = client && views.standing(client)
      const peerId = credential?.usable ? this.hop({ kind: 'client', id }) : undefined
      if (!credential?.usable || peerId === undefined) continue
      best.set(`${credential.address}/32`, { address: credential.address, length: 32, peerId })
    }
    const own = (address: number): SwitchRoute => ({ address, length: 32, peerId: 'tun' })
    return [
      { ...mesh.subnet, peerId: 'unreachable' },
      ...best.values(),
      own(gatewayOf(mesh.subnet)),
      own(parseIpv4(controller.address)!),
    ]
  }

  #derive(): void {
    const { replica, views } = this.#home
    if (this.#version === replica.version) return
    this.#version = replica.version
    const beyond = new Map<string, Cidr>()
    const behind = new Map<string, Cidr[]>()
    for (const { source, cidr, via } of views.prefixes()) {
      if (source === 'address') continue
      beyond.set(formatCidr(cidr), cidr)
      if (via.kind !== 'client') continue
      const own = behind.get(via.id)
      if (own === undefined) behind.set(via.id, [cidr])
      else if (!own.some(each => formatCidr(each) === formatCidr(cidr))) own.push(cidr)
    }
    this.#beyond = [...beyond.values()]
    this.#behind = behind
  }
}
