// After which changes of the records prefixes may be others: `Views.prefixes` and `Views.routes6` turned round. Most changes concern
// clients that nothing lies behind, while there may be thousands of prefixes.
import type { Change } from './batch.ts'
import type { ClientId, ClientValue, Kind, LeaseValue, Serial } from './kinds.ts'

/** What has to be known of clients, as it is after the changes. */
export interface ClientsOfPrefixes {
  /** Whether something lies behind it, or a route names it. */
  isVia(client: ClientId): boolean
  withSerial(serial: Serial): readonly ClientId[]
  serialOf(client: ClientId): Serial | undefined
}

/** Kinds that no prefix depends on. Whatever else changes, and is not told apart here, concerns all. */
const OF_NO_CONCERN: ReadonlySet<Kind> = new Set(['setting', 'token'])

/** Whether prefixes, or which of their vias are good, may be others after these changes, which were one batch. */
export function concernPrefixes(changes: readonly Change[], clients: ClientsOfPrefixes): boolean {
  return changes.some(change => concernsPrefixes(change, clients))
}

function concernsPrefixes({ kind, id, before, after }: Change, clients: ClientsOfPrefixes): boolean {
  const values = [before?.value, after?.value].filter(value => value !== null && value !== undefined)
  // Of two clients with one serial number the older counts, and what becomes of that is the other's matter, too.
  const isOfVia = (serial: Serial | undefined) =>
    serial !== undefined && clients.withSerial(serial).some(client => clients.isVia(client))
  if (kind === 'client') {
    if (clients.isVia(id as ClientId)) return true
    // Also by what it had before.
    return (values as ClientValue[]).some(({ subnets, serial }) => subnets.length > 0 || isOfVia(serial))
  }
  if (kind === 'revocation') return isOfVia(id as Serial)
  if (kind === 'lease') {
    // Those of controllers are prefixes themselves.
    return (values as LeaseValue[]).some(
      ({ holderKind, holder }) => holderKind !== 'client' || isOfVia(clients.serialOf(holder)),
    )
  }
  return !OF_NO_CONCERN.has(kind)
}
