// strongSwan as the IKE daemon of a controller: kept running, told what tunnels there are, and heard.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { type EngineState, type IkeSa, type IpsecEngine, IpsecError, type Tunnel } from '../engine.ts'
import { ViciError } from '../vici/error.ts'
import { sectionsOf, textOf, type ViciSection } from '../vici/message.ts'
import { callBack } from './call-back.ts'
import { Carrying, type NamedSa } from './carrying.ts'
import { Completing } from './completing.ts'
import type { Esp } from './configuration.ts'
import { childNames, indistinct, isAddress } from './connection.ts'
import { Dialer } from './dialer.ts'
import { Door } from './door.ts'
import { EarlyEsp } from './early-esp.ts'
import { detectEsp } from './esp.ts'
import { HostNames } from './host-names.ts'
import { LastPeers } from './last-peers.ts'
import { Loader } from './loader.ts'
import { lendAddresses } from './local-addresses.ts'
import { LogReader } from './log-reader.ts'
import { Outcomes } from './outcomes.ts'
import { Parting } from './parting.ts'
import { Problems } from './problems.ts'
import type { Run } from './run.ts'
import { inboundSpis, isUnderWay, readIkeSa, returnName, tunnelOfName } from './sas.ts'
import { Supervisor } from './supervisor.ts'

/** ms between two looks at tunnels that are to be dialled, and at host names that are to be looked up. */
const DIAL_LOOK_MS = 1000
/** ms between two looks at all that the daemon has, should an event have been missed. */
const LOOK_MS = 10_000
/** ms in which a tunnel is not dialled twice. */
const SETTLE_MS = 100
/** ms after which nothing is read in the daemon's log any more of the time before it knew its tunnels. */
const INFORMED_MS = 500
/** ms for which a daemon that has just started answers nobody, should host names be unknown still. */
const NAMES_MS = 1000
/** Tunnels that are ended at a time. */
const TERMINATE_AT_ONCE = 16

export interface StrongSwanInit {
  /** A directory for its configuration, socket and pid file; made, and private to us. */
  readonly directory: string
  readonly logger: Logger
  /** Interfaces whose addresses no tunnel may be built on, as the overlay's. */
  readonly ignoreInterfaces?: readonly string[]
  /** Who does ESP here. @default asks the kernel */
  readonly detectEsp?: () => Promise<Esp>
}

export class StrongSwan implements IpsecEngine {
  onState: () => void = () => {}
  onUp: (tunnel: string) => void | Promise<void> = () => {}
  onDown: (tunnel: string) => void = () => {}
  onProblem: (tunnel: string, problem: string) => void = () => {}
  readonly #logger: Logger
  readonly #supervisor: Supervisor
  readonly #door = new Door()
  readonly #early = new EarlyEsp()
  readonly #parting = new Parting()
  readonly #carrying = new Carrying()
  /** Resolved when this machine takes what comes by a tunnel that is up. */
  readonly #taking = new Map<string, Promise<void>>()
  readonly #dialer = new Dialer(Math.random)
  readonly #completing = new Completing(Math.random)
  readonly #names = new HostNames()
  readonly #log = new LogReader()
  readonly #problems: Problems
  readonly #lastPeers = new LastPeers()
  readonly #outcomes = new Outcomes()
  readonly #dialledAt = new Map<string, number>()
  #tunnels = new Map<string, Tunnel>()
  #isWelcoming = true
  #device: string | undefined
  #run: Run | undefined
  #loader: Loader | undefined
  /** What is done to the daemon, one after the other. */
  #turn: Promise<unknown> = Promise.resolve()
  #timers: NodeJS.Timeout[] = []
  /** When the daemon had been told all tunnels, monotonic ms. */
  #informedAt = Number.POSITIVE_INFINITY
  /** It waits for its turn to be told other addresses. */
  #isMoving = false
  /** Child SAs that came or went: a list made meanwhile is out of date. */
  #changes = 0

  constructor({ directory, logger, ignoreInterfaces = [], detectEsp: detect }: StrongSwanInit) {
    this.#logger = logger
    this.#supervisor = new Supervisor({
      directory,
      logger,
      ignoreInterfaces,
      detectEsp: detect ?? (() => detectEsp()),
      door: this.#door,
    })
    // A controller that was killed may have left the door shut, and other rules; and this one may need no daemon.
    void this.#door.open()
    void this.#early.sweep()
    void this.#parting.sweep()
    this.#supervisor.onState = () => this.onState()
    this.#supervisor.onRun = run => this.#begin(run)
    this.#supervisor.onLost = () => this.#lost()
    this.#supervisor.onLine = line => this.#readLog(line)
    this.#supervisor.onEvent = (name, message) => this.#event(name, message)
    this.#log.onDevice = name => {
      this.#device = name
    }
    this.#problems = new Problems({
      log: this.#log,
      names: this.#names,
      // What the others fail at is known: it is their names.
      tunnels: () => this.#located(),
      isUp: tunnel => this.#carrying.has(tunnel),
      isInformed: () => performance.now() - this.#informedAt >= INFORMED_MS,
      now: () => performance.now(),
    })
    this.#names.onChange = () => void this.#moved()
    this.#problems.onProblem = (tunnel, problem) => this.onProblem(tunnel, problem)
    this.#problems.onWords = (tunnel, words) => this.#outcomes.problem(tunnel, words)
    this.#carrying.onUp = tunnel => {
      this.#dialer.up(tunnel, performance.now())
      this.#problems.forget(tunnel)
      this.#outcomes.up(tunnel)
      if (this.#tunnels.has(tunnel)) this.#taking.set(tunnel, Promise.resolve(this.onUp(tunnel)))
    }
    this.#carrying.onDown = tunnel => {
      this.#dialer.down(tunnel, performance.now())
      this.#lastPeers.forget(tunnel)
      this.#taking.delete(tunnel)
      this.onDown(tunnel)
      void this.#dialDue()
    }
  }

  get state(): EngineState {
    return this.#supervisor.state
  }
  get problem(): string | undefined {
    return this.#supervisor.problem
  }
  get esp(): Esp | undefined {
    return this.#supervisor.esp
  }
  /** The interface that user ESP comes out of, and goes into; undefined where the kernel does ESP, or none is running. */
  get device(): string | undefined {
    return this.#run && this.esp === 'user' ? this.#device : undefined
  }

  get refusedPackets(): number | undefined {
    return this.esp === 'user' ? this.#log.refusedPackets : undefined
  }

  async start(): Promise<void> {
    if (this.#timers.length === 0)
      this.#timers = [
        setInterval(() => void this.#dialDue(), DIAL_LOOK_MS),
        setInterval(() => void this.#look(), LOOK_MS),
        setInterval(() => this.#findNames(), DIAL_LOOK_MS),
      ]
    await this.#supervisor.start()
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer)
    this.#run = undefined
    this.#names.want([])
    await this.#supervisor.stop()
    await this.#early.stop()
    this.#carrying.replace([])
    this.#outcomes.giveUp('the IKE daemon was stopped')
  }

  async set(tunnels: readonly Tunnel[], isWelcoming = true): Promise<void> {
    this.#isWelcoming = isWelcoming
    if (!isWelcoming) await this.#door.shut()
    const dialled = new Set(
      [...this.#tunnels.values()].filter(({ initiate }) => initiate).map(({ id }) => id),
    )
    const ids = new Set(tunnels.map(({ id }) => id))
    // Devices that are sent away may have moved since they were seen last.
    if ([...this.#tunnels.keys()].some(id => !ids.has(id) && this.#carrying.has(id))) await this.#look()
    for (const id of this.#tunnels.keys()) {
      if (ids.has(id)) continue
      this.#lastPeers.sendAway(id, isWelcoming)
      this.#problems.forget(id)
      this.#dialledAt.delete(id)
      void this.#early.release(id)
    }
    const taken = indistinct(tunnels)
    for (const { id } of tunnels) {
      const other = taken.get(id)
      if (other === undefined) continue
      const text = `cannot be told from attachment "${other}": give it a remote identity of its own`
      this.#problems.tell(id, { kind: 'authentication', text })
    }
    this.#tunnels = new Map(tunnels.filter(({ id }) => !taken.has(id)).map(each => [each.id, each]))
    this.#findNames()
    this.#setDialled()
    const ended = [...dialled].filter(id => this.#tunnels.get(id)?.initiate !== true)
    await this.#inTurn(() => this.#apply())
    if (isWelcoming && this.#informedAt !== Number.POSITIVE_INFINITY) await this.#door.open()
    await this.#endAttempts(ended)
    void this.#dialDue()
    this.#callBack()
  }

  async initiate(tunnel: string, timeoutMs: number): Promise<void> {
    if (this.#carrying.has(tunnel)) return
    if (!this.#tunnels.has(tunnel)) throw new IpsecError('this controller has no such tunnel')
    if (this.#run === undefined) throw new IpsecError(this.problem ?? 'the IKE daemon is not running')
    this.#problems.forget(tunnel)
    const outcome = this.#outcomes.of(tunnel, timeoutMs)
    await this.#inTurn(async () => {
      if (!(await this.#underWay()).has(tunnel)) await this.#dial(tunnel)
    })
    const failure = await outcome
    if (failure !== undefined) throw new IpsecError(failure)
  }

  async terminate(tunnel: string): Promise<void> {
    this.#lastPeers.forget(tunnel)
    const run = this.#run
    const told = (sas: readonly NamedSa[]): void => {
      this.#changes++
      for (const sa of sas) this.#carrying.updown(sa, false)
    }
    if (run !== undefined) await this.#parting.end(run, tunnel, told).catch(error => this.#ignoreVici(error))
  }

  async sas(): Promise<IkeSa[]> {
    const sas = await this.#list().catch(error => this.#ignoreVici(error))
    return (sas ?? []).map(([connection, ike]) => readIkeSa(connection, ike))
  }

  /** The daemon is up, and knows nothing. */
  async #begin(run: Run): Promise<void> {
    this.#run = run
    this.#loader = new Loader(run.client, (tunnel, reason) =>
      this.#problems.tell(tunnel.id, {
        kind: 'lost',
        text: `the IKE daemon refused its settings: ${reason}`,
      }),
    )
    await this.#inTurn(() => this.#apply())
    for (const id of this.#dialledNow()) this.#dialer.hurry(id, performance.now())
    void this.#dialDue()
    await this.#namesAreAsked()
    if (this.#run !== run) return
    this.#informedAt = performance.now()
    if (this.#isWelcoming) await this.#door.open()
    this.#callBack()
  }

  #lost(): void {
    this.#run = undefined
    this.#loader = undefined
    this.#informedAt = Number.POSITIVE_INFINITY
    this.#dialledAt.clear()
    this.#lastPeers.sendAllAway()
    this.#carrying.replace([])
    this.#outcomes.giveUp('the IKE daemon ended')
  }

  async #apply(): Promise<void> {
    const wanted = [...this.#tunnels.values()].map(tunnel => ({
      tunnel,
      addresses: this.#names.addresses(tunnel.remote),
    }))
    await this.#lendAddresses()
    const changed = (await this.#loader?.apply(wanted)) ?? []
    for (const id of changed) if (this.#tunnels.has(id)) this.#lastPeers.settingsChanged(id)
    await this.#end(changed)
    for (const id of changed) {
      this.#problems.forget(id)
      this.#dialer.hurry(id, performance.now())
    }
  }

  /** See local-addresses.ts. */
  async #lendAddresses(): Promise<void> {
    const device = this.device
    if (device === undefined) return
    for (const tunnel of this.#tunnels.values()) {
      const impossible = await lendAddresses(device, tunnel.localSubnets)
      if (impossible.length > 0)
        this.#problems.tell(tunnel.id, {
          kind: 'lost',
          text: `without ESP in the kernel, ${impossible.join(', ')} cannot be a local selector; name a larger prefix`,
        })
    }
  }

  /** Runs when what was asked for before is done; a daemon that is gone meanwhile is told all when it is back. */
  #inTurn(action: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(action).catch(error => this.#ignoreVici(error))
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  #ignoreVici(error: unknown): void {
    if (!(error instanceof ViciError)) throw error
    this.#logger.debug({ code: error.code }, `the IKE daemon: ${error.message}`)
  }

  #dialledNow(): string[] {
    return this.#located().flatMap(({ id, initiate }) => (initiate ? [id] : []))
  }

  #setDialled(): void {
    const now = performance.now()
    this.#dialer.set(this.#dialledNow(), now)
    for (const id of this.#tunnels.keys()) if (this.#carrying.has(id)) this.#dialer.up(id, now)
  }

  async #dial(tunnel: string): Promise<void> {
    const wanted = this.#tunnels.get(tunnel)
    if (wanted === undefined || this.#run === undefined || !this.#names.isLocated(wanted.remote)) return
    // The daemon sets about it a moment after it said that it would.
    const now = performance.now()
    if (now - (this.#dialledAt.get(tunnel) ?? Number.NEGATIVE_INFINITY) < SETTLE_MS) return
    this.#dialledAt.set(tunnel, now)
    if (wanted.takesOver && this.esp === 'user') await this.#holdEarly(wanted)
    await this.#run?.initiate(tunnel, childNames(wanted))
  }

  /** See early-esp.ts. */
  async #holdEarly(tunnel: Tunnel): Promise<void> {
    const { id, remote } = tunnel
    // Of one that is held, what waits would come after what did not, and be taken for a replay (RFC 4303 section 3.4.3).
    const known = (await this.#list()).flatMap(([connection, ike]) =>
      this.#early.isHeld(tunnelOfName(connection)) ? [] : inboundSpis(ike),
    )
    const addresses = isAddress(remote) ? [remote] : this.#names.addresses(remote)
    await this.#early.hold(id, addresses, known, childNames(tunnel).length)
  }

  async #dialDue(): Promise<void> {
    if (this.#run === undefined || !this.#dialer.isWaiting) return
    await this.#inTurn(async () => {
      const underWay = await this.#underWay()
      for (const tunnel of this.#dialer.due(performance.now(), id => underWay.has(id)))
        await this.#dial(tunnel)
    })
  }

  /** Tunnels that the daemon works at. */
  async #underWay(): Promise<Set<string>> {
    const sas = await this.#list()
    return new Set(sas.flatMap(([name, ike]) => (isUnderWay(ike) ? [tunnelOfName(name)] : [])))
  }

  /** A daemon that is not there yet does it once it is. */
  #callBack(): void {
    const run = this.#run
    if (run === undefined) return
    for (const tunnel of this.#located()) {
      const peer = this.#lastPeers.callBack(tunnel.id)
      if (peer && !tunnel.initiate)
        void callBack(run, tunnel, peer, this.#outcomes, action => this.#inTurn(action))
    }
  }

  async #end(tunnels: readonly string[]): Promise<void> {
    const run = this.#run
    const names = tunnels.flatMap(tunnel => [tunnel, returnName(tunnel)])
    for (let at = 0; run !== undefined && at < names.length; at += TERMINATE_AT_ONCE)
      await Promise.all(
        names.slice(at, at + TERMINATE_AT_ONCE).map(name => run.terminate(name).catch(() => undefined)),
      )
  }

  /** A tunnel that is not dialled any more: what is up stays, an attempt ends. */
  async #endAttempts(tunnels: readonly string[]): Promise<void> {
    await this.#end(tunnels.filter(tunnel => !this.#carrying.has(tunnel)))
  }

  async #list(): Promise<NamedSa[]> {
    return (await this.#run?.list()) ?? []
  }

  async #look(): Promise<void> {
    const changes = this.#changes
    const run = this.#run
    const sas = await this.#list().catch(error => this.#ignoreVici(error))
    if (sas === undefined || run === undefined || run !== this.#run || changes !== this.#changes) return
    this.#carrying.replace(sas)
    for (const sa of sas) if (this.#carrying.has(tunnelOfName(sa[0]))) this.#lastPeers.note(sa)
    for (const [tunnel, children] of this.#completing.due(this.#tunnels.values(), sas, performance.now()))
      void this.#inTurn(() => run.initiate(tunnel, children))
  }

  /** Has names looked up, and tells which are not found. */
  #findNames(): void {
    this.#names.want([...this.#tunnels.values()].map(({ remote }) => remote))
    void this.#names.look()
    if (this.#run === undefined) return
    for (const { id, remote } of this.#tunnels.values())
      if (this.#names.isMissing(remote))
        this.#problems.tell(id, { kind: 'name', text: `name not resolved: ${remote}` })
  }

  /** Who calls before its address is known is refused, and may not call again: a moment is left for that. */
  async #namesAreAsked(): Promise<void> {
    if (this.#located().length === this.#tunnels.size) return
    await Promise.race([this.#names.look(), sleep(NAMES_MS, undefined, { ref: false })])
    await this.#inTurn(async () => {})
  }

  /** Names have other addresses than before, or their first: what waited for that is loaded, dialled and called back. */
  async #moved(): Promise<void> {
    if (this.#isMoving) return
    this.#isMoving = true
    await this.#inTurn(async () => {
      this.#isMoving = false
      await this.#apply()
    })
    this.#setDialled()
    void this.#dialDue()
    this.#callBack()
  }

  /** Tunnels that the daemon can be told of: it is told no names, and one without an address waits for that. */
  #located(): Tunnel[] {
    return [...this.#tunnels.values()].filter(({ remote }) => this.#names.isLocated(remote))
  }

  #readLog(line: string): void {
    if (this.#log.countPacket(line)) return
    const entry = this.#log.read(line)
    if (entry === undefined) this.#logger.debug(`charon: ${line}`)
    else this.#logger.debug({ group: entry.group, connection: entry.connection }, `charon: ${entry.text}`)
  }

  #event(name: string, message: ViciSection): void {
    for (const sa of sectionsOf(message)) {
      if (name === 'child-updown') {
        this.#changes++
        const up = textOf(message, 'up') === 'yes'
        if (up) this.#lastPeers.note(sa)
        this.#carrying.updown(sa, up)
        if (up) void this.#installed(sa)
        else if (this.#carrying.has(tunnelOfName(sa[0]))) void this.#look()
      } else if (name === 'child-rekey') {
        this.#changes++
        this.#lastPeers.note(sa)
        this.#carrying.rekeyed(sa)
        void this.#installed(sa)
      }
    }
  }

  async #installed([connection, ike]: NamedSa): Promise<void> {
    const tunnel = tunnelOfName(connection)
    const end = textOf(ike, 'local-host')
    await this.#taking.get(tunnel)
    for (const spi of end ? inboundSpis(ike) : []) this.#early.installed(tunnel, spi, end!)
  }
}
