// The operator's service about clients, on the records and the credentials of this machine.
import type { Serial } from '../state/kinds.ts'
import type { ClientView } from '../state/views.ts'
import { addressesOf } from './addresses.ts'
import { Clients } from './clients.ts'
import type { LocalContext } from './live.ts'
import { isPackStale, packedFor } from './pack-list.ts'
import { packContent } from './packs.ts'
import { Routes } from './routes.ts'
import {
  type AddClient,
  type Client,
  type ClientService,
  type Pack,
  type PackFormat,
  type PackOptions,
  ServiceError,
  type Session,
} from './service.ts'

export class LocalClients implements ClientService {
  readonly #context: LocalContext
  readonly #all: Clients

  constructor(context: LocalContext) {
    this.#context = context
    this.#all = new Clients(context.home)
  }

  /** @throws ServiceError not-found */
  view(name: string): ClientView {
    return this.#all.get(name)
  }

  /** Names of those whose pack does not list the controllers that there are now. */
  stalePacks(): string[] {
    const { home } = this.#context
    const current = packedFor(home)
    return home.views.clients().flatMap(client => (this.#isPackStale(client, current) ? [client.name] : []))
  }

  async clients(): Promise<Client[]> {
    const all = this.#context.live?.sessions() ?? []
    const sessions = new Map(all.map(session => [session.client, session]))
    return this.#context.home.views.clients().map(client => this.#describe(client, sessions.get(client.name)))
  }

  async client(name: string): Promise<Client> {
    const client = this.#all.get(name)
    return this.#describe(client, this.#context.live?.sessionOf(client.id))
  }

  addClient(request: AddClient): Promise<Pack> {
    const { writing, events, home } = this.#context
    return writing(async () => {
      const client = await this.#all.add(request)
      events.append({ type: 'client-added', client: client.name, address: client.value.address })
      const pack = await this.#pack(client, 'ovpn')
      const notes = new Routes(home).notesOfSubnets(client)
      return notes.length === 0 ? pack : { ...pack, client: { ...pack.client, notes } }
    })
  }

  packClient(name: string, format: PackFormat, options: PackOptions = {}): Promise<Pack> {
    return this.#context.writing(async () => {
      const client = await this.#all.prefer(name, options.prefer)
      if (this.#all.isRevoked(client)) {
        throw new ServiceError(
          'refused',
          `${name} was revoked, for good; add it anew with \`overmesh client add\``,
        )
      }
      return this.#pack(client, format, options)
    })
  }

  disableClient(name: string, reason?: string): Promise<Client> {
    const { writing, events } = this.#context
    return writing(async () => {
      const client = await this.#all.setEnabled(name, false)
      events.append({ type: 'client-disabled', client: name, ...(reason ? { reason } : {}) })
      return this.#stored(this.#describe(client, undefined))
    })
  }

  enableClient(name: string): Promise<Client> {
    const { writing, events } = this.#context
    return writing(async () => {
      await this.#all.setEnabled(name, true)
      events.append({ type: 'client-enabled', client: name })
      return this.#stored(await this.client(name))
    })
  }

  revokeClient(name: string, reason?: string): Promise<Client> {
    const { writing, events } = this.#context
    return writing(async () => {
      const client = await this.#all.revoke(name, reason)
      events.append({ type: 'client-revoked', client: name, ...(reason ? { reason } : {}) })
      return this.#stored(this.#describe(client, undefined))
    })
  }

  rekeyClient(name: string, days?: number): Promise<Pack> {
    const { writing, events } = this.#context
    return writing(async () => {
      const client = await this.#all.rekey(name, days)
      events.append({ type: 'client-rekeyed', client: name })
      return this.#pack(client, 'ovpn')
    })
  }

  async #pack(client: ClientView, format: PackFormat, options?: PackOptions): Promise<Pack> {
    const secret = await this.#all.secret(client)
    const content = packContent(this.#context.home, client, secret, format, options)
    await this.#all.packed(client)
    const fileName = `${client.value.name}.${format}`
    return { client: await this.#stored(await this.client(client.name)), format, fileName, content }
  }

  async #stored(client: Client): Promise<Client> {
    return { ...client, storedOn: await this.#context.storedOn() }
  }

  #isPackStale(client: ClientView, current?: string): boolean {
    return !this.#all.isRevoked(client) && isPackStale(this.#context.home, client, current)
  }

  #describe(client: ClientView, session: Session | undefined): Client {
    const { mesh, replica, views } = this.#context.home
    const { value } = client
    return {
      name: client.name,
      ...addressesOf(mesh, value.address),
      subnets: [...value.subnets],
      enabled: value.enabled,
      revoked: this.#all.isRevoked(client),
      serial: value.serial satisfies Serial,
      issuer: replica.get('controller', value.issuer)?.name ?? value.issuer,
      issuerRemoved: !views.isAdmitted(value.issuer),
      tags: { ...value.tags },
      createdAt: new Date(value.createdAt).toISOString(),
      expiresAt: new Date(value.expiresAt).toISOString(),
      prefer: (value.prefer ?? []).map(id => replica.get('controller', id)?.name ?? id),
      packStale: this.#isPackStale(client),
      session: session ?? null,
    }
  }
}
