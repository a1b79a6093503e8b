// Whose problem it is, where the daemon itself could not tell which connection a remote end meant.
import type { Tunnel } from '../engine.ts'
import type { Problem } from './log-reader.ts'
import { tunnelOfName } from './sas.ts'

/** A tunnel, and the addresses that its host name has. */
export interface Suspect {
  readonly tunnel: Tunnel
  readonly addresses: readonly string[]
  /** It carries packets: a stranger's failure at its remote end's address, or at any, is none of it. */
  readonly isUp: boolean
}

/** Ids of the tunnels that a problem belongs to: the one that is named; else those that could be meant, by name or address. */
export function tunnelsOf({ connection, remote, remoteId }: Problem, suspects: readonly Suspect[]): string[] {
  if (connection !== undefined) {
    const named = tunnelOfName(connection)
    return suspects.some(({ tunnel }) => tunnel.id === named) ? [named] : []
  }
  const down = suspects.filter(({ isUp }) => !isUp)
  const ids = (found: readonly Suspect[]): string[] => found.map(({ tunnel }) => tunnel.id)
  const byName = down.filter(({ tunnel }) => remoteId !== undefined && tunnel.remoteId === remoteId)
  if (byName.length > 0) return ids(byName)
  const byAddress = down.filter(
    ({ tunnel, addresses }) => remote !== undefined && [tunnel.remote, ...addresses].includes(remote),
  )
  if (byAddress.length > 0) return ids(byAddress)
  return ids(down.filter(({ tunnel }) => tunnel.remote === '%any'))
}
