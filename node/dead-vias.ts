// Which vias of routes are gone for good, as the records have it.
import type { ClientId } from '../state/kinds.ts'
import type { Via } from '../state/routing-table.ts'
import type { Home } from './home.ts'

/** Nobody will come back through it: the client was revoked or lost, or the controller or the attachment removed. */
export function isDead({ views, replica }: Home, via: Via): boolean {
  if (via.kind === 'controller') return !views.isAdmitted(via.id)
  if (via.kind === 'attachment') return replica.get('attachment', via.id) === undefined
  return via.kind === 'client' && isClientDead({ views }, via.id)
}

function isClientDead({ views }: Pick<Home, 'views'>, id: ClientId): boolean {
  const client = views.client(id)
  const standing = client && views.standing(client)
  return standing === undefined || (!standing.usable && standing.reason !== 'disabled')
}
