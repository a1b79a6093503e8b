// The records as an operator looks at them.
import { KINDS } from '../state/kinds.ts'
import { isForeign, type StateRecord as ReplicaRecord, rawValueOf } from '../state/record.ts'
import type { Home } from './home.ts'
import { attachmentNames } from './ipsec/names.ts'
import { type Conflict, ServiceError, type StateRecord } from './service.ts'

/** @throws ServiceError invalid when there is no such kind */
export function listRecords({ replica }: Home, kind?: string): StateRecord[] {
  const foreign = [...replica.foreign()]
  const kinds = [...new Set([...KINDS, ...foreign.map(record => record.kind as string).sort()])]
  const wanted = kinds.filter(known => kind === undefined || known === kind)
  if (wanted.length === 0) {
    throw new ServiceError('invalid', `no kind of record is named "${kind}"; there are ${kinds.join(', ')}`)
  }
  return wanted.flatMap(each => [
    ...KINDS.filter(known => known === each).flatMap(known =>
      [...replica.all(known)].map(record => toShow(record as ReplicaRecord)),
    ),
    ...foreign.filter(record => record.kind === each).map(toShow),
  ])
}

function toShow(record: ReplicaRecord): StateRecord {
  const { kind, id, stamp, author, incarnation, sequence } = record
  const understood = isForeign(record) ? 'nothing' : record.raw === undefined ? 'whole' : 'part'
  return { kind, id, value: plain(rawValueOf(record)), understood, stamp, author, incarnation, sequence }
}

/** What newer versions write may hold what JSON has no form for: bytes, links, large integers. They are shown as text. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  if (Array.isArray(value)) return value.map(plain)
  if (Object.getPrototypeOf(value) !== Object.prototype) return String(value)
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]))
}

const MAX_KINDS_NAMED = 5

/** What an operator should know of records that this version does not understand. */
export function foreignNotice({ replica }: Home): string | undefined {
  const counts = new Map<string, number>()
  for (const { kind } of replica.foreign()) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  if (counts.size === 0) return undefined
  const named = [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([kind, count]) => `${kind} (${count})`)
  const more = named.length > MAX_KINDS_NAMED ? ', …' : ''
  return (
    `records of a newer Overmesh are kept here and not acted on: ${named.slice(0, MAX_KINDS_NAMED).join(', ')}${more}; ` +
    'upgrade this controller; `overmesh state` shows them'
  )
}

export function listConflicts(home: Home): Conflict[] {
  return home.views.conflicts().map(conflict => {
    const { message } = conflict
    if (conflict.kind === 'name') {
      const [winner, ...losers] = conflict.clients.map(({ shownAs }) => shownAs)
      return { kind: 'name', id: conflict.name, winner, loser: losers.join(', '), message }
    }
    const loser = conflict.losers.map(each => holderName(home, each)).join(', ')
    return {
      kind: 'address',
      id: conflict.address,
      winner: holderName(home, conflict.holder),
      loser,
      message,
    }
  })
}

/** The name of a client, controller or attachment; its id when it has none here. */
export function holderName({ views, replica }: Home, id: string | undefined): string {
  if (id === undefined) return ''
  return (
    views.client(id)?.name ?? replica.get('controller', id)?.name ?? attachmentNames(replica).get(id) ?? id
  )
}
