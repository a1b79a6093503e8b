// Which controller dials an attachment, and which of those where it is up carries it. Pure: everyone who knows the same decides
// the same.
import { createHash } from 'node:crypto'
import type { ControllerId } from '../../state/kinds.ts'

/** ms for which a better controller must have been there, with nothing changing, before an attachment that is up moves to it. */
export const QUIET_MS = 60_000

/** What decides of an attachment's record. */
export interface Elective {
  readonly id: string
  readonly initiate: boolean
  /** Preferred controllers, the best first; none: all, in an order of the attachment's own. */
  readonly controllers: readonly ControllerId[]
}

/** An admitted controller within reach, this one too, that can terminate attachments. */
export interface Terminator {
  readonly id: ControllerId
  readonly draining: boolean
  /** When the attachment came up there, as `rankOf` has it; undefined where it is down. */
  readonly since: number | undefined
}

/** Of one that is dialled, those that are named for it, if any are; of one that dials, everybody. */
export function mayCarry({ initiate, controllers }: Elective, controller: ControllerId): boolean {
  return !initiate || controllers.length === 0 || controllers.includes(controller)
}

/** Those that may dial, the best first: the preferred ones, or all of them spread over attachments (rendezvous hashing). */
export function candidates(attachment: Elective, present: readonly Terminator[]): ControllerId[] {
  const able = present.filter(({ draining }) => !draining).map(({ id }) => id)
  if (attachment.controllers.length > 0) return attachment.controllers.filter(id => able.includes(id))
  const weights = new Map(able.map(id => [id, weight(attachment.id, id)]))
  return able.sort((a, b) => (weights.get(a)! < weights.get(b)! ? 1 : -1))
}

/**
 * The controller by which packets go to the site. A controller that drains does so only while no other has it. Of several, the
 * best candidate for one that is dialled, otherwise the one that the site came to last.
 */
export function carrierOf(attachment: Elective, present: readonly Terminator[]): ControllerId | undefined {
  const up = present.filter(({ since }) => since !== undefined)
  const staying = up.filter(({ draining }) => !draining)
  const eligible = staying.length > 0 ? staying : up
  if (attachment.initiate) {
    const ids = new Set(eligible.map(({ id }) => id))
    const best = candidates(attachment, present).find(id => ids.has(id))
    if (best !== undefined) return best
  }
  let newest: Terminator | undefined
  for (const each of eligible) {
    if (newest === undefined || isNewer(each, newest)) newest = each
  }
  return newest?.id
}

function isNewer(a: Terminator, b: Terminator): boolean {
  return a.since! > b.since! || (a.since === b.since && a.id < b.id)
}

function weight(attachment: string, controller: ControllerId): string {
  return createHash('sha256').update(`${attachment} ${controller}`).digest('hex')
}

/** ms for which a controller whose IKE daemon ended is reckoned with as before: a daemon that dies is started again at once. */
export const RESTART_MS = 1500

/** Controllers whose IKE daemon is about to be back. */
export class Restarts {
  /** Since when the daemon does not run, of those that had one; undefined while it runs. */
  readonly #endedAt = new Map<ControllerId, number | undefined>()

  /** @param now monotonic ms */
  note(controller: ControllerId, isRunning: boolean, now: number): void {
    if (isRunning) this.#endedAt.set(controller, undefined)
    else if (this.#endedAt.has(controller) && this.#endedAt.get(controller) === undefined)
      this.#endedAt.set(controller, now)
  }

  isExpected(controller: ControllerId, now: number): boolean {
    const endedAt = this.#endedAt.get(controller)
    return endedAt !== undefined && now - endedAt < RESTART_MS
  }

  /** Forgets controllers that are not among these. */
  keep(ids: ReadonlySet<ControllerId>): void {
    for (const id of this.#endedAt.keys()) if (!ids.has(id)) this.#endedAt.delete(id)
  }
}

/** ms for which a controller that has just started waits to hear from the others, one of which may carry what it would dial. */
const LISTEN_MS = 10_000

/** Whether a controller that has just started knows enough of the others to dial; once it does, it goes on to. */
export class Listening {
  readonly #until: number
  #isOver = false

  /** @param now monotonic ms, as everywhere here */
  constructor(now: number) {
    this.#until = now + LISTEN_MS
  }

  /** @param heard controllers that were heard of @param others all that there are */
  isOver(heard: number, others: number, now: number): boolean {
    this.#isOver ||= heard >= others || now >= this.#until
    return this.#isOver
  }
}

/** Whether this controller is to dial, attachment by attachment. It remembers since when nothing has changed. */
export class Dialling {
  readonly #self: ControllerId
  readonly #quiet = new Map<string, { situation: string; since: number }>()

  constructor(self: ControllerId) {
    this.#self = self
  }

  /**
   * @param now monotonic ms
   * @returns `until`: when to ask again though nothing happens
   */
  decide(
    attachment: Elective,
    present: readonly Terminator[],
    now: number,
  ): { dial: boolean; until: number } {
    const never = { dial: false, until: Number.POSITIVE_INFINITY }
    const [first] = attachment.initiate ? candidates(attachment, present) : []
    const carrier = carrierOf(attachment, present)
    const situation = `${first} ${carrier}`
    let quiet = this.#quiet.get(attachment.id)
    if (quiet?.situation !== situation) {
      quiet = { situation, since: now }
      this.#quiet.set(attachment.id, quiet)
    }
    if (first !== this.#self) return never
    const isDraining = present.some(({ id, draining }) => id === carrier && draining)
    if (carrier === undefined || carrier === this.#self || isDraining)
      return { dial: true, until: Number.POSITIVE_INFINITY }
    const until = quiet.since + QUIET_MS
    return now >= until ? { dial: true, until: Number.POSITIVE_INFINITY } : { dial: false, until }
  }

  /** Forgets attachments that are not among these. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of this.#quiet.keys()) if (!ids.has(id)) this.#quiet.delete(id)
  }
}

/** ms after which an attachment that another controller carries is ended here: it may have moved a moment ago. */
export const GRACE_MS = 1500
/** ms within which a site that was ended here is back on purpose: it keeps several controllers connected. */
export const RETURN_MS = 30_000
/** ms for which that is believed. */
const SEVERAL_MS = 3_600_000

/** What becomes of attachments that are up here while another controller carries them. Times are monotonic, in ms. */
export class Surpluses {
  readonly #since = new Map<string, number>()
  readonly #ended = new Map<string, number>()
  readonly #several = new Map<string, number>()

  /** It came up here. */
  cameUp(id: string, now: number): void {
    const ended = this.#ended.get(id)
    if (ended !== undefined && now - ended < RETURN_MS) this.#several.set(id, now)
  }

  /** Another controller says that the site keeps several connected. */
  isSeveral(id: string, now: number): void {
    this.#several.set(id, now)
  }

  keepsSeveral(id: string, now: number): boolean {
    const since = this.#several.get(id)
    return since !== undefined && now - since < SEVERAL_MS
  }

  /** @param dialled by us, so that the site does not keep several by itself */
  decide(id: string, isSurplus: boolean, dialled: boolean, now: number): 'keep' | 'wait' | 'end' {
    if (!isSurplus || (!dialled && this.keepsSeveral(id, now))) {
      this.#since.delete(id)
      return 'keep'
    }
    const since = this.#since.get(id) ?? now
    this.#since.set(id, since)
    if (now - since < GRACE_MS) return 'wait'
    this.#ended.set(id, now)
    return 'end'
  }

  /** Forgets attachments that are not among these. */
  keep(ids: ReadonlySet<string>): void {
    for (const map of [this.#since, this.#ended, this.#several])
      for (const id of map.keys()) if (!ids.has(id)) map.delete(id)
  }
}
