// From the records and from who is where now to the switch's forwarding table, to what clients are told, and to what this
// controller's kernel and its probes have to do.
import {
  type Cidr,
  cidrContains,
  cidrWithout,
  formatCidr,
  formatIpv4,
  type OverlayAddress,
  parseIpv4,
} from '../state/address.ts'
import type { IpAddress } from '../state/address6.ts'
import { gatewayOf } from '../state/allocator.ts'
import type { ClientId, ControllerId } from '../state/kinds.ts'
import type { RouteEntry } from '../state/routing-table.ts'
import { isDead } from './dead-vias.ts'
import type { Home } from './home.ts'
import { OverlayRoutes6 } from './overlay-routes6.ts'
import { publicAddresses } from './public-addresses.ts'
import { DEFAULT_LENGTH } from './push.ts'
import type { SwitchRoute } from './switch/switch.ts'
import { reach4Of, type Way, Ways, type Whereabouts } from './ways.ts'

/** A via whose probe this controller sends, for as long as it is listed. */
export interface RouteProbe {
  /** Of the route's record. */
  readonly id: string
  readonly address: IpAddress
  /**
   * Through a client's session here, by this name of its port; or from this machine's kernel, with the source address that it chooses or
   * with this one.
   */
  readonly from: { readonly port: number } | { readonly source: IpAddress } | 'kernel'
}

/** A via through a client that is here, of a prefix that has others. */
export interface ContestedVia {
  /** Of the route. */
  readonly id: string
  readonly client: ClientId
  /** Name of the port of its session. */
  readonly port: number
  /** The client's own. */
  readonly address: OverlayAddress
}

/** What a gateway's kernel is to carry; see `GatewayDescription`. */
export interface KernelReach {
  /** Prefixes whose packets the kernel sends into the TUN. */
  readonly kernelRoutes: readonly Cidr[]
  readonly forwarded: readonly Cidr[]
  readonly masqueraded: readonly Cidr[]
  /** Remote subnets of attachments that are up here, and of all. */
  readonly attached: readonly Cidr[]
  readonly expected: readonly Cidr[]
  /** Addresses that controllers are dialled at. */
  readonly underlay: readonly OverlayAddress[]
}

/** One via of a prefix, and how it stands here. */
export interface RouteStanding {
  readonly entry: RouteEntry
  readonly way: Way
  /** The best of its prefix that is up. */
  readonly active: boolean
}

export class OverlayRoutes {
  readonly #home: Home
  readonly #where: Whereabouts
  /** The same of IPv6. */
  readonly six: OverlayRoutes6
  readonly #ways: Ways
  /** Derived once for each change that concerns them, not for each of a thousand clients that come at once. */
  #version = -1
  #beyond: readonly Cidr[] = []
  /** The same with what each is told as. */
  #pieces: readonly { readonly cidr: string; readonly told: readonly Cidr[] }[] = []
  /** All that decides what clients are told. */
  #told = ''
  #behind: ReadonlyMap<string, readonly Cidr[]> = new Map()
  /** Prefixes that each client is a via of. */
  #own: ReadonlyMap<string, ReadonlySet<string>> = new Map()
  #bypassed: readonly string[] = []
  /** Of clients that are connected, or were: undefined where the credential is not good. As of this version of the records. */
  readonly #addresses = new Map<ClientId, OverlayAddress | undefined>()
  #addressesVersion = -1
  #revision = 0

  constructor(home: Home, where: Whereabouts) {
    this.#home = home
    this.#where = where
    this.#ways = new Ways(home.id, home.views, {
      ...where,
      reach: id => {
        const reach = where.reach(id)
        return reach && reach4Of(reach)
      },
    })
    this.six = new OverlayRoutes6(home, where)
  }

  /**
   * Prefixes that are reached through the overlay beside its own subnet, each once. It follows from the records alone, so
   * that all controllers push the same.
   */
  beyond(): readonly Cidr[] {
    this.#derive()
    return this.#beyond
  }

  /**
   * `beyond` as a client is told it: what lies behind itself is not among it, nor where controllers are dialled, but in what stands
   * for the Internet.
   */
  toldTo(client: ClientId): readonly Cidr[] {
    this.#derive()
    const own = this.#own.get(client)
    return this.#pieces.filter(({ cidr }) => own?.has(cidr) !== true).flatMap(({ told }) => told)
  }

  /** What clients must reach beside the tunnel by a route of its own: controllers that lie in what stands for the Internet. */
  bypassed(): readonly string[] {
    this.#derive()
    return this.#bypassed
  }

  /** Grows whenever clients are to be told other routes. */
  get revision(): number {
    this.#derive()
    return this.#revision
  }

  /** Prefixes behind a client, which its packets may come from. */
  behind(client: ClientId): readonly Cidr[] {
    this.#derive()
    return this.#behind.get(client) ?? []
  }

  /** Every via as it stands: in the order of prefix and preference. */
  standings(): RouteStanding[] {
    let active: Cidr | undefined
    return this.#home.views.routes().map(entry => {
      const way = this.#ways.of(entry)
      const isActive = !('problem' in way) && !(active && isSame(active, entry.cidr))
      if (isActive) active = entry.cidr
      return { entry, way, active: isActive }
    })
  }

  /**
   * The whole table. Of several ways to a prefix the first that is up is taken, in order of their metrics. Clients that are
   * not connected are not in it: the subnet's own entry says that they are away.
   */
  table(): SwitchRoute[] {
    this.#derive()
    const { mesh, controller, views } = this.#home
    const best = new Map<string, SwitchRoute>()
    for (const entry of views.prefixes()) {
      const { cidr } = entry
      const key = `${cidr.address}/${cidr.length}`
      const known = best.get(key)
      if (known !== undefined && known.peerId !== 'unreachable') continue
      const way = this.#ways.of(entry)
      best.set(key, { ...cidr, peerId: 'problem' in way ? 'unreachable' : way.hop })
    }
    const clients: SwitchRoute[] = []
    for (const id of this.#where.clients()) {
      const address = this.#addressOf(id)
      const way = address === undefined ? undefined : this.#ways.toClient(id)
      if (address === undefined || way === undefined || 'problem' in way) continue
      clients.push({ address, length: 32, peerId: way.hop })
    }
    const own = (address: number): SwitchRoute => ({ address, length: 32, peerId: 'tun' })
    // Of two routes to one prefix the later counts.
    return [
      ...best.values(),
      ...clients,
      { ...mesh.subnet, peerId: 'unreachable' },
      own(gatewayOf(mesh.subnet)),
      own(parseIpv4(controller.address)!),
    ]
  }

  /**
   * What this controller has to probe now: vias of its own that its kernel can carry, those of clients that are here, and attachments
   * that it carries. A probe goes through its own via, whichever is in use.
   */
  probes(): RouteProbe[] {
    const { views, id: self, controller } = this.#home
    const isGateway = this.#where.reach(self)?.gateway === true
    const four = views.prefixes().flatMap(({ via, id, probe }): RouteProbe[] => {
      const address = probe === undefined ? undefined : parseIpv4(probe)
      if (id === undefined || address === undefined) return []
      if (via.kind === 'client') {
        const port = this.#where.session(via.id)
        return port === undefined ? [] : [{ id, address, from: { port } }]
      }
      if (via.kind === 'attachment') {
        if (!isGateway || this.#where.carrier(via.id) !== self) return []
        // The site takes packets of the overlay alone.
        return [{ id, address, from: { source: parseIpv4(controller.address)! } }]
      }
      const isOwn = via.kind === 'internet' || (via.kind === 'controller' && via.id === self)
      return isOwn && isGateway ? [{ id, address, from: 'kernel' }] : []
    })
    return [...four, ...this.six.probes()]
  }

  /** Vias through clients that are here, of prefixes that have others. */
  contested(): ContestedVia[] {
    const prefixes = this.#home.views.prefixes()
    const four = prefixes.flatMap(({ cidr, via, id }, index) => {
      const rivals = [prefixes[index - 1], prefixes[index + 1]]
      if (via.kind !== 'client' || !rivals.some(each => each && isSame(each.cidr, cidr))) return []
      return [{ id, client: via.id }]
    })
    return [...four, ...this.six.contested()].flatMap(({ id, client }) => {
      const port = this.#where.session(client)
      const address = parseIpv4(this.#home.views.client(client)?.value.address ?? '')
      return id === undefined || port === undefined || address === undefined
        ? []
        : [{ id, client, port, address }]
    })
  }

  /**
   * What this controller's kernel is to carry. A prefix that it reaches by itself never goes into the TUN, also while another
   * via is in use: its own network stays its own, and so do the probes into it.
   */
  kernel(): KernelReach {
    const { views, id: self } = this.#home
    const routes = views.prefixes().filter(({ source }) => source !== 'address')
    // Also while another controller carries it: packets may still be on their way here.
    const sites = routes.filter(({ via }) => via.kind === 'attachment' && this.#isEnabled(via.id))
    const attached = sites.filter(({ via }) => via.kind === 'attachment' && this.#where.isUpHere(via.id))
    const own = routes.filter(({ via }) => isAt(via, self))
    const isMasqueraded = ({ via, nat }: RouteEntry) => via.kind === 'internet' || nat === true
    const names = new Set([...own, ...attached].map(({ cidr }) => formatCidr(cidr)))
    return {
      kernelRoutes: this.beyond().filter(cidr => !names.has(formatCidr(cidr))),
      forwarded: own.filter(route => !isMasqueraded(route)).map(({ cidr }) => cidr),
      masqueraded: own.filter(isMasqueraded).map(({ cidr }) => cidr),
      attached: attached.map(({ cidr }) => cidr),
      expected: sites.map(({ cidr }) => cidr),
      underlay: views
        .controllers()
        .filter(({ id }) => id !== self)
        .flatMap(({ value }) => publicAddresses(value).addresses),
    }
  }

  #isEnabled(attachment: string): boolean {
    return this.#home.replica.get('attachment', attachment)?.enabled === true
  }

  /** Undefined for a client whose credential is not good. */
  #addressOf(id: ClientId): OverlayAddress | undefined {
    const { views, replica } = this.#home
    if (this.#addressesVersion !== replica.version) this.#addresses.clear()
    this.#addressesVersion = replica.version
    if (this.#addresses.has(id)) return this.#addresses.get(id)
    const client = views.client(id)
    const credential = client && views.standing(client)
    const address = credential?.usable === true ? credential.address : undefined
    this.#addresses.set(id, address)
    return address
  }

  #derive(): void {
    const { views, mesh } = this.#home
    if (this.#version === views.prefixesVersion) return
    this.#version = views.prefixesVersion
    const beyond = new Map<string, Cidr>()
    const behind = new Map<string, Map<string, Cidr>>()
    for (const { source, cidr, via } of views.prefixes()) {
      if (source === 'address') continue
      if (!isDead(this.#home, via)) beyond.set(formatCidr(cidr), cidr)
      if (via.kind !== 'client') continue
      const own = behind.get(via.id) ?? new Map<string, Cidr>()
      behind.set(via.id, own.set(formatCidr(cidr), cidr))
    }
    this.#beyond = [...beyond.values()]
    // Addresses of the overlay are those of its clients and controllers, whatever else lies behind one.
    const withoutOverlay = (cidr: Cidr) => cidrWithout(cidr, mesh.subnet)
    this.#behind = new Map(
      [...behind].map(([client, own]) => [client, [...own.values()].flatMap(withoutOverlay)]),
    )
    this.#own = new Map([...behind].map(([client, own]) => [client, new Set(own.keys())]))
    const dialled = views.controllers().map(({ value }) => publicAddresses(value))
    const outside = dialled.flatMap(({ addresses }) => addresses)
    this.#pieces = this.#beyond.map(cidr => ({ cidr: formatCidr(cidr), told: piecesOf(cidr, outside) }))
    const defaults = this.#beyond.filter(isInternet)
    const isInside = (address: number) => defaults.some(cidr => cidrContains(cidr, address))
    const bypassed = [
      ...outside.filter(isInside).map(formatIpv4),
      ...(defaults.length > 0 ? dialled.flatMap(({ names }) => names) : []),
    ]
    this.#bypassed = [...new Set(bypassed)].sort()
    const told = this.#toldText()
    if (told !== this.#told) this.#revision++
    this.#told = told
  }

  #toldText(): string {
    const own = [...this.#own].map(([client, cidrs]) => `${client} ${[...cidrs]}`)
    const pieces = this.#pieces.map(({ cidr, told }) => `${cidr} ${told.map(each => formatCidr(each))}`)
    return [pieces, own.sort(), this.six.toldText(), this.#bypassed].join(';')
  }
}

function isInternet({ length }: Cidr): boolean {
  return length < DEFAULT_LENGTH
}

/**
 * A prefix as clients are told it: without where controllers are dialled. Whichever way a client has to them, its own network or one
 * of several routers, stays; a route beside the tunnel would have to name that way, and `net_gateway` is the default router alone.
 * What stands for the Internet is told whole, since a client has a default router there, or a way of its own that is more specific.
 */
function piecesOf(cidr: Cidr, outside: readonly OverlayAddress[]): Cidr[] {
  if (isInternet(cidr)) return [cidr]
  const without = (pieces: Cidr[], address: OverlayAddress) =>
    pieces.flatMap(piece => cidrWithout(piece, { address, length: 32 }))
  return outside.filter(address => cidrContains(cidr, address)).reduce(without, [cidr])
}

function isSame(a: Cidr, b: Cidr): boolean {
  return a.address === b.address && a.length === b.length
}

function isAt(via: RouteEntry['via'], controller: ControllerId): boolean {
  return via.kind === 'internet' || (via.kind === 'controller' && via.id === controller)
}
