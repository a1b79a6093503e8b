// What a controller stands on before anything of it runs: its data directory, the events it keeps, certificates and invites.
import type { Logger } from 'pino'
import { Certificates } from './certificates.ts'
import { EventFile } from './event-file.ts'
import { EventLog } from './events.ts'
import { Home } from './home.ts'
import { Invites } from './invites.ts'
import { removalNotice } from './removal.ts'

export interface Foundation {
  home: Home
  certificates: Certificates
  events: EventLog
  invites: Invites
}

export class ControllerRemovedError extends Error {
  override name = 'ControllerRemovedError'
  readonly code = 'REMOVED'
}

/** ms to wait for a command that has the data directory open. */
const LOCK_PATIENCE_MS = 5000

/** Opens the data directory and takes its lock. @throws ControllerRemovedError */
export async function openFoundation(dataDir: string, logger: Logger): Promise<Foundation> {
  const home = await Home.open(dataDir, LOCK_PATIENCE_MS)
  try {
    const removal = removalNotice(home)
    if (removal) throw new ControllerRemovedError(removal)
    for (const problem of home.problems) logger.warn(problem)
    const events = new EventLog({
      store: new EventFile(home.directory.eventsFile),
      now: Date.now,
      onProblem: error => logger.warn({ err: error }, 'an event could not be kept'),
    })
    for (const problem of home.problems) events.append({ type: 'state-damage', message: problem })
    home.replica.onProblem = ({ code, message }) => {
      logger.warn(message)
      events.append({ type: code === 'cloned' ? 'controller-cloned' : 'state-damage', message })
    }
    const certificates = await Certificates.open(home)
    const invites = await Invites.open(home.directory)
    return { home, certificates, events, invites }
  } catch (error) {
    await home.close()
    throw error
  }
}
