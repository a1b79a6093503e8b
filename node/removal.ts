// What a controller that was removed from the mesh has to say to its operator.
import type { ControllerId } from '../state/kinds.ts'
import { isRemoval } from '../state/merge.ts'
import { decodeRecord } from '../state/record.ts'
import type { LiveRecord } from '../state/replica.ts'
import type { Home } from './home.ts'

/** Undefined as long as this controller is one of the mesh. */
export function removalNotice({ id, replica, config }: Home): string | undefined {
  const record = replica.record('controller', id)
  if (record?.value.removedAt === undefined) return undefined
  const when = format(record.value.removedAt)
  if (record.author === id) return `controller ${config.controller} left the mesh at ${when}; ${AGAIN}`
  const by = replica.get('controller', record.author)?.name ?? record.author
  return `controller ${config.controller} was removed from the mesh by ${by} at ${when}; ${AGAIN}`
}

const AGAIN = 'to take part again, join with a new data directory'

/** Among records that were shown to it, that which removes this controller. */
export function findRemoval(
  records: readonly Uint8Array[],
  id: ControllerId,
): LiveRecord<'controller'> | undefined {
  for (const bytes of records) {
    const decoded = decodeRecord(bytes)
    if (decoded.ok && decoded.record.id === id && isRemoval(decoded.record))
      return decoded.record as LiveRecord<'controller'>
  }
  return undefined
}

/**
 * What keeps two apart for good of which one follows a removal by a controller that the other knows to be removed before. A
 * removed controller is not heard, whatever times it gives: it may have been stolen. So only their operator knows who is right.
 */
export function eachRemovedTheOther(facts: {
  peer: string
  remover: string
  at?: number
  before?: number
}): string {
  const { peer, remover, at = 0, before = 0 } = facts
  return (
    `it takes this one for removed, by ${remover} at ${format(at)}, while here ${remover} was removed before that, at ${format(before)}; ` +
    `keep one half of the mesh: \`overmesh controller remove ${peer}\` here, or take this machine out of use; ` +
    'whoever is out joins with a new data directory'
  )
}

function format(time: number): string {
  return `${new Date(time).toISOString().slice(0, 19)}Z`
}
