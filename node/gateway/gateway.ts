// The kernel of a controller's machine as the overlay's gateway: rules, routes and forwarding are made as described, kept so, and undone.
import { createHash } from 'node:crypto'
import type { Logger } from 'pino'
import type { DataDirectory } from '../data-directory.ts'
import { type Chains, dropperWords, type ForeignChain, readChains } from './chains.ts'
import type { GatewayDescription, GatewayHandle } from './description.ts'
import { isForwarding, prepareInterface, setForwarding } from './forwarding.ts'
import { type CommandResult, type Kernel, reasonOf, thisKernel } from './kernel.ts'
import { changeRoutes, type KernelRoute, ROUTE_PROTOCOL, readKernelRoutes } from './kernel-routes.ts'
import { removalOf, rulesetOf, TABLE_PREFIX, WAS_OFF_MARK } from './ruleset.ts'
import { TraceFile } from './traces.ts'

export interface GatewayInit {
  /** Keeps what was made, for the start after a crash. */
  directory: DataDirectory
  /** Tells this controller's table from those of others on this machine: its controller id. */
  id: string
  logger?: Logger
  /** @default this machine's */
  kernel?: Kernel
  /** ms between two changes at the least. @default 250 */
  grainMs?: number
  /** ms after which the kernel is looked at again: firewalls are reloaded, networks come. @default 10000 */
  lookMs?: number
}

/** Hexadecimal digits of the hash of a controller's id. */
const ID_LENGTH = 12
const GRAIN_MS = 250
const LOOK_MS = 10_000
/** More prefixes than an operator sets; each list. */
export const MAX_PREFIXES = 4096
/** Lines in `problems`. */
const MAX_PROBLEMS = 16
/** Longest name of an interface, with what the kernel allows in it and nft's strings too. */
const INTERFACE_NAME = /^[\w.@-]{1,15}$/

/** Something that must work for this machine to be a gateway did not. The message says what to do. */
class GatewayError extends Error {
  override name = 'GatewayError'
}

export class Gateway implements GatewayHandle {
  readonly #kernel: Kernel
  readonly #traces: TraceFile
  readonly #table: string
  readonly #logger: Logger | undefined
  readonly #grainMs: number
  readonly #lookMs: number
  #wanted: GatewayDescription | undefined
  /** `#wanted` as text, and the ruleset that is in force: to see changes. */
  #wantedText = ''
  /** The description of the latest turn, as text, and who waits for the next. */
  #madeText = ''
  readonly #waiting: (() => void)[] = []
  #rulesText = ''
  #wasOff = false
  /** Chains of others when forwarding was switched on, or when this one came; see `Chains`. */
  #others: readonly string[] | undefined
  /** Something was made, or left behind: the file has to stay until it is removed. */
  #made = false
  #up = false
  #problems: string[] = []
  #timer: NodeJS.Timeout | undefined
  /** The change that is being made. */
  #turn: Promise<void> = Promise.resolve()
  #busy = false
  /** ms since the process began */
  #lastTurn = Number.NEGATIVE_INFINITY
  #stopping = false

  private constructor(init: GatewayInit) {
    this.#kernel = init.kernel ?? thisKernel
    this.#traces = new TraceFile(init.directory, this.#kernel)
    this.#table = TABLE_PREFIX + createHash('sha256').update(init.id).digest('hex').slice(0, ID_LENGTH)
    this.#logger = init.logger
    this.#grainMs = init.grainMs ?? GRAIN_MS
    this.#lookMs = init.lookMs ?? LOOK_MS
  }

  /** Removes what a crash left behind. Nothing is made before the first description; nothing is thrown, `problems` tells. */
  static async start(init: GatewayInit): Promise<Gateway> {
    const gateway = new Gateway(init)
    await gateway.#sweep(false)
    return gateway
  }

  /** For a controller that is no gateway this time: removes what its last start left behind after a crash. */
  static async cleanUp(init: GatewayInit): Promise<void> {
    await new Gateway(init).#sweep(true)
  }

  get isUp(): boolean {
    return this.#up
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
    this.#schedule(this.#grainMs)
  }

  /** Resolves when what was described last is in force, or cannot be. */
  settled(): Promise<void> {
    if (this.#stopping || this.#wantedText === this.#madeText) return Promise.resolve()
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  /** Undoes everything. */
  async stop(): Promise<void> {
    if (this.#stopping) return this.#turn
    this.#stopping = true
    for (const resolve of this.#waiting.splice(0)) resolve()
    clearTimeout(this.#timer)
    this.#turn = this.#turn.then(() => this.#undo())
    await this.#turn
  }

  /** The next turn, `delay` after the last one at the earliest. */
  #schedule(delay: number): void {
    if (this.#busy || this.#stopping) return
    clearTimeout(this.#timer)
    const wait = Math.max(0, this.#lastTurn + delay - performance.now())
    this.#timer = setTimeout(() => {
      this.#busy = true
      this.#turn = this.#apply()
    }, wait)
    this.#timer.unref()
  }

  async #apply(): Promise<void> {
    const description = this.#wanted!
    const text = this.#wantedText
    const problems: string[] = []
    try {
      await this.#make(description, problems)
      this.#up = true
    } catch (error) {
      this.#up = false
      const reason = error instanceof GatewayError ? error.message : `unexpected: ${String(error)}`
      problems.unshift(`this controller is no gateway between the overlay and its networks: ${reason}`)
    }
    this.#tell(problems)
    this.#madeText = text
    if (text === this.#wantedText) for (const resolve of this.#waiting.splice(0)) resolve()
    this.#lastTurn = performance.now()
    this.#busy = false
    this.#schedule(text === this.#wantedText ? this.#lookMs : this.#grainMs)
  }

  /** Seals first, then routes, then forwards. @throws GatewayError */
  async #make(description: GatewayDescription, problems: string[]): Promise<void> {
    check(description)
    const routes = await this.#routes()
    const chains = await this.#chains()
    const known = chains.controllers.get(this.#table)
    this.#wasOff ||= known?.wasOff === true
    const { forwards } = rulesetOf(this.#table, description, this.#wasOff)
    const switchesOn = forwards && !isForwarding(this.#kernel)
    this.#others ??= chains.others
    if (switchesOn) {
      this.#wasOff = true
      this.#others = chains.others
    }
    this.#made = true
    await this.#remember()
    await this.#setRules(description, known !== undefined && known.wasOff === this.#wasOff)
    problems.push(...(await this.#setRoutes(description, routes)))
    const refused = switchesOn ? setForwarding(this.#kernel, true) : undefined
    if (refused !== undefined) {
      await this.#forgetWasOff(description)
      throw new GatewayError(refused)
    }
    if (!forwards) {
      if (!this.#wasOff) return
      await this.#giveBack(chains)
      return this.#forgetWasOff(description)
    }
    const unprepared = prepareInterface(this.#kernel, description.tunName)
    if (unprepared !== undefined) problems.push(unprepared)
    for (const chain of chains.droppers) {
      if (await this.#stops(chain, description.tunName))
        problems.push(dropperWords(chain, description.tunName))
    }
  }

  async #setRules(description: GatewayDescription, present: boolean): Promise<void> {
    const { text } = rulesetOf(this.#table, description, this.#wasOff)
    if (present && text === this.#rulesText) return
    this.#rulesText = ''
    await this.#command('nft', ['-f', '-'], 'nftables', 'the rules for forwarding', text)
    this.#rulesText = text
  }

  async #setRoutes(description: GatewayDescription, present: readonly KernelRoute[]): Promise<string[]> {
    const { batch, problems } = changeRoutes(description, present)
    if (batch.length === 0) return problems
    const result = await this.#kernel.run('ip', ['-force', '-batch', '-'], `${batch.join('\n')}\n`)
    if (result.code !== 0) {
      problems.push(`some routes into the overlay could not be set: ip says "${reasonOf(result)}"`)
    }
    return problems
  }

  /**
   * Forwarding as it was, unless another controller here needs it: then that one is the last to go. Where others came meanwhile that may
   * need it, such as Docker, it stays on.
   */
  async #giveBack({ controllers, others }: Chains): Promise<void> {
    if (!this.#wasOff) return
    const other = [...controllers].find(([table, { forwards }]) => forwards && table !== this.#table)
    const newcomer = others.find(each => this.#others?.includes(each) === false)
    if (newcomer !== undefined) {
      this.#logger?.info({ chain: newcomer }, 'IPv4 forwarding stays on, for others that came meanwhile')
    } else if (other === undefined) {
      const problem = setForwarding(this.#kernel, false)
      if (problem !== undefined) this.#logger?.warn(problem)
    } else if (!other[1].wasOff) {
      const mark = `add chain inet ${other[0]} ${WAS_OFF_MARK}\n`
      await this.#kernel.run('nft', ['-f', '-'], mark)
    }
    this.#wasOff = false
  }

  async #forgetWasOff(description: GatewayDescription): Promise<void> {
    this.#wasOff = false
    await this.#setRules(description, false)
    await this.#remember()
  }

  #remember(): Promise<void> {
    return this.#traces.write({ table: this.#table, wasOff: this.#wasOff, others: [...(this.#others ?? [])] })
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
      this.#wasOff = left.wasOff
      this.#others = left.others
      if (!all) return
      if (this.#wasOff) await this.#giveBack(await this.#chains())
      await this.#traces.remove()
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#tell([`rules of an earlier start could not be removed: ${reason}`])
    }
  }

  async #undo(): Promise<void> {
    this.#up = false
    if (!this.#made) return
    try {
      if (this.#wanted !== undefined) {
        const { tunName, attached } = this.#wanted
        for (const device of [tunName, ...(attached?.device === undefined ? [] : [attached.device])]) {
          const flush = ['-4', 'route', 'flush', 'table', 'main', 'dev', device]
          // The interface may be gone, and its routes with it.
          await this.#kernel.run('ip', [...flush, 'proto', String(ROUTE_PROTOCOL)])
        }
      }
      // Another controller that stopped may have left it to this one.
      this.#wasOff ||= (await this.#chains()).controllers.get(this.#table)?.wasOff === true
      await this.#command('nft', ['-f', '-'], 'nftables', 'removing rules', removalOf(this.#table))
      await this.#giveBack(await this.#chains())
      await this.#traces.remove()
    } catch (error) {
      this.#logger?.warn(
        { err: error },
        'what was made in the kernel could not all be undone; the next start tries again',
      )
    }
  }

  async #routes(): Promise<KernelRoute[]> {
    const args = ['-4', '-N', '-json', 'route', 'show', 'table', 'main']
    const { stdout } = await this.#command('ip', args, 'iproute2', 'routes into the overlay')
    return readKernelRoutes(stdout)
  }

  async #chains(): Promise<Chains> {
    const listed = await this.#command(
      'nft',
      ['-j', 'list', 'chains'],
      'nftables',
      'the rules for forwarding',
    )
    return readChains(listed.stdout)
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

/** @throws GatewayError */
function check({ tunName, kernelRoutes, forwarded, masqueraded }: GatewayDescription): void {
  if (!INTERFACE_NAME.test(tunName))
    throw new GatewayError(`no interface can be named ${JSON.stringify(tunName)}`)
  const most = Math.max(kernelRoutes.length, forwarded.length, masqueraded.length)
  if (most > MAX_PREFIXES) {
    throw new GatewayError(
      `${most} prefixes are more than the ${MAX_PREFIXES} that it takes; join or remove some`,
    )
  }
}
