// What a controller offers its operator about webhooks: who is told of events as they happen.
import { type Static, Type } from 'typebox'

const Text = (description: string, maxLength = 1024) => Type.String({ description, maxLength })
const Nullable = (description: string, maxLength = 1024) =>
  Type.Union([Type.String({ maxLength }), Type.Null()], { description })
const Count = (description: string) => Type.Integer({ minimum: 0, description })
/** With what is before it, it is the id of a setting. */
export const MAX_WEBHOOK_NAME = 55
const Name = Type.String({ pattern: '^[a-z0-9][a-z0-9._-]*$', maxLength: MAX_WEBHOOK_NAME })
const StoredOn = Type.Object({ controllers: Type.Integer(), of: Type.Integer() })

export const MAX_WEBHOOK_TYPES = 16
export const MAX_WEBHOOK_URL = 1024
export const MAX_WEBHOOK_SECRET = 256

/** Never holds the secret, nor what may be one in the address. */
export const Webhook = Type.Object({
  name: Name,
  url: Text('where events are sent by POST; what comes after the host is left out, as it may be secret'),
  types: Type.Array(Type.String({ maxLength: 64 }), { description: 'of the events that are sent' }),
  signed: Type.Boolean({ description: 'there is a secret' }),
  delivery: Type.Union(
    [
      Type.Object({
        delivered: Count('events that were taken'),
        failed: Count('events that were refused, or taken by nobody for a day'),
        dropped: Count('events that were left out since too many were waiting'),
        waiting: Count('events that are to be sent'),
        attempts: Count('requests that were made'),
        lastDeliveredAt: Nullable('ISO 8601, UTC', 32),
        problem: Nullable('why the latest attempt failed; null when it did not'),
      }),
      Type.Null(),
    ],
    { description: 'by the controller that is asked, since it started; null when it does not run' },
  ),
})
export type Webhook = Static<typeof Webhook>
export type WebhookDelivery = NonNullable<Webhook['delivery']>

export const AddWebhook = Type.Object(
  {
    name: Name,
    url: Type.String({ minLength: 1, maxLength: MAX_WEBHOOK_URL, description: 'http or https' }),
    types: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 64 }), {
        minItems: 1,
        maxItems: MAX_WEBHOOK_TYPES,
        description:
          '`session-*` is all that begin so; default: clients, controllers, attachments up and down, conflicts',
      }),
    ),
    secret: Type.Optional(
      Type.String({ minLength: 1, maxLength: MAX_WEBHOOK_SECRET, description: 'what signs each request' }),
    ),
  },
  { additionalProperties: false },
)
export type AddWebhook = Static<typeof AddWebhook>

export const WebhookChange = Type.Object({ webhook: Webhook, storedOn: StoredOn })
export type WebhookChange = Static<typeof WebhookChange>

export const WebhookTest = Type.Object({
  delivered: Type.Boolean(),
  status: Type.Union([Type.Integer(), Type.Null()], {
    description: 'of HTTP; null when there was no answer',
  }),
  problem: Nullable('why it was not delivered'),
  ms: Type.Number({ description: 'how long it took' }),
})
export type WebhookTest = Static<typeof WebhookTest>

export interface WebhookService {
  webhooks(): Promise<Webhook[]>
  addWebhook(request: AddWebhook): Promise<WebhookChange>
  removeWebhook(name: string): Promise<WebhookChange>
  /** Sends an event of the type `webhook-test` from this controller, once. @throws ServiceError not-running */
  testWebhook(name: string): Promise<WebhookTest>
}
