// The webhooks of a running controller: each event that is this controller's to tell goes to those that want it.
import { randomBytes } from 'node:crypto'
import { matches } from '../event-types.ts'
import type { EventLog, RecordedEvent } from '../events.ts'
import type { Home } from '../home.ts'
import { tells } from '../mesh-watch.ts'
import type { Exposition, Sample } from '../metrics/exposition.ts'
import type { Event } from '../service.ts'
import type { Webhook, WebhookTest } from '../service-webhooks.ts'
import { Delivery } from './delivery.ts'
import { describeUrl, findHook, type Hook, isHookId, readHooks } from './hooks.ts'
import { type Message, post } from './post.ts'

export interface WebhooksInit {
  home: Home
  events: EventLog
  /** ms since 1970 */
  now: () => number
  random: () => number
}

/** ms for a receiver to answer. */
const TIMEOUT_MS = 10_000

export class Webhooks {
  readonly #init: WebhooksInit
  readonly #deliveries = new Map<string, Delivery>()
  /** Differs from start to start, as the numbers of events may begin anew. */
  readonly #life = randomBytes(4).toString('hex')
  #tests = 0
  readonly #undo: (() => void)[] = []

  constructor(init: WebhooksInit) {
    this.#init = init
  }

  start(): void {
    const { home, events } = this.#init
    this.#review()
    this.#undo.push(
      home.replica.onChange(({ changes }) => {
        if (changes.some(({ kind, id }) => isHookId(kind, id))) this.#review()
      }),
      events.subscribe(event => this.#tell(event)),
    )
  }

  async stop(): Promise<void> {
    for (const undo of this.#undo) undo()
    await Promise.all([...this.#deliveries.values()].map(each => each.stop()))
  }

  delivery(name: string): Webhook['delivery'] {
    return this.#deliveries.get(name)?.state() ?? null
  }

  /** @throws ServiceError */
  async test(name: string): Promise<WebhookTest> {
    const { home, now } = this.#init
    const hook = findHook(home, name)
    const at = now()
    const event = {
      seq: 0,
      at: new Date(at).toISOString(),
      type: 'webhook-test',
      message: 'webhook test: all is well',
    }
    const message = this.#message(event, `test${++this.#tests}`)
    const { status, problem } = await post(hook, message, { now: at, timeout: TIMEOUT_MS })
    return { delivered: problem === undefined, status, problem: problem ?? null, ms: now() - at }
  }

  addTo(out: Exposition): void {
    const states = [...this.#deliveries].map(([webhook, delivery]) => ({ webhook, ...delivery.state() }))
    const results = ['delivered', 'failed', 'dropped'] as const
    out.counter(
      'overmesh_webhook_events_total',
      'Events for webhooks, by what became of them.',
      states.flatMap(state =>
        results.map((result): Sample => [{ webhook: state.webhook, result }, state[result]]),
      ),
    )
    out.counter(
      'overmesh_webhook_attempts_total',
      'Requests that were made to webhooks.',
      states.map(({ webhook, attempts }): Sample => [{ webhook }, attempts]),
    )
    out.gauge(
      'overmesh_webhook_waiting',
      'Events that wait to be sent to a webhook.',
      states.map(({ webhook, waiting }): Sample => [{ webhook }, waiting]),
    )
  }

  #tell(event: RecordedEvent): void {
    if (this.#deliveries.size === 0 || !tells(event, this.#init.home.config.controller)) return
    let message: Message | undefined
    for (const delivery of this.#deliveries.values()) {
      if (!matches(delivery.hook.types, event.type)) continue
      message ??= this.#message(event, String(event.seq))
      delivery.add(message)
    }
  }

  #message(event: Event, number: string): Message {
    const { mesh, id, config } = this.#init.home
    const { controller } = config
    const own = `${id}-${this.#life}-${number}`
    const { at: timestamp, type } = event
    const data = { mesh: mesh.value.name, controller, event }
    return { id: own, body: JSON.stringify({ type, timestamp, data }) }
  }

  /** One that was removed and added again begins anew. */
  #review(): void {
    const hooks = new Map(readHooks(this.#init.home).map(hook => [hook.name, hook]))
    for (const [name, delivery] of this.#deliveries) {
      if (JSON.stringify(hooks.get(name)) === JSON.stringify(delivery.hook)) continue
      void delivery.stop()
      this.#deliveries.delete(name)
    }
    const { now, random } = this.#init
    for (const hook of hooks.values())
      if (!this.#deliveries.has(hook.name)) {
        const send = (to: Hook, message: Message, signal: AbortSignal) =>
          post(to, message, { now: now(), timeout: TIMEOUT_MS, signal })
        this.#deliveries.set(hook.name, new Delivery({ hook, send, now, random }))
      }
  }
}

export function describeHook({ name, url, types, secret }: Hook, live: Webhooks | undefined): Webhook {
  return {
    name,
    url: describeUrl(url),
    types: [...types],
    signed: secret !== undefined,
    delivery: live?.delivery(name) ?? null,
  }
}
