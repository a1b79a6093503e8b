// Whether this controller takes clients. It does unless it was drained, was restored and waits for the others, was removed from
// the mesh, has lost its switch, or stops; and it says in words which of these it is.
import type { Logger } from 'pino'
import { isUnsettled, settle } from './backup/settling.ts'
import type { EventLog } from './events.ts'
import type { Home } from './home.ts'
import { removalNotice } from './removal.ts'
import { steadyNow } from './steady-clock.ts'
import type { VpnEndpoint } from './vpn/endpoint.ts'
import type { Warnings } from './warnings.ts'

export interface AvailabilityInit {
  home: Home
  events: EventLog
  logger: Logger
  warnings: Warnings
  /** Undefined before it listens. */
  endpoint: () => Pick<VpnEndpoint, 'drain' | 'serve' | 'sessions'> | undefined
  /** Attachments are on their way to other controllers. */
  isHandingOver: () => boolean
  /** It was drained, or takes clients again: the mesh is to hear of it. */
  changed: () => void
}

/** ms that sessions are given to hear of the end when the controller drains, at most. */
const DRAIN_MS = 5000
/** ms for the last messages to leave. */
const FAREWELL_MS = 250

export class Availability {
  readonly #init: AvailabilityInit
  #draining = false
  #settling = false
  #switchIsGone = false
  #removed = false
  #stopping = false

  constructor(init: AvailabilityInit) {
    this.#init = init
  }

  /** It takes no clients, and sends those it has to other controllers. */
  get isDraining(): boolean {
    return this.#draining
  }

  get isStopping(): boolean {
    return this.#stopping
  }

  /** It is one of the mesh, and goes on. */
  get isMember(): boolean {
    return !this.#removed && !this.#stopping
  }

  /** In words why clients cannot connect. */
  obstacles(): string[] {
    if (this.#stopping) return ['it stops']
    if (this.#removed) return ['this controller was removed from the mesh']
    if (this.#switchIsGone) return ['its switch is gone']
    if (this.#draining) return ['it is drained; `overmesh drain --undo` ends that']
    return this.#settling
      ? [
          'it was restored from a backup, or lost records, and waits for other controllers to tell what it lacks',
        ]
      : []
  }

  /** Restored from a backup, or after a loss of records: clients are taken when other controllers have told what changed since, or none answers. */
  async settle(): Promise<void> {
    const { home, logger, endpoint } = this.#init
    if (!(await isUnsettled(home))) return
    const { lostAt } = home.replica
    const cause = lostAt === undefined ? 'restored from a backup' : 'records were lost'
    logger.info(`${cause}: other controllers are waited for`)
    endpoint()?.drain()
    this.#settling = true
    const isSettled = await settle(home)
    this.#settling = false
    logger.info(
      isSettled ? 'other controllers have told what changed since' : 'no other controller has answered',
    )
    if (!this.#draining) endpoint()?.serve()
  }

  /** Sends every client to its next controller and takes no new ones; resolves when they are gone. */
  async drain(): Promise<void> {
    const { events, logger, warnings, isHandingOver, changed } = this.#init
    const endpoint = this.#init.endpoint()
    if (!endpoint) return
    if (!this.#draining) {
      events.append({ type: 'controller-draining' })
      logger.info('draining: clients are sent to other controllers')
    }
    this.#draining = true
    warnings.set(
      'draining',
      'this controller is drained and takes no clients; `overmesh drain --undo` ends that',
    )
    endpoint.drain()
    changed()
    const until = steadyNow() + DRAIN_MS
    const isBusy = () => !endpoint.sessions().next().done || isHandingOver()
    while (isBusy() && steadyNow() < until) await sleep(20)
    await sleep(FAREWELL_MS)
  }

  /** Takes clients again. */
  serve(): void {
    if (!this.#draining || this.#removed) return
    const { events, logger, warnings, endpoint, changed } = this.#init
    this.#draining = false
    warnings.set('draining', undefined)
    if (!this.#settling) endpoint()?.serve()
    changed()
    events.append({ type: 'controller-serving' })
    logger.info('clients are taken again')
  }

  /** Who was removed from the mesh serves nobody any more. */
  noticeRemoval(): void {
    const { home, events, logger, warnings, endpoint } = this.#init
    const notice = this.#removed ? undefined : removalNotice(home)
    if (notice === undefined) return
    this.#removed = true
    warnings.set('removed', notice)
    logger.error(notice)
    events.append({ type: 'controller-removed', message: notice })
    this.#draining = true
    endpoint()?.drain()
  }

  switchIsGone(): void {
    this.#switchIsGone = true
  }

  stop(): void {
    this.#stopping = true
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
