// Clients and their credentials: what the operator does to them, as writes to the records. The private half of a
// credential stays in the data directory of the controller that issued it.
import { randomBytes } from 'node:crypto'
import { cidrOverlaps, formatCidr, formatIpv4, type OverlayAddress, parseIpv4 } from '../state/address.ts'
import { formatCidr6 } from '../state/address6.ts'
import { checkAddress, nextAddress } from '../state/allocator.ts'
import { StateError } from '../state/errors.ts'
import { type ClientId, type ClientValue, newClientId, type Serial } from '../state/kinds.ts'
import type { Replica } from '../state/replica.ts'
import type { ClientView } from '../state/views.ts'
import type { Op } from '../state/writing.ts'
import { restoredNotice } from './backup/settling.ts'
import { type ClientSecret, ClientSecrets } from './client-secrets.ts'
import { controllerIds } from './controller-names.ts'
import type { Home } from './home.ts'
import { checkNewName, nameTaken } from './new-names.ts'
import { isPackStale, packedFor, packSetting } from './pack-list.ts'
import { issueClientCertificate } from './pki/client.ts'
import { formatPrivateKey, newPrivateKey, publicKeyOf } from './pki/keys.ts'
import { DEFAULT_LENGTH } from './push.ts'
import { readPrefix, readPrefix6 } from './route-check.ts'
import { type AddClient, ServiceError } from './service.ts'
import { formatTlsCryptV2ClientKey } from './vpn/static-key.ts'
import { generateClientKey, TlsCryptV2Server } from './vpn/tls-crypt-v2.ts'

const DAY_SECONDS = 86_400

export class Clients {
  readonly #home: Home
  readonly #secrets: ClientSecrets

  constructor(home: Home) {
    this.#home = home
    this.#secrets = new ClientSecrets(home.directory)
  }

  /** @throws ServiceError not-found */
  get(name: string): ClientView {
    const client = this.#home.views.clientByName(name)
    if (!client)
      throw new ServiceError('not-found', `no client is named ${name}; see \`overmesh client list\``)
    return client
  }

  isRevoked(client: ClientView): boolean {
    return this.#home.replica.has('revocation', client.value.serial)
  }

  /** The secret half of a client's credential. @throws ServiceError refused when it is not here */
  async secret(client: ClientView): Promise<ClientSecret> {
    const { replica } = this.#home
    const secret = await this.#secrets.read(client.value.serial)
    if (secret === undefined) {
      const issuer = replica.get('controller', client.value.issuer)?.name ?? client.value.issuer
      const where =
        client.value.issuer === this.#home.id
          ? 'is gone from the data directory'
          : `is on controller ${issuer}`
      throw new ServiceError(
        'refused',
        `the private key of ${client.name} ${where}; make a new one with \`overmesh client rekey ${client.name}\``,
      )
    }
    return secret
  }

  async add(request: AddClient): Promise<ClientView> {
    const { replica, views } = this.#home
    checkNewName(request.name)
    const wanted = request.ip === undefined ? undefined : parseIpv4(request.ip)
    if (request.ip !== undefined && wanted === undefined) {
      throw new ServiceError('invalid', `"${request.ip}" is no IPv4 address`)
    }
    const subnets = this.checkSubnets(request.subnets ?? [])
    const tags = checkTags(request.tags ?? {})
    const prefer = controllerIds(this.#home, request.prefer ?? [])
    const id = newClientId(randomBytes)
    // The certificate names the address, so both are settled in the batch's own turn; the key is made before.
    const privateKey = newPrivateKey()
    let serial: Serial | undefined
    try {
      await replica.write(async () => {
        const namesakes = views.namesakes(request.name)
        const bearer = namesakes.find(each => !this.isRevoked(each))
        if (bearer) throw new ServiceError('exists', nameTaken(bearer))
        const address = this.#address(wanted)
        const issued = await this.issue(id, request.name, address, privateKey, request.days)
        serial = issued.serial
        const value: ClientValue = {
          name: request.name,
          address: formatIpv4(address),
          subnets,
          tags,
          enabled: true,
          serial: issued.serial,
          fingerprint: issued.fingerprint,
          issuer: this.#home.id,
          createdAt: Date.now(),
          expiresAt: issued.notAfter,
          ...(prefer.length > 0 ? { prefer } : {}),
          packedFor: packedFor(this.#home),
        }
        const ops: Op[] = [
          { kind: 'client', id, value },
          { kind: 'lease', id: value.address, value: { holder: id, holderKind: 'client' } },
        ]
        return [...namesakes.flatMap(each => replacing(replica, each)), ...ops]
      })
    } catch (error) {
      if (serial !== undefined && !isUncertain(error)) await this.forgetSecret(serial)
      throw error
    }
    await this.keepSecret(serial!)
    return views.client(id)!
  }

  /** A new key and certificate; the old certificate is superseded in the same batch. */
  async rekey(name: string, days?: number): Promise<ClientView> {
    const { replica, views } = this.#home
    const { id } = this.get(name)
    const privateKey = newPrivateKey()
    let serial: Serial | undefined
    let old: Serial | undefined
    try {
      await replica.write(async () => {
        const client = this.#live(name, id)
        const address = parseIpv4(client.value.address)!
        const issued = await this.issue(id, client.value.name, address, privateKey, days)
        serial = issued.serial
        old = client.value.serial
        const successor = {
          serial: issued.serial,
          fingerprint: issued.fingerprint,
          issuer: this.#home.id,
          expiresAt: issued.notAfter,
        }
        const revocation = { client: id, reason: 'superseded', at: Date.now(), successor }
        return [
          {
            kind: 'client',
            id,
            value: { ...client.value, ...successor, packedFor: packedFor(this.#home) },
          },
          { kind: 'revocation', id: old, value: revocation },
        ]
      })
    } catch (error) {
      if (serial !== undefined && !isUncertain(error)) await this.forgetSecret(serial)
      throw error
    }
    await this.keepSecret(serial!)
    if (old !== undefined) await this.forgetSecret(old)
    return views.client(id)!
  }

  /** Keeps which controllers the client's packs are to name first; the client as it is when `names` is absent. */
  async prefer(name: string, names: readonly string[] | undefined): Promise<ClientView> {
    const client = this.get(name)
    if (names === undefined) return client
    const prefer = controllerIds(this.#home, names)
    if (prefer.join() === (client.value.prefer ?? []).join()) return client
    await this.#home.replica.write(() => {
      const { prefer: _, ...value } = this.#live(name, client.id).value
      return [{ kind: 'client', id: client.id, value: prefer.length > 0 ? { ...value, prefer } : value }]
    })
    return this.get(name)
  }

  /** Takes note that a client was given a pack with the controllers that there are now. */
  async packed(client: ClientView): Promise<void> {
    const { replica } = this.#home
    if (!isPackStale(this.#home, client)) return
    // A record of its own: writing the client's would undo what another controller does to it meanwhile.
    const value = { value: packedFor(this.#home) }
    await replica.write([{ kind: 'setting', id: packSetting(client.id), value }])
  }

  async setEnabled(name: string, enabled: boolean): Promise<ClientView> {
    const { replica, views } = this.#home
    const { id } = this.get(name)
    await replica.write(() => {
      const { value } = this.#live(name, id)
      return [{ kind: 'client', id, value: { ...value, enabled } }]
    })
    return views.client(id)!
  }

  /** For good. The address is free from then on, if it was not already. Revoking twice is no error. */
  async revoke(name: string, reason = 'revoked'): Promise<ClientView> {
    const { replica, views } = this.#home
    const { id } = this.get(name)
    let serial: Serial | undefined
    await replica.write(() => {
      const client = views.client(id)
      if (!client) return []
      // Of a revoked one the address may still be taken, where the release counted for nothing.
      const release = releaseOf(replica, client)
      if (this.isRevoked(client)) return release
      serial = client.value.serial
      const value = { client: id, reason: reason.slice(0, 200) || 'revoked', at: Date.now() }
      return [{ kind: 'revocation', id: serial, value }, ...release]
    })
    if (serial !== undefined) await this.forgetSecret(serial)
    return views.client(id)!
  }

  /** The client as it is in its batch's turn. @throws ServiceError when it was revoked or is gone */
  #live(name: string, id: ClientId): ClientView {
    const client = this.#home.views.client(id)
    if (!client) throw new ServiceError('not-found', `no client is named ${name}`)
    if (this.isRevoked(client)) {
      throw new ServiceError(
        'refused',
        `${name} was revoked, for good; add a client anew with \`overmesh client add\``,
      )
    }
    return client
  }

  #address(wanted: OverlayAddress | undefined): OverlayAddress {
    // Which addresses were handed out since is not known here.
    const notice = restoredNotice(this.#home)
    if (notice !== undefined) throw new ServiceError('refused', notice)
    const view = this.#home.views.addresses()!
    if (wanted !== undefined) {
      const check = checkAddress(view, wanted)
      if (!check.ok) throw new ServiceError(check.code === 'taken' ? 'exists' : 'invalid', check.message)
      return wanted
    }
    const allocation = nextAddress(view, this.#home.id)
    if (!allocation.ok) throw new ServiceError('refused', allocation.message)
    return allocation.address
  }

  /** Certificate and keys, written to the data directory before any record speaks of them. */
  async issue(
    id: ClientId,
    name: string,
    address: OverlayAddress,
    privateKey: ReturnType<typeof newPrivateKey>,
    days?: number,
  ) {
    const { config, issuingCertificate, issuingKey, tlsCryptKey } = this.#home
    const issued = issueClientCertificate(
      { certificate: issuingCertificate, privateKey: issuingKey },
      {
        clientId: id,
        clientName: name,
        address: formatIpv4(address),
        publicKey: publicKeyOf(privateKey),
        now: Date.now(),
        lifetime: days === undefined ? config.lifetimes.client : days * DAY_SECONDS,
      },
    )
    const server = new TlsCryptV2Server(tlsCryptKey)
    const secret: ClientSecret = {
      certificate: issued.pem,
      privateKey: formatPrivateKey(privateKey),
      tlsCryptV2: formatTlsCryptV2ClientKey(
        generateClientKey(server, Buffer.from(issued.serial, 'latin1'), randomBytes),
      ),
    }
    await this.#secrets.add(issued.serial, secret)
    return issued
  }

  /** Of a certificate that {@link issue} made, once a record speaks of it. */
  async keepSecret(serial: Serial): Promise<void> {
    await this.#secrets.keep(serial)
  }

  /** Of a certificate that no record speaks of, or not any more. */
  async forgetSecret(serial: Serial): Promise<void> {
    await this.#secrets.forget(serial)
  }

  /** Networks behind a client, in their one form. @throws ServiceError */
  checkSubnets(texts: readonly string[]): string[] {
    const { subnet, subnet6 } = this.#home.mesh
    const subnets = texts.map(text => {
      if (text.includes(':')) return formatCidr6(readPrefix6(text, subnet6))
      const cidr = readPrefix(text, subnet)
      const plain = formatCidr(cidr)
      if (cidrOverlaps(cidr, subnet))
        throw new ServiceError('invalid', `${plain} overlaps the overlay's own subnet ${formatCidr(subnet)}`)
      if (cidr.length < DEFAULT_LENGTH)
        throw new ServiceError(
          'invalid',
          `${plain} would take all traffic of every client, the Internet too; if that is meant, \`route add --default\` adds it`,
        )
      return plain
    })
    if (new Set(subnets).size !== subnets.length) throw new ServiceError('invalid', 'a subnet is named twice')
    return subnets
  }
}

/** Whether the disk may hold what failed to be written: who opens it next knows, and settles the secrets by that. */
export function isUncertain(error: unknown): boolean {
  return error instanceof StateError && error.code === 'STORE_FAILED'
}

/** What makes room for another client of a revoked one's name; its revocation stays. */
export function replacing(replica: Pick<Replica, 'get'>, client: ClientView): Op[] {
  return [{ kind: 'client', id: client.id, value: null }, ...releaseOf(replica, client)]
}

/** What frees a client's address; nothing where it has none. */
export function releaseOf(replica: Pick<Replica, 'get'>, { id, value }: ClientView): Op[] {
  const { address } = value
  return replica.get('lease', address)?.holder === id ? [{ kind: 'lease', id: address, value: null }] : []
}

/** @throws ServiceError */
export function checkTags(tags: Record<string, string>): Record<string, string> {
  for (const key of Object.keys(tags)) {
    if (!/^[A-Za-z0-9._-]{1,63}$/.test(key)) {
      throw new ServiceError('invalid', `"${key}" is no tag; use letters, digits, ".", "_" and "-"`)
    }
  }
  return tags
}
