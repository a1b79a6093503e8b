// /v1/tokens: who may use the API over TCP.
import { Type } from 'typebox'
import type { ControllerService } from '../service.ts'
import { AddToken, NewToken, RevokedTokens, Token } from '../service-tokens.ts'
import { type Api, NameParams, responses } from './schemas.ts'

const tags = ['api']

export function tokenRoutes(app: Api, service: ControllerService): void {
  app.get(
    '/v1/tokens',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Tokens that are good, and those that ended not long ago',
        response: responses(Type.Array(Token)),
      },
    },
    () => service.tokens(),
  )
  app.post(
    '/v1/tokens',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Make a token; its secret is shown this once',
        body: AddToken,
        response: responses(NewToken),
      },
    },
    request => service.addToken(request.body),
  )
  app.post(
    '/v1/tokens/:name/revoke',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'End a token on every controller, by its name or id',
        params: NameParams,
        response: responses(RevokedTokens),
      },
    },
    request => service.revokeToken(request.params.name),
  )
}
