// /v1/webhooks: who is told of events as they happen.
import { Type } from 'typebox'
import type { ControllerService } from '../service.ts'
import { AddWebhook, Webhook, WebhookChange, WebhookTest } from '../service-webhooks.ts'
import { type Api, NameParams, responses } from './schemas.ts'

const tags = ['events']

export function webhookRoutes(app: Api, service: ControllerService): void {
  app.get(
    '/v1/webhooks',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'Webhooks, and what this controller has delivered to them',
        response: responses(Type.Array(Webhook)),
      },
    },
    () => service.webhooks(),
  )
  app.post(
    '/v1/webhooks',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Send events there from now on, each from one controller of the mesh',
        body: AddWebhook,
        response: responses(WebhookChange),
      },
    },
    request => service.addWebhook(request.body),
  )
  app.post(
    '/v1/webhooks/:name/remove',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Send nothing there any more',
        params: NameParams,
        response: responses(WebhookChange),
      },
    },
    request => service.removeWebhook(request.params.name),
  )
  app.post(
    '/v1/webhooks/:name/test',
    {
      config: { scope: 'operate' },
      schema: {
        tags,
        summary: 'Send a test from this controller, once',
        params: NameParams,
        response: responses(WebhookTest),
      },
    },
    request => service.testWebhook(request.params.name),
  )
}
