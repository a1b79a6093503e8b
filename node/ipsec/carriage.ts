// Attachments on a running controller: which of them the IKE daemon is told of and dials, what is up here and elsewhere, and what
// is ended here because another controller carries it.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { PresentAttachment, PresentFacts } from '../../mesh/presence-types.ts'
import { rankOf, sinceAfter } from '../../mesh/presence-update.ts'
import type { AttachmentValue, ControllerId } from '../../state/kinds.ts'
import type { EventLog } from '../events.ts'
import type { Home } from '../home.ts'
import {
  candidates,
  carrierOf,
  Dialling,
  type Elective,
  Listening,
  mayCarry,
  Restarts,
  Surpluses,
  type Terminator,
} from './election.ts'
import { type IkeSa, type IpsecEngine, IpsecError, type Tunnel } from './engine.ts'
import { Handovers } from './handovers.ts'
import type { AttachmentState, AttachmentsLive } from './live.ts'
import { attachmentNames } from './names.ts'
import { NoEngine } from './no-engine.ts'
import type { Report } from './report.ts'
import { Reporting } from './reporting.ts'
import { Telling } from './telling.ts'
import { type IkeCredentials, tunnelOf } from './tunnel.ts'

export type Terminating = Pick<PresentFacts, 'ipsec' | 'attachments'>

/** What a controller within reach, this one too, tells of itself. */
export interface PresentTerminator extends Terminating {
  readonly id: ControllerId
  readonly draining: boolean
}

export interface CarriageInit {
  home: Home
  engine: IpsecEngine
  logger: Logger
  events: EventLog
  credentials: () => IkeCredentials
  /** The other controllers within reach. */
  others: () => Iterable<PresentTerminator>
  isDraining: () => boolean
  /** The name of the controller that tells webhooks of what none of those that carry it can. @default this one */
  teller?: () => string
  /** Resolves when the kernel sends packets to the sites that are up here. */
  ready: () => Promise<void>
  /** Asks another controller; undefined when it does not answer. */
  ask: (controller: ControllerId, about: string) => Promise<string | undefined>
  /** Monotonic ms, and ms since 1970. */
  now?: () => number
  wallClock?: () => number
}

/** ms between two looks at what follows from time alone. */
const LOOK_MS = 1000
const HANDOVER_LOOK_MS = 50
const COMES_UP_LOOK_MS = 50
/** ms between two questions to the others why it is not. */
const QUESTION_MS = 1000
const SILENT = /no answer/
/** ms that an operator waits for a tunnel to come up. */
const DIAL_MS = 20_000
/** Attachments that are named in one line at most. */
const MAX_NAMED = 3
/** ms after which a device that dialled has the SA too, far away as it may be: the answer that completes it is under way. */
const DIALLED_MS = 300

export interface Known {
  readonly value: AttachmentValue
  /** As the mesh sees it: where it is up. */
  carrier: ControllerId | undefined
}

export class Carriage implements AttachmentsLive {
  /** What this controller tells the others of attachments, or who carries one, is another than before. */
  onChange: () => void = () => {}
  /** What goes by this controller is another than before, at once; `onChange` tells the others of it after this. */
  onRoutes: () => void = () => {}
  readonly #init: CarriageInit
  readonly #dialling: Dialling
  readonly #surpluses = new Surpluses()
  readonly #handovers = new Handovers()
  readonly #restarts = new Restarts()
  /** Installed here, though the kernel may not send packets there yet. */
  readonly #installed = new Set<string>()
  /** Up here, since when: ms since 1970. */
  readonly #up = new Map<string, number>()
  readonly #known = new Map<string, Known>()
  readonly #reporting: Reporting
  readonly #telling: Telling
  readonly #ending = new Set<string>()
  /** What the daemon was told last, without secrets, to see changes. */
  #told = ''
  /** What failed last, which is not logged with every look. */
  #failure = ''
  /** What was asked of the daemon last: to run or not. */
  #isNeeded = false
  /** Nothing is left for the daemon to do. */
  #isIdle = true
  #engineTurn: Promise<void> = Promise.resolve()
  readonly #listening: Listening
  #stopped = false
  #timer: NodeJS.Timeout | undefined
  /** ms that `#timer` was set for. */
  #wait = LOOK_MS

  constructor(init: CarriageInit) {
    this.#init = init
    this.#dialling = new Dialling(init.home.id)
    this.#listening = new Listening(this.#now())
    const { engine, home } = init
    this.#telling = new Telling(init)
    this.#reporting = new Reporting({
      ...{ home, engine, ask: init.ask, known: this.#known },
      present: () => this.#present(),
      candidates: (id, value) => this.#candidates(id, value),
      preferred: (id, value) => this.#electiveOf(id, value).controllers,
      wallClock: () => this.#wallClock(),
    })
    engine.onState = () => this.#engineChanged()
    engine.onUp = id => this.#cameUp(id).catch(error => this.#failed(error))
    engine.onDown = id => this.#wentDown(id)
    engine.onProblem = (id, text) => this.#wentWrong(id, text)
  }

  // --- As the mesh sees it

  /** What this controller tells of itself. */
  get facts(): Terminating {
    return { ipsec: this.#init.engine.state === 'running', attachments: this.#attachments() }
  }

  carrier(id: string): { controller: ControllerId; since: number } | undefined {
    const controller = this.carrierOf(id)
    if (controller === undefined) return undefined
    const { attachments = [] } = this.#present().find(each => each.id === controller) ?? {}
    const since = attachments.find(each => each.id === id)?.since
    return since === undefined ? undefined : { controller, since }
  }

  /** Who carries it, as far as is known here. */
  carrierOf(id: string): ControllerId | undefined {
    return this.#known.get(id)?.carrier
  }

  /** The same, for the routes from here: what this controller hands over goes by itself until the others know. */
  wayOf(id: string): ControllerId | undefined {
    return this.#handovers.isCarried(id) ? this.#init.home.id : this.carrierOf(id)
  }

  /** The interface that ESP is done behind, if there is one. */
  get device(): string | undefined {
    return this.#init.engine.device
  }

  /** What is up here goes to another controller, or is sent away, since this one drains. */
  get isHandingOver(): boolean {
    return this.#up.size + this.#ending.size > 0 && this.#init.isDraining() && this.#hasOthers()
  }

  isUpHere(id: string): boolean {
    return this.#installed.has(id)
  }

  get engine(): AttachmentsLive['engine'] {
    const { state, problem, esp } = this.#init.engine
    const idle = problem === undefined && !this.#isNeeded ? this.#whyIdle() : undefined
    return idle === undefined ? { state, problem, esp } : { state: 'idle', problem: idle, esp: undefined }
  }

  state(id: string): AttachmentState {
    const value = this.#init.home.replica.get('attachment', id)
    if (value === undefined || !value.enabled) return 'disabled'
    if (this.carrierOf(id) !== undefined) return 'up'
    return value.initiate && this.#candidates(id, value).length > 0 ? 'connecting' : 'down'
  }

  /** Those that are enabled. */
  standings(): { id: string; name: string; up: boolean; here: boolean }[] {
    const names = attachmentNames(this.#init.home.replica)
    return [...this.#init.home.replica.all('attachment')].flatMap(({ id, value }) =>
      value.enabled
        ? [{ id, name: names.get(id)!, up: this.carrierOf(id) !== undefined, here: this.#up.has(id) }]
        : [],
    )
  }

  /** See IpsecEngine. */
  get refusedPackets(): number | undefined {
    return this.#init.engine.refusedPackets
  }

  /** All SAs of this controller; none when the daemon does not tell. */
  sas(): Promise<IkeSa[]> {
    const { engine } = this.#init
    return engine.state === 'running' ? engine.sas().catch(() => []) : Promise.resolve([])
  }

  report(id: string | undefined): Promise<Report> {
    return this.#reporting.report(id)
  }

  reports(id?: string): Promise<{ controller: ControllerId; report: Report }[]> {
    return this.#reporting.reports(id)
  }

  async comesUp(id: string): Promise<void> {
    const begun = this.#wallClock()
    const until = this.#now() + DIAL_MS
    let nextQuestion = this.#now() + QUESTION_MS
    this.review()
    while (this.carrierOf(id) === undefined) {
      const { state, problem: missing } = this.#init.engine
      if (state === 'off' && missing !== undefined && !this.#hasOthers()) throw new IpsecError(missing)
      const now = this.#now()
      if (now >= nextQuestion) {
        nextQuestion = now + QUESTION_MS
        const problem = await this.#reporting.latest(id)
        // A device that is silent may answer yet; whatever else is wrong stays wrong.
        if (problem && problem.at >= begun && !SILENT.test(problem.text)) throw new IpsecError(problem.text)
        if (now >= until) throw new IpsecError(problem?.text ?? `nobody has it up after ${DIAL_MS / 1000} s`)
      }
      await new Promise(resolve => setTimeout(resolve, COMES_UP_LOOK_MS))
    }
  }

  /** For `status`: why this controller, which could, carries nothing. */
  warnings(): string[] {
    const { engine } = this.#init
    const { state, problem } = engine
    if (!this.#isNeeded || engine instanceof NoEngine || state === 'running' || problem === undefined)
      return []
    return [`this controller carries no attachments: ${problem}`]
  }

  // --- What happens

  /** The records, or what others tell, are others than before. */
  review(): void {
    if (this.#stopped) return
    const { home } = this.#init
    const present = this.#present()
    const ids = new Set<string>()
    let isChanged = false
    let isRerouted = false
    const now = this.#now()
    for (const { id: controller, attachments, ipsec } of present) {
      this.#restarts.note(controller, ipsec, now)
      if (controller === home.id) continue
      for (const { id, several } of attachments) if (several) this.#surpluses.isSeveral(id, now)
    }
    for (const { id, value } of home.replica.all('attachment')) {
      ids.add(id)
      const carrier = value.enabled
        ? carrierOf(this.#electiveOf(id, value), this.#terminators(id, present))
        : undefined
      const before = this.#known.get(id)
      if (before?.carrier !== carrier) {
        isChanged = true
        isRerouted ||= before?.carrier !== undefined && (carrier === home.id || before.carrier === home.id)
        const reason = this.#reporting.problem(id)?.text
        const isThere = present.some(each => each.id === before?.carrier)
        this.#telling.moved(value, before?.carrier, carrier, { reason, isThere })
      }
      this.#known.set(id, { value, carrier })
    }
    for (const id of this.#known.keys()) {
      if (ids.has(id)) continue
      this.#known.delete(id)
      this.#handovers.forget(id)
      this.#reporting.solved(id)
      this.#telling.forget(id)
      isChanged = true
    }
    this.#dialling.keep(ids)
    this.#surpluses.keep(ids)
    this.#restarts.keep(new Set(present.map(each => each.id)))
    this.#apply().catch(error => this.#failed(error))
    isRerouted = this.#endSurpluses() || isRerouted
    this.#schedule()
    if (isRerouted) this.onRoutes()
    if (isChanged) this.onChange()
  }

  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#run(false)
    await this.#engineTurn
  }

  #now(): number {
    return this.#init.now?.() ?? performance.now()
  }

  #wallClock(): number {
    return this.#init.wallClock?.() ?? Date.now()
  }

  #attachments(): PresentAttachment[] {
    const now = this.#now()
    return [...this.#up].map(([id, since]) => ({
      id,
      since,
      several: this.#surpluses.keepsSeveral(id, now),
    }))
  }

  #present(): PresentTerminator[] {
    const { home, others, isDraining } = this.#init
    return [{ id: home.id, draining: isDraining(), ...this.facts }, ...others()]
  }

  #terminators(id: string, present: readonly PresentTerminator[]): Terminator[] {
    const [now, wallClock] = [this.#now(), this.#wallClock()]
    return present.flatMap(({ id: controller, draining, ipsec, attachments }) => {
      if (!ipsec && !this.#restarts.isExpected(controller, now)) return []
      const up = attachments.find(each => each.id === id)
      return [{ id: controller, draining, since: up && rankOf(up.since, wallClock) }]
    })
  }

  /** Tells the daemon what there is, and which of it to dial. */
  async #apply(): Promise<void> {
    const { home, engine, credentials, isDraining, others } = this.#init
    const wanted = [...this.#known].filter(([id, { value }]) => this.#isWantedHere(id, value))
    if (wanted.length > 0) this.#run(true)
    else if (!this.#isNeeded) return
    const present = this.#present()
    const now = this.#now()
    const own = credentials()
    const isSettled = this.#listening.isOver([...others()].length, home.views.controllers().length - 1, now)
    this.#isIdle = wanted.length === 0
    const tunnels: Tunnel[] = []
    for (const [id, { value }] of wanted) {
      // A controller that drains takes nobody new, and lets those who leave take their time.
      if (isDraining() && !this.#up.has(id) && !this.#ending.has(id)) continue
      const { dial } = this.#dialling.decide(this.#electiveOf(id, value), this.#terminators(id, present), now)
      const initiate = dial && isSettled
      const takesOver = initiate && this.#isElsewhere(id)
      const tunnel = tunnelOf(home, own, id, value, { initiate, takesOver })
      if (tunnel) tunnels.push(tunnel)
      else
        this.#wentWrong(id, 'its secret cannot be opened here: it was sealed by another mesh; give it again')
    }
    const isWelcoming = !isDraining()
    const told =
      JSON.stringify([isWelcoming, tunnels], (key, value) => (key === 'secret' ? '' : value)) + this.#sealed()
    if (told !== this.#told) {
      this.#told = told
      await engine.set(tunnels, isWelcoming)
    }
    if (this.#isIdle) this.#run(false)
  }

  /** Starts the daemon, or stops it, after what was asked of it before. */
  #run(isNeeded: boolean): void {
    if (isNeeded === this.#isNeeded) return
    this.#isNeeded = isNeeded
    const { engine } = this.#init
    this.#engineTurn = this.#engineTurn
      .then(() => (isNeeded ? engine.start() : engine.stop()))
      .catch(error => this.#failed(error))
  }

  /** It may be carried here; or is, until another controller has it. Whoever was removed carries nothing any more. */
  #isWantedHere(id: string, value: AttachmentValue): boolean {
    const { home } = this.#init
    if (!value.enabled || !home.views.isAdmitted(home.id)) return false
    return this.#installed.has(id) || mayCarry(this.#electiveOf(id, value), home.id)
  }

  #whyIdle(): string {
    const enabled = [...this.#known.values()].filter(({ value }) => value.enabled)
    if (enabled.length === 0) return 'it is not needed: no attachment is enabled'
    const names = enabled.slice(0, MAX_NAMED).map(({ value }) => value.name)
    const more = enabled.length > MAX_NAMED ? ' and more' : ''
    return `it is not needed: other controllers are to dial ${names.join(', ')}${more} (--controllers)`
  }

  /** Changes of secrets are seen by how they are sealed. */
  #sealed(): string {
    return [...this.#known.values()]
      .map(({ value: { authentication } }) => (authentication.method === 'psk' ? authentication.sealed : ''))
      .join()
  }

  /** Ends what is up here while another controller carries it. @returns whether something goes another way from now on */
  #endSurpluses(): boolean {
    const now = this.#now()
    const { home, isDraining } = this.#init
    const leaving = new Set(
      this.#present().flatMap(({ draining, attachments }) =>
        draining ? attachments.map(({ id }) => id) : [],
      ),
    )
    let isRerouted = false
    for (const [id, { value, carrier }] of this.#known) {
      const isHere = this.#up.has(id)
      const isSurplus = isHere && carrier !== undefined && carrier !== home.id
      // While this controller drains, a site that dials by itself finds another when it is sent away.
      const isSentAway = isHere && isDraining() && !value.initiate && this.#hasOthers()
      if (isSentAway && isSurplus) {
        const { step, isNew } = this.#handovers.decide(id, now)
        if (step === 'end') this.#end(id)
        isRerouted ||= isNew
        continue
      }
      isRerouted ||= this.#handovers.isCarried(id)
      this.#handovers.forget(id)
      // Nor is one that another controller sends away ended by those that are left to it.
      const isInNeed = !value.initiate && !isDraining() && leaving.has(id)
      const verdict = this.#surpluses.decide(id, isSurplus && !isInNeed, value.initiate, now)
      if (verdict === 'end' || isSentAway) this.#end(id)
      else if (isSurplus && !isInNeed && verdict === 'keep') this.#telling.standby(id, value, carrier, now)
    }
    return isRerouted
  }

  #hasOthers(): boolean {
    const { home } = this.#init
    return this.#present().some(({ id, ipsec, draining }) => id !== home.id && ipsec && !draining)
  }

  /** Another controller carries it. */
  #isElsewhere(id: string): boolean {
    const carrier = this.carrierOf(id)
    return carrier !== undefined && carrier !== this.#init.home.id
  }

  /** Controllers that were removed prefer nothing: where no other is preferred, all may dial. */
  #candidates(id: string, value: AttachmentValue): ControllerId[] {
    return candidates(this.#electiveOf(id, value), this.#terminators(id, this.#present()))
  }

  #electiveOf(id: string, { initiate, controllers }: AttachmentValue): Elective {
    const { views } = this.#init.home
    return { id, initiate, controllers: controllers.filter(each => views.isAdmitted(each)) }
  }

  #end(id: string): void {
    if (this.#ending.has(id)) return
    this.#ending.add(id)
    this.#init.engine
      .terminate(id)
      .catch(error => this.#failed(error))
      .finally(() => this.#ending.delete(id))
  }

  /** A mistake, here or in what drives the daemon: all else goes on, and the next look tells the daemon all again. */
  #failed(error: unknown): void {
    this.#told = ''
    const failure = String(error)
    if (failure !== this.#failure)
      this.#init.logger.error({ err: error }, 'attachments: what was asked of the IKE daemon failed')
    this.#failure = failure
  }

  #engineChanged(): void {
    if (this.#init.engine.state !== 'running') {
      this.#installed.clear()
      this.#up.clear()
    }
    this.#changedHere()
  }

  async #cameUp(id: string): Promise<void> {
    this.#installed.add(id)
    // Nobody sends packets here before the kernel knows where they go.
    await this.#init.ready()
    const isDialled = this.#known.get(id)?.value.initiate === true
    if (!isDialled && this.#isElsewhere(id)) await sleep(DIALLED_MS)
    if (!this.#installed.has(id) || this.#up.has(id)) return
    const told = [...this.#init.others()].flatMap(({ attachments }) =>
      attachments.flatMap(each => (each.id === id ? [each.since] : [])),
    )
    this.#up.set(id, sinceAfter(told, this.#wallClock()))
    this.#surpluses.cameUp(id, this.#now())
    this.#reporting.solved(id)
    this.#changedHere()
  }

  #wentDown(id: string): void {
    this.#installed.delete(id)
    if (this.#up.delete(id)) this.#changedHere()
  }

  #wentWrong(id: string, text: string): void {
    const value = this.#known.get(id)?.value ?? this.#init.home.replica.get('attachment', id)
    const isNew = this.#reporting.wentWrong(id, text)
    if (value !== undefined && isNew) this.#telling.problem(value, text)
  }

  #changedHere(): void {
    if (this.#stopped) return
    this.review()
    this.onChange()
  }

  #schedule(): void {
    const wait = this.#handovers.areUnderWay ? HANDOVER_LOOK_MS : LOOK_MS
    if (this.#known.size === 0 || (this.#timer !== undefined && this.#wait <= wait)) return
    clearTimeout(this.#timer)
    this.#wait = wait
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.review()
    }, wait)
    this.#timer.unref()
  }
}
