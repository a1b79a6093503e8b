// What operators have of a running controller: its service, the packets they look at, webhooks, health and figures.
import type { Logger } from 'pino'
import type { ClientId } from '../state/kinds.ts'
import type { ApiMeter } from './api/meter.ts'
import type { TcpApi } from './api/tcp-api.ts'
import type { Availability } from './availability.ts'
import type { Beyond } from './beyond.ts'
import { Captures } from './capture/captures.ts'
import type { ClientSessions } from './client-sessions.ts'
import type { Dns } from './dns/dns.ts'
import type { Foundation } from './foundation.ts'
import type { Carriage } from './ipsec/carriage.ts'
import type { Live } from './live.ts'
import { LocalService } from './local-service.ts'
import type { MeshRuntime } from './mesh-runtime.ts'
import type { MeshWatch } from './mesh-watch.ts'
import { checkMetricsListen, MetricsListen } from './metrics-listen.ts'
import { formatHostPort } from './net/ip.ts'
import { Observation } from './observation.ts'
import type { OverlayRoutes } from './overlay-routes.ts'
import type { RouteNews } from './route-news.ts'
import type { ControllerService } from './service.ts'
import { listSessions, type SessionSources, sessionOf } from './session-list.ts'
import { steadyNow } from './steady-clock.ts'
import type { Switch } from './switch/switch.ts'
import type { VpnEndpoint } from './vpn/endpoint.ts'
import type { Warnings } from './warnings.ts'
import { Webhooks } from './webhooks/webhooks.ts'

/** The parts that run, each undefined before it was started. */
export interface RunningParts {
  network: () => Switch | undefined
  endpoint: () => VpnEndpoint | undefined
  beyond: () => Beyond | undefined
  carriage: () => Carriage | undefined
  mesh: () => MeshRuntime | undefined
  dns: () => Dns | undefined
  api: () => TcpApi | undefined
}

export interface ManagementInit extends Foundation, RunningParts {
  logger: Logger
  /** ms since 1970 */
  startedAt: number
  warnings: Warnings
  availability: Availability
  clients: ClientSessions
  routes: OverlayRoutes
  news: RouteNews
  watch: MeshWatch
  /** Ends a client's session wherever it is; false when it has none. */
  kick: (client: ClientId) => boolean
}

export class Management {
  readonly service: ControllerService
  readonly #init: ManagementInit
  readonly #captures: Captures
  readonly #webhooks: Webhooks
  readonly #observation: Observation
  readonly #metrics: MetricsListen
  readonly #begun = steadyNow()

  constructor(init: ManagementInit) {
    const { home, certificates, events, invites, logger, warnings } = init
    this.#init = init
    this.#captures = new Captures({
      home,
      events,
      network: init.network,
      linkTo: controller => init.mesh()?.backbone.portTo(controller),
      peerOf: link => init.mesh()?.backbone.peerOf(link),
    })
    this.#webhooks = new Webhooks({ home, events, now: Date.now, random: Math.random })
    this.#observation = this.#newObservation()
    this.#metrics = new MetricsListen({
      service: { health: async () => this.#observation.health(), metrics: r => this.#observation.metrics(r) },
      logger,
      warn: warning => warnings.set('metrics', warning),
    })
    this.service = new LocalService({ home, certificates, events, invites, live: this.#live() })
  }

  /** What the API counts. */
  get apiMeter(): ApiMeter {
    return this.#observation.api
  }

  /** All threads of the controller go on. */
  get isAlive(): boolean {
    return this.#observation.isAlive
  }

  /**
   * @param metricsListen `host:port`, TCP: where figures are served this time, instead of where it was settled
   * @throws ServiceError when that cannot be had
   */
  async start(metricsListen: string | undefined): Promise<void> {
    this.#webhooks.start()
    this.#observation.start()
    if (metricsListen === undefined) await this.#metrics.start(this.#init.home.config.metricsListen)
    else await this.#metrics.apply(checkMetricsListen(metricsListen))
  }

  async stop(): Promise<void> {
    this.#observation.stop()
    await this.#metrics.stop()
    await this.#webhooks.stop()
    this.#captures.stop()
  }

  #newObservation(): Observation {
    const { home, startedAt, events, certificates, availability, clients, routes, watch } = this.#init
    const { network, endpoint, mesh, carriage } = this.#init
    return new Observation({
      home,
      startedAt,
      events,
      certificates,
      network,
      endpoint,
      mesh,
      carriage,
      sessions: () => clients.all(),
      standings: () => [...routes.standings(), ...routes.six.standings()],
      counters: () => this.#counters(),
      isDraining: () => availability.isDraining,
      obstacles: () => [...availability.obstacles(), ...home.obstacles],
      onLook: () => {
        if (mesh() && availability.isMember) watch.look()
      },
      more: [out => this.#webhooks.addTo(out)],
    })
  }

  /** What the service sees of what runs. */
  #live(): Live {
    const { warnings, availability, routes, news, kick } = this.#init
    const { network, beyond, carriage, mesh, dns, api } = this.#init
    return {
      uptime: () => steadyNow() - this.#begun,
      listen: () => network()?.addresses.map(formatHostPort) ?? [],
      tun: () => network()?.tun?.name ?? null,
      sessions: () => listSessions(this.#sessionSources()),
      sessionOf: client => sessionOf(client, this.#sessionSources()),
      behindElsewhere: () => news.behindElsewhere(),
      standings: () => routes.standings(),
      standings6: () => routes.six.standings(),
      kick,
      drain: () => availability.drain(),
      serve: () => availability.serve(),
      isDraining: () => availability.isDraining,
      mesh,
      attachments: carriage,
      api,
      captures: this.#captures,
      counters: () => this.#counters(),
      observation: this.#observation,
      metricsListen: this.#metrics,
      webhooks: this.#webhooks,
      dns: () => dns()?.serves ?? [],
      warnings: () => [...warnings.all(), ...(beyond()?.problems() ?? []), ...(carriage()?.warnings() ?? [])],
    }
  }

  #sessionSources(): SessionSources {
    const { home, clients, news, network, mesh } = this.#init
    return {
      home,
      local: clients,
      network: network(),
      core: mesh()?.core,
      isBehind: session => news.isBehind(session),
    }
  }

  #counters() {
    const { network, endpoint, mesh, dns } = this.#init
    return {
      ...network()?.counters(),
      ...endpoint()?.counters,
      ...mesh()?.core.counters,
      ...dns()?.counters,
    }
  }
}
