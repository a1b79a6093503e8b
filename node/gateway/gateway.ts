// The kernel of a controller's machine as the overlay's gateway: rules, routes and forwarding are made as described, kept so, and undone.
import { createHash } from 'node:crypto'
import type { Logger } from 'pino'
import type { DataDirectory } from '../data-directory.ts'
import { KernelNews } from '../switch/sys/kernel-news.ts'
import { type Chains, dropperWords, type ForeignChain, readChains } from './chains.ts'
import type { GatewayDescription, GatewayHandle } from './description.ts'
import { FORWARDING4, FORWARDING6, isInterface, prepareInterface } from './forwarding.ts'
import { FoundForwarding } from './found.ts'
import { type CommandResult, type Kernel, reasonOf, thisKernel } from './kernel.ts'
import {
  changeRoutes,
  changeRoutes6,
  hasExit,
  hasExit6,
  ROUTE_PROTOCOL,
  type RouteChanges,
  readKernelRoutes,
  readKernelRoutes6,
} from './kernel-routes.ts'
import { type News, ObservedKernel } from './observed-kernel.ts'
import { removalOf, rulesetOf, TABLE_PREFIX } from './ruleset.ts'
import { TraceFile } from './traces.ts'

export interface GatewayInit {
  /** Keeps what was made, for the start after a crash. */
  directory: DataDirectory
  /** Tells this controller's table from those of others on this machine: its controller id. */
  id: string
  logger?: Logger
  /** @default this machine's */
  kernel?: Kernel
  /** What tells that the kernel changed; undefined where nothing does. @default this machine's, unless a kernel is given */
  openNews?: () => News | undefined
  /** ms between two changes at the least. @default 250 */
  grainMs?: number
  /** ms after which the kernel is looked at again: firewalls are reloaded, networks come. @default 10000 */
  lookMs?: number
  /** ms after which it is looked at where there are news of it. @default 2000 */
  newsMs?: number
}

/** Hexadecimal digits of the hash of a controller's id. */
const ID_LENGTH = 12
const GRAIN_MS = 250
const LOOK_MS = 10_000
const NEWS_MS = 2000
/** More prefixes than an operator sets; each list. */
export const MAX_PREFIXES = 4096
/** Lines in `problems`. */
const MAX_PROBLEMS = 16
/** Longest name of an interface, with what the kernel allows in it and nft's strings too. */
const INTERFACE_NAME = /^[\w.@-]{1,15}$/

const NO_GATEWAY = 'this controller is no gateway between the overlay and its networks: '

/** Why forwarding cannot be switched on, by version of IP. */
type Refused = Partial<Record<4 | 6, string>>

/** Something that must work for this machine to be a gateway did not. The message says what to do. */
class GatewayError extends Error {
  override name = 'GatewayError'
}

export class Gateway implements GatewayHandle {
  readonly #kernel: ObservedKernel
  readonly #traces: TraceFile
  readonly #table: string
  readonly #logger: Logger | undefined
  readonly #grainMs: number
  readonly #lookMs: number
  readonly #newsMs: number
  #wanted: GatewayDescription | undefined
  /** `#wanted` as text, and the ruleset that is in force: to see changes. */
  #wantedText = ''
  /** How many descriptions there were, up to which they are in force, and who waits for which to be. */
  #described = 0
  #inForce = 0
  #waiting: { for: number; resolve: () => void }[] = []
  #rulesText = ''
  /** Of both versions of IP. */
  readonly #found: readonly [FoundForwarding, FoundForwarding]
  /** Something was made, or left behind: the file has to stay until it is removed. */
  #made = false
  #up = false
  #up6 = false
  #exit = false
  #exit6 = false
  #problems: string[] = []
  #timer: NodeJS.Timeout | undefined
  /** The change that is being made. */
  #turn: Promise<void> = Promise.resolve()
  #busy = false
  /** ms since the process began */
  #lastTurn = Number.NEGATIVE_INFINITY
  #stopping = false

  private constructor(init: GatewayInit) {
    this.#kernel = new ObservedKernel(init.kernel ?? thisKernel)
    this.#traces = new TraceFile(init.directory, this.#kernel)
    this.#table = TABLE_PREFIX + createHash('sha256').update(init.id).digest('hex').slice(0, ID_LENGTH)
    this.#logger = init.logger
    const { logger } = init
    this.#found = [
      new FoundForwarding(FORWARDING4, this.#kernel, logger),
      new FoundForwarding(FORWARDING6, this.#kernel, logger),
    ]
    this.#grainMs = init.grainMs ?? GRAIN_MS
    this.#lookMs = init.lookMs ?? LOOK_MS
    this.#newsMs = init.newsMs ?? NEWS_MS
  }

  /** Removes what a crash left behind. Nothing is made before the first description; nothing is thrown, `problems` tells. */
  static async start(init: GatewayInit): Promise<Gateway> {
    const gateway = new Gateway(init)
    await gateway.#sweep(false)
    const openNews =
      init.openNews ?? (() => (init.kernel === undefined ? openKernelNews(init.logger) : undefined))
    gateway.#kernel.observe(openNews())
    return gateway
  }

  /** For a controller that is no gateway this time: removes what its last start left behind after a crash. */
  static async cleanUp(init: GatewayInit): Promise<void> {
    await new Gateway(init).#sweep(true)
  }

  get isUp(): boolean {
    return this.#up
  }

  get isUp6(): boolean {
    return this.#up6
  }

  get hasExit(): boolean {
    return this.#exit
  }

  get hasExit6(): boolean {
    return this.#exit6
  }

  problems(): string[] {
    return [...this.#problems]
  }

  /** Makes the kernel as described, soon: changes are made one after the other, and the latest description counts. */
  update(description: GatewayDescription): void {
    const text = JSON.stringify(description)
    if (this.#stopping || text === this.#wantedText) return
    this.#wanted = description
    this.#wantedText = text
    this.#described++
    this.#schedule(this.#grainMs)
  }

  /** The interface was made anew, or is gone: what was made for it may be gone, too, and is looked at soon. */
  interfaceChanged(): void {
    if (this.#stopping || this.#wanted === undefined) return
    // As after another description: one that is in force already counts for nothing.
    this.#wantedText = ''
    this.#described++
    this.#schedule(this.#grainMs)
  }

  /** Resolves when what was described last is in force, or cannot be; however often it is described anew meanwhile. */
  settled(): Promise<void> {
    if (this.#stopping || this.#described === this.#inForce) return Promise.resolve()
    return new Promise(resolve => this.#waiting.push({ for: this.#described, resolve }))
  }

  /** Undoes everything. */
  async stop(): Promise<void> {
    if (this.#stopping) return this.#turn
    this.#stopping = true
    for (const { resolve } of this.#waiting.splice(0)) resolve()
    clearTimeout(this.#timer)
    this.#turn = this.#turn.then(() => this.#undo())
    await this.#turn
    this.#kernel.close()
  }

  /** The next turn, `delay` after the last one at the earliest. */
  #schedule(delay: number): void {
    if (this.#busy || this.#stopping) return
    clearTimeout(this.#timer)
    const wait = Math.max(0, this.#lastTurn + delay - performance.now())
    this.#timer = setTimeout(() => this.#begin(), wait).unref()
  }

  #begin(): void {
    this.#busy = true
    this.#turn = this.#apply()
  }

  /** All is as described: the next turn when the kernel is to be looked at again, or when there are news of it. */
  #rest(): void {
    if (this.#stopping) return
    const left = this.#lastTurn + this.#lookMs - performance.now()
    this.#timer = setTimeout(
      () => {
        if (left <= this.#newsMs || this.#kernel.hasNews()) this.#begin()
        else this.#rest()
      },
      Math.max(0, Math.min(left, this.#newsMs)),
    ).unref()
  }

  async #apply(): Promise<void> {
    const description = this.#wanted!
    const text = this.#wantedText
    const described = this.#described
    const problems: string[] = []
    try {
      const refused = await this.#make(description, problems)
      this.#up = refused[4] === undefined
      this.#up6 = description.six !== undefined && refused[6] === undefined
      if (refused[6] !== undefined) problems.unshift(`this controller is no gateway of IPv6: ${refused[6]}`)
      if (refused[4] !== undefined) problems.unshift(NO_GATEWAY + refused[4])
    } catch (error) {
      this.#up = false
      this.#up6 = false
      const reason = error instanceof GatewayError ? error.message : `unexpected: ${String(error)}`
      problems.unshift(NO_GATEWAY + reason)
    }
    this.#tell(problems)
    this.#inForce = described
    for (const each of this.#waiting) if (each.for <= described) each.resolve()
    this.#waiting = this.#waiting.filter(each => each.for > described)
    this.#lastTurn = performance.now()
    this.#busy = false
    if (text === this.#wantedText) this.#rest()
    else this.#schedule(this.#grainMs)
  }

  /** Seals first, then routes, then forwards. @throws GatewayError */
  async #make(description: GatewayDescription, problems: string[]): Promise<Refused> {
    check(description)
    const { tunName } = description
    const routes = await this.#routeChanges(description)
    const chains = await this.#chains()
    const { forwards } = rulesetOf(this.#table, description, [])
    const isThere = isInterface(this.#kernel, tunName)
    const toSwitch = this.#found.filter(found => {
      found.inherit(chains, this.#table)
      return found.note(chains, tunName, isThere && forwards[found.forwarding.version])
    })
    const marks = this.#marks.join()
    this.#made = true
    await this.#remember()
    await this.#setRules(description, chains)
    if (!isThere) throw new GatewayError(`there is no interface ${tunName}: it was renamed, moved or deleted`)
    problems.push(...(await this.#setRoutes(routes)))
    const refused: Refused = {}
    for (const found of toSwitch) refused[found.forwarding.version] = found.switchOn()
    for (const found of this.#found)
      if (!forwards[found.forwarding.version]) await found.giveBack(chains, this.#table)
    if (this.#marks.join() !== marks) {
      await this.#setRules(description, chains)
      await this.#remember()
    }
    const unprepared =
      forwards[4] && refused[4] === undefined ? prepareInterface(this.#kernel, tunName) : undefined
    if (unprepared !== undefined) problems.push(unprepared)
    for (const chain of chains.droppers) {
      const isInTheWay = this.#found.some(
        ({ forwarding: { version, families } }) =>
          forwards[version] && refused[version] === undefined && families.includes(chain.family),
      )
      if (isInTheWay && (await this.#stops(chain, tunName))) problems.push(dropperWords(chain, tunName))
    }
    return refused
  }

  /** How forwarding was, in names of chains. */
  get #marks(): string[] {
    return this.#found.flatMap(({ found }) => found.before)
  }

  /** @param chains as they were: what they lack of this table has to be made anew */
  async #setRules(description: GatewayDescription, { controllers }: Chains): Promise<void> {
    const { text } = rulesetOf(this.#table, description, this.#marks)
    if (controllers.has(this.#table) && text === this.#rulesText) return
    this.#rulesText = ''
    await this.#command('nft', ['-f', '-'], 'nftables', 'the rules for forwarding', text)
    this.#rulesText = text
  }

  async #setRoutes({ batch, problems }: RouteChanges): Promise<string[]> {
    if (batch.length === 0) return problems
    const result = await this.#kernel.run('ip', ['-force', '-batch', '-'], `${batch.join('\n')}\n`)
    if (result.code !== 0) {
      problems.push(`some routes into the overlay could not be set: ip says "${reasonOf(result)}"`)
    }
    return problems
  }

  #remember(): Promise<void> {
    const [four, six] = this.#found.map(each => each.found)
    return this.#traces.write({ table: this.#table, four, six })
  }

  /** Rules that mention the interface are taken for those that let it pass. */
  async #stops({ family, table }: ForeignChain, tunName: string): Promise<boolean> {
    const { code, stdout } = await this.#kernel.run('nft', ['list', 'table', family, table])
    const passes = [`"${tunName}"`, '"overmesh*"'].some(each => stdout.includes(each))
    return code !== 0 || !passes
  }

  /** What the last start left behind; forwarding is given back only with `all`, or it would go off and on again. */
  async #sweep(all: boolean): Promise<void> {
    try {
      const left = await this.#traces.left()
      if (left === undefined) return this.#traces.remove()
      this.#made = true
      await this.#command('nft', ['-f', '-'], 'nftables', 'removing rules', removalOf(left.table))
      this.#logger?.info({ table: left.table }, 'removed rules of a controller that was killed')
      const [four, six] = this.#found
      four.remember(left.four)
      six.remember(left.six)
      if (!all) return
      await this.#giveBack()
      await this.#traces.remove()
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#tell([`rules of an earlier start could not be removed: ${reason}`])
    }
  }

  async #undo(): Promise<void> {
    this.#up = false
    this.#up6 = false
    if (!this.#made) return
    try {
      if (this.#wanted !== undefined) {
        const { tunName, attached } = this.#wanted
        for (const device of [tunName, ...(attached?.device === undefined ? [] : [attached.device])]) {
          const flush = ['route', 'flush', 'table', 'main', 'dev', device, 'proto', String(ROUTE_PROTOCOL)]
          // The interface may be gone, and its routes with it.
          for (const version of ['-4', '-6']) await this.#kernel.run('ip', [version, ...flush])
        }
      }
      // Another controller that stopped may have left it to this one.
      const chains = await this.#chains()
      for (const found of this.#found) found.inherit(chains, this.#table)
      await this.#command('nft', ['-f', '-'], 'nftables', 'removing rules', removalOf(this.#table))
      await this.#giveBack()
      await this.#traces.remove()
    } catch (error) {
      this.#logger?.warn(
        { err: error },
        'what was made in the kernel could not all be undone; the next start tries again',
      )
    }
  }

  async #giveBack(): Promise<void> {
    const chains = await this.#chains()
    for (const found of this.#found) await found.giveBack(chains, this.#table)
  }

  async #routeChanges(description: GatewayDescription): Promise<RouteChanges> {
    const present4 = await this.#routes('-4', readKernelRoutes)
    const present6 = description.six ? await this.#routes('-6', readKernelRoutes6) : []
    this.#exit = hasExit(description, present4)
    this.#exit6 = hasExit6(description, present6)
    const four = changeRoutes(description, present4)
    const six = changeRoutes6(description, present6)
    return { batch: [...four.batch, ...six.batch], problems: [...four.problems, ...six.problems] }
  }

  #routes<T>(version: '-4' | '-6', read: (json: string) => T): Promise<T> {
    const args = [version, '-N', '-json', 'route', 'show', 'table', 'all']
    return this.#ask('ip', args, 'iproute2', 'routes into the overlay', read)
  }

  #chains(): Promise<Chains> {
    return this.#ask('nft', ['-j', 'list', 'chains'], 'nftables', 'the rules for forwarding', readChains)
  }

  /** Asks once more where the answer is cut short, as nft's was seen to be on a busy machine. @throws GatewayError */
  async #ask<T>(
    program: 'nft' | 'ip',
    args: readonly string[],
    debianPackage: string,
    use: string,
    read: (json: string) => T,
  ): Promise<T> {
    for (let asked = 1; ; asked++) {
      const { stdout } = await this.#command(program, args, debianPackage, use)
      try {
        return read(stdout)
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error
        this.#kernel.forget()
        if (asked === 2) throw new GatewayError(`${program} answered what is no JSON, asked for ${use}`)
      }
    }
  }

  /** @throws GatewayError */
  async #command(
    program: 'nft' | 'ip',
    args: readonly string[],
    debianPackage: string,
    use: string,
    input?: string,
  ): Promise<CommandResult> {
    const result = await this.#kernel.run(program, args, input)
    if (result.code === 0) return result
    if (result.missing)
      throw new GatewayError(`${program} is not there, needed for ${use}; apt-get install ${debianPackage}`)
    const words = reasonOf(result)
    const hint = /not permitted|denied/i.test(words)
      ? 'run as root or with CAP_NET_ADMIN'
      : 'see `overmesh doctor`'
    throw new GatewayError(`${program} failed for ${use} ("${words}"); ${hint}`)
  }

  #tell(problems: string[]): void {
    const before = new Set(this.#problems)
    this.#problems = problems.slice(0, MAX_PROBLEMS)
    for (const problem of this.#problems) if (!before.has(problem)) this.#logger?.warn(problem)
  }
}

/** This machine's; without them it is asked at every look. */
function openKernelNews(logger: Logger | undefined): News | undefined {
  try {
    return new KernelNews()
  } catch (error) {
    logger?.debug({ err: error }, 'the kernel tells no news of its routes and rules; it is asked instead')
    return undefined
  }
}

/** @throws GatewayError */
function check({ tunName, kernelRoutes, forwarded, masqueraded, six }: GatewayDescription): void {
  if (!INTERFACE_NAME.test(tunName))
    throw new GatewayError(`no interface can be named ${JSON.stringify(tunName)}`)
  const lists = [kernelRoutes, forwarded, masqueraded]
  const lists6 = six === undefined ? [] : [six.kernelRoutes, six.forwarded, six.masqueraded]
  const most = Math.max(...[...lists, ...lists6].map(({ length }) => length))
  if (most > MAX_PREFIXES) {
    throw new GatewayError(
      `${most} prefixes are more than the ${MAX_PREFIXES} that it takes; join or remove some`,
    )
  }
}
