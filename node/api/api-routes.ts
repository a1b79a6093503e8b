// /v1/api: the API over TCP itself.
import type { ControllerService } from '../service.ts'
import { ApiState, ChangeApi } from '../service-api.ts'
import { type Api, responses } from './schemas.ts'

const tags = ['api']

export function apiRoutes(app: Api, service: ControllerService): void {
  app.get(
    '/v1/api',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'Where the API of this controller is reached, and what its users trust',
        response: responses(ApiState),
      },
    },
    () => service.api(),
  )
  app.post(
    '/v1/api',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Set where the API of this controller is reached, at once and for good',
        body: ChangeApi,
        response: responses(ApiState),
      },
    },
    request => service.changeApi(request.body),
  )
}
