// The operator's service about webhooks, on the records and the running controller of this machine.
import type { LocalContext } from '../live.ts'
import { ServiceError } from '../service-error.ts'
import type { AddWebhook, Webhook, WebhookChange, WebhookService, WebhookTest } from '../service-webhooks.ts'
import { addHook, readHooks, removeHook } from './hooks.ts'
import { describeHook } from './webhooks.ts'

export class LocalWebhooks implements WebhookService {
  readonly #context: LocalContext

  constructor(context: LocalContext) {
    this.#context = context
  }

  async webhooks(): Promise<Webhook[]> {
    const { home, live } = this.#context
    return readHooks(home).map(hook => describeHook(hook, live?.webhooks))
  }

  addWebhook(request: AddWebhook): Promise<WebhookChange> {
    const { home, live, writing, events, storedOn } = this.#context
    return writing(async () => {
      const webhook = describeHook(await addHook(home, request), live?.webhooks)
      events.append({ type: 'webhook-added', webhook: webhook.name, types: webhook.types })
      return { webhook, storedOn: await storedOn() }
    })
  }

  removeWebhook(name: string): Promise<WebhookChange> {
    const { home, writing, events, storedOn } = this.#context
    return writing(async () => {
      const webhook = describeHook(await removeHook(home, name), undefined)
      events.append({ type: 'webhook-removed', webhook: name })
      return { webhook, storedOn: await storedOn() }
    })
  }

  async testWebhook(name: string): Promise<WebhookTest> {
    const { live } = this.#context
    if (live) return live.webhooks.test(name)
    throw new ServiceError('not-running', 'no controller is running here, so nothing is sent')
  }
}
