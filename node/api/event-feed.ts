// Events as they happen, one JSON object a line (application/x-ndjson), to a reader that may be slower than they are.
import { Readable } from 'node:stream'
import { matches } from '../event-types.ts'
import type { ControllerService, Event, EventFilter } from '../service.ts'

/** Events that wait for one slow subscriber; one more cuts it off. */
export const MAX_QUEUED_EVENTS = 1024
/** Subscribers at a time. */
export const MAX_FOLLOWERS = 32
/** A line that means nothing, when there is nothing else, so that both ends notice when the other is gone; ms. */
const HEARTBEAT_MS = 15_000
/** How long a reader has to take what is left once its feed has ended, in ms. */
const END_GRACE = 2000

const TOO_SLOW = `cut off: more than ${MAX_QUEUED_EVENTS} events were waiting to be read; read faster, or again`

const MORE = 'there is more than one answer holds; read on after the last event'
/** Past events in one feed that begins after a number. */
const MAX_PAST = 1000

/** The last line of a feed that ends before its reader wished: `type` is one that no controller event has. */
export interface FeedEnd {
  type: 'feed.end'
  message: string
}

/**
 * A stream of events. It starts with an empty line, so that a reader knows that it is subscribed; empty lines mean
 * nothing. Ends with a {@link FeedEnd} when its reader is too slow or the controller stops.
 */
export class EventFeed extends Readable {
  #queue: string[] = ['\n']
  #wanted = false
  #ended = false
  #closed = false
  #unfollow: () => void
  readonly #heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS).unref()

  constructor(unfollow: () => void) {
    super({ encoding: 'utf8' })
    this.#unfollow = unfollow
  }

  /**
   * Subscribes to a service. What has happened comes first, with none lost or repeated between it and what follows: the
   * latest events, or all after a number. Where those are more than one answer holds, the feed ends after the first of
   * them, for its reader to come again.
   */
  static async open(
    service: Pick<ControllerService, 'events' | 'follow'>,
    { backlog = 0, since, types }: EventFilter & { backlog?: number },
  ): Promise<EventFeed> {
    let early: Event[] | undefined = []
    const unfollow = service.follow(event => {
      if (types && !matches(types, event.type)) return
      if (early === undefined) feed.add(event)
      else if (early.length < MAX_QUEUED_EVENTS) early.push(event)
      else feed.finish(TOO_SLOW)
    })
    const feed = new EventFeed(unfollow)
    try {
      const most = since === undefined ? backlog : MAX_PAST
      const past = most > 0 ? await service.events(most, { since, types }) : []
      const last = past.at(-1)?.seq ?? -1
      for (const event of past) feed.add(event)
      if (since !== undefined && past.length === MAX_PAST) feed.finish(MORE)
      for (const event of early) if (event.seq > last) feed.add(event)
      early = undefined
    } catch (error) {
      feed.destroy()
      throw error
    }
    return feed
  }

  add(event: Event): void {
    if (this.#ended) return
    if (this.#queue.length >= MAX_QUEUED_EVENTS) {
      this.#queue = []
      this.finish(TOO_SLOW)
      return
    }
    this.#put(`${JSON.stringify(event)}\n`)
  }

  /** Tells the reader why, and ends. */
  finish(message: string): void {
    if (this.#ended) return
    this.#ended = true
    this.#unfollow()
    const end: FeedEnd = { type: 'feed.end', message }
    this.#put(`${JSON.stringify(end)}\n`)
    setTimeout(() => this.destroy(), END_GRACE).unref()
  }

  override _read(): void {
    this.#wanted = true
    this.#flush()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#ended = true
    this.#queue = []
    clearInterval(this.#heartbeat)
    this.#unfollow()
    callback(error)
  }

  #beat(): void {
    if (!this.#ended && this.#queue.length === 0) this.#put('\n')
  }

  #put(line: string): void {
    this.#queue.push(line)
    this.#flush()
  }

  #flush(): void {
    while (this.#wanted && this.#queue.length > 0) this.#wanted = this.push(this.#queue.shift())
    if (this.#ended && !this.#closed && this.#queue.length === 0 && !this.destroyed) {
      this.#closed = true
      this.push(null)
    }
  }
}
