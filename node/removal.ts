// What a controller that was removed from the mesh has to say to its operator.
import type { Home } from './home.ts'

/** Undefined as long as this controller is one of the mesh. */
export function removalNotice({ id, replica, config }: Home): string | undefined {
  const record = replica.record('controller', id)
  if (record?.value.removedAt === undefined) return undefined
  const when = `${new Date(record.value.removedAt).toISOString().slice(0, 19)}Z`
  if (record.author === id) return `controller ${config.controller} left the mesh at ${when}; ${AGAIN}`
  const by = replica.get('controller', record.author)?.name ?? record.author
  return `controller ${config.controller} was removed from the mesh by ${by} at ${when}; ${AGAIN}`
}

const AGAIN = 'to take part again, join with a new data directory'
