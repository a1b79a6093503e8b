// Connected clients learn of other routes: those that take them while connected at once, the others by a new connection, spread over
// the time that the operator wants. Stock clients have no interface for a second either way (OpenVPN 2.7 closes and opens it), so none
// is told while that is to be later. Whoever has the right ones is left alone.
import type { ClientId } from '../state/kinds.ts'
import type { Refresh } from './route-settings.ts'

/** What of a session matters here. */
export interface UpdatedSession {
  readonly client: string
  /** Whether the client was told other options than these. */
  isBehind(options: readonly string[]): boolean
  canUpdate(options: readonly string[]): boolean
  update(options: readonly string[]): void
  end(end: { kind: 'restart'; target: 'same' }, reason: string): void
}

export interface RouteUpdatesInit<S extends UpdatedSession> {
  readonly sessions: () => Iterable<S>
  readonly push: (session: S) => readonly string[]
  /** Seconds over which new connections are spread; undefined when nobody is to be told. */
  readonly over: () => number | undefined
  /** ms since 1970 */
  readonly now: () => number
  /** From 0 to below 1. */
  readonly random: () => number
}

/** When a session has to connect anew. */
interface Due {
  /** ms since 1970 */
  readonly at: number
  /** By a refresh: the setting does not undo it. */
  readonly asked: boolean
}

/** ms for which changes are gathered. */
const GATHER_MS = 1000
/** New connections begun in one turn at most; the next turn is soon. */
const BATCH = 200
const NEVER = Number.POSITIVE_INFINITY

export class RouteUpdates<S extends UpdatedSession> {
  readonly #init: RouteUpdatesInit<S>
  #due = new Map<S, Due>()
  /** When the sessions are looked at. */
  #lookAt = NEVER

  constructor(init: RouteUpdatesInit<S>) {
    this.#init = init
  }

  /** Something that clients are told may be different; looked at once the changes of a moment are together. */
  changed(): void {
    if (this.#lookAt === NEVER) this.#lookAt = this.#init.now() + GATHER_MS
  }

  isBehind(session: S): boolean {
    return session.isBehind(this.#init.push(session))
  }

  /** Tells clients that are behind, also those that were to learn later. */
  refresh({ over, clients }: Refresh): void {
    this.#look(over, clients, true)
  }

  /** Runs timers; when to call again, ms since 1970. */
  poll(): number {
    const now = this.#init.now()
    if (now >= this.#lookAt) {
      this.#lookAt = NEVER
      this.#look(this.#init.over(), undefined, false)
    }
    let ended = 0
    let next = this.#lookAt
    for (const [session, { at }] of this.#due) {
      if (at > now || ended >= BATCH) {
        next = Math.min(next, at)
        continue
      }
      this.#due.delete(session)
      if (!this.isBehind(session)) continue
      session.end({ kind: 'restart', target: 'same' }, 'its routes have changed')
      ended++
    }
    return next
  }

  /** @param over seconds; undefined: who is behind stays so */
  #look(over: number | undefined, clients: ReadonlySet<ClientId> | undefined, asked: boolean): void {
    const now = this.#init.now()
    const due = new Map<S, Due>()
    for (const session of this.#init.sessions()) {
      const waiting = this.#due.get(session)
      const isAsked = clients === undefined || clients.has(session.client as ClientId)
      if (!isAsked) {
        if (waiting !== undefined) due.set(session, waiting)
        continue
      }
      const options = this.#init.push(session)
      if (!session.isBehind(options)) continue
      if (over === undefined) {
        if (waiting?.asked) due.set(session, waiting)
      } else if (session.canUpdate(options)) session.update(options)
      else {
        const at = now + this.#init.random() * over * 1000
        due.set(session, waiting && waiting.at <= at ? waiting : { at, asked })
      }
    }
    this.#due = due
  }
}
