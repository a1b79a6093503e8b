// What the operator's service sees of a running controller, and what its parts share.

import type { ClientId } from '../state/kinds.ts'
import type { LiveApi } from './api-settings.ts'
import type { Captures } from './capture/captures.ts'
import type { EventLog } from './events.ts'
import type { Home } from './home.ts'
import type { AttachmentsLive } from './ipsec/live.ts'
import type { MeshRuntime } from './mesh-runtime.ts'
import type { MetricsListen } from './metrics-listen.ts'
import type { Observation } from './observation.ts'
import type { RouteStanding } from './overlay-routes.ts'
import type { RouteStanding6 } from './overlay-routes6.ts'
import type { Session, StoredOn } from './service.ts'
import type { Webhooks } from './webhooks/webhooks.ts'

/** The running part of a controller. */
export interface Live {
  /** For how long it has run, ms. */
  uptime(): number
  listen(): string[]
  tun(): string | null
  /** Of the whole mesh; who of other controllers' clients is behind is not among what is known of them. */
  sessions(): Session[]
  /** The session of one client, as it is among those. */
  sessionOf(client: ClientId): Session | undefined
  /** Clients of other controllers that are behind, as those say now. */
  behindElsewhere(): Promise<ReadonlySet<ClientId>>
  /** How the routes stand here, now. */
  standings(): RouteStanding[]
  standings6(): RouteStanding6[]
  /** Ends the client's session, wherever it is; false when there is none. */
  kick(client: ClientId): boolean
  /** Resolves when the clients are gone. */
  drain(): Promise<void>
  serve(): void
  isDraining(): boolean
  mesh(): MeshRuntime | undefined
  attachments(): AttachmentsLive | undefined
  /** Its API over TCP. */
  api(): LiveApi | undefined
  captures: Captures
  counters(): Record<string, number>
  observation: Pick<Observation, 'health' | 'metrics'>
  metricsListen: MetricsListen
  webhooks: Webhooks
  /** By what DNS is served here. */
  dns(): ('udp' | 'tcp')[]
  warnings(): string[]
}

/** What each part of the service over a data directory works with. */
export interface LocalContext {
  home: Home
  events: EventLog
  live: Live | undefined
  /** Runs what writes, and tells refusals in the service's words. */
  writing: <T>(work: () => Promise<T> | T) => Promise<T>
  storedOn: () => Promise<StoredOn>
}
