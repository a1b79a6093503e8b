// What happened on this controller: the latest events in memory for the API and the command line, and each as a line of
// JSON in a file, so that they outlive the process.
import type { Event } from './service.ts'

/** Everything that can happen. The names are part of the API. */
export const EVENT_TYPES = [
  'controller-started',
  'controller-stopped',
  'session-up',
  'session-down',
  'session-refused',
  'float',
  'client-added',
  'client-revoked',
  'client-disabled',
  'client-enabled',
  'client-rekeyed',
  'client-kicked',
  'route-added',
  'route-removed',
  'attachment-added',
  'attachment-changed',
  'attachment-removed',
  'attachment-up',
  'attachment-down',
  'attachment-moved',
  'attachment-standby',
  'attachment-problem',
  'dns-changed',
  'certificate-renewed',
  'state-damage',
  'state-imported',
  'peer-up',
  'peer-down',
  'peer-refused',
  'link-up',
  'link-down',
  'controller-invited',
  'controller-joined',
  'controller-removed',
  'controller-cloned',
  'controller-down',
  'controller-up',
  'conflict-found',
  'conflict-resolved',
  'webhook-added',
  'webhook-removed',
  'controller-draining',
  'controller-serving',
  'capture-started',
  'capture-ended',
  'clock-skew',
  'token-added',
  'token-revoked',
  'api-changed',
  'api-request',
  'api-refused',
  'newer-records',
  'interface-lost',
  'interface-back',
] as const
export type EventType = (typeof EVENT_TYPES)[number]

/** An event to be: its sequence number and time are the log's to give. Never holds a secret. */
export interface NewEvent {
  readonly type: EventType
  /** For people: one sentence. */
  readonly message?: string
  /** Whatever else belongs to it, and can be JSON. */
  readonly [field: string]: unknown
}

/** An event as it was recorded; see {@link Event}. */
export interface RecordedEvent extends Event {
  readonly message?: string
  /** Of what every controller notices, the name of the one that passes it on. */
  readonly teller?: string
  /** Events of this type left out before this one: see {@link PROVOKED}. */
  readonly suppressed?: number
  /** The event's own fields were too long and are left out. */
  readonly cut?: true
  readonly [field: string]: unknown
}

/** Where events are kept: one line each, without its line feed. */
export interface EventStore {
  /** The lines kept so far, oldest first; not all of them need be sound. */
  lines(): string[]
  /** @throws if it cannot be written */
  append(line: string): void
}

export interface EventLogInit {
  /** Where events outlive the process; nowhere if absent. */
  store?: EventStore
  /** Wall clock, ms. */
  now: () => number
  /** Events in memory. @default 10000 */
  capacity?: number
  /** Told once when the store begins to fail, and of every subscriber that throws. */
  onProblem?: (error: unknown) => void
}

export class EventLogError extends Error {
  override name = 'EventLogError'
  readonly code = 'TOO_MANY_SUBSCRIBERS'
}

/** Longest line, in UTF-16 units; an event that would be longer loses its own fields. */
export const MAX_EVENT_LENGTH = 4096
const MAX_MESSAGE = 512
export const MAX_SUBSCRIBERS = 256

/**
 * Events that strangers or a broken client can cause at will, and so many of them that all others would be pushed
 * out. Of each type this many may come at once, and this many a second.
 */
export const PROVOKED = {
  types: ['session-refused', 'float', 'peer-refused', 'clock-skew', 'api-refused'] as readonly EventType[],
  burst: 200,
  perSecond: 10,
}

interface Allowance {
  tokens: number
  at: number
  suppressed: number
}

/** Not for subscribers to append to from within their callback. */
export class EventLog {
  readonly #store: EventStore | undefined
  readonly #now: () => number
  readonly #onProblem: (error: unknown) => void
  readonly #capacity: number
  /** A ring once it is full; `#oldest` is where it begins. */
  readonly #ring: RecordedEvent[] = []
  #oldest = 0
  #lastSeq = 0
  readonly #allowances = new Map<EventType, Allowance>()
  readonly #counts = new Map(EVENT_TYPES.map(type => [type, { recorded: 0, suppressed: 0 }]))
  readonly #subscribers = new Set<(event: RecordedEvent) => void>()
  #storeFails = false

  /** Takes up what the store has; sequence numbers go on from there. */
  constructor({ store, now, capacity = 10_000, onProblem = () => {} }: EventLogInit) {
    if (!Number.isInteger(capacity) || capacity < 1) throw new RangeError(`capacity: ${capacity}`)
    this.#store = store
    this.#now = now
    this.#capacity = capacity
    this.#onProblem = onProblem
    for (const line of store?.lines() ?? []) {
      const event = parseEvent(line)
      if (event !== undefined && event.seq > this.#lastSeq) this.#remember(event)
    }
  }

  /**
   * Records an event: in memory, in the store, and to all subscribers, in this order. Never throws: a store that
   * fails is reported, and the event is kept in memory.
   * @returns the event; undefined if it is one of {@link PROVOKED} too many. How many were left out then is told by
   *   the field `suppressed` of the next one of that type.
   */
  append(event: NewEvent): RecordedEvent | undefined {
    const now = this.#now()
    const suppressed = this.#allow(event.type, now)
    this.#count(event.type, suppressed >= 0)
    if (suppressed < 0) return undefined
    const { line, complete } = compose(event, this.#lastSeq + 1, now, suppressed)
    this.#remember(complete)
    this.#write(line)
    for (const subscriber of [...this.#subscribers]) {
      try {
        subscriber(complete)
      } catch (error) {
        this.#onProblem(error)
      }
    }
    return complete
  }

  /**
   * Events in memory, oldest first. Without `sinceSeq` the latest; with it the first ones after that number, so that
   * a reader can go on from page to page. One that was given by another log, and is higher than all here, means 0.
   * @param limit most that are wanted. @default 1000
   * @param wants which of them count. @default all
   */
  recent(limit = 1000, sinceSeq?: number, wants?: (event: RecordedEvent) => boolean): RecordedEvent[] {
    let all = [...this.#ring.slice(this.#oldest), ...this.#ring.slice(0, this.#oldest)]
    if (wants) all = all.filter(wants)
    const most = Math.max(0, Math.floor(limit))
    if (sinceSeq === undefined) return all.slice(Math.max(0, all.length - most))
    const after = sinceSeq > this.#lastSeq ? 0 : sinceSeq
    return all.filter(event => event.seq > after).slice(0, most)
  }

  /**
   * Calls back for every event from now on, until the function returned is called.
   * @throws EventLogError beyond {@link MAX_SUBSCRIBERS}
   */
  subscribe(callback: (event: RecordedEvent) => void): () => void {
    if (this.#subscribers.size >= MAX_SUBSCRIBERS) {
      throw new EventLogError(`${MAX_SUBSCRIBERS} readers follow the events already; end one of them first`)
    }
    const own = (event: RecordedEvent) => callback(event)
    this.#subscribers.add(own)
    return () => void this.#subscribers.delete(own)
  }

  /** By type, since this log was opened. */
  counts(): ReadonlyMap<EventType, { readonly recorded: number; readonly suppressed: number }> {
    return this.#counts
  }

  /** Number of the latest event; 0 before the first. */
  get lastSeq(): number {
    return this.#lastSeq
  }

  #count(type: EventType, isRecorded: boolean): void {
    const counts = this.#counts.get(type)
    if (counts === undefined) return
    if (isRecorded) counts.recorded++
    else counts.suppressed++
  }

  #remember(event: RecordedEvent): void {
    this.#lastSeq = event.seq
    if (this.#ring.length < this.#capacity) {
      this.#ring.push(event)
      return
    }
    this.#ring[this.#oldest] = event
    this.#oldest = (this.#oldest + 1) % this.#capacity
  }

  #write(line: string): void {
    try {
      this.#store?.append(line)
      this.#storeFails = false
    } catch (error) {
      // Once for each time that it begins: a full disk is not to fill the log as well.
      if (!this.#storeFails) this.#onProblem(error)
      this.#storeFails = true
    }
  }

  /** How many of this type were left out before this one; -1 if this one is left out too. */
  #allow(type: EventType, now: number): number {
    if (!PROVOKED.types.includes(type)) return 0
    const before = this.#allowances.get(type) ?? { tokens: PROVOKED.burst, at: now, suppressed: 0 }
    const refill = (Math.max(0, now - before.at) / 1000) * PROVOKED.perSecond
    const tokens = Math.min(PROVOKED.burst, before.tokens + refill)
    const allowed = tokens >= 1
    const suppressed = allowed ? 0 : before.suppressed + 1
    this.#allowances.set(type, { tokens: allowed ? tokens - 1 : tokens, at: now, suppressed })
    return allowed ? before.suppressed : -1
  }
}

/** The event with its number and time, and as a line of bounded length. What JSON cannot hold is left out. */
function compose(
  event: NewEvent,
  seq: number,
  now: number,
  suppressed: number,
): { line: string; complete: RecordedEvent } {
  const { type, message, ...data } = event
  const head = {
    seq,
    at: new Date(now).toISOString(),
    type,
    ...(message === undefined ? {} : { message: message.slice(0, MAX_MESSAGE) }),
    ...(suppressed === 0 ? {} : { suppressed }),
  }
  const line = stringify({ ...head, ...data, ...head })
  const kept =
    line !== undefined && line.length <= MAX_EVENT_LENGTH ? line : JSON.stringify({ ...head, cut: true })
  // What readers get now is what they would get after a restart.
  return { line: kept, complete: JSON.parse(kept) as RecordedEvent }
}

function stringify(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

/** Undefined for what a crash cut short, or anything else that is no event. */
function parseEvent(line: string): RecordedEvent | undefined {
  if (line.length > MAX_EVENT_LENGTH) return undefined
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { seq, at, type } = value as Partial<RecordedEvent>
  const sound = Number.isSafeInteger(seq) && typeof at === 'string' && typeof type === 'string'
  return sound ? (value as RecordedEvent) : undefined
}
