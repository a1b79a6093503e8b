// Dials a device that is to dial itself, where it was connected from: by a connection of its own, for a while.
import type { Tunnel } from '../engine.ts'
import { childNames, connectionMessage, type Peer } from './connection.ts'
import type { Outcomes } from './outcomes.ts'
import type { Run } from './run.ts'
import { returnName } from './sas.ts'

/** How long it is dialled, ms. */
const RETURN_MS = 15_000

/** @param inTurn runs when what was asked of the daemon before is done; a daemon that is gone by then is no error */
export async function callBack(
  run: Run,
  tunnel: Tunnel,
  peer: Peer,
  outcomes: Outcomes,
  inTurn: (action: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const name = returnName(tunnel.id)
  const over = outcomes.of(tunnel.id, RETURN_MS)
  await inTurn(async () => {
    await run.client.request('load-conn', connectionMessage(tunnel, name, [], peer))
    await run.initiate(name, childNames(tunnel))
  })
  const failure = await over
  await inTurn(async () => {
    await run.client.request('unload-conn', { name })
  })
  if (failure !== undefined) await run.terminate(name).catch(() => undefined)
}
