// Keeps the daemon running: finds it, starts it, starts it again when it ends, and says why where that does not work.

import type { Logger } from 'pino'
import { hasCapability } from '../../capabilities.ts'
import { type EngineState, IpsecError } from '../engine.ts'
import type { ViciSection } from '../vici/message.ts'
import { Backoff } from './backoff.ts'
import type { Esp } from './configuration.ts'
import type { Door } from './door.ts'
import { findInstallation } from './packages.ts'
import { Run } from './run.ts'

export interface SupervisorInit {
  /** A directory for its configuration, socket and pid file; made, and private to us. */
  readonly directory: string
  readonly logger: Logger
  readonly ignoreInterfaces: readonly string[]
  readonly detectEsp: () => Promise<Esp>
  /** Shut before the daemon starts; `onRun` opens it. */
  readonly door: Door
}

export class Supervisor {
  onState: () => void = () => {}
  /** The daemon is up and knows nothing yet; it counts as running when this is done. */
  onRun: (run: Run) => Promise<void> = async () => {}
  /** It ended by itself. */
  onLost: () => void = () => {}
  onLine: (line: string) => void = () => {}
  onEvent: (name: string, message: ViciSection) => void = () => {}
  readonly #init: SupervisorInit
  readonly #backoff = new Backoff()
  #state: EngineState = 'off'
  #problem: string | undefined
  #esp: Esp | undefined
  #run: Run | undefined
  #startedAt = 0
  #stopped = true
  #timer: NodeJS.Timeout | undefined
  #launching: Promise<void> = Promise.resolve()

  constructor(init: SupervisorInit) {
    this.#init = init
  }

  get state(): EngineState {
    return this.#state
  }
  get problem(): string | undefined {
    return this.#problem
  }
  get esp(): Esp | undefined {
    return this.#esp
  }

  /** Resolves when it runs, or when it is known why it does not; then it is tried again. */
  start(): Promise<void> {
    if (!this.#stopped) return this.#launching
    this.#stopped = false
    this.#launching = this.#launch()
    return this.#launching
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#launching
    const run = this.#run
    this.#run = undefined
    await run?.stop()
    await this.#init.door.open()
    this.#set('off', undefined)
  }

  async #launch(): Promise<void> {
    if (this.#stopped) return
    // What is wrong stays told while it is tried again.
    if (this.#problem === undefined || this.#startedAt !== 0) this.#set('starting', this.#problem)
    this.#startedAt = 0
    try {
      const esp = await this.#init.detectEsp()
      const program = daemonFor(esp)
      this.#esp = esp
      const run: Run = await Run.start({
        ...this.#init,
        program,
        esp,
        onLine: line => this.onLine(line),
        onEvent: (name, message) => this.onEvent(name, message),
        onEnd: how => this.#lost(how),
      })
      this.#run = run
      this.#startedAt = performance.now()
      if (this.#stopped) return
      await this.onRun(run)
      if (this.#run === run) this.#set('running', undefined)
    } catch (error) {
      // A connection that broke is told by the end of the daemon.
      if (this.#run !== undefined || !(error instanceof Error)) return
      await this.#init.door.open()
      this.#set(error instanceof NotInstalled ? 'off' : 'failed', error.message)
      this.#again()
    }
  }

  #lost(how: string): void {
    this.#run = undefined
    if (this.#stopped) return
    this.#set('failed', `the IKE daemon ended (${how}) and is started again`)
    this.onLost()
    this.#again()
  }

  #again(): void {
    if (this.#stopped) return
    clearTimeout(this.#timer)
    const lived = this.#startedAt === 0 ? 0 : performance.now() - this.#startedAt
    const wait = this.#backoff.next(lived)
    this.#timer = setTimeout(() => {
      this.#launching = this.#launching.then(() => this.#launch())
    }, wait)
  }

  #set(state: EngineState, problem: string | undefined): void {
    if (state === this.#state && problem === this.#problem) return
    if (problem !== undefined && problem !== this.#problem) this.#init.logger.warn(`IPsec: ${problem}`)
    this.#state = state
    this.#problem = problem
    this.onState()
  }
}

/** Something is missing that must be installed first. */
class NotInstalled extends IpsecError {}

function daemonFor(esp: Esp): string {
  const { program, missing } = findInstallation(esp)
  if (program === undefined || missing.length > 0)
    throw new NotInstalled(
      `IPsec needs strongSwan; install what is missing: apt-get install ${missing.join(' ')}`,
    )
  if (!hasCapability('netAdmin'))
    throw new NotInstalled('IPsec needs CAP_NET_ADMIN; run the controller as root')
  return program
}
