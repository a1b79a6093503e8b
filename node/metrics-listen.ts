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

/** After an address could not be had, ms. */
const RETRY_MS = 10_000
const LOOPBACK = /^(127\.|\[::1\])/

export class MetricsListen {
  readonly #init: MetricsListenInit
  #server: MetricsServer | undefined
  /** Changes are made one after the other. */
  #last: Promise<unknown> = Promise.resolve()
  #retry: NodeJS.Timeout | undefined

  constructor(init: MetricsListenInit) {
    this.#init = init
  }

  /** `host:port`; null for nowhere. */
  get listening(): string | null {
    return this.#server?.address ?? null
  }

  /** What was settled before must not keep clients out: where it cannot be had now, that is said, and it is tried again. */
  async start(listen: string | undefined): Promise<void> {
    const problem = await this.#try(listen ?? null, () => true)
    if (problem !== undefined) this.#init.logger.warn(problem)
  }

  /** @returns what is wrong, in words */
  async #try(listen: string | null, isDue: () => boolean): Promise<string | undefined> {
    try {
      await this.#inTurn(async () => {
        if (isDue()) await this.#apply(listen)
      })
      return undefined
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      const problem = `figures are not served: ${error.message}`
      this.#init.warn(`${problem} (it is tried again)`)
      // Not if something else was asked for meanwhile.
      const retry = setTimeout(() => void this.#try(listen, () => this.#retry === retry), RETRY_MS).unref()
      this.#retry = retry
      return problem
    }
  }

  /** Listens there and nowhere else, or leaves all as it is. @throws ServiceError */
  apply(listen: string | null): Promise<void> {
    return this.#inTurn(() => this.#apply(listen))
  }

  async stop(): Promise<void> {
    await this.apply(null)
  }

  #inTurn(change: () => Promise<void>): Promise<void> {
    const done = this.#last.then(change)
    this.#last = done.catch(() => {})
    return done
  }

  async #apply(listen: string | null): Promise<void> {
    const { logger, warn } = this.#init
    if (listen === null || this.listening !== listen) {
      const next = listen === null ? undefined : await this.#serve(listen)
      const before = this.#server
      this.#server = next
      await before?.stop()
      if (next !== undefined) {
        const note = isOpen(next.address)
          ? 'figures are served, to whoever reaches this address'
          : 'figures are served'
        logger.info({ listen: next.address }, note)
      }
    }
    clearTimeout(this.#retry)
    this.#retry = undefined
    warn(undefined)
  }

  /** What it listens on is given up before if it would be in the way, as 127.0.0.1:9464 is of 0.0.0.0:9464. @throws ServiceError */
  async #serve(listen: string): Promise<MetricsServer> {
    const { service, logger } = this.#init
    const onProblem = (error: unknown) => logger.error({ err: error }, 'figures could not be told')
    const start = (text: string) => MetricsServer.start(parseHostPort(text, 0, 0), { service, onProblem })
    const given = this.listening
    const isInTheWay = given !== null && portOf(given) === portOf(listen)
    try {
      if (isInTheWay) {
        const before = this.#server
        this.#server = undefined
        await before?.stop()
      }
      return await start(listen)
    } catch (error) {
      if (isInTheWay) this.#server = await start(given).catch(() => undefined)
      throw new ServiceError(
        'refused',
        `cannot listen on ${listen} (${(error as Error).message}); free it, or choose another address with \`overmesh metrics listen\``,
        { cause: error },
      )
    }
  }
}

const portOf = (address: string): number => parseHostPort(address, 0, 0).port

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
