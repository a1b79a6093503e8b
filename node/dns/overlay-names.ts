// The names of the overlay as the records have them: controllers, and clients whose credential is good now.
import { type Cidr, formatIpv4, type OverlayAddress, parseIpv4 } from '../../state/address.ts'
import type { Cidr6 } from '../../state/address6.ts'
import { gatewayOf } from '../../state/allocator.ts'
import type { ClientValue, ControllerValue } from '../../state/kinds.ts'
import type { Records, Views } from '../../state/views.ts'
import { isDomainName, spellName, unspellName } from './names.ts'
import type { NameView } from './zone.ts'

export interface OverlayNamesInit {
  records: Records & { readonly version: number }
  views: Views
  domain: string
  subnet: Cidr
  subnet6?: Cidr6
}

/** A controller's name wins over a client's: nobody who may only add clients can take what is sent to a controller. */
export class OverlayNames implements NameView {
  readonly domain: string
  readonly subnet: Cidr
  readonly gateway: OverlayAddress
  readonly subnet6: Cidr6 | undefined
  readonly #records: OverlayNamesInit['records']
  readonly #views: Views
  /** Addresses by name, of the records' `#version`: controllers are few. */
  #controllers = new Map<string, OverlayAddress>()
  #version = -1
  /** How many names of records, good or not, end with a dot and this one. */
  readonly #below = new Map<string, number>()
  readonly #stop: () => void

  constructor({ records, views, domain, subnet, subnet6 }: OverlayNamesInit) {
    this.domain = domain
    this.subnet = subnet
    this.gateway = gatewayOf(subnet)
    this.subnet6 = subnet6
    this.#records = records
    this.#views = views
    for (const kind of ['client', 'controller'] as const)
      for (const { value } of records.all(kind)) this.#count(value.name, 1)
    this.#stop = records.onChange(({ changes }) => {
      for (const { kind, before, after } of changes) {
        if (kind !== 'client' && kind !== 'controller') continue
        const [gone, come] = [before, after].map(
          record => record?.value as ClientValue | ControllerValue | null | undefined,
        )
        if (gone) this.#count(gone.name, -1)
        if (come) this.#count(come.name, 1)
      }
    })
  }

  /** Stops following the records. */
  close(): void {
    this.#stop()
  }

  find(name: string): OverlayAddress | undefined {
    const controller = this.#controllersByName().get(name)
    if (controller !== undefined) return controller
    const shown = unspellName(name)
    return this.#client(name) ?? (shown === undefined ? undefined : this.#client(shown))
  }

  /** The address of a client that may connect now, whether or not it does. */
  #client(shown: string): OverlayAddress | undefined {
    const client = this.#views.clientByName(shown)
    const credential = client && this.#views.standing(client)
    return credential?.usable ? credential.address : undefined
  }

  hasNamesBelow(name: string): boolean {
    return this.#below.has(name)
  }

  nameOf(address: OverlayAddress): string | undefined {
    const lease = this.#records.get('lease', formatIpv4(address))
    if (lease === undefined) return undefined
    const shown =
      lease.holderKind === 'controller'
        ? this.#records.get('controller', lease.holder)?.name
        : this.#views.client(lease.holder)?.name
    if (shown === undefined) return undefined
    const name = spellName(shown)
    return isDomainName(`${name}.${this.domain}`) && this.find(name) === address ? name : undefined
  }

  #controllersByName(): Map<string, OverlayAddress> {
    if (this.#version === this.#records.version) return this.#controllers
    this.#version = this.#records.version
    this.#controllers = new Map()
    // Of two with one name the first in the order of ids counts, as everywhere.
    for (const { value } of this.#views.controllers().reverse())
      this.#controllers.set(value.name, parseIpv4(value.address)!)
    return this.#controllers
  }

  #count(name: string, by: number): void {
    for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
      const end = name.slice(dot + 1)
      const count = (this.#below.get(end) ?? 0) + by
      if (count === 0) this.#below.delete(end)
      else this.#below.set(end, count)
    }
  }
}
