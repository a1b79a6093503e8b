// What operators do to clients and routes, by the same writes as the commands make.
import { formatIpv4 } from '../../state/address.ts'
import { nextAddress } from '../../state/allocator.ts'
import { type ClientId, newClientId, type RouteValue, routeId, type Serial } from '../../state/kinds.ts'
import type { ClientView } from '../../state/views.ts'
import type { Op } from '../../state/writing.ts'
import { clientValue } from '../unit/state/samples.ts'
import type { MeshWorld } from './mesh-world.ts'
import type { SimClients } from './sim-clients.ts'
import type { SimController, SimProcess } from './sim-controller.ts'

/** Clash on purpose: addresses that people choose by hand. */
const FAVOURITES = ['10.77.0.50', '10.77.0.51', '10.77.0.52']

export class Operators {
  readonly #world: MeshWorld
  readonly #clients: SimClients
  #serial = 0x1000

  constructor(world: MeshWorld, clients: SimClients) {
    this.#world = world
    this.#clients = clients
  }

  /** One of them does something at a controller. */
  async act(controller: SimController): Promise<void> {
    const choice = this.#world.clockwork.pick(100)
    if (choice < 35) return this.add(controller)
    if (choice < 45) return this.#revoke(controller)
    if (choice < 60) return this.#enable(controller)
    if (choice < 75) return this.#rekey(controller)
    if (choice < 90) return this.#route(controller)
    if (choice < 95) return this.#delete(controller)
    const { clockwork } = this.#world
    const value = { value: clockwork.pick(100) }
    await this.#world.write(controller, [{ kind: 'setting', id: `s${clockwork.pick(8)}`, value }])
  }

  async add(controller: SimController): Promise<void> {
    const { clockwork } = this.#world
    const id = newClientId(clockwork.bytes)
    const isDone = await this.#world.write(controller, () => {
      const { process } = controller
      const address = process && this.#address(controller, process)
      if (address === undefined) return []
      const value = clientValue(0, {
        name: `n${clockwork.pick(60)}`,
        address,
        serial: this.#newSerial(),
        issuer: controller.id,
        subnets: clockwork.chance(200) ? [`192.168.${clockwork.pick(4)}.0/24`] : [],
        createdAt: controller.now,
      })
      return [
        { kind: 'client', id, value },
        { kind: 'lease', id: address, value: { holder: id, holderKind: 'client' } },
      ]
    })
    if (isDone) this.#clients.add(id)
  }

  #address(controller: SimController, { views }: SimProcess): string | undefined {
    const { clockwork } = this.#world
    if (clockwork.chance(150)) return clockwork.choose(FAVOURITES)
    const view = views.addresses()
    const found = view && nextAddress(view, controller.id)
    return found?.ok ? formatIpv4(found.address) : undefined
  }

  #newSerial(): Serial {
    return (this.#serial++).toString(16) as Serial
  }

  /** Writes what follows from a client as it is in the batch's turn, unless it was revoked. */
  async #change(
    controller: SimController,
    ops: (client: ClientView, process: SimProcess) => Op[],
  ): Promise<void> {
    const { process } = controller
    const client = this.#world.clockwork.choose(process ? process.views.clients() : [])
    if (!process || !client) return
    await this.#world.write(controller, () => {
      const now = process.views.client(client.id)
      if (!now || process.replica.get('revocation', now.value.serial)) return []
      return ops(now, process)
    })
  }

  #revoke(controller: SimController): Promise<void> {
    return this.#change(controller, ({ id, value }, process) => {
      const revocation = { client: id, reason: 'revoked', at: controller.now }
      return [
        { kind: 'revocation', id: value.serial, value: revocation },
        ...release(id, value.address, process),
      ]
    })
  }

  #enable(controller: SimController): Promise<void> {
    const enabled = this.#world.clockwork.chance(600)
    return this.#change(controller, ({ id, value }) => [{ kind: 'client', id, value: { ...value, enabled } }])
  }

  #rekey(controller: SimController): Promise<void> {
    return this.#change(controller, ({ id, value }) => {
      const { fingerprint, expiresAt } = value
      const successor = { serial: this.#newSerial(), fingerprint, issuer: controller.id, expiresAt }
      return [
        { kind: 'client', id, value: { ...value, ...successor } },
        {
          kind: 'revocation',
          id: value.serial,
          value: { client: id, reason: 'superseded', at: controller.now, successor },
        },
      ]
    })
  }

  #delete(controller: SimController): Promise<void> {
    return this.#change(controller, ({ id, value }, process) => [
      { kind: 'client', id, value: null },
      ...release(id, value.address, process),
    ])
  }

  async #route(controller: SimController): Promise<void> {
    const { process } = controller
    const { clockwork } = this.#world
    const client = clockwork.choose(process ? process.views.clients() : [])
    if (!client) return
    const value: RouteValue = {
      cidr: clockwork.chance(250) ? `2001:db8:${clockwork.pick(4)}::/48` : `172.16.${clockwork.pick(8)}.0/24`,
      via: clockwork.chance(700)
        ? { kind: 'client', id: client.id }
        : { kind: 'controller', id: controller.id },
      metric: clockwork.pick(3) * 10,
      createdAt: controller.now,
    }
    const isGoing = clockwork.chance(300)
    await this.#world.write(controller, [
      { kind: 'route', id: routeId(value), value: isGoing ? null : value },
    ])
  }
}

function release(id: ClientId, address: string, { replica }: SimProcess): Op[] {
  return replica.get('lease', address)?.holder === id ? [{ kind: 'lease', id: address, value: null }] : []
}
