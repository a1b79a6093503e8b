// Who is a controller of the mesh: inviting one, and taking one out for good.
import { X509Certificate } from 'node:crypto'
import { formatToken, MAX_TOKEN_ENDPOINTS } from '../mesh/admission/token.ts'
import type { ControllerId, ControllerValue } from '../state/kinds.ts'
import { rawPublicKey } from '../state/record.ts'
import type { Home } from './home.ts'
import type { Invites } from './invites.ts'
import { PkiError } from './pki/errors.ts'
import { checkKeyOf, parsePrivateKey } from './pki/keys.ts'
import { removalNotice } from './removal.ts'
import { ServiceError } from './service-error.ts'

export interface Invitation {
  token: string
  /** ms since 1970 */
  expiresAt: number
  endpoints: string[]
}

export class Membership {
  readonly #home: Home
  readonly #invites: () => Promise<Invites>

  constructor(home: Home, invites: () => Promise<Invites>) {
    this.#home = home
    this.#invites = invites
  }

  /**
   * @param holders names of other controllers that are known to have the key of the mesh root
   * @throws ServiceError refused where that key is not
   */
  async invite(ttlSeconds: number, holders: readonly string[] = []): Promise<Invitation> {
    const { directory, controller, mesh, identityKey, rootCertificate } = this.#home
    this.#needStanding()
    const rootKey = await directory.readIfThere(directory.rootKey)
    if (rootKey === undefined) {
      throw new ServiceError(
        'refused',
        `the key of the mesh root, which admits controllers, is not here; invite on ${holders.join(' or ') || 'the controller that has it'}, ` +
          'or bring it with `overmesh authority import`',
      )
    }
    const root = new X509Certificate(rootCertificate)
    checkRootKey(root, rootKey)
    const endpoints = controller.meshEndpoints.slice(0, MAX_TOKEN_ENDPOINTS)
    if (endpoints.length === 0) {
      throw new ServiceError(
        'refused',
        'this controller has not run yet, so where it listens is not known; start it first',
      )
    }
    const { id, secret, expiresAt } = await (await this.#invites()).add(Date.now(), ttlSeconds * 1000)
    const token = formatToken({
      meshId: mesh.id,
      endpoints,
      rootFingerprint: Buffer.from(root.fingerprint256.replaceAll(':', ''), 'hex'),
      inviter: rawPublicKey(identityKey),
      inviteId: id,
      secret,
      expiresAt,
    })
    return { token, expiresAt, endpoints }
  }

  /** Takes another controller out for good. Names of the clients that lose their credential by it. */
  async remove(name: string): Promise<string[]> {
    const { views, id } = this.#home
    const found = views.controllers().find(({ value }) => value.name === name)
    if (!found) {
      const gone = this.removed().some(({ value }) => value.name === name)
      throw new ServiceError(
        'not-found',
        gone
          ? `controller ${name} was removed already`
          : `no controller is named ${name}; see \`overmesh controller list\``,
      )
    }
    if (found.id === id) {
      throw new ServiceError('refused', `${name} is this controller; take it out with \`overmesh leave\``)
    }
    await this.#writeRemoval(found.id)
    return this.issuedBy(found.id)
  }

  /** @throws ServiceError refused for the last one, and one that is out already */
  mayLeave(): void {
    const { views, config } = this.#home
    this.#needStanding()
    if (views.controllers().length === 1) {
      throw new ServiceError(
        'refused',
        `${config.controller} is the only controller of the mesh; to end the mesh, stop it and remove its data directory`,
      )
    }
  }

  /** Takes this controller out for good. @throws ServiceError as `mayLeave` does */
  async leave(): Promise<string[]> {
    const { id } = this.#home
    this.mayLeave()
    await this.#writeRemoval(id)
    return this.issuedBy(id)
  }

  /** Controllers that were taken out. */
  removed(): { id: ControllerId; value: ControllerValue; by: ControllerId }[] {
    return [...this.#home.replica.all('controller')].flatMap(({ id, value, author }) =>
      value.removedAt === undefined ? [] : [{ id: id as ControllerId, value, by: author }],
    )
  }

  /** Clients, not revoked, whose credential a controller issued. */
  issuedBy(controller: ControllerId): string[] {
    const { views, replica } = this.#home
    return views
      .clients()
      .filter(({ value }) => value.issuer === controller && !replica.has('revocation', value.serial))
      .map(({ name }) => name)
  }

  #needStanding(): void {
    const notice = removalNotice(this.#home)
    if (notice !== undefined) throw new ServiceError('refused', notice)
  }

  async #writeRemoval(id: ControllerId): Promise<void> {
    const { replica } = this.#home
    await replica.write(() => {
      const value = replica.get('controller', id)
      if (value === undefined || value.removedAt !== undefined) {
        throw new ServiceError('refused', 'it was removed meanwhile')
      }
      return [{ kind: 'controller', id, value: { ...value, removedAt: Date.now() } }]
    })
  }
}

/** Whoever came by the token would be turned away. @throws ServiceError refused */
function checkRootKey(root: X509Certificate, pem: string): void {
  try {
    checkKeyOf(root, parsePrivateKey(pem), 'the mesh root')
  } catch (error) {
    if (!(error instanceof PkiError)) throw error
    throw new ServiceError(
      'refused',
      'authority/root.key of the data directory is not the key of the mesh root, or is damaged; ' +
        'bring it back with `overmesh authority import`, or restore it from a backup',
      { cause: error },
    )
  }
}
