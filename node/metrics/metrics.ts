// All figures of a running controller as one page for Prometheus. However many ask, it is written once a second at most.
import packageJson from '../../package.json' with { type: 'json' }
import type { ApiMeter } from '../api/meter.ts'
import type { EventLog } from '../events.ts'
import type { Home } from '../home.ts'
import type { Carriage } from '../ipsec/carriage.ts'
import type { MeshRuntime } from '../mesh-runtime.ts'
import type { RouteStanding } from '../overlay-routes.ts'
import type { RouteStanding6 } from '../overlay-routes6.ts'
import type { Status } from '../service.ts'
import type { Health, MetricsRequest } from '../service-observation.ts'
import type { Switch } from '../switch/switch.ts'
import type { ServerSession } from '../vpn/session.ts'
import { type AnyCounter, addCounterMetrics } from './counter-metrics.ts'
import { Exposition, type Sample } from './exposition.ts'
import { addIpsecMetrics, IpsecTraffic } from './ipsec-metrics.ts'
import type { ReplicaLag } from './lag.ts'
import { addMeshMetrics } from './mesh-metrics.ts'
import type { Pulse } from './pulse.ts'
import { RecordMetrics } from './record-metrics.ts'
import { addRuntimeMetrics } from './runtime-metrics.ts'

export interface MetricsInit {
  home: Home
  /** ms since 1970 */
  startedAt: number
  events: EventLog
  api: ApiMeter
  pulse: Pulse
  lag: ReplicaLag
  network: () => Switch | undefined
  mesh: () => MeshRuntime | undefined
  carriage: () => Carriage | undefined
  /** Of the clients that are connected here. */
  sessions: () => Iterable<ServerSession>
  /** Of both versions of IP. */
  standings: () => readonly (RouteStanding | RouteStanding6)[]
  counters: () => Partial<Record<AnyCounter, number>>
  certificates: () => Promise<Status['certificates']>
  health: () => Health
  isDraining: () => boolean
  /** What else there is to tell. */
  more: readonly ((out: Exposition) => void)[]
  /** Monotonic, ms. */
  now: () => number
}

/** ms for which a page is good. */
const FRESH_MS = 1000
/** ms that the IKE daemon is waited for. */
const DAEMON_MS = 2000

export class Metrics {
  readonly #init: MetricsInit
  readonly #records: RecordMetrics
  readonly #traffic = new IpsecTraffic()
  readonly #pages = new Map<boolean, { until: number; page: Promise<string> }>()

  constructor(init: MetricsInit) {
    this.#init = init
    this.#records = new RecordMetrics(init.home)
  }

  /** At most a second old. */
  page({ clients = false }: MetricsRequest = {}): Promise<string> {
    const now = this.#init.now()
    const known = this.#pages.get(clients)
    if (known !== undefined && now < known.until) return known.page
    const page = this.#write(clients)
    const entry = { until: Number.POSITIVE_INFINITY, page }
    this.#pages.set(clients, entry)
    page.then(
      () => {
        entry.until = this.#init.now() + FRESH_MS
      },
      () => this.#pages.delete(clients),
    )
    return page
  }

  async #write(clients: boolean): Promise<string> {
    const { home, startedAt, api, pulse, lag, counters, more, now } = this.#init
    const mesh = this.#init.mesh()
    const network = this.#init.network()
    const nameOf = controllerNames(home)
    const out = new Exposition()
    const { name, subnet } = home.mesh.value
    const { controller } = home.config
    out.gauge('overmesh_info', 'What runs here; always 1.', [
      [{ mesh: name, subnet, controller, version: packageJson.version, node: process.versions.node }, 1],
    ])
    out.gauge(
      'overmesh_start_timestamp_seconds',
      'When the controller started, seconds since 1970.',
      startedAt / 1000,
    )
    this.#addHealth(out)
    this.#addSessions(out, nameOf)
    this.#addRoutes(out)
    if (mesh && network) addMeshMetrics(out, { mesh, network, lag, now: now(), nameOf })
    this.#records.addTo(out)
    await this.#addIpsec(out)
    await this.#addCertificates(out)
    addCounterMetrics(out, counters())
    this.#addEvents(out)
    api.addTo(out)
    for (const add of more) add(out)
    addRuntimeMetrics(out, pulse)
    if (clients) this.#addClients(out)
    return out.text()
  }

  #addHealth(out: Exposition): void {
    const { alive, ready } = this.#init.health()
    out.gauge('overmesh_alive', '1 while all threads of the controller go on, else 0.', Number(alive))
    out.gauge('overmesh_ready', '1 while clients can connect, else 0.', Number(ready))
    out.gauge(
      'overmesh_draining',
      '1 while the controller is drained, else 0.',
      Number(this.#init.isDraining()),
    )
  }

  #addSessions(out: Exposition, nameOf: (id: string) => string): void {
    const { home, mesh } = this.#init
    const counts = new Map<string, number>()
    for (const { controller, sessions } of mesh()?.core.presence.entries() ?? [])
      counts.set(controller, sessions.size)
    counts.set(home.id, countOf(this.#init.sessions()))
    out.gauge(
      'overmesh_sessions',
      'Clients connected now, by controller, as far as they are in reach.',
      [...counts].map(([id, count]): Sample => [{ controller: nameOf(id) }, count]),
    )
  }

  #addRoutes(out: Exposition): void {
    const counts = { active: 0, standby: 0, down: 0 }
    for (const { entry, way, active } of this.#init.standings())
      if (entry.source !== 'address') counts[active ? 'active' : 'problem' in way ? 'down' : 'standby']++
    out.gauge(
      'overmesh_routes',
      "Ways to prefixes beyond the overlay's own addresses, by state.",
      Object.entries(counts).map(([state, count]): Sample => [{ state }, count]),
    )
  }

  async #addIpsec(out: Exposition): Promise<void> {
    const { home } = this.#init
    const carriage = this.#init.carriage()
    if (carriage === undefined) return
    const enabled = carriage.standings()
    const sas = await within(DAEMON_MS, carriage.sas())
    if (sas !== undefined) this.#traffic.look(sas)
    this.#traffic.keep(new Set(home.replica.ids('attachment')))
    addIpsecMetrics(out, {
      running: carriage.engine.state === 'idle' ? undefined : carriage.engine.state === 'running',
      refusedPackets: carriage.refusedPackets,
      attachments: enabled,
      sas: sas ?? [],
      traffic: this.#traffic,
    })
  }

  async #addCertificates(out: Exposition): Promise<void> {
    const certificates = Object.entries(await this.#init.certificates())
    out.gauge(
      'overmesh_certificate_expiry_timestamp_seconds',
      'When a certificate of this controller ends, seconds since 1970.',
      certificates.map(
        ([name, { expiresAt }]): Sample => [{ certificate: name }, Date.parse(expiresAt) / 1000],
      ),
    )
  }

  #addEvents(out: Exposition): void {
    const counts = [...this.#init.events.counts()]
    out.counter(
      'overmesh_events_total',
      'Events of this controller, by type.',
      counts.map(([type, { recorded }]): Sample => [{ type }, recorded]),
    )
    out.counter(
      'overmesh_events_suppressed_total',
      'Events that were left out since too many of their type came at once.',
      counts.flatMap(([type, { suppressed }]): Sample[] => (suppressed > 0 ? [[{ type }, suppressed]] : [])),
    )
  }

  /** As many series as there are clients: only for whoever asks. */
  #addClients(out: Exposition): void {
    const network = this.#init.network()
    const sessions = [...this.#init.sessions()].map(session => ({
      // As it is shown now: it may have got a namesake since it connected.
      labels: { client: this.#init.home.views.client(session.client)?.name ?? session.name },
      openedAt: session.openedAt,
      stats: network?.portStats(session.peerId),
    }))
    const each = (value: (one: (typeof sessions)[number]) => number | undefined): Sample[] =>
      sessions.flatMap((one): Sample[] => {
        const figure = value(one)
        return figure === undefined ? [] : [[one.labels, figure]]
      })
    out.gauge(
      'overmesh_client_session_start_timestamp_seconds',
      'When the session of a client connected here began, seconds since 1970.',
      each(({ openedAt }) => openedAt / 1000),
    )
    out.gauge(
      'overmesh_client_last_received_timestamp_seconds',
      'When the last packet of a client connected here came, seconds since 1970.',
      each(({ stats }) => (stats?.lastReceived ? stats.lastReceived / 1000 : undefined)),
    )
    out.counter(
      'overmesh_client_receive_bytes_total',
      'Overlay bytes received from a client in its session here.',
      each(({ stats }) => stats?.rxBytes),
    )
    out.counter(
      'overmesh_client_transmit_bytes_total',
      'Overlay bytes sent to a client in its session here.',
      each(({ stats }) => stats?.txBytes),
    )
    out.counter(
      'overmesh_client_receive_packets_total',
      'Overlay packets received from a client in its session here.',
      each(({ stats }) => stats?.rxPackets),
    )
    out.counter(
      'overmesh_client_transmit_packets_total',
      'Overlay packets sent to a client in its session here.',
      each(({ stats }) => stats?.txPackets),
    )
  }
}

/** Two halves of a split mesh may have given one name twice: then the ids tell them apart. */
function controllerNames({ views }: Home): (id: string) => string {
  const ids = new Map<string, string[]>()
  for (const { id, value } of views.controllers()) ids.set(value.name, [...(ids.get(value.name) ?? []), id])
  const names = new Map<string, string>()
  for (const [name, all] of ids) for (const id of all) names.set(id, all.length > 1 ? `${name}~${id}` : name)
  return id => names.get(id) ?? id
}

function countOf(all: Iterable<unknown>): number {
  let count = 0
  for (const _ of all) count++
  return count
}

/** Undefined when it takes longer. */
async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const timer = setTimeout(resolve, ms, undefined)
  try {
    return await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}
