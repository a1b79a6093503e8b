// What the events and the log of a controller say of attachments.
import type { Logger } from 'pino'
import type { AttachmentValue, ControllerId } from '../../state/kinds.ts'
import type { EventLog } from '../events.ts'
import type { Home } from '../home.ts'

/** A word about a site that keeps several controllers connected comes this often at most, ms. */
const STANDBY_WORD_MS = 3_600_000

export interface TellingInit {
  home: Home
  events: EventLog
  logger: Logger
  /** The name of the controller that tells webhooks of what none of those that carry it can. @default this one */
  teller?: () => string
}

/** What is known of one that goes down. */
export interface Farewell {
  readonly reason: string | undefined
  /** The controller that carried it is within reach still. */
  readonly isThere: boolean
}

export class Telling {
  readonly #init: TellingInit
  readonly #standby = new Map<string, number>()

  constructor(init: TellingInit) {
    this.#init = init
  }

  moved(
    { name, remoteSubnets }: AttachmentValue,
    from: ControllerId | undefined,
    to: ControllerId | undefined,
    { reason, isThere }: Farewell,
  ): void {
    const { events, logger, home } = this.#init
    const facts = { attachment: name, subnets: remoteSubnets }
    if (to === undefined) {
      if (from === undefined) return
      const controller = nameOf(home, from)
      const { teller = () => nameOf(home, home.id) } = this.#init
      events.append({
        type: 'attachment-down',
        ...{ ...facts, controller, teller: isThere ? controller : teller() },
        ...(reason ? { reason } : {}),
      })
      logger.info({ attachment: name, controller, reason }, 'attachment down')
    } else {
      const controller = nameOf(home, to)
      const type = from === undefined ? 'attachment-up' : 'attachment-moved'
      const moved = from === undefined ? {} : { from: nameOf(home, from) }
      events.append({ type, ...facts, controller, ...moved, teller: controller })
      logger.info({ attachment: name, controller, ...moved }, type.replace('-', ' '))
    }
  }

  /** @param now monotonic ms */
  standby(id: string, { name }: AttachmentValue, carrier: ControllerId, now: number): void {
    const told = this.#standby.get(id)
    if (told !== undefined && now - told < STANDBY_WORD_MS) return
    this.#standby.set(id, now)
    const { events, logger, home } = this.#init
    const message = `the site keeps several controllers connected; packets go by ${nameOf(home, carrier)}, this one stands by`
    events.append({ type: 'attachment-standby', attachment: name, message })
    logger.info({ attachment: name }, message)
  }

  problem({ name }: AttachmentValue, reason: string): void {
    this.#init.events.append({ type: 'attachment-problem', attachment: name, reason })
    this.#init.logger.warn({ attachment: name, reason }, 'an attachment cannot be set up')
  }

  forget(id: string): void {
    this.#standby.delete(id)
  }
}

export function nameOf({ replica }: Home, controller: ControllerId): string {
  return replica.get('controller', controller)?.name ?? controller
}
