// The service of a controller that is not running: its data directory alone, for as long as one command takes.
import { Certificates } from './certificates.ts'
import { EventFile } from './event-file.ts'
import { EventLog } from './events.ts'
import { Home } from './home.ts'
import { LocalService } from './local-service.ts'
import type { ControllerService } from './service.ts'

export async function openOffline(
  dataDir: string,
): Promise<{ service: ControllerService; notices: readonly string[]; close(): Promise<void> }> {
  const { home, events, notices } = await openHome(dataDir)
  try {
    const certificates = await Certificates.open(home)
    return { service: new LocalService({ home, certificates, events }), notices, close: () => home.close() }
  } catch (error) {
    await home.close()
    throw error
  }
}

/** The data directory itself. @param patience ms to wait for the lock @returns with what was found wrong, for people */
export async function openHome(
  dataDir: string,
  patience = 0,
): Promise<{ home: Home; events: EventLog; notices: readonly string[] }> {
  const home = await Home.open(dataDir, patience)
  const events = new EventLog({ store: new EventFile(home.directory.eventsFile), now: Date.now })
  // Said by this command or by none: the next one finds the damage set aside and the files closed.
  const notices = home.problems
  for (const message of notices) events.append({ type: 'state-damage', message })
  return { home, events, notices }
}
