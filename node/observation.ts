// What watches over a running controller and tells of it: signs of life, health, and figures.
import { ApiMeter } from './api/meter.ts'
import type { Certificates } from './certificates.ts'
import { healthOf } from './metrics/health.ts'
import { ReplicaLag } from './metrics/lag.ts'
import { Metrics, type MetricsInit } from './metrics/metrics.ts'
import { Pulse } from './metrics/pulse.ts'
import type { Health, MetricsRequest } from './service-observation.ts'
import type { VpnEndpoint } from './vpn/endpoint.ts'

type Given = 'home' | 'startedAt' | 'events' | 'network' | 'mesh' | 'carriage' | 'sessions' | 'standings'

export interface ObservationInit extends Pick<MetricsInit, Given | 'counters' | 'isDraining' | 'more'> {
  certificates: Certificates
  endpoint: () => VpnEndpoint | undefined
  /** In words why clients are not taken, beside what the parts say themselves. */
  obstacles: () => readonly string[]
  /** Twice a second. */
  onLook?: () => void
}

const monotonic = () => performance.now()

export class Observation {
  /** What the API counts. */
  readonly api = new ApiMeter()
  readonly #init: ObservationInit
  readonly #lag = new ReplicaLag()
  readonly #pulse: Pulse
  readonly #metrics: Metrics

  constructor(init: ObservationInit) {
    this.#init = init
    this.#pulse = new Pulse({
      turns: () => init.network()?.turns,
      now: monotonic,
      onLook: () => {
        const mesh = init.mesh()
        if (mesh) this.#lag.look(mesh.peers(), monotonic())
        init.onLook?.()
      },
    })
    this.#metrics = new Metrics({
      ...init,
      api: this.api,
      pulse: this.#pulse,
      lag: this.#lag,
      certificates: () => init.certificates.status(),
      health: () => this.health(),
      now: monotonic,
    })
  }

  start(): void {
    this.#pulse.start()
  }

  stop(): void {
    this.#pulse.stop()
  }

  get isAlive(): boolean {
    return this.#pulse.isTurning
  }

  health(): Health {
    const { endpoint, certificates, obstacles } = this.#init
    const own = obstacles()
    // Whoever knows why says it better than the endpoint does.
    const closed = own.length > 0 ? undefined : (endpoint() ?? NOT_STARTED).closedFor
    const expired = certificates.expired(Date.now())
    return healthOf({
      isTurning: this.isAlive,
      obstacles: [...own, closed, expired].filter(each => each !== undefined),
    })
  }

  metrics(request?: MetricsRequest): Promise<string> {
    return this.#metrics.page(request)
  }
}

const NOT_STARTED = { closedFor: 'it is starting' }
