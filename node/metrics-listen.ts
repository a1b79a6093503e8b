// Where this controller serves its figures to whoever asks by plain HTTP, as its operator settled it: nowhere, unless told.
import type { Logger } from 'pino'
import { MetricsServer } from './api/metrics-server.ts'
import type { Home } from './home.ts'
import { formatHostPort, HostPortError, parseHostPort } from './net/ip.ts'
import { ServiceError } from './service-error.ts'
import type { MetricsListenState, ObservationService } from './service-observation.ts'

export interface MetricsListenInit {
  service: Pick<ObservationService, 'health' | 'metrics'>
  logger: Logger
  warn: (warning: string | undefined) => void
}

const LOOPBACK = /^(127\.|\[::1\])/

export class MetricsListen {
  readonly #init: MetricsListenInit
  #server: MetricsServer | undefined
  /** Changes are made one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(init: MetricsListenInit) {
    this.#init = init
  }

  /** `host:port`; null for nowhere. */
  get listening(): string | null {
    return this.#server?.address ?? null
  }

  /** What was settled before must not keep clients out: where it cannot be had, that is said. */
  async start(listen: string | undefined): Promise<void> {
    try {
      await this.apply(listen ?? null)
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      const warning = `figures are not served: ${error.message}`
      this.#init.warn(warning)
      this.#init.logger.warn(warning)
    }
  }

  /** Listens there and nowhere else, or leaves all as it is. @throws ServiceError */
  apply(listen: string | null): Promise<void> {
    const done = this.#last.then(() => this.#apply(listen))
    this.#last = done.catch(() => {})
    return done
  }

  async stop(): Promise<void> {
    await this.apply(null)
  }

  async #apply(listen: string | null): Promise<void> {
    const { service, logger, warn } = this.#init
    const before = this.#server
    if (listen !== null && before?.address === listen) return
    let next: MetricsServer | undefined
    if (listen !== null) {
      const onProblem = (error: unknown) => logger.error({ err: error }, 'figures could not be told')
      try {
        next = await MetricsServer.start(parseHostPort(listen, 0, 0), { service, onProblem })
      } catch (error) {
        throw new ServiceError(
          'refused',
          `cannot listen on ${listen} (${(error as Error).message}); free it, or choose another address with \`overmesh metrics listen\``,
          { cause: error },
        )
      }
      const note = isOpen(next.address)
        ? 'figures are served, to whoever reaches this address'
        : 'figures are served'
      logger.info({ listen: next.address }, note)
    }
    this.#server = next
    warn(undefined)
    await before?.stop()
  }
}

/** Others than programs of this machine may reach it. @param address `host:port` */
export function isOpen(address: string): boolean {
  return !LOOPBACK.test(address)
}

/** @throws ServiceError */
export function checkMetricsListen(text: string): string {
  try {
    const endpoint = parseHostPort(text, -1, 0)
    if (endpoint.port < 0) throw new ServiceError('invalid', `"${text}" has no port; write ADDRESS:PORT`)
    if (endpoint.family !== 'name') return formatHostPort(endpoint)
    throw new ServiceError('invalid', `"${text}" is a name; give an address of this machine, 0.0.0.0 for all`)
  } catch (error) {
    if (error instanceof HostPortError) throw new ServiceError('invalid', error.message)
    throw error
  }
}

/** Makes the change, and keeps it if it could be made. @throws ServiceError */
export async function changeMetricsListen(
  home: Home,
  wanted: string | null,
  live: MetricsListen | undefined,
): Promise<void> {
  const listen = wanted === null ? null : checkMetricsListen(wanted)
  await live?.apply(listen)
  if (listen === null) delete home.config.metricsListen
  else home.config.metricsListen = listen
  await home.directory.writeConfig(home.config)
}

export function metricsListenState(
  { config }: Pick<Home, 'config'>,
  live: MetricsListen | undefined,
): MetricsListenState {
  return { listen: config.metricsListen ?? null, listening: live?.listening ?? null }
}
