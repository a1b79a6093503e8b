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

export interface Accused {
  /** Of tunnels. */
  readonly ids: string[]
  /** Nothing tells which of those that dial in from anywhere it is, or whether it is a stranger. */
  readonly isGuess: boolean
}

/** Whose a problem is: the one's that is named; else of those that could be meant, by name or address. */
export function tunnelsOf(
  { kind, connection, remote, remoteId }: Problem,
  suspects: readonly Suspect[],
): Accused {
  if (kind === 'version') return sure(suspects.filter(({ tunnel }) => tunnel.ikeVersion === 1))
  if (connection !== undefined) {
    const named = tunnelOfName(connection)
    return sure(suspects.filter(({ tunnel }) => tunnel.id === named))
  }
  const down = suspects.filter(({ isUp }) => !isUp)
  const byName = down.filter(({ tunnel }) => remoteId !== undefined && tunnel.remoteId === remoteId)
  if (byName.length > 0) return sure(byName)
  const byAddress = down.filter(
    ({ tunnel, addresses }) => remote !== undefined && [tunnel.remote, ...addresses].includes(remote),
  )
  if (byAddress.length > 0) return sure(byAddress)
  const { ids } = sure(down.filter(({ tunnel }) => tunnel.remote === '%any'))
  return { ids, isGuess: true }
}

const sure = (found: readonly Suspect[]): Accused => ({
  ids: found.map(({ tunnel }) => tunnel.id),
  isGuess: false,
})
