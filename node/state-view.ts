// The records as an operator looks at them.
import { KINDS } from '../state/kinds.ts'
import type { Home } from './home.ts'
import { attachmentNames } from './ipsec/names.ts'
import { type Conflict, ServiceError, type StateRecord } from './service.ts'

/** @throws ServiceError invalid when there is no such kind */
export function listRecords({ replica }: Home, kind?: string): StateRecord[] {
  const wanted = KINDS.filter(known => kind === undefined || known === kind)
  if (wanted.length === 0) {
    throw new ServiceError('invalid', `no kind of record is named "${kind}"; there are ${KINDS.join(', ')}`)
  }
  return wanted.flatMap(known =>
    [...replica.all(known)].map(({ id, value, stamp, author, incarnation, sequence }) => ({
      kind: known,
      id,
      value,
      stamp,
      author,
      incarnation,
      sequence,
    })),
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
