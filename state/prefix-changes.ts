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
  /** Of certificates that were or are those of clients which the changes speak of. */
  readonly serials: Iterable<Serial>
}

/** Kinds that no prefix depends on. Whatever else changes, and is not told apart here, concerns all. */
const OF_NO_CONCERN: ReadonlySet<Kind> = new Set(['setting', 'token'])

/** Whether prefixes, or which of their vias are good, may be others after these changes, which were one batch. */
export function concernPrefixes(changes: readonly Change[], clients: ClientsOfPrefixes): boolean {
  // Of two clients with one serial number one counts, and what becomes of that is the other's matter, too.
  for (const serial of clients.serials) if (isOfVia(serial, clients)) return true
  return changes.some(change => concernsPrefixes(change, clients))
}

function isOfVia(serial: Serial | undefined, clients: ClientsOfPrefixes): boolean {
  return serial !== undefined && clients.withSerial(serial).some(client => clients.isVia(client))
}

function concernsPrefixes({ kind, id, before, after }: Change, clients: ClientsOfPrefixes): boolean {
  const values = [before?.value, after?.value].filter(value => value !== null && value !== undefined)
  if (kind === 'client') {
    if (clients.isVia(id as ClientId)) return true
    // Also by what it had before.
    return (values as ClientValue[]).some(({ subnets }) => subnets.length > 0)
  }
  if (kind === 'revocation') return isOfVia(id as Serial, clients)
  if (kind === 'lease') {
    // Those of controllers are prefixes themselves.
    return (values as LeaseValue[]).some(
      ({ holderKind, holder }) => holderKind !== 'client' || isOfVia(clients.serialOf(holder), clients),
    )
  }
  return !OF_NO_CONCERN.has(kind)
}
