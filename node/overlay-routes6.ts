// IPv6 beside the overlay's own addresses, as overlay-routes.ts has it for IPv4: to the switch's table, to what clients are told, and to
// what this controller's kernel and its probes have to do.
import { type Address6, type Cidr6, compareCidr6, formatCidr6, parseAddress6 } from '../state/address6.ts'
import type { ClientId } from '../state/kinds.ts'
import type { RouteEntry6 } from '../state/routing-table6.ts'
import { isDead } from './dead-vias.ts'
import type { GatewayDescription6 } from './gateway/description.ts'
import type { Home } from './home.ts'
import type { RouteProbe } from './overlay-routes.ts'
import { publicAddresses } from './public-addresses.ts'
import type { SwitchRoute6 } from './switch/switch.ts'
import { told6 } from './told6.ts'
import { reach6Of, type Way, Ways, type Whereabouts } from './ways.ts'

/** One via of a prefix, and how it stands here. */
export interface RouteStanding6 {
  readonly entry: RouteEntry6
  readonly way: Way
  /** The first of its prefix that is up. */
  readonly active: boolean
}

export class OverlayRoutes6 {
  readonly #home: Home
  readonly #where: Whereabouts
  readonly #ways: Ways
  #version = -1
  /** By text, each with what it is told as. */
  #beyond: ReadonlyMap<string, { cidr: Cidr6; told: readonly Cidr6[] }> = new Map()
  /** By client, then by text. */
  #behind: ReadonlyMap<string, ReadonlyMap<string, Cidr6>> = new Map()

  constructor(home: Home, where: Whereabouts) {
    this.#home = home
    this.#where = where
    this.#ways = new Ways(home.id, home.views, {
      ...where,
      reach: id => {
        const reach = where.reach(id)
        return reach && reach6Of(reach)
      },
    })
  }

  /** Prefixes that are reached through the overlay beside its own, each once. */
  beyond(): readonly Cidr6[] {
    this.#derive()
    return [...this.#beyond.values()].map(({ cidr }) => cidr)
  }

  /** Prefixes behind a client, which its packets may come from. Addresses of the overlay's own subnet are none of them, whatever they cover. */
  behind(client: ClientId): readonly Cidr6[] {
    this.#derive()
    return [...(this.#behind.get(client)?.values() ?? [])]
  }

  /** Those of `beyond` that a client is told, as it is told: what lies behind itself is not among them. */
  toldTo(client: ClientId): readonly Cidr6[] {
    this.#derive()
    const own = this.#behind.get(client)
    return [...this.#beyond].flatMap(([text, { told }]) => (own?.has(text) ? [] : told))
  }

  /** All that decides what clients are told. */
  toldText(): string {
    this.#derive()
    const own = [...this.#behind].map(([client, cidrs]) => `${client} ${[...cidrs.keys()]}`)
    const told = [...this.#beyond.values()].flatMap(each => each.told.map(formatCidr6))
    return [told, own.sort()].join(';')
  }

  /** Vias that are clients, of prefixes that have others. */
  contested(): { id: string; client: ClientId }[] {
    const routes = this.#routes()
    return routes.flatMap(({ cidr, via, id }, index) => {
      const rivals = [routes[index - 1], routes[index + 1]]
      if (via.kind !== 'client' || !rivals.some(each => each && compareCidr6(each.cidr, cidr) === 0))
        return []
      return [{ id, client: via.id }]
    })
  }

  /** Every via as it stands: in the order of prefix and preference. */
  standings(): RouteStanding6[] {
    const served = new Set<string>()
    return this.#routes().map(entry => {
      const way = this.#ways.of(entry)
      const name = formatCidr6(entry.cidr)
      const active = !('problem' in way) && !served.has(name)
      if (active) served.add(name)
      return { entry, way, active }
    })
  }

  /** The whole table but for the overlay's own addresses. */
  table(): SwitchRoute6[] {
    const { subnet6 } = this.#home.mesh
    if (subnet6 === undefined) return []
    // Of routes for one prefix the later counts.
    const away = this.#routes().map(({ cidr }) => ({ ...cidr, peerId: 'unreachable' as const }))
    const up = this.standings().flatMap(({ entry: { cidr }, way, active }): SwitchRoute6[] =>
      active && !('problem' in way) ? [{ ...cidr, peerId: way.hop }] : [],
    )
    return [...away, ...up, { ...subnet6, peerId: 'unreachable' }]
  }

  /** What this controller has to probe now; see `OverlayRoutes`. */
  probes(): RouteProbe[] {
    const isGateway = this.#where.reach(this.#home.id)?.gateway6 === true
    return this.#routes().flatMap(({ via, id, probe }): RouteProbe[] => {
      const address = probe === undefined ? undefined : parseAddress6(probe)
      if (address === undefined) return []
      if (via.kind === 'client') {
        const port = this.#where.session(via.id)
        return port === undefined ? [] : [{ id, address, from: { port } }]
      }
      return isGateway && this.#isOwn(via) ? [{ id, address, from: 'kernel' }] : []
    })
  }

  /** What this controller's kernel is to carry; see `OverlayRoutes`. */
  kernel(): Omit<GatewayDescription6, 'subnet'> {
    const own = this.#routes().filter(({ via }) => this.#isOwn(via))
    const isMasqueraded = ({ via, nat }: RouteEntry6) => via.kind === 'internet' || nat === true
    const names = new Set(own.map(({ cidr }) => formatCidr6(cidr)))
    return {
      kernelRoutes: this.beyond().filter(cidr => !names.has(formatCidr6(cidr))),
      forwarded: own.filter(route => !isMasqueraded(route)).map(({ cidr }) => cidr),
      masqueraded: own.filter(isMasqueraded).map(({ cidr }) => cidr),
      underlay: this.#dialled(({ id }) => id !== this.#home.id),
    }
  }

  #isOwn(via: RouteEntry6['via']): boolean {
    return via.kind === 'internet' || (via.kind === 'controller' && via.id === this.#home.id)
  }

  #routes(): readonly RouteEntry6[] {
    const { mesh, views } = this.#home
    return mesh.subnet6 === undefined ? [] : views.routes6()
  }

  #dialled(which: (controller: { id: string }) => boolean = () => true): Address6[] {
    const controllers = this.#home.views.controllers().filter(which)
    return controllers.flatMap(({ value }) => publicAddresses(value).addresses6)
  }

  #derive(): void {
    const { prefixesVersion } = this.#home.views
    if (this.#version === prefixesVersion) return
    this.#version = prefixesVersion
    const beyond = new Map<string, { cidr: Cidr6; told: readonly Cidr6[] }>()
    const behind = new Map<string, Map<string, Cidr6>>()
    const dialled = this.#dialled()
    for (const { cidr, via } of this.#routes()) {
      const text = formatCidr6(cidr)
      if (!beyond.has(text) && !isDead(this.#home, via))
        beyond.set(text, { cidr, told: told6(cidr, dialled) })
      if (via.kind !== 'client') continue
      const own = behind.get(via.id) ?? new Map<string, Cidr6>()
      behind.set(via.id, own.set(text, cidr))
    }
    this.#beyond = beyond
    this.#behind = behind
  }
}
