// What the records hold, counted once for each change of them: there may be a hundred thousand.
import { KINDS } from '../../state/kinds.ts'
import type { Home } from '../home.ts'
import { isPackStale, packedFor } from '../pack-list.ts'
import type { Exposition, Sample } from './exposition.ts'

interface Counted {
  version: number
  records: Sample[]
  clients: { enabled: number; disabled: number; revoked: number }
  stalePacks: number
  /** ms since 1970 at which the first certificate of a client that may connect ends. */
  firstExpiry: number
}

export class RecordMetrics {
  readonly #home: Home
  #counted: Counted | undefined

  constructor(home: Home) {
    this.#home = home
  }

  addTo(out: Exposition): void {
    const { replica, views } = this.#home
    const { records, clients, stalePacks, firstExpiry } = this.#count()
    out.gauge('overmesh_records', 'Records of the replica, by kind.', records)
    out.gauge(
      'overmesh_records_held',
      'Records that are held back until they can be judged: of a clock that is ahead, or of an unknown author.',
      replica.held,
    )
    out.gauge('overmesh_controllers', 'Controllers of the mesh, this one too.', views.controllers().length)
    out.gauge(
      'overmesh_clients',
      'Clients, by whether they may connect.',
      Object.entries(clients).map(([state, count]): Sample => [{ state }, count]),
    )
    out.gauge(
      'overmesh_stale_packs',
      'Clientpacks that list other controllers than there are; they still work.',
      stalePacks,
    )
    if (Number.isFinite(firstExpiry)) {
      out.gauge(
        'overmesh_client_certificate_first_expiry_timestamp_seconds',
        'When the first certificate of a client that may connect ends, seconds since 1970.',
        firstExpiry / 1000,
      )
    }
    out.gauge(
      'overmesh_conflicts',
      'Names and addresses that are claimed more than once.',
      views.conflicts().length,
    )
  }

  #count(): Counted {
    const { replica } = this.#home
    if (this.#counted?.version === replica.version) return this.#counted
    const current = packedFor(this.#home)
    const clients = { enabled: 0, disabled: 0, revoked: 0 }
    let stalePacks = 0
    let firstExpiry = Number.POSITIVE_INFINITY
    for (const { id } of replica.all('client')) {
      const client = this.#home.views.client(id)!
      const { value } = client
      const state = replica.has('revocation', value.serial)
        ? 'revoked'
        : value.enabled
          ? 'enabled'
          : 'disabled'
      clients[state]++
      if (state === 'revoked') continue
      if (isPackStale(this.#home, client, current)) stalePacks++
      if (state === 'enabled') firstExpiry = Math.min(firstExpiry, value.expiresAt)
    }
    const records = KINDS.map((kind): Sample => [{ kind }, countOf(replica.ids(kind))])
    records.push([{ kind: 'newer' }, countOf(replica.foreign())])
    this.#counted = { version: replica.version, records, clients, stalePacks, firstExpiry }
    return this.#counted
  }
}

function countOf(all: Iterable<unknown>): number {
  let count = 0
  for (const _ of all) count++
  return count
}
