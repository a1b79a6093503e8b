// What the mesh has to tell an operator, as events and log lines: changes each time, and complaints about one peer once,
// however often it gives cause.
import type { Logger } from 'pino'
import type { MeshEvent } from '../mesh/core.ts'
import type { EventLog } from './events.ts'

export interface ReportsInit {
  events: EventLog
  logger: Logger
  /** ms of a clock that nobody sets */
  now: () => number
  /** The name of a controller; its id when it has none here. */
  nameOf: (controller: string) => string
}

/** ms for which the same complaint about the same peer is not made again. */
const REPEAT_MS = 600_000
const MAX_COMPLAINTS = 1024

export class Reports {
  readonly #init: ReportsInit
  readonly #complaints = new Map<string, number>()

  constructor(init: ReportsInit) {
    this.#init = init
  }

  /** The channel to a controller opened or closed. */
  peer(id: string, connected: boolean): void {
    const controller = this.#init.nameOf(id)
    this.#init.events.append({ type: connected ? 'peer-up' : 'peer-down', controller })
    this.#init.logger.info({ controller }, connected ? 'peer connected' : 'peer disconnected')
  }

  link(id: string, up: boolean): void {
    const controller = this.#init.nameOf(id)
    this.#init.events.append({ type: up ? 'link-up' : 'link-down', controller })
    this.#init.logger.info({ controller }, up ? 'backbone link up' : 'backbone link down')
  }

  mesh(event: MeshEvent): void {
    if (event.type === 'watchdog') {
      const controller = this.#init.nameOf(event.peer)
      this.#init.logger.warn({ controller, reason: event.reason }, 'peer dropped, to be dialled anew')
      return
    }
    const isClock = event.type === 'held' && event.reason.includes('clock')
    this.#complain(isClock ? 'clock-skew' : 'peer-refused', event.peer ?? 'unknown', event.reason)
  }

  /** A connection was turned away. */
  refused(peer: string, reason: string): void {
    this.#complain('peer-refused', peer, reason)
  }

  failure(error: unknown): void {
    this.#init.logger.error({ err: error }, 'the mesh met an error')
  }

  #complain(type: 'peer-refused' | 'clock-skew', peer: string, reason: string): void {
    const key = `${peer} ${reason}`
    const now = this.#init.now()
    if (now - (this.#complaints.get(key) ?? Number.NEGATIVE_INFINITY) < REPEAT_MS) return
    if (this.#complaints.size >= MAX_COMPLAINTS) this.#complaints.clear()
    this.#complaints.set(key, now)
    const controller = this.#init.nameOf(peer)
    const recorded = this.#init.events.append({ type, controller, reason })
    if (recorded) this.#init.logger.warn({ controller, reason }, 'refused by the mesh')
  }
}
