// The local API of a controller: HTTP on a unix socket, described by /openapi.json.

import { chmod } from 'node:fs/promises'
import swagger from '@fastify/swagger'
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import fastify, { type FastifyBaseLogger, LogController } from 'fastify'
import { Type } from 'typebox'
import type { ControllerService } from '../service.ts'
import { backupRoutes } from './backup-routes.ts'
import { clientRoutes } from './client-routes.ts'
import { controllerRoutes } from './controller-routes.ts'
import { desiredRoutes } from './desired-routes.ts'
import { dnsRoutes } from './dns-routes.ts'
import { refusal, refuse } from './errors.ts'
import { ipsecRoutes } from './ipsec-routes.ts'
import { membershipRoutes } from './membership-routes.ts'
import type { Api } from './schemas.ts'
import { claimSocket } from './socket.ts'

/** The largest request is a client with 64 subnets and its tags; bytes. */
const BODY_LIMIT = 64 * 1024

export interface ApiInit {
  service: ControllerService
  /** @default no log */
  logger?: FastifyBaseLogger
}

export interface ApiServer {
  /** Ends event feeds, waits for running requests and removes the socket. */
  close(): Promise<void>
}

/** The API without a socket. */
export async function buildApi({ service, logger }: ApiInit): Promise<Api> {
  const app: Api = fastify({
    ...(logger ? { loggerInstance: logger } : { logger: false }),
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT,
    forceCloseConnections: 'idle',
    requestTimeout: 30_000,
    return503OnClosing: true,
    routerOptions: { maxParamLength: 128 },
  }).withTypeProvider<TypeBoxTypeProvider>()
  app.setValidatorCompiler(TypeBoxValidatorCompiler as never)

  app.setErrorHandler((error, request, reply) => {
    const { status, body } = refusal(error)
    if (status >= 500) request.log.error({ err: error, url: request.url }, 'request failed')
    else request.log.debug({ url: request.url, status, reason: body.error.message }, 'request refused')
    return reply.status(status).send(body)
  })
  app.setNotFoundHandler((request, reply) => {
    const { status, body } = refuse(
      'not-found',
      `there is no ${request.method} ${request.url.split('?', 1)[0].slice(0, 200)}; see /openapi.json`,
    )
    return reply.status(status).send(body)
  })
  // Reads are many and harmless; what changes something is on record.
  app.addHook('onResponse', async (request, reply) => {
    const entry = { method: request.method, url: request.url, status: reply.statusCode }
    if (request.method === 'GET') request.log.debug(entry, 'request')
    else request.log.info(entry, 'request')
  })

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Overmesh controller',
        description:
          'The local API of one controller, on the unix socket run/api.sock of its data directory.',
        version: '1',
      },
      servers: [{ url: 'http://localhost' }],
      tags: [{ name: 'controller' }, { name: 'clients' }, { name: 'events' }],
    },
  })
  clientRoutes(app, service)
  controllerRoutes(app, service)
  membershipRoutes(app, service)
  dnsRoutes(app, service)
  ipsecRoutes(app, service)
  backupRoutes(app, service)
  desiredRoutes(app, service)
  app.get('/openapi.json', { schema: { hide: true, response: { 200: Type.Unknown() } } }, () => app.swagger())
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
