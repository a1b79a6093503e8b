// Routes that an operator adds beside those that follow from clients: as writes to the records.
import { cidrHasHostBits, cidrOverlaps, formatCidr, parseCidr } from '../state/address.ts'
import { parseCidr6 } from '../state/address6.ts'
import { type ClientId, type ControllerId, routeId } from '../state/kinds.ts'
import type { Via } from '../state/routing-table.ts'
import type { Home } from './home.ts'
import { type AddRoute, ServiceError } from './service.ts'

const VIA = /^(client|controller|attachment):([a-z0-9][a-z0-9._~-]{0,80})$/
const HOW = 'use client:NAME or controller:NAME'

export class Routes {
  readonly #home: Home

  constructor(home: Home) {
    this.#home = home
  }

  /** The prefix. @throws ServiceError */
  async add({ cidr: text, via: viaText, metric = 0 }: AddRoute): Promise<string> {
    const cidr = this.#prefix(text)
    const via = this.#via(viaText)
    const { replica } = this.#home
    await replica.write(() => {
      const value = { cidr, via, metric, createdAt: Date.now() }
      const id = routeId(value)
      if (replica.get('route', id)) {
        throw new ServiceError(
          'exists',
          `${cidr} has a route via ${viaText} already; see \`overmesh routes\``,
        )
      }
      return [{ kind: 'route', id, value }]
    })
    return cidr
  }

  /** Removes the routes of a prefix, or that one through `via`. @throws ServiceError */
  async remove(text: string, viaText?: string): Promise<{ cidr: string; count: number }> {
    const cidr = parseCidr(text)
    if (!cidr) throw notAPrefix(text)
    const plain = formatCidr(cidr)
    const via = viaText === undefined ? undefined : this.#via(viaText)
    const { replica } = this.#home
    let count = 0
    await replica.write(() => {
      const ids = [...replica.all('route')]
        .filter(({ value }) => value.cidr === plain)
        .map(({ id }) => id)
        .filter(id => via === undefined || id === routeId({ cidr: plain, via }))
      if (ids.length === 0) {
        const through = viaText === undefined ? '' : ` via ${viaText}`
        throw new ServiceError(
          'not-found',
          `no route to ${plain}${through} was added; see \`overmesh routes\``,
        )
      }
      count = ids.length
      return ids.map(id => ({ kind: 'route' as const, id, value: null }))
    })
    return { cidr: plain, count }
  }

  #prefix(text: string): string {
    const cidr = parseCidr(text)
    if (!cidr && parseCidr6(text))
      throw new ServiceError(
        'invalid',
        `${text} is IPv6, which is reached behind clients alone; \`client add --subnet\` says so`,
      )
    if (!cidr) throw notAPrefix(text)
    const plain = formatCidr(cidr)
    if (cidrHasHostBits(text))
      throw new ServiceError('invalid', `${text} names a host; the prefix is ${plain}`)
    const { subnet } = this.#home.mesh
    if (cidrOverlaps(cidr, subnet)) {
      const own = formatCidr(subnet)
      throw new ServiceError(
        'invalid',
        `${plain} overlaps the overlay's own subnet ${own}; route another prefix`,
      )
    }
    return plain
  }

  #via(text: string): Via {
    const [, kind, name] = VIA.exec(text) ?? []
    const { views } = this.#home
    if (kind === 'client') {
      const client = views.clientByName(name)
      if (client) return { kind, id: client.id as ClientId }
      throw new ServiceError('not-found', `no client is named ${name}; see \`overmesh client list\``)
    }
    if (kind === 'controller') {
      const controller = views.controllers().find(({ value }) => value.name === name)
      if (controller) return { kind, id: controller.id as ControllerId }
      throw new ServiceError('not-found', `no controller is named ${name}; see \`overmesh controller list\``)
    }
    if (text === 'internet' || kind === 'attachment') {
      throw new ServiceError('refused', `routes via ${text} are not offered by this version; ${HOW}`)
    }
    throw new ServiceError('invalid', `"${text.slice(0, 80)}" is nothing to route through; ${HOW}`)
  }
}

function notAPrefix(text: string): ServiceError {
  return new ServiceError('invalid', `"${text.slice(0, 80)}" is no IPv4 prefix such as 192.168.5.0/24`)
}
