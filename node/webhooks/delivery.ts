// The events that wait for one webhook: sent one after the other, again and again while the receiver is away.
import type { WebhookDelivery } from '../service-webhooks.ts'
import type { Hook } from './hooks.ts'
import type { Message, Outcome } from './post.ts'

export interface DeliveryInit {
  hook: Hook
  send: (hook: Hook, message: Message, signal: AbortSignal) => Promise<Outcome>
  /** ms since 1970 */
  now: () => number
  /** From 0 to below 1. */
  random: () => number
  /** Waits for so many ms, or until the signal aborts. @default timers */
  pause?: (ms: number, signal: AbortSignal) => Promise<void>
}

/** Events that wait; one more pushes the oldest out. */
export const MAX_WAITING = 1000
/** ms from the event on, after which it is given up. */
export const GIVE_UP_MS = 86_400_000
const FIRST_WAIT = 1000
const LONGEST_WAIT = 300_000

interface Waiting extends Message {
  readonly since: number
}

export class Delivery {
  readonly #init: DeliveryInit
  readonly #queue: Waiting[] = []
  readonly #ended = new AbortController()
  #running: Promise<void> | undefined
  #delivered = 0
  #failed = 0
  #dropped = 0
  #attempts = 0
  #lastDeliveredAt: number | undefined
  #problem: string | undefined

  constructor(init: DeliveryInit) {
    this.#init = init
  }

  get hook(): Hook {
    return this.#init.hook
  }

  add(message: Message): void {
    if (this.#ended.signal.aborted) return
    if (this.#queue.length >= MAX_WAITING) {
      this.#queue.shift()
      this.#dropped++
    }
    this.#queue.push({ ...message, since: this.#init.now() })
    this.#running ??= this.#run()
  }

  state(): WebhookDelivery {
    return {
      delivered: this.#delivered,
      failed: this.#failed,
      dropped: this.#dropped,
      waiting: this.#queue.length,
      attempts: this.#attempts,
      lastDeliveredAt:
        this.#lastDeliveredAt === undefined ? null : new Date(this.#lastDeliveredAt).toISOString(),
      problem: this.#problem ?? null,
    }
  }

  /** What waits is given up. */
  async stop(): Promise<void> {
    this.#ended.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { now, pause = sleep } = this.#init
    const { signal } = this.#ended
    let tries = 0
    let current: Waiting | undefined
    while (this.#queue.length > 0) {
      // It stays in the queue meanwhile: the oldest may be pushed out.
      if (current !== this.#queue[0]) tries = 0
      current = this.#queue[0]
      this.#attempts++
      const outcome = await this.#attempt(current)
      if (signal.aborted) break
      this.#problem = outcome.problem
      const isLate = now() - current.since >= GIVE_UP_MS
      if (outcome.problem === undefined) {
        this.#delivered++
        this.#lastDeliveredAt = now()
        this.#take(current)
      } else if (!outcome.retry || isLate) {
        // One that was pushed out meanwhile is counted already.
        if (this.#take(current)) this.#failed++
      } else {
        await pause(outcome.retryAfter ?? this.#wait(tries++), signal)
        if (signal.aborted) break
      }
    }
    // In the same turn as the last look at the queue: what is added next starts it again.
    this.#running = undefined
  }

  /** What could not even be sent will not be sent later. */
  async #attempt(message: Message): Promise<Outcome> {
    const { hook, send } = this.#init
    try {
      return await send(hook, message, this.#ended.signal)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      return { status: null, problem: `could not be sent (${why})`, retry: false }
    }
  }

  #take(message: Waiting): boolean {
    if (this.#queue[0] !== message) return false
    this.#queue.shift()
    return true
  }

  /** Twice as long each time, and between half and all of that, so that many senders do not come at once. */
  #wait(tries: number): number {
    const most = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** Math.min(tries, 20))
    return most * (0.5 + this.#init.random() / 2)
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(done, ms).unref()
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })
}
