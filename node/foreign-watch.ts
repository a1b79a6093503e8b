// Tells once when records come that only a newer version understands.
import type { Logger } from 'pino'
import type { EventLog } from './events.ts'
import type { Home } from './home.ts'
import { foreignNotice } from './state-view.ts'

export class ForeignWatch {
  readonly #parts: { home: Home; events: EventLog; logger: Logger }
  #isTold = false

  constructor(parts: { home: Home; events: EventLog; logger: Logger }) {
    this.#parts = parts
  }

  /** Call it when records have changed: they come, or went. */
  look(): void {
    const { home, events, logger } = this.#parts
    const isToTell = !home.replica.foreign().next().done
    const notice = isToTell && !this.#isTold ? foreignNotice(home) : undefined
    this.#isTold = isToTell
    if (notice === undefined) return
    logger.warn(notice)
    events.append({ type: 'newer-records', message: notice })
  }
}
