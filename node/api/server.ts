// The API of a controller: HTTP on a unix socket, described by /openapi.json; over TCP, see tcp-api.ts.

import { chmod } from 'node:fs/promises'
import swagger from '@fastify/swagger'
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import fastify, { type FastifyBaseLogger, LogController } from 'fastify'
import { Type } from 'typebox'
import type { ControllerService } from '../service.ts'
import { apiRoutes } from './api-routes.ts'
import { backupRoutes } from './backup-routes.ts'
import { captureRoutes } from './capture-routes.ts'
import { answerClientError } from './client-error.ts'
import { clientRoutes } from './client-routes.ts'
import { controllerRoutes } from './controller-routes.ts'
import { desiredRoutes } from './desired-routes.ts'
import { dnsRoutes } from './dns-routes.ts'
import { refusal, refuse } from './errors.ts'
import { isTokenInAddress, pathOf, TOKEN_IN_ADDRESS } from './guard.ts'
import { ipsecRoutes } from './ipsec-routes.ts'
import { membershipRoutes } from './membership-routes.ts'
import type { ApiMeter } from './meter.ts'
import { observationRoutes } from './observation-routes.ts'
import { type Api, responses } from './schemas.ts'
import { scopeInWords } from './scopes.ts'
import { claimSocket } from './socket.ts'
import { tokenRoutes } from './token-routes.ts'
import { webhookRoutes } from './webhook-routes.ts'

const TAGS = ['controller', 'clients', 'membership', 'dns', 'attachments', 'events', 'captures', 'api']
/** The largest request is a client with 64 subnets and its tags; bytes. */
const BODY_LIMIT = 64 * 1024

export interface ApiInit {
  service: ControllerService
  /** @default no log */
  logger?: FastifyBaseLogger
  /** Adds what stands before the routes. @default nothing */
  protect?: (app: Api) => Promise<void>
  /** Told of every request that was answered. */
  meter?: Pick<ApiMeter, 'answered'>
}

export interface ApiServer {
  /** Ends event feeds, waits for running requests and removes the socket. */
  close(): Promise<void>
}

/** The API without a socket. @throws Error when a route says nothing of its scope */
export async function buildApi({ service, logger, protect, meter }: ApiInit): Promise<Api> {
  const app: Api = fastify({
    ...(logger ? { loggerInstance: logger } : { logger: false }),
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT,
    forceCloseConnections: 'idle',
    requestTimeout: 30_000,
    return503OnClosing: true,
    // What is too long is for the schemas to refuse, behind what protects the routes.
    routerOptions: { maxParamLength: 16 * 1024 },
    // Not with the address in them: there may be secrets in it.
    frameworkErrors: (_error, { raw }, reply) => {
      const reason = isTokenInAddress(raw.url ?? '') ? TOKEN_IN_ADDRESS : 'the address is not well formed'
      const { status, body } = refuse('invalid', reason)
      void reply.status(status as never).send(body as never)
    },
    clientErrorHandler: answerClientError,
  }).withTypeProvider<TypeBoxTypeProvider>()
  app.setValidatorCompiler(TypeBoxValidatorCompiler as never)

  app.setErrorHandler((error, request, reply) => {
    const { status, body } = refusal(error)
    if (status >= 500) request.log.error({ err: error, url: pathOf(request) }, 'request failed')
    else request.log.debug({ url: pathOf(request), status, reason: body.error.message }, 'request refused')
    return reply.status(status).send(body)
  })
  app.setNotFoundHandler((request, reply) => {
    const { status, body } = refuse(
      'not-found',
      `there is no ${request.method} ${pathOf(request)}; see /openapi.json`,
    )
    return reply.status(status).send(body)
  })
  // Reads are many and harmless; what changes something is on record. Strangers, who change nothing, fill no log.
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unknown'
    meter?.answered(route, request.method, reply.statusCode, reply.elapsedTime / 1000)
    const entry = {
      method: request.method,
      url: pathOf(request),
      status: reply.statusCode,
      ...(request.bearer && { bearer: request.bearer.name }),
    }
    if (request.method === 'GET' || request.bearer === null) request.log.debug(entry, 'request')
    else request.log.info(entry, 'request')
  })

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Overmesh controller',
        description:
          'The API of one controller: on the unix socket run/api.sock of its data directory, where the file system says ' +
          'who may use it, and, where it was enabled, by HTTPS with tokens. A token never goes into an address.',
        version: '1',
      },
      servers: [
        { url: 'http://localhost', description: 'unix socket' },
        {
          url: 'https://{controller}',
          description: 'HTTPS, with a certificate that chains to the mesh root',
          variables: { controller: { default: 'localhost:8443' } },
        },
      ],
      tags: TAGS.map(name => ({ name })),
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            description: 'of `overmesh token add`; not needed on the unix socket',
          },
        },
      },
    },
    transform: ({ schema, url, route }) => {
      const scope = route.config?.scope ?? 'admin'
      return {
        url,
        schema: {
          ...schema,
          description: [schema.description, scopeInWords(scope)].filter(Boolean).join(' '),
          security: scope === 'public' ? [] : [{ token: [scope] }],
        },
      }
    },
  })
  app.addHook('onRoute', ({ method, url, config }) => {
    if (config?.scope === undefined) throw new Error(`the route ${method} ${url} lacks a scope`)
  })
  await protect?.(app)
  clientRoutes(app, service)
  controllerRoutes(app, service)
  observationRoutes(app, service)
  membershipRoutes(app, service)
  dnsRoutes(app, service)
  ipsecRoutes(app, service)
  backupRoutes(app, service)
  desiredRoutes(app, service)
  captureRoutes(app, service)
  tokenRoutes(app, service)
  webhookRoutes(app, service)
  apiRoutes(app, service)
  app.get(
    '/openapi.json',
    {
      config: { scope: 'read' },
      schema: { tags: ['api'], summary: 'This document', response: responses(Type.Unknown()) },
    },
    () => app.swagger(),
  )
  await app.ready()
  return app
}

/**
 * Serves the API on a unix socket that only its owner may use.
 * @throws {SocketError} when the path is too long or another controller listens there
 */
export async function startApi(init: ApiInit & { socketPath: string }): Promise<ApiServer> {
  await claimSocket(init.socketPath)
  const app = await buildApi(init)
  try {
    await app.listen({ path: init.socketPath })
    await chmod(init.socketPath, 0o600)
  } catch (error) {
    await app.close()
    throw error
  }
  return { close: () => app.close() }
}
