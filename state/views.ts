// What the records mean: who may connect as whom, at which address, under which name. Indexes follow every change, so
// that asking costs the same with ten clients as with a hundred thousand.
import { type Cidr, type OverlayAddress, parseCidr, parseIpv4 } from './address.ts'
import { type Cidr6, parseCidr6 } from './address6.ts'
import type { AddressView } from './allocator.ts'
import type { Change } from './batch.ts'
import type { ChangeSet } from './change-feed.ts'
import { type Conflict, findConflicts } from './conflicts.ts'
import { Index } from './index-table.ts'
import type {
  ClientId,
  ClientValue,
  ControllerId,
  ControllerValue,
  Kind,
  MeshValue,
  RevocationValue,
  Serial,
  Values,
} from './kinds.ts'
import { concernPrefixes } from './prefix-changes.ts'
import { isTombstone } from './record.ts'
import type { LiveRecord } from './replica.ts'
import { derivePrefixes, deriveRoutes, type RouteEntry, serialiseRoutes } from './routing-table.ts'
import { deriveRoutes6, type RouteEntry6, serialiseRoutes6 } from './routing-table6.ts'
import { withCurrentCertificate } from './succession.ts'

/** What views read; a replica is one. */
export interface Records {
  get<K extends Kind>(kind: K, id: string): Values[K] | undefined
  all<K extends Kind>(kind: K): Iterable<LiveRecord<K>>
  has(kind: Kind, id: string): boolean
  ids(kind: Kind): Iterable<string>
  onChange(listener: (set: ChangeSet) => void): () => void
}

export interface ClientView {
  readonly id: ClientId
  /** The name to show: `name~xxxx` for one whose name an older client has. */
  readonly name: string
  /** As its record has it, with the certificate that is good now. */
  readonly value: ClientValue
}

export interface ControllerView {
  readonly id: ControllerId
  readonly value: ControllerValue
}

export interface MeshView {
  readonly id: string
  readonly value: MeshValue
  readonly subnet: Cidr
  /** Undefined: the overlay has no IPv6. */
  readonly subnet6?: Cidr6
}

export type CredentialRefusal =
  | 'unknown'
  | 'revoked'
  | 'superseded'
  | 'disabled'
  | 'address-lost'
  | 'issuer-not-admitted'

export type Credential =
  | { usable: true; client: ClientView; address: OverlayAddress; subnets: Cidr[]; subnets6: Cidr6[] }
  | { usable: false; reason: CredentialRefusal; message: string; client?: ClientView }

export class Views {
  readonly #records: Records
  readonly #byName = new Index<ClientId>()
  /** By the certificates that their records and the revocations lead to; each client is under one. */
  readonly #bySerial = new Index<ClientId>()
  readonly #serials = new Map<ClientId, Serial>()
  readonly #byAddress = new Index<ClientId>()
  readonly #leased = new Set<number>()
  /** Clients that subnets lie behind: few among many. */
  readonly #withSubnets = new Set<ClientId>()
  readonly #stop: () => void
  #mesh: MeshView | undefined
  /** Clients that route records name as vias; undefined until asked for. */
  #vias: ReadonlySet<string> | undefined
  #prefixesVersion = 0
  #routes: readonly RouteEntry[] | undefined
  #prefixes: readonly RouteEntry[] | undefined
  #routes6: readonly RouteEntry6[] | undefined
  #conflicts: readonly Conflict[] | undefined

  constructor(records: Records) {
    this.#records = records
    for (const { id, value } of records.all('client')) {
      this.#index(id as ClientId, value)
      this.#indexSerial(id as ClientId)
    }
    for (const id of records.ids('lease')) this.#lease(id, true)
    this.#stop = records.onChange(({ changes }) => this.#follow(changes))
  }

  /** Stops following the records. */
  close(): void {
    this.#stop()
  }

  /** The mesh; undefined before the first record of it came. */
  mesh(): MeshView | undefined {
    if (this.#mesh === undefined) {
      // One record by rights; were there two, all replicas must choose the same.
      const [first] = [...this.#records.all('mesh')].sort((a, b) => (a.id < b.id ? -1 : 1))
      if (first !== undefined) {
        const { id, value } = first
        const subnet6 = value.subnet6 === undefined ? undefined : parseCidr6(value.subnet6)
        this.#mesh = { id, value, subnet: parseCidr(value.subnet)!, subnet6 }
      }
    }
    return this.#mesh
  }

  /** Admitted controllers in the order of their ids. */
  controllers(): ControllerView[] {
    const admitted: ControllerView[] = []
    for (const { id, value } of this.#records.all('controller')) {
      if (value.removedAt === undefined) admitted.push({ id: id as ControllerId, value })
    }
    return admitted.sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  isAdmitted(id: string): boolean {
    const controller = this.#records.get('controller', id)
    return controller !== undefined && controller.removedAt === undefined
  }

  client(id: string): ClientView | undefined {
    const value = this.#valueOf(id as ClientId)
    return value === undefined
      ? undefined
      : { id: id as ClientId, name: this.#nameOf(id as ClientId, value), value }
  }

  /** By the name shown. */
  clientByName(name: string): ClientView | undefined {
    const [plain] = name.split('~', 1)
    for (const id of this.#byName.get(plain)) {
      const client = this.client(id)
      if (client?.name === name) return client
    }
    return undefined
  }

  /** All clients whose record has this name, however they are shown, the oldest first. */
  namesakes(name: string): ClientView[] {
    return this.#inOrderOfAge(this.#byName.get(name)).map(id => this.client(id)!)
  }

  /** All clients in the order of the names shown. */
  clients(): ClientView[] {
    const clients: ClientView[] = []
    for (const { id } of this.#records.all('client')) clients.push(this.client(id)!)
    return clients.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  }

  /** Clients with subnets behind them, in no particular order. */
  clientsWithSubnets(): Iterable<ClientId> {
    return this.#withSubnets
  }

  /** Clients that say this address is theirs, whether or not they hold its lease. */
  claimants(address: string): readonly ClientId[] {
    return this.#byAddress.get(address)
  }

  /** Whether a certificate lets its bearer in, by the records alone: dates and signatures are TLS's to check. */
  credential(serial: Serial): Credential {
    const revocation = this.#records.get('revocation', serial)
    const client = this.#bearer(serial)
    // One that only newer versions understand is one all the same.
    if (this.#records.has('revocation', serial)) {
      const known = client ?? (revocation && this.client(revocation.client))
      if (revocation?.reason === 'superseded')
        return refuse('superseded', 'was replaced by a newer one', known)
      return refuse('revoked', 'was revoked', known)
    }
    if (client === undefined) return refuse('unknown', 'is not known here')
    return this.#standing(client)
  }

  /** Whether a client's current certificate lets it in. */
  standing(client: ClientView): Credential {
    return this.credential(client.value.serial)
  }

  /** For the allocator. Undefined before the mesh is known. */
  addresses(): AddressView | undefined {
    const mesh = this.mesh()
    if (mesh === undefined) return undefined
    return {
      subnet: mesh.subnet,
      blockLength: mesh.value.blockLength,
      controllers: this.controllers().map(({ id }) => id),
      isLeased: address => this.#leased.has(address),
    }
  }

  /** The routing table that follows from the records, sorted; who is connected where is not part of it. */
  routes(): readonly RouteEntry[] {
    this.#routes ??= deriveRoutes(this, this.#records)
    return this.#routes
  }

  /** Those routes that are not the address of a client. */
  prefixes(): readonly RouteEntry[] {
    this.#prefixes ??= derivePrefixes(this, this.#records)
    return this.#prefixes
  }

  /** Rises whenever those prefixes or those of IPv6, or which of their vias are good, may be others: for caches. */
  get prefixesVersion(): number {
    return this.#prefixesVersion
  }

  /** The same of IPv6, beside the overlay's own addresses. */
  routes6(): readonly RouteEntry6[] {
    this.#routes6 ??= deriveRoutes6(this, this.#records)
    return this.#routes6
  }

  /** The routing table as bytes: equal for equal records. */
  routingTable(): Uint8Array {
    return Buffer.concat([serialiseRoutes(this.routes()), serialiseRoutes6(this.routes6())])
  }

  /** What cut-off halves did to each other, in a fixed order. */
  conflicts(): readonly Conflict[] {
    this.#conflicts ??= findConflicts(this, this.#records)
    return this.#conflicts
  }

  /** Names that more than one client has, each with its clients, the oldest first. */
  *sharedNames(): Iterable<{ name: string; clients: ClientView[] }> {
    for (const name of this.#byName.shared()) {
      yield { name, clients: this.namesakes(name) }
    }
  }

  #standing(client: ClientView): Credential {
    const { value, id } = client
    if (!value.enabled) return refuse('disabled', 'belongs to a disabled client', client)
    if (this.#records.get('lease', value.address)?.holder !== id) {
      return refuse('address-lost', `is for ${value.address}, which another holds`, client)
    }
    if (!this.isAdmitted(value.issuer)) {
      return refuse('issuer-not-admitted', 'was issued by a controller that is not part of the mesh', client)
    }
    const subnets = value.subnets.flatMap(text => parseCidr(text) ?? [])
    const subnets6 = value.subnets.flatMap(text => parseCidr6(text) ?? [])
    return { usable: true, client, address: parseIpv4(value.address)!, subnets, subnets6 }
  }

  #nameOf(id: ClientId, value: ClientValue): string {
    const ids = this.#byName.get(value.name)
    if (ids.length < 2) return value.name
    const [oldest, ...others] = this.#inOrderOfAge(ids)
    if (id === oldest) return value.name
    const short = id.slice(0, SHORT_ID)
    const isTold = others.filter(other => other.startsWith(short)).length === 1
    return `${value.name}~${isTold ? short : id}`
  }

  #valueOf(id: ClientId): ClientValue | undefined {
    const value = this.#records.get('client', id)
    return value && withCurrentCertificate(this.#records, id, value)
  }

  /** Of several, the oldest; whose own record names the certificate comes before those that a revocation says it of. */
  #bearer(serial: Serial): ClientView | undefined {
    const ids = this.#bySerial.get(serial)
    if (ids.length < 2) return ids.length === 0 ? undefined : this.client(ids[0])
    const inOrder = this.#inOrderOfAge(ids)
    const own = inOrder.find(id => this.#records.get('client', id)!.serial === serial)
    return this.client(own ?? inOrder[0])
  }

  #inOrderOfAge(ids: readonly ClientId[]): ClientId[] {
    const age = (id: ClientId) => this.#records.get('client', id)!.createdAt
    return [...ids].sort((a, b) => age(a) - age(b) || (a < b ? -1 : 1))
  }

  #follow(changes: readonly Change[]): void {
    /** Of certificates that were or are a client's, where that may have changed. */
    const serials = new Set<Serial>()
    for (const { kind, id, before, after } of changes) {
      if (kind === 'setting' || kind === 'token') continue
      if (kind === 'mesh') this.#mesh = undefined
      if (kind === 'lease') {
        this.#lease(id, after !== undefined && !isTombstone(after))
      }
      if (kind === 'client') {
        this.#unindex(id as ClientId, before?.value as ClientValue | null | undefined)
        this.#index(id as ClientId, after?.value as ClientValue | null | undefined)
        this.#indexSerial(id as ClientId, serials)
      }
      if (kind === 'revocation') {
        for (const record of [before, after]) {
          const client = (record?.value as RevocationValue | undefined)?.client
          if (client !== undefined) this.#indexSerial(client, serials)
        }
      }
      if (kind === 'route') this.#vias = undefined
      this.#routes = undefined
      this.#conflicts = undefined
    }
    const clients = {
      isVia: (id: ClientId) => this.#withSubnets.has(id) || this.#viasOfRoutes().has(id),
      withSerial: (serial: Serial) => this.#bySerial.get(serial),
      serialOf: (id: ClientId) => this.#serials.get(id),
      serials,
    }
    if (!concernPrefixes(changes, clients)) return
    this.#prefixesVersion++
    this.#prefixes = undefined
    this.#routes6 = undefined
  }

  #viasOfRoutes(): ReadonlySet<string> {
    if (this.#vias === undefined) {
      const vias = new Set<string>()
      for (const { value } of this.#records.all('route'))
        if (value.via.kind === 'client') vias.add(value.via.id)
      this.#vias = vias
    }
    return this.#vias
  }

  /** An address is taken also by a lease that only newer versions understand. */
  #lease(id: string, isTaken: boolean): void {
    const address = parseIpv4(id)
    if (address === undefined) return
    if (isTaken) this.#leased.add(address)
    else this.#leased.delete(address)
  }

  #index(id: ClientId, value: ClientValue | null | undefined): void {
    if (value === null || value === undefined) return
    this.#byName.add(value.name, id)
    this.#byAddress.add(value.address, id)
    if (value.subnets.length > 0) this.#withSubnets.add(id)
  }

  #unindex(id: ClientId, value: ClientValue | null | undefined): void {
    if (value === null || value === undefined) return
    this.#byName.remove(value.name, id)
    this.#byAddress.remove(value.address, id)
    this.#withSubnets.delete(id)
  }

  /** Adds to `touched` the serial numbers that it had before and has now. */
  #indexSerial(id: ClientId, touched?: Set<Serial>): void {
    const before = this.#serials.get(id)
    const now = this.#valueOf(id)?.serial
    if (before !== undefined) touched?.add(before)
    if (now !== undefined) touched?.add(now)
    if (before === now) return
    if (before !== undefined) this.#bySerial.remove(before, id)
    if (now === undefined) this.#serials.delete(id)
    else {
      this.#bySerial.add(now, id)
      this.#serials.set(id, now)
    }
  }
}

/** Digits of a client's id that tell it from an older one of its name. */
const SHORT_ID = 4

function refuse(reason: CredentialRefusal, what: string, client?: ClientView): Credential {
  return { usable: false, reason, message: `the certificate ${what}`, client }
}
