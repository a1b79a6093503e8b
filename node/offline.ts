// The service of a controller that is not running: its data directory alone, for as long as one command takes.
import { Certificates } from './certificates.ts'
import { EventFile } from './event-file.ts'
import { EventLog } from './events.ts'
import { Home } from './home.ts'
import { LocalService } from './local-service.ts'
import type { ControllerService } from './service.ts'

export async function openOffline(
  dataDir: string,
): Promise<{ service: ControllerService; close(): Promise<void> }> {
  const home = await Home.open(dataDir)
  try {
    const certificates = await Certificates.open(home)
    const events = new EventLog({ store: new EventFile(home.directory.eventsFile), now: Date.now })
    return { service: new LocalService({ home, certificates, events }), close: () => home.close() }
  } catch (error) {
    await home.close()
    throw error
  }
}
