// Through what a prefix is reached from here, now: which of its vias are up, and where a packet goes to take one.
//
// What is decided follows from the records and from what controllers tell of themselves, so that controllers that know the
// same decide the same: those on the way of a packet choose the same via, and each is nearer to it than the one before.
// The way to the nearest gateway is chosen among those with the fewest links, whatever else: so it is nearer from every
// controller on the way, too. One controller that knows less than the others sends a packet astray, but in no circle, since
// the switch sends none out by the link it came by; where several differ at once, its TTL ends it.
import type { PresentFacts } from '../mesh/presence-types.ts'
import type { ClientId, ControllerId } from '../state/kinds.ts'
import type { RouteEntry } from '../state/routing-table.ts'
import type { Views } from '../state/views.ts'

/** A way to another controller. */
export interface WayTo {
  /** Name of the link that leads there. */
  readonly port: number
  /** Links on the way: 1 for a direct one. */
  readonly hops: number
  /** Grows with the round trip; see `Way` of the backbone's topology. */
  readonly cost: number
}

/** Where packets go from here. */
export interface Whereabouts {
  /** All that are connected, here or elsewhere. */
  clients(): Iterable<ClientId>
  /** Name of the port of a client's session here. */
  session(client: ClientId): number | undefined
  /** On which controller a client is. */
  controllerOf(client: ClientId): ControllerId | undefined
  /** Undefined when another controller is out of reach. */
  wayTo(controller: ControllerId): WayTo | undefined
  /** What a controller, also this one, says of what it reaches beyond the overlay. */
  reach(
    controller: ControllerId,
  ): Pick<PresentFacts, 'gateway' | 'gateway6' | 'exit4' | 'exit6' | 'failing'> | undefined
  /** Where an attachment is up, as everyone in reach sees it. */
  carrier(attachment: string): ControllerId | undefined
  /** Whether it is up on this controller, whoever carries it. */
  isUpHere(attachment: string): boolean
}

/** What the records say of vias. */
export type WayRecords = Pick<Views, 'client' | 'standing' | 'controllers' | 'isAdmitted'>
export type WayWhere = Omit<Whereabouts, 'clients' | 'isUpHere' | 'reach'> & {
  reach(controller: ControllerId): WayReach | undefined
}

/** What a controller says of what it reaches beyond the overlay by one version of IP. */
export interface WayReach extends Pick<PresentFacts, 'gateway' | 'failing'> {
  /** Whether it has a way to the Internet: `unseen` serves where no other controller has one that is seen. */
  readonly exit: 'seen' | 'unseen' | 'none'
}

/** What it says of IPv4: what somebody calls the Internet may be a network of the controller's own. */
export function reach4Of({
  gateway,
  exit4,
  failing,
}: Pick<PresentFacts, 'gateway' | 'exit4' | 'failing'>): WayReach {
  return { gateway, exit: exit4 ? 'seen' : 'unseen', failing }
}

/** What it says of IPv6. */
export function reach6Of({
  gateway6,
  exit6,
  failing,
}: Pick<PresentFacts, 'gateway6' | 'exit6' | 'failing'>): WayReach {
  return { gateway: gateway6, exit: exit6 ? 'seen' : 'none', failing }
}

export type Hop = number | 'tun'

/** Why a via is not up. */
export type WayProblem =
  | 'client-gone'
  | 'controller-gone'
  | 'not-connected'
  | 'out-of-reach'
  | 'no-gateway'
  | 'no-exit'
  | 'probe-fails'
  | 'attachment-down'

export type Way = { readonly hop: Hop; readonly at: ControllerId } | { readonly problem: WayProblem }

/** Of several controllers that are no way to the Internet, the problem of the one that is closest to being one is told. */
const CLOSER: readonly WayProblem[] = ['no-gateway', 'no-exit', 'probe-fails']

/** Steps of cost by which another gateway is nearer that takes over from the one in use: flows through it end. */
const NEARER = 4

export class Ways {
  readonly #self: ControllerId
  readonly #views: WayRecords
  readonly #where: WayWhere
  /** The gateway in use, by route: one that is as near does not take over. */
  readonly #gateways = new Map<string, ControllerId>()

  constructor(self: ControllerId, views: WayRecords, where: WayWhere) {
    this.#self = self
    this.#views = views
    this.#where = where
  }

  /** The way that an entry of the routing table offers, now. */
  of(entry: Pick<RouteEntry, 'via' | 'source' | 'id'>): Way {
    const { via, source, id } = entry
    switch (via.kind) {
      case 'client':
        // Its own subnet is among the routes only while its credential is good.
        return source === 'subnet' || this.#isGood(via.id)
          ? this.#client(via.id, id)
          : { problem: 'client-gone' }
      case 'controller':
        // Its address is on every controller that runs; a network beyond it wants a kernel that forwards.
        return source === 'address' ? this.#controller(via.id) : this.#network(via.id, id)
      case 'internet':
        return this.#internet(id ?? '')
      case 'attachment':
        return this.#attachment(via.id, id)
    }
  }

  /** The way to a client whose credential is good, now. */
  toClient(client: ClientId): Way {
    const port = this.#where.session(client)
    if (port !== undefined) return { hop: port, at: this.#self }
    const at = this.#where.controllerOf(client) ?? this.#self
    return at === this.#self ? { problem: 'not-connected' } : this.#controller(at)
  }

  #client(client: ClientId, id: string | undefined): Way {
    const way = this.toClient(client)
    return 'problem' in way || !this.#isFailing(way.at, id) ? way : { problem: 'probe-fails' }
  }

  #isGood(client: ClientId): boolean {
    const view = this.#views.client(client)
    return view !== undefined && this.#views.standing(view).usable
  }

  #controller(controller: ControllerId): Way {
    if (controller === this.#self) return { hop: 'tun', at: controller }
    if (!this.#views.isAdmitted(controller)) return { problem: 'controller-gone' }
    const way = this.#where.wayTo(controller)
    return way ? { hop: way.port, at: controller } : { problem: 'out-of-reach' }
  }

  #attachment(attachment: string, id: string | undefined): Way {
    const carrier = this.#where.carrier(attachment)
    return carrier === undefined ? { problem: 'attachment-down' } : this.#network(carrier, id)
  }

  #network(controller: ControllerId, id: string | undefined): Way {
    const way = this.#controller(controller)
    if ('problem' in way) return way
    if (this.#where.reach(controller)?.gateway !== true) return { problem: 'no-gateway' }
    return this.#isFailing(controller, id) ? { problem: 'probe-fails' } : way
  }

  /** Its own way out, or the one at the nearest controller that has one. One that is seen comes before any that is not. */
  #internet(id: string): Way {
    const own = this.#exit(this.#self, id)
    const isOpen = !('problem' in own)
    if (isOpen && this.#isSeen(this.#self)) return own
    let problem: WayProblem | undefined = isOpen ? undefined : own.problem
    let best: { at: ControllerId; way: WayTo; seen: boolean } | undefined
    const inUse = this.#gateways.get(id)
    for (const { id: at } of this.#views.controllers()) {
      const way = at === this.#self ? undefined : this.#where.wayTo(at)
      if (!way) continue
      const network = this.#exit(at, id)
      if ('problem' in network) {
        if (problem !== undefined && CLOSER.indexOf(network.problem) > CLOSER.indexOf(problem))
          problem = network.problem
        continue
      }
      const seen = this.#isSeen(at)
      const isBetter =
        best === undefined ||
        (seen === best.seen ? isNearer(way, best.way, at === inUse, best.at === inUse) : seen)
      if (isBetter) best = { at, way, seen }
    }
    if (isOpen && !best?.seen) return own
    if (best === undefined) {
      this.#gateways.delete(id)
      return { problem: problem! }
    }
    this.#gateways.set(id, best.at)
    return { hop: best.way.port, at: best.at }
  }

  #exit(controller: ControllerId, id: string): Way {
    const way = this.#network(controller, id)
    return !('problem' in way) && this.#where.reach(controller)?.exit === 'none'
      ? { problem: 'no-exit' }
      : way
  }

  #isSeen(controller: ControllerId): boolean {
    return this.#where.reach(controller)?.exit === 'seen'
  }

  #isFailing(controller: ControllerId, id: string | undefined): boolean {
    return id !== undefined && this.#where.reach(controller)?.failing.includes(id) === true
  }
}

/** Of two that are as near the one in use counts, and then the one asked about first. */
function isNearer(a: WayTo, b: WayTo, aInUse: boolean, bInUse: boolean): boolean {
  if (a.hops !== b.hops) return a.hops < b.hops
  const ahead = b.cost - a.cost
  if (bInUse) return ahead >= NEARER
  if (aInUse) return ahead > -NEARER
  return ahead > 0
}
