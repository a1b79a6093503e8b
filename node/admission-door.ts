// The door of a running controller: lets newcomers in that were invited, and tells of it.
import type { Logger } from 'pino'
import { Admission } from './admission.ts'
import type { EventLog } from './events.ts'
import type { Home } from './home.ts'
import type { Invites } from './invites.ts'

export interface Door {
  home: Home
  invites: Invites
  events: EventLog
  logger: Logger
}

export function openDoor({ home, invites, events, logger }: Door): Admission {
  return new Admission({
    home,
    invites,
    now: Date.now,
    joined: (_id, controller) => {
      events.append({ type: 'controller-joined', controller })
      logger.info({ controller }, 'a controller joined the mesh')
    },
    refused: (controller, reason) => {
      const recorded = events.append({ type: 'peer-refused', controller, reason })
      if (recorded) logger.warn({ controller, reason }, 'a join was refused')
    },
  })
}
