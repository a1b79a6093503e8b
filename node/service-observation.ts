// What a controller tells those that watch over it: whether it lives and takes clients, and its figures.
import { type Static, Type } from 'typebox'

export const Health = Type.Object({
  alive: Type.Boolean({
    description: 'all of its threads go on; one that does not live is to be started anew',
  }),
  ready: Type.Boolean({ description: 'clients can connect' }),
  problems: Type.Array(Type.String({ maxLength: 1024 }), {
    description: 'why it does not live, or why clients cannot connect; none when both are so',
  }),
})
export type Health = Static<typeof Health>

export interface MetricsRequest {
  /** With figures of each client that is connected here. */
  clients?: boolean
}

const Endpoint = (description: string) =>
  Type.Union([Type.String({ maxLength: 64 }), Type.Null()], { description })

export const MetricsListenState = Type.Object({
  listen: Endpoint('address and TCP port, as it is settled; null for none'),
  listening: Endpoint('where figures are served by plain HTTP now; null for nowhere'),
})
export type MetricsListenState = Static<typeof MetricsListenState>

export const ChangeMetricsListen = Type.Object(
  { listen: Endpoint('address and TCP port; null for none') },
  { additionalProperties: false },
)

export interface ObservationService {
  health(): Promise<Health>
  /** Prometheus' text format. @throws ServiceError not-running */
  metrics(request?: MetricsRequest): Promise<string>
  metricsListen(): Promise<MetricsListenState>
  /** Serves figures by plain HTTP there from now on, or nowhere. @throws ServiceError */
  setMetricsListen(listen: string | null): Promise<MetricsListenState>
}
