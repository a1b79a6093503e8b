// /v1/desired-state: the mesh as one document.
import type { ControllerService } from '../service.ts'
import { DesiredState, ReconcileRequest, Reconciliation } from '../service-desired.ts'
import { type Api, responses } from './schemas.ts'
import { SLOW_MS } from './scopes.ts'

const tags = ['controller']
/** Ten thousand clients with tags and subnets; bytes. */
const BODY_LIMIT = 16 * 2 ** 20

export function desiredRoutes(app: Api, service: ControllerService): void {
  app.get(
    '/v1/desired-state',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'Settings, clients, routes and attachments as one document, without secrets',
        response: responses(DesiredState),
      },
    },
    () => service.desiredState(),
  )
  app.post(
    '/v1/desired-state',
    {
      config: {
        scope: 'admin',
        isRead: request => (request.body as ReconcileRequest).dryRun === true,
        quietMs: SLOW_MS,
      },
      bodyLimit: BODY_LIMIT,
      schema: {
        tags,
        summary: 'Make the mesh as the document has it, all of it or nothing; or say what that would take',
        body: ReconcileRequest,
        response: responses(Reconciliation),
      },
    },
    request => service.reconcile(request.body),
  )
}
