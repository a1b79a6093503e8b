// Whose credentials may stand differently after a change of the records: `Views.credential` turned round. Thousands are in use while
// a change concerns one of them.
import type { Change } from './batch.ts'
import type { ClientId, ClientValue, Kind, LeaseValue, RevocationValue, Serial } from './kinds.ts'

/** Kinds that no credential depends on. Whatever else changes, and is not told apart here, concerns all. */
const OF_NO_CONCERN: ReadonlySet<Kind> = new Set(['route', 'attachment', 'setting', 'token'])

export class CredentialChanges {
  readonly #clients = new Set<ClientId>()
  readonly #serials = new Set<Serial>()
  readonly #serialOf: (client: ClientId) => Serial | undefined
  #all = false

  /** @param serialOf of a client's current certificate, after the changes */
  constructor(changes: readonly Change[], serialOf: (client: ClientId) => Serial | undefined) {
    this.#serialOf = serialOf
    for (const change of changes) this.#add(change)
  }

  /** True when no credential is concerned. */
  get isEmpty(): boolean {
    return !this.#all && this.#clients.size === 0 && this.#serials.size === 0
  }

  /** Whether the credential of this serial number, which this client's was when it was looked at, may stand differently. */
  concern(client: ClientId, serial: Serial): boolean {
    return this.#all || this.#clients.has(client) || this.#serials.has(serial)
  }

  #add({ kind, id, before, after }: Change): void {
    const values = [before?.value, after?.value].filter(value => value !== null && value !== undefined)
    if (kind === 'revocation') {
      this.#serials.add(id as Serial)
      // It may say which certificate is the client's now.
      for (const value of values) this.#addClient((value as RevocationValue).client)
    } else if (kind === 'client') {
      this.#addClient(id as ClientId)
      for (const value of values) this.#serials.add((value as ClientValue).serial)
    } else if (kind === 'lease') {
      for (const value of values) this.#clients.add((value as LeaseValue).holder as ClientId)
    } else if (!OF_NO_CONCERN.has(kind)) this.#all = true
  }

  /** Also another client that has the same serial number: of two one counts. */
  #addClient(client: ClientId): void {
    this.#clients.add(client)
    const serial = this.#serialOf(client)
    if (serial !== undefined) this.#serials.add(serial)
  }
}
