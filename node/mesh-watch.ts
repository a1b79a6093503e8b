// What all controllers notice, each for itself: that one is out of reach or back, that a conflict appeared or is gone. One of
// them, the teller of the event, passes it on to webhooks.
import type { ControllerId } from '../state/kinds.ts'
import type { EventLog, NewEvent, RecordedEvent } from './events.ts'
import type { Home } from './home.ts'
import type { Conflict } from './service.ts'
import { listConflicts } from './state-view.ts'

export interface MeshWatchInit {
  home: Pick<Home, 'id' | 'views' | 'replica'>
  events: EventLog
  /** Within reach, or this controller itself. */
  isLiving: (id: ControllerId) => boolean
  /** @default those of the records */
  conflicts?: () => readonly Conflict[]
  /** Monotonic, ms. */
  now: () => number
}

/** ms out of reach after which a controller counts as down, and as long as others may take to be found after the start. */
const DOWN_MS = 900
const FIND_MS = 15_000
/** A look at the conflicts of very many records takes its time; this many times as long passes until the next. */
const REST = 50
/** Conflicts told of at one look; the others follow at the next. */
const MOST_AT_ONCE = 100

export class MeshWatch {
  readonly #init: MeshWatchInit
  readonly #startedAt: number
  /** Controllers that are down, by who told of it. */
  readonly #down = new Map<ControllerId, string>()
  /** Since when controllers that are not down yet have not been reached, monotonic ms. */
  readonly #silent = new Map<ControllerId, number>()
  readonly #found = new Set<ControllerId>()
  /** Conflicts that were told of. */
  readonly #conflicts = new Map<string, { conflict: Pick<Conflict, 'kind' | 'id'>; teller: string }>()
  #conflictsAt = -1
  /** Monotonic, ms. */
  #restUntil = Number.NEGATIVE_INFINITY
  /** In its first life a controller finds a mesh as it is: what there is then is no news. */
  #isNew = true

  /** Takes up where the events of an earlier life end. */
  constructor(init: MeshWatchInit) {
    this.#init = init
    this.#startedAt = init.now()
    for (const event of init.events.recent(Number.POSITIVE_INFINITY)) this.#remember(event)
  }

  /** To be called a few times a second. */
  look(): void {
    this.#lookAtControllers()
    this.#lookAtConflicts()
  }

  /** The name of the controller that tells of what this one and others notice. @param about one that cannot */
  teller(about?: ControllerId): string {
    const { home, isLiving } = this.#init
    const living = home.views.controllers().filter(({ id }) => id !== about && isLiving(id))
    return living.at(0)?.value.name ?? ''
  }

  #lookAtControllers(): void {
    const { home, events, isLiving } = this.#init
    const now = this.#init.now()
    const present = new Set<ControllerId>()
    for (const { id, value } of home.views.controllers()) {
      if (id === home.id) continue
      present.add(id)
      if (isLiving(id)) {
        this.#silent.delete(id)
        this.#found.add(id)
        const told = this.#down.get(id)
        if (told === undefined) continue
        this.#down.delete(id)
        events.append({ type: 'controller-up', controller: value.name, id, teller: this.#again(told, id) })
        continue
      }
      if (this.#down.has(id)) continue
      const since = this.#silent.get(id) ?? now
      this.#silent.set(id, since)
      const isFound = this.#found.has(id)
      if (isFound ? now - since < DOWN_MS : now - this.#startedAt < FIND_MS) continue
      const teller = this.teller(id)
      this.#down.set(id, teller)
      events.append({ type: 'controller-down', controller: value.name, id, teller })
    }
    // Whoever was removed is neither.
    for (const all of [this.#down, this.#silent])
      for (const id of all.keys()) if (!present.has(id)) all.delete(id)
    for (const id of this.#found) if (!present.has(id)) this.#found.delete(id)
  }

  #lookAtConflicts(): void {
    const { home, events } = this.#init
    const { version } = home.replica
    const before = this.#init.now()
    if (version === this.#conflictsAt || before < this.#restUntil) return
    const conflicts = this.#init.conflicts?.() ?? listConflicts(home as Home)
    const after = this.#init.now()
    this.#restUntil = after + REST * (after - before)
    const current = new Map(conflicts.map(conflict => [keyOf(conflict), conflict]))
    const isNew = this.#isNew
    this.#isNew = false
    let told = 0
    for (const [key, { kind, id, winner, loser, message }] of current) {
      if (this.#conflicts.has(key)) continue
      if (told++ >= MOST_AT_ONCE && !isNew) return
      const teller = this.teller()
      this.#conflicts.set(key, { conflict: { kind, id }, teller })
      if (isNew) continue
      events.append({ type: 'conflict-found', message, kind, id, winner, loser, teller })
    }
    for (const [key, { conflict, teller }] of this.#conflicts) {
      if (current.has(key)) continue
      if (told++ >= MOST_AT_ONCE) return
      this.#conflicts.delete(key)
      events.append({ type: 'conflict-resolved', ...conflict, teller: this.#again(teller) })
    }
    this.#conflictsAt = version
  }

  /** Who told of the beginning tells of the end, if it is there. */
  #again(teller: string, about?: ControllerId): string {
    const { home, isLiving } = this.#init
    const isThere = home.views.controllers().some(({ id, value }) => value.name === teller && isLiving(id))
    return isThere ? teller : this.teller(about)
  }

  #remember(event: RecordedEvent): void {
    const { type, id, kind, teller = '' } = event as RecordedEvent & Record<string, unknown>
    if (type === 'controller-started') this.#isNew = false
    if (typeof id !== 'string' || typeof teller !== 'string') return
    if (type === 'controller-down') this.#down.set(id as ControllerId, teller)
    if (type === 'controller-up') this.#down.delete(id as ControllerId)
    if (typeof kind !== 'string') return
    if (type === 'conflict-found')
      this.#conflicts.set(keyOf({ kind, id }), { conflict: { kind, id }, teller })
    if (type === 'conflict-resolved') this.#conflicts.delete(keyOf({ kind, id }))
  }
}

function keyOf({ kind, id }: Pick<Conflict, 'kind' | 'id'>): string {
  return `${kind} ${id}`
}

/** Whether this controller is the one that passes an event on. */
export function tells(event: NewEvent | RecordedEvent, self: string): boolean {
  const { teller } = event as { teller?: unknown }
  return typeof teller !== 'string' || teller === self
}
