// What this controller reaches beyond the overlay, as it runs: its kernel as a gateway, the probes of routes, and clients that fall
// silent.
import { randomFillSync } from 'node:crypto'
import type { Logger } from 'pino'
import type { PresentFacts } from '../mesh/presence-types.ts'
import type { IpAddress } from '../state/address6.ts'
import { Gateway } from './gateway/gateway.ts'
import { RouteProbing } from './gateway/probing.ts'
import type { Home } from './home.ts'
import type { OverlayRoutes, RouteProbe } from './overlay-routes.ts'
import { steadyNow } from './steady-clock.ts'
import { TOKEN_LENGTH } from './switch/echo.ts'
import type { Switch } from './switch/switch.ts'
import { ViaWatch } from './via-watch.ts'

export interface BeyondInit {
  home: Home
  network: Switch
  routes: OverlayRoutes
  logger: Logger
  /** The interface that the ESP of attachments is done behind, if there is one. */
  device: () => string | undefined
}

export type Reach = Pick<PresentFacts, 'gateway' | 'gateway6' | 'exit4' | 'exit6' | 'failing'>

export const NO_REACH: Reach = { gateway: false, gateway6: false, exit4: false, exit6: false, failing: [] }

/** ms between two looks, and where a client has to be watched. */
const LOOK_MS = 500
const WATCH_MS = 100

export class Beyond {
  /** `reach` is another than before. */
  onChange: () => void = () => {}
  readonly #init: BeyondInit
  /** Undefined without a TUN interface. */
  readonly #gateway: Gateway | undefined
  readonly #probing: RouteProbing
  readonly #watch = new ViaWatch()
  #probes: readonly RouteProbe[] = []
  /** What is probed by ports. */
  #probed: ReadonlySet<string> = new Set()
  /** What of it answered at least once. */
  readonly #proven = new Set<string>()
  /** ms that clients took to answer: they, too, by port and address. */
  readonly #roundTrips = new Map<string, number>()
  /** Ids of vias of prefixes that have others. */
  #contested: ReadonlySet<string> = new Set()
  #reach: Reach = NO_REACH
  #hasInterface = true
  /** Clients that are watched, by port and address. */
  #watched: ReadonlySet<string> = new Set()
  /** By the steady clock. */
  #lookAt = 0

  private constructor(init: BeyondInit, gateway: Gateway | undefined) {
    this.#init = init
    this.#gateway = gateway
    const { network } = init
    this.#probing = new RouteProbing({
      sendByPort: (port, to, token) => network.sendEcho(port, to, token),
    })
    this.#probing.onChange = () => this.#review()
    network.onEcho = (port, from, token) => {
      this.#probing.echoed(port, from, token)
      const name = nameOf(port, from)
      if (this.#watched.has(name)) this.#roundTrips.set(name, roundTripOf(token))
      if (this.#proven.has(name) || !this.#probed.has(name)) return
      this.#proven.add(name)
      this.#review()
    }
  }

  /** Removes what a crash left in the kernel; nothing is made before the first routes. */
  static async start(init: BeyondInit): Promise<Beyond> {
    const { home, network, logger } = init
    const parts = { directory: home.directory, id: home.id, logger }
    if (network.tun !== null) return new Beyond(init, await Gateway.start(parts))
    await Gateway.cleanUp(parts)
    return new Beyond(init, undefined)
  }

  /** What `PresentFacts` says of it. */
  get reach(): Reach {
    return this.#reach
  }

  /** One line each, for `status`. */
  problems(): string[] {
    return [...(this.#gateway?.problems() ?? []), ...this.#probing.problems()]
  }

  /** The routes, or who is where, are others now. */
  routesChanged(): void {
    const { routes, network, home } = this.#init
    if (this.#gateway !== undefined && network.tun !== null) {
      const { subnet, subnet6 } = home.mesh
      const has6 = subnet6 !== undefined && network.tun.problem6 === undefined
      const overlay = { subnet, six: has6 ? { subnet: subnet6, ...routes.six.kernel() } : undefined }
      const kernel = routes.kernel()
      const attached = {
        prefixes: kernel.attached,
        expected: kernel.expected,
        device: this.#init.device(),
        source: home.controller.address,
      }
      const { name: tunName, index: tunIndex } = network.tun
      this.#gateway.update({ tunName, tunIndex, ...overlay, ...kernel, attached })
    }
    this.#probes = routes.probes()
    this.#contested = new Set(routes.contested().map(({ id }) => id))
    this.#probed = new Set(
      this.#probes.flatMap(({ from, address }) => (isByPort(from) ? [nameOf(from.port, address)] : [])),
    )
    for (const name of this.#proven) if (!this.#probed.has(name)) this.#proven.delete(name)
    this.#probing.set(this.#probes)
    this.#review()
  }

  /** The TUN interface is gone, or back. */
  interfaceChanged(isThere: boolean): void {
    this.#hasInterface = isThere
    // What went with it is made once it is back; until then nothing can be.
    if (isThere) this.#gateway?.interfaceChanged()
    this.routesChanged()
    void this.settled().then(() => this.#review())
  }

  /** Runs timers; when to call again, by the steady clock. */
  poll(): number {
    const now = steadyNow()
    if (now < this.#lookAt) return this.#lookAt
    const { network, routes } = this.#init
    const contested = routes.contested()
    this.#watched = new Set(contested.map(({ port, address }) => nameOf(port, address)))
    for (const name of this.#roundTrips.keys()) if (!this.#watched.has(name)) this.#roundTrips.delete(name)
    const vias = contested.map(({ id, port, address }) => ({
      ...{ id, port, address },
      heardAt: network.heardAt(port) ?? now,
      roundTripMs: this.#roundTrips.get(nameOf(port, address)),
    }))
    this.#watch.look(now, vias, ({ port, address }) => {
      network.sendEcho(port, address, newQuestion())
    })
    this.#review()
    this.#lookAt = now + (vias.length > 0 ? WATCH_MS : LOOK_MS)
    return this.#lookAt
  }

  /** Resolves when the kernel is as the routes want it. */
  settled(): Promise<void> {
    return this.#gateway?.settled() ?? Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#probing.stop()
    await this.#gateway?.stop()
  }

  #review(): void {
    const failing = new Set([...this.#watch.failing, ...this.#probing.failing(), ...this.#unproven()])
    const reachable = this.#hasInterface ? this.#gateway : undefined
    const { isUp: gateway = false, isUp6: gateway6 = false } = reachable ?? {}
    const { hasExit: exit4 = false, hasExit6: exit6 = false } = reachable ?? {}
    const reach: Reach = { gateway, gateway6, exit4, exit6, failing: [...failing].sort() }
    if (JSON.stringify(reach) === JSON.stringify(this.#reach)) return
    this.#reach = reach
    this.onChange()
  }

  /** A way beside others is taken once it was seen to lead somewhere: a client that comes back may have lost its network. */
  *#unproven(): Iterable<string> {
    for (const { id, address, from } of this.#probes) {
      if (!isByPort(from) || !this.#contested.has(id)) continue
      if (!this.#proven.has(nameOf(from.port, address))) yield id
    }
  }
}

const isByPort = (from: RouteProbe['from']): from is { port: number } => from !== 'kernel' && 'port' in from

/** Random bytes that nobody else's request has, and when it was asked. */
function newQuestion(): Uint8Array {
  const token = randomFillSync(new Uint8Array(TOKEN_LENGTH))
  new DataView(token.buffer).setFloat64(0, performance.now())
  return token
}

/** ms; what is no time of ours says nothing but that there was an answer. */
function roundTripOf(token: Uint8Array): number {
  const ms = performance.now() - new DataView(token.buffer, token.byteOffset).getFloat64(0)
  return ms >= 0 && ms < Number.POSITIVE_INFINITY ? ms : 0
}

function nameOf(port: number, address: IpAddress): string {
  return `${port} ${address}`
}
