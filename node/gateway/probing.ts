// Runs the prober on this machine: its clock, its sockets, and a timer.
import type { IpAddress } from '../../state/address6.ts'
import { Pinger, type PingerInit } from './pinger.ts'
import { MAX_TARGETS, type ProbedRoute, RouteProber } from './prober.ts'

/** ms between two turns at the least: what falls due meanwhile goes out together. */
const GRAIN_MS = 20

export class RouteProbing {
  /** `failing` is another than before. It may call `set`. */
  onChange: () => void = () => {}
  readonly #pinger: Pinger
  readonly #prober: RouteProber
  #timer: NodeJS.Timeout | undefined
  #changed = false
  #count = 0
  #stopped = false

  constructor(init: PingerInit) {
    this.#pinger = new Pinger(init)
    this.#prober = new RouteProber({
      now: () => performance.now(),
      random: Math.random,
      ping: request => this.#pinger.send(request),
    })
    this.#prober.onChange = () => {
      this.#changed = true
    }
  }

  /** Replaces the routes; the same again changes nothing. */
  set(routes: readonly ProbedRoute[]): void {
    if (this.#stopped) return
    this.#count = routes.length
    this.#prober.set(routes)
    this.#turn()
  }

  /** `onEcho` of the switch. */
  echoed(port: number, from: IpAddress, token: Uint8Array): void {
    const request = this.#pinger.byPort(port, from, token)
    if (request === undefined || this.#stopped) return
    this.#prober.answered(request.target, request.sequence)
    this.#tell()
  }

  /** Ids of the routes that do not lead to what they are judged by. */
  failing(): Set<string> {
    return this.#prober.failing()
  }

  /** One line each, for `status`. */
  problems(): string[] {
    const { unprobed } = this.#prober
    const many = `${unprobed} addresses to probe are more than the ${MAX_TARGETS} that are probed; their routes count as good`
    const { problem } = this.#pinger
    return [...(problem && this.#count > 0 ? [problem] : []), ...(unprobed > 0 ? [many] : [])]
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#pinger.close()
  }

  #turn(): void {
    clearTimeout(this.#timer)
    this.#pinger.collect(({ target, sequence }) => this.#prober.answered(target, sequence))
    const next = this.#prober.poll()
    if (next !== Number.POSITIVE_INFINITY) {
      this.#timer = setTimeout(() => this.#turn(), Math.max(GRAIN_MS, next - performance.now()))
      this.#timer.unref()
    }
    this.#tell()
  }

  /** Last of all, because the owner may come back with other routes. */
  #tell(): void {
    if (!this.#changed) return
    this.#changed = false
    this.onChange()
  }
}
