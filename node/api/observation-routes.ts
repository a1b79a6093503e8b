// /metrics, /healthz and /readyz: for whoever watches over a controller.
import { Type } from 'typebox'
import { METRICS_TYPE } from '../metrics/exposition.ts'
import type { ControllerService } from '../service.ts'
import { ChangeMetricsListen, Health, MetricsListenState } from '../service-observation.ts'
import { ErrorBody } from './errors.ts'
import { type Api, MetricsQuery, responses } from './schemas.ts'

const tags = ['controller']

export function observationRoutes(app: Api, service: ControllerService): void {
  app.get(
    '/metrics',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'Figures in the Prometheus text format, at most a second old',
        querystring: MetricsQuery,
        response: {
          200: {
            description: 'Prometheus text',
            content: { 'text/plain': { schema: Type.String() } },
          },
          '4xx': ErrorBody,
          '5xx': ErrorBody,
        },
      },
    },
    async ({ query }, reply) =>
      reply.type(METRICS_TYPE).send(await service.metrics({ clients: query.clients === '1' })),
  )
  const health = (summary: string) => ({
    tags,
    summary,
    response: { 200: Health, 503: Health, '4xx': ErrorBody, '5xx': ErrorBody },
  })
  app.get(
    '/healthz',
    {
      config: { scope: 'public' },
      schema: health('Whether the controller lives: 200, or 503 when it is to be started anew'),
    },
    async (_request, reply) => {
      const state = await service.health()
      return reply.status(state.alive ? 200 : 503).send(state)
    },
  )
  app.get(
    '/readyz',
    {
      config: { scope: 'public' },
      schema: health('Whether clients can connect: 200, or 503 and why they cannot'),
    },
    async (_request, reply) => {
      const state = await service.health()
      return reply.status(state.ready ? 200 : 503).send(state)
    },
  )
  app.get(
    '/v1/metrics-listen',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'Where figures are served by plain HTTP',
        response: responses(MetricsListenState),
      },
    },
    () => service.metricsListen(),
  )
  app.post(
    '/v1/metrics-listen',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Serve figures by plain HTTP there, or nowhere',
        body: ChangeMetricsListen,
        response: responses(MetricsListenState),
      },
    },
    request => service.setMetricsListen(request.body.listen),
  )
}
