// Renews this controller's certificates in time for as long as it runs, and says when it cannot.
import type { Logger } from 'pino'
import type { Certificates } from './certificates.ts'
import type { EventLog } from './events.ts'

export interface CertificateKeeperInit {
  certificates: Certificates
  events: EventLog
  logger: Logger
  /** New ones may be in use from now on. */
  renewed: () => void
  /** What an operator has to know; undefined when all is well again. */
  warn: (warning: string | undefined) => void
}

export class CertificateKeeper {
  readonly #init: CertificateKeeperInit
  #timer: NodeJS.Timeout | undefined
  #stopped = false
  #problem: string | undefined

  constructor(init: CertificateKeeperInit) {
    this.#init = init
  }

  /** Looks now, and from now on whenever it is time. */
  async check(): Promise<void> {
    const { certificates, events, logger, renewed, warn } = this.#init
    try {
      const result = await certificates.renew(Date.now())
      for (const { certificate, expiresAt } of result.renewed) {
        const facts = { certificate, expiresAt: expiresAt.toISOString() }
        events.append({ type: 'certificate-renewed', ...facts })
        logger.info(facts, 'certificate renewed')
      }
      renewed()
      if (result.problem && this.#problem !== result.problem) logger.warn(result.problem)
      this.#problem = result.problem
      warn(result.problem)
    } catch (error) {
      warn(`a certificate could not be renewed: ${error instanceof Error ? error.message : String(error)}`)
      logger.error({ err: error }, 'a certificate could not be renewed')
    }
    if (this.#stopped) return
    const delay = certificates.nextCheck(Date.now()) - Date.now()
    this.#timer = setTimeout(() => void this.check(), Math.max(1000, delay))
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }
}
