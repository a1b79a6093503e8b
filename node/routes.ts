// Routes that an operator adds beside those that follow from clients: as writes to the records, and as a list.
import { type Cidr, cidrCovers, formatCidr, parseCidr } from '../state/address.ts'
import { formatCidr6, isInternet6 } from '../state/address6.ts'
import { type ClientId, type ControllerId, type RouteValue, routeId } from '../state/kinds.ts'
import type { RouteEntry, Via } from '../state/routing-table.ts'
import type { RouteEntry6 } from '../state/routing-table6.ts'
import type { ClientView } from '../state/views.ts'
import type { Home } from './home.ts'
import { attachmentNames } from './ipsec/names.ts'
import type { RouteStanding } from './overlay-routes.ts'
import type { RouteStanding6 } from './overlay-routes6.ts'
import { DEFAULT_LENGTH } from './push.ts'
import { plainPrefix, readPrefix, readProbe, readProbe6, readRoute6 } from './route-check.ts'
import { addedNotes, addedNotes6 } from './route-notes.ts'
import { type AddRoute, type Route, ServiceError } from './service.ts'
import { holderName } from './state-view.ts'
import type { Way, WayProblem } from './ways.ts'

const VIA = /^(client|controller|internet|attachment):([a-z0-9][a-z0-9._~-]{0,80})$/
const HOW = 'use client:NAME, controller:NAME, attachment:NAME, internet or internet:NAME'
const MAX_METRIC = 65_535

/** What is told of a via. */
type Described = Pick<RouteEntry, 'via' | 'metric' | 'nat' | 'exit' | 'probe'> & {
  cidr?: Cidr
  isIpv6?: boolean
}

/** What packets of a route go through, and how. */
type Through = { via: Via } & Pick<RouteValue, 'nat' | 'exit'>

/** What is asked for, without what it goes through. */
interface Read {
  readonly cidr: string
  readonly isInternet: boolean
  /** What to probe, where the prefix may go through that. @throws ServiceError */
  check(via: Via): string | undefined
}

/** Clients and attachments that are to be, by name, and networks of sites as they are to be, by id. */
export interface Pending {
  readonly clients: ReadonlyMap<string, ClientId>
  readonly attachments: ReadonlyMap<string, string>
  readonly sites: ReadonlyMap<string, readonly string[]>
}

export class Routes {
  readonly #home: Home

  constructor(home: Home) {
    this.#home = home
  }

  /**
   * The record of a route that may be added.
   * @param pending what is to be written with it
   * @throws ServiceError
   */
  draft(request: AddRoute, pending?: Pending): { id: string; value: RouteValue } {
    const { metric = 0, via: viaText } = request
    if (!Number.isInteger(metric) || metric < 0 || metric > MAX_METRIC)
      throw new ServiceError('invalid', `the metric is a whole number from 0 to ${MAX_METRIC}`)
    const isIpv6 = request.cidr.includes(':')
    const { cidr, isInternet, check } = isIpv6 ? this.#read6(request) : this.#read4(request, pending)
    const { via, nat, exit } = this.#through(viaText, request.nat, pending)
    if (isInternet && via.kind !== 'internet' && !nat && request.default !== true)
      throw new ServiceError('invalid', defaultProblem(cidr, viaText))
    const probe = check(via)
    const value: RouteValue = {
      cidr,
      via,
      metric,
      createdAt: Date.now(),
      ...(nat ? { nat, exit } : {}),
    }
    if (probe !== undefined) value.probe = probe
    return { id: routeId(value), value }
  }

  #read4({ cidr: text, probe, via: viaText }: AddRoute, pending: Pending | undefined): Read {
    const { subnet } = this.#home.mesh
    const cidr = readPrefix(text, subnet)
    const check = (via: Via) => {
      if (via.kind === 'attachment') {
        const remoteSubnets =
          pending?.sites.get(via.id) ?? this.#home.replica.get('attachment', via.id)!.remoteSubnets
        checkSite(viaText.slice(viaText.indexOf(':') + 1), remoteSubnets, cidr)
      }
      return probe === undefined ? undefined : readProbe(probe, cidr, subnet)
    }
    return { cidr: formatCidr(cidr), isInternet: cidr.length < DEFAULT_LENGTH, check }
  }

  #read6({ cidr: text, probe }: AddRoute): Read {
    const { subnet6 } = this.#home.mesh
    const cidr = readRoute6(text, subnet6)
    const plain = formatCidr6(cidr)
    const check = (via: Via) => {
      if (via.kind === 'attachment')
        throw new ServiceError('invalid', `${plain} is IPv6, and sites are reached by IPv4 only`)
      return probe === undefined ? undefined : readProbe6(probe, cidr, subnet6!)
    }
    return { cidr: plain, isInternet: isInternet6(cidr), check }
  }

  /** The prefix, and what comes of it in words. @throws ServiceError */
  async add(request: AddRoute): Promise<{ cidr: string; notes: string[] }> {
    const { replica } = this.#home
    const { id, value } = this.draft(request)
    const { cidr: text, via } = value
    await replica.write(() => {
      const before = replica.get('route', id)
      if (before || this.#hasSubnet(via, text)) {
        const name = this.viaName({ ...(before ?? { via }), cidr: parseCidr(text) })
        const removal = `\`overmesh route remove ${text} --via ${name}\``
        const how = before ? `${removal} first to change it` : 'as its own subnet'
        throw new ServiceError('exists', `${text} has a route via ${name} already; ${how}`)
      }
      return [{ kind: 'route', id, value }]
    })
    return { cidr: text, notes: this.#notes(id, text) }
  }

  /** What comes of the subnets that a client was added with, in words. */
  notesOfSubnets({ id, value: { subnets } }: ClientView): string[] {
    return subnets.flatMap(cidr => {
      const notes = this.#notes(routeId({ cidr, via: { kind: 'client', id } }), cidr)
      return notes.map(note => (note.startsWith(cidr) ? note : `${cidr}: ${note}`))
    })
  }

  #notes(id: string, cidr: string): string[] {
    const notes = cidr.includes(':') ? addedNotes6 : addedNotes
    return notes(this.#home, id, entry => this.viaName(entry))
  }

  /** Removes the routes of a prefix, or that one through `via`, whether or not that is there any more. @throws ServiceError */
  async remove(text: string, viaText?: string): Promise<{ cidr: string; count: number }> {
    const { replica } = this.#home
    const plain = plainPrefix(text)
    let count = 0
    await replica.write(() => {
      const ids = [...replica.all('route')]
        .filter(({ value }) => value.cidr === plain)
        .filter(({ value }) => viaText === undefined || this.#names(value).includes(viaText))
        .map(({ id }) => id)
      if (ids.length === 0) throw new ServiceError('not-found', this.#notAdded(plain, viaText))
      count = ids.length
      return ids.map(id => ({ kind: 'route' as const, id, value: null }))
    })
    return { cidr: plain, count }
  }

  /** Why there is nothing to remove: a route that follows from something else goes with that. */
  #notAdded(cidr: string, viaText?: string): string {
    const there = this.list(undefined, undefined).filter(each => each.cidr === cidr)
    const found = there.find(({ via }) => viaText === undefined || via === viaText)
    const [, kind, name] = VIA.exec(found?.via ?? '') ?? []
    if (kind === 'attachment')
      return `${cidr} is a network of the site ${name}; \`overmesh ipsec set ${name} --remote-ts\` changes those`
    if (kind === 'client' && this.#home.views.clientByName(name)?.value.subnets.includes(cidr))
      return `${cidr} is a subnet of client ${name}; \`overmesh export\` and \`import\` change those`
    const through = viaText === undefined ? '' : ` via ${viaText}`
    return `no route to ${cidr}${through} was added; see \`overmesh routes\``
  }

  /** All vias of all prefixes. @param standings undefined when no controller runs @param standings6 the same of IPv6 */
  list(
    standings: readonly RouteStanding[] | undefined,
    standings6: readonly RouteStanding6[] | undefined,
  ): Route[] {
    const { views } = this.#home
    const idle = <E extends RouteEntry | RouteEntry6>(entry: E) => ({ entry, way: undefined, active: false })
    const six = (standings6 ?? views.routes6().map(idle)).map(({ entry, way, active }) =>
      this.#describe(formatCidr6(entry.cidr), { ...entry, cidr: undefined, isIpv6: true }, way, active),
    )
    const four = (standings ?? views.routes().map(idle)).map(({ entry, way, active }) =>
      this.#describe(formatCidr(entry.cidr), entry, way, active),
    )
    return [...four, ...six]
  }

  #describe(cidr: string, entry: Described, way: Way | undefined, active: boolean): Route {
    const isUp = way !== undefined && !('problem' in way)
    return {
      cidr,
      via: this.viaName(entry),
      metric: entry.metric,
      nat: entry.nat === true || entry.via.kind === 'internet',
      probe: entry.probe ?? null,
      state: active ? 'active' : isUp ? 'standby' : 'down',
      why: this.#why(entry, way),
      at: isUp ? holderName(this.#home, way.at) : null,
    }
  }

  /** `client:NAME`, `controller:NAME`, `internet` or `internet:NAME`; with an id where there is no name any more. */
  viaName({ via, nat, exit, cidr }: Pick<Described, 'via' | 'nat' | 'exit' | 'cidr'>): string {
    if (via.kind === 'internet') return 'internet'
    const isNamed = exit ?? (cidr?.length ?? 32) < DEFAULT_LENGTH
    return `${via.kind === 'controller' && nat === true && isNamed ? 'internet' : via.kind}:${holderName(this.#home, via.id)}`
  }

  #why(entry: Described, way: Way | undefined): string {
    if (way === undefined) return 'no controller is running here'
    if (!('problem' in way)) return ''
    return PROBLEMS[way.problem](entry, entry.via.kind === 'client' ? this.#clientFate(entry.via.id) : '')
  }

  #clientFate(client: ClientId): string {
    const view = this.#home.views.client(client)
    const standing = view && this.#home.views.standing(view)
    if (standing === undefined) return 'there is no such client any more'
    return standing.usable ? '' : `client ${view?.name}: ${standing.message}`
  }

  /** Everything that `route remove --via` may call it. */
  #names({ via, nat }: RouteValue): string[] {
    if (via.kind === 'internet') return ['internet']
    const name = holderName(this.#home, via.id)
    const kinds = via.kind === 'controller' && nat ? [via.kind, 'internet'] : [via.kind]
    return kinds.flatMap(kind => [`${kind}:${name}`, `${kind}:${via.id}`])
  }

  /** A client that was added with this subnet has a route to it. */
  #hasSubnet(via: Via, cidr: string): boolean {
    return via.kind === 'client' && this.#home.views.client(via.id)?.value.subnets.includes(cidr) === true
  }

  #through(text: string, nat: boolean | undefined, pending?: Pending): Through {
    const [, kind, name] = VIA.exec(text) ?? []
    if (text !== 'internet' && kind === undefined)
      throw new ServiceError('invalid', `"${text.slice(0, 80)}" is nothing to route through; ${HOW}`)
    if (kind === 'attachment') {
      if (nat !== undefined)
        throw new ServiceError('invalid', 'a site is given packets as they are; --nat is for controllers')
      return { via: { kind, id: pending?.attachments.get(name) ?? this.#attachment(name) }, nat: false }
    }
    if (kind === 'client') {
      if (nat !== undefined)
        throw new ServiceError('invalid', 'a client is given packets as they are; --nat is for controllers')
      return { via: { kind, id: pending?.clients.get(name) ?? this.#client(name) }, nat: false }
    }
    if (nat === false && kind !== 'controller')
      throw new ServiceError(
        'invalid',
        `packets to the Internet always get the controller's address; without that it is --via controller:NAME`,
      )
    if (text === 'internet') return { via: { kind: 'internet' }, nat: false }
    return {
      via: { kind: 'controller', id: this.#controller(name) },
      nat: kind === 'internet' || nat === true,
      exit: kind === 'internet',
    }
  }

  #client(name: string): ClientId {
    const { views } = this.#home
    const client = views.clientByName(name)
    if (!client)
      throw new ServiceError('not-found', `no client is named ${name}; see \`overmesh client list\``)
    const standing = views.standing(client)
    if (!standing.usable && standing.reason !== 'disabled')
      throw new ServiceError('refused', `client ${name} cannot connect any more: ${standing.message}`)
    return client.id
  }

  #attachment(name: string): string {
    for (const [id, shown] of attachmentNames(this.#home.replica)) if (shown === name) return id
    throw new ServiceError('not-found', `no attachment is named ${name}; see \`overmesh ipsec list\``)
  }

  #controller(name: string): ControllerId {
    const { views, replica } = this.#home
    const controller = views.controllers().find(({ value }) => value.name === name)
    if (controller) return controller.id
    const removed = [...replica.all('controller')].some(({ value }) => value.name === name)
    throw removed
      ? new ServiceError('refused', `controller ${name} was removed; see \`overmesh controller list\``)
      : new ServiceError('not-found', `no controller is named ${name}; see \`overmesh controller list\``)
  }
}

/** IPsec takes no packets but those between the networks that both ends agreed on. */
function checkSite(name: string, remoteSubnets: readonly string[], cidr: Cidr): void {
  if (remoteSubnets.some(text => cidrCovers(parseCidr(text)!, cidr))) return
  throw new ServiceError(
    'refused',
    `${formatCidr(cidr)} is not among the networks of ${name} (${remoteSubnets.join(', ')}); both ends must agree: \`overmesh ipsec set ${name} --remote-ts\``,
  )
}

const PROBLEMS: Record<WayProblem, (entry: Described, fate: string) => string> = {
  'client-gone': (_entry, fate) => fate,
  'controller-gone': () => 'the controller was removed',
  'not-connected': () => 'the client is not connected',
  'out-of-reach': () => 'the controller is out of reach',
  'no-gateway': ({ via, isIpv6 }) =>
    (via.kind === 'internet' ? 'no controller in reach forwards' : 'the controller does not forward') +
    (isIpv6 ? ' IPv6' : ''),
  'no-exit': () => 'no controller in reach has a way to the IPv6 Internet itself',
  'probe-fails': ({ probe, via }) => {
    const silent = via.kind === 'client' ? ['the client is silent'] : []
    return [...(probe === undefined ? [] : [`${probe} does not answer`]), ...silent].join(', or ')
  },
  'attachment-down': () => 'the attachment is not up',
}

function defaultProblem(cidr: string, via: string): string {
  const name = via.slice(via.indexOf(':') + 1)
  return (
    `${cidr} would take all traffic of every client, the Internet too, through ${via}; ` +
    `say --default if that is meant, or use --via internet${via.startsWith('controller') ? ` or internet:${name}` : ''}`
  )
}
