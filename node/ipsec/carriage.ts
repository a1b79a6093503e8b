// Attachments on a running controller: which of them the IKE daemon is told of and dials, what is up here and elsewhere, and what
// is ended here because another controller carries it.
import type { Logger } from 'pino'
import type { PresentAttachment, PresentFacts } from '../../mesh/presence-types.ts'
import type { AttachmentValue, ControllerId } from '../../state/kinds.ts'
import type { EventLog } from '../events.ts'
import type { Home } from '../home.ts'
import {
  candidates,
  carrierOf,
  Dialling,
  type Elective,
  Listening,
  Restarts,
  Surpluses,
  type Terminator,
} from './election.ts'
import { type IkeSa, type IpsecEngine, IpsecError, type Tunnel } from './engine.ts'
import type { AttachmentProblem, AttachmentState, AttachmentsLive } from './live.ts'
import { attachmentNames } from './names.ts'
import { NoEngine } from './no-engine.ts'
import { type Report, readReport, reportQuestion } from './report.ts'
import { StrongSwan } from './strongswan/strongswan.ts'
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
/** Problems and SAs in one report. */
const MAX_PROBLEMS = 256
const MAX_SAS = 16
const COMES_UP_LOOK_MS = 50
/** ms between two questions to the others why it is not. */
const QUESTION_MS = 1000
const SILENT = /no answer/
/** ms that an operator waits for a tunnel to come up. */
const DIAL_MS = 20_000
/** A word about a site that keeps several controllers connected comes this often at most, ms. */
const STANDBY_WORD_MS = 3_600_000

interface Known {
  readonly value: AttachmentValue
  /** As the mesh sees it: where it is up. */
  carrier: ControllerId | undefined
}

/** strongSwan where this machine can have it, behind the overlay's interface. @param tun the interface's name; null without one */
export function startCarriage(init: Omit<CarriageInit, 'engine'>, tun: string | null): Carriage {
  const { home, logger } = init
  const engine =
    tun === null
      ? new NoEngine('attachments need a TUN interface, and so root; see `overmesh doctor`')
      : new StrongSwan({ directory: home.directory.ipsec, logger, ignoreInterfaces: [tun] })
  return new Carriage({ ...init, engine })
}

export class Carriage implements AttachmentsLive {
  /** What this controller tells the others of attachments, or who carries one, is another than before. */
  onChange: () => void = () => {}
  readonly #init: CarriageInit
  readonly #dialling: Dialling
  readonly #surpluses = new Surpluses()
  readonly #restarts = new Restarts()
  /** Installed here, though the kernel may not send packets there yet. */
  readonly #installed = new Set<string>()
  /** Up here, since when: ms since 1970. */
  readonly #up = new Map<string, number>()
  readonly #known = new Map<string, Known>()
  readonly #problems = new Map<string, AttachmentProblem>()
  readonly #ending = new Set<string>()
  readonly #standbyTold = new Map<string, number>()
  /** What the daemon was told last, without secrets, to see changes. */
  #told = ''
  #started = false
  readonly #listening: Listening
  #stopped = false
  #timer: NodeJS.Timeout | undefined

  constructor(init: CarriageInit) {
    this.#init = init
    this.#dialling = new Dialling(init.home.id)
    this.#listening = new Listening(this.#now())
    const { engine } = init
    engine.onState = () => this.#engineChanged()
    engine.onUp = id => this.#cameUp(id)
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

  /** The same, for the routes. */
  carrierOf(id: string): ControllerId | undefined {
    return this.#known.get(id)?.carrier
  }

  /** The interface that ESP is done behind, if there is one. */
  get device(): string | undefined {
    return this.#init.engine.device
  }

  /** What is up here goes to another controller, or is sent away, since this one drains. */
  get isHandingOver(): boolean {
    return this.#up.size > 0 && this.#init.isDraining() && this.#hasOthers()
  }

  isUpHere(id: string): boolean {
    return this.#installed.has(id)
  }

  get engine(): AttachmentsLive['engine'] {
    const { state, problem, esp } = this.#init.engine
    return { state, problem, esp }
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

  /** All SAs of this controller; none when the daemon does not tell. */
  sas(): Promise<IkeSa[]> {
    const { engine } = this.#init
    return engine.state === 'running' ? engine.sas().catch(() => []) : Promise.resolve([])
  }

  /** What this controller answers to others, and to its own operator. */
  async report(id: string | undefined): Promise<Report> {
    const sas = id === undefined ? [] : await this.#init.engine.sas().catch(() => [])
    const problems = Object.fromEntries([...this.#problems].slice(0, MAX_PROBLEMS))
    const nobodyCan = !this.#present().some(({ ipsec }) => ipsec)
    if (nobodyCan && this.engine.problem !== undefined) {
      const text = `no controller in reach can carry it; here: ${this.engine.problem}`
      for (const each of this.#known.keys()) problems[each] ??= { at: this.#wallClock(), text }
    }
    for (const [each, { value, carrier }] of nobodyCan ? [] : this.#known) {
      const { controllers } = this.#electiveOf(each, value)
      if (!value.enabled || !value.initiate || carrier !== undefined || controllers.length === 0) continue
      if (this.#candidates(each, value).length > 0) continue
      const names = controllers.map(controller => this.#nameOf(controller)).join(', ')
      const text = `no controller that may dial it (${names}) is in reach and able to; \`overmesh ipsec set\` names others`
      problems[each] = { at: this.#wallClock(), text }
    }
    return { problems, sas: sas.filter(({ tunnel }) => tunnel === id).slice(0, MAX_SAS) }
  }

  async reports(id?: string): Promise<{ controller: ControllerId; report: Report }[]> {
    const { home, ask } = this.#init
    const others = this.#present().filter(each => each.ipsec && each.id !== home.id)
    const told = await Promise.all(
      others.map(async ({ id: controller }) => {
        const text = await ask(controller, reportQuestion(id))
        const report = text === undefined ? undefined : readReport(text)
        return report ? [{ controller, report }] : []
      }),
    )
    return [{ controller: home.id, report: await this.report(id) }, ...told.flat()]
  }

  async comesUp(id: string): Promise<void> {
    const begun = this.#wallClock()
    const until = this.#now() + DIAL_MS
    let nextQuestion = this.#now() + QUESTION_MS
    this.review()
    while (this.carrierOf(id) === undefined) {
      const { state, problem: missing } = this.engine
      if (state === 'off' && missing !== undefined && !this.#hasOthers()) throw new IpsecError(missing)
      const now = this.#now()
      if (now >= nextQuestion) {
        nextQuestion = now + QUESTION_MS
        const problem = await this.#latestProblem(id)
        // A device that is silent may answer yet; whatever else is wrong stays wrong.
        if (problem && problem.at >= begun && !SILENT.test(problem.text)) throw new IpsecError(problem.text)
        if (now >= until) throw new IpsecError(problem?.text ?? `nobody has it up after ${DIAL_MS / 1000} s`)
      }
      await new Promise(resolve => setTimeout(resolve, COMES_UP_LOOK_MS))
    }
  }

  async #latestProblem(id: string): Promise<AttachmentProblem | undefined> {
    const told = (await this.reports()).flatMap(({ report }) => report.problems[id] ?? [])
    return told.sort((a, b) => b.at - a.at).at(0)
  }

  /** For `status`: why this controller, which could, carries nothing. */
  warnings(): string[] {
    const { engine } = this.#init
    const { state, problem } = engine
    const isAsked = [...this.#known.values()].some(({ value }) => value.enabled)
    if (!isAsked || engine instanceof NoEngine || state === 'running' || problem === undefined) return []
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
        this.#tellMove(id, value, before?.carrier, carrier)
      }
      this.#known.set(id, { value, carrier })
    }
    for (const id of this.#known.keys()) {
      if (ids.has(id)) continue
      this.#known.delete(id)
      this.#problems.delete(id)
      this.#standbyTold.delete(id)
      isChanged = true
    }
    this.#dialling.keep(ids)
    this.#surpluses.keep(ids)
    this.#restarts.keep(new Set(present.map(each => each.id)))
    void this.#apply()
    this.#endSurpluses()
    this.#schedule()
    if (isChanged) this.onChange()
  }

  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    clearTimeout(this.#timer)
    if (this.#started) await this.#init.engine.stop()
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
    const now = this.#now()
    return present.flatMap(({ id: controller, draining, ipsec, attachments }) =>
      ipsec || this.#restarts.isExpected(controller, now)
        ? [{ id: controller, draining, since: attachments.find(each => each.id === id)?.since }]
        : [],
    )
  }

  /** Tells the daemon what there is, and which of it to dial. */
  async #apply(): Promise<void> {
    const { home, engine, credentials, isDraining, others } = this.#init
    // Whoever was removed carries nothing any more.
    const isMember = home.views.isAdmitted(home.id)
    const enabled = [...this.#known].filter(([, { value }]) => isMember && value.enabled)
    if (!this.#started) {
      if (enabled.length === 0) return
      this.#started = true
      void engine.start()
    }
    const present = this.#present()
    const now = this.#now()
    const own = credentials()
    const isSettled = this.#listening.isOver([...others()].length, home.views.controllers().length - 1, now)
    const tunnels: Tunnel[] = []
    for (const [id, { value }] of enabled) {
      // A controller that drains takes nobody new.
      if (isDraining() && !this.#up.has(id)) continue
      const { dial: isElected } = this.#dialling.decide(
        this.#electiveOf(id, value),
        this.#terminators(id, present),
        now,
      )
      const tunnel = tunnelOf(home, own, id, value, isElected && isSettled)
      if (tunnel) tunnels.push(tunnel)
      else
        this.#wentWrong(id, 'its secret cannot be opened here: it was sealed by another mesh; give it again')
    }
    const isWelcoming = !isDraining()
    const told =
      JSON.stringify([isWelcoming, tunnels], (key, value) => (key === 'secret' ? '' : value)) + this.#sealed()
    if (told === this.#told) return
    this.#told = told
    await engine.set(tunnels, isWelcoming)
  }

  /** Changes of secrets are seen by how they are sealed. */
  #sealed(): string {
    return [...this.#known.values()]
      .map(({ value: { authentication } }) => (authentication.method === 'psk' ? authentication.sealed : ''))
      .join()
  }

  /** Ends what is up here while another controller carries it. */
  #endSurpluses(): void {
    const now = this.#now()
    const { home, isDraining } = this.#init
    for (const [id, { value, carrier }] of this.#known) {
      const isHere = this.#up.has(id)
      const isSurplus = isHere && carrier !== undefined && carrier !== home.id
      const verdict = this.#surpluses.decide(id, isSurplus, value.initiate, now)
      // While this controller drains, a site that dials by itself finds another when it is sent away.
      const isSentAway = isHere && isDraining() && !value.initiate && this.#hasOthers()
      if (verdict === 'end' || isSentAway) this.#end(id)
      else if (isSurplus && verdict === 'keep') this.#tellStandby(id, value, carrier)
    }
  }

  #hasOthers(): boolean {
    const { home } = this.#init
    return this.#present().some(({ id, ipsec, draining }) => id !== home.id && ipsec && !draining)
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
    void this.#init.engine.terminate(id).finally(() => this.#ending.delete(id))
  }

  #tellMove(
    id: string,
    { name, remoteSubnets }: AttachmentValue,
    from: ControllerId | undefined,
    to: ControllerId | undefined,
  ): void {
    const { events, logger } = this.#init
    const facts = { attachment: name, subnets: remoteSubnets }
    if (to === undefined) {
      if (from === undefined) return
      const reason = this.#problems.get(id)?.text
      const isThere = this.#present().some(each => each.id === from)
      const { teller = () => this.#nameOf(this.#init.home.id) } = this.#init
      events.append({
        type: 'attachment-down',
        ...facts,
        controller: this.#nameOf(from),
        teller: isThere ? this.#nameOf(from) : teller(),
        ...(reason ? { reason } : {}),
      })
      logger.info({ attachment: name, controller: this.#nameOf(from), reason }, 'attachment down')
    } else {
      const type = from === undefined ? 'attachment-up' : 'attachment-moved'
      const moved = from === undefined ? {} : { from: this.#nameOf(from) }
      events.append({ type, ...facts, controller: this.#nameOf(to), ...moved, teller: this.#nameOf(to) })
      logger.info({ attachment: name, controller: this.#nameOf(to), ...moved }, type.replace('-', ' '))
    }
  }

  #tellStandby(id: string, { name }: AttachmentValue, carrier: ControllerId): void {
    const now = this.#now()
    const told = this.#standbyTold.get(id)
    if (told !== undefined && now - told < STANDBY_WORD_MS) return
    this.#standbyTold.set(id, now)
    const message = `the site keeps several controllers connected; packets go by ${this.#nameOf(carrier)}, this one stands by`
    this.#init.events.append({ type: 'attachment-standby', attachment: name, message })
    this.#init.logger.info({ attachment: name }, message)
  }

  #nameOf(controller: ControllerId): string {
    return this.#init.home.replica.get('controller', controller)?.name ?? controller
  }

  #engineChanged(): void {
    if (this.#init.engine.state !== 'running') {
      this.#installed.clear()
      this.#up.clear()
    }
    this.#changedHere()
  }

  #cameUp(id: string): void {
    this.#installed.add(id)
    // Nobody sends packets here before the kernel knows where they go.
    void this.#init.ready().then(() => {
      if (!this.#installed.has(id) || this.#up.has(id)) return
      this.#up.set(id, this.#wallClock())
      this.#surpluses.cameUp(id, this.#now())
      this.#problems.delete(id)
      this.#changedHere()
    })
  }

  #wentDown(id: string): void {
    this.#installed.delete(id)
    if (this.#up.delete(id)) this.#changedHere()
  }

  #wentWrong(id: string, text: string): void {
    const value = this.#known.get(id)?.value ?? this.#init.home.replica.get('attachment', id)
    const before = this.#problems.get(id)
    this.#problems.set(id, { at: this.#wallClock(), text })
    if (value === undefined || before?.text === text) return
    this.#init.events.append({ type: 'attachment-problem', attachment: value.name, reason: text })
    this.#init.logger.warn({ attachment: value.name, reason: text }, 'an attachment cannot be set up')
  }

  #changedHere(): void {
    if (this.#stopped) return
    this.review()
    this.onChange()
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#known.size === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.review()
    }, LOOK_MS)
    this.#timer.unref()
  }
}
