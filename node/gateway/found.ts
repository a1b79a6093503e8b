// Forwarding of one version of IP, as a gateway found it, switches it on, and leaves it: as it was, unless others need it by then.
import type { Logger } from 'pino'
import type { Chains } from './chains.ts'
import type { Forwarding } from './forwarding.ts'
import type { Kernel } from './kernel.ts'

/** Names of chains; see `Forwarding` and `Chains`. */
export interface Found {
  /** What it was before; none where it was on, or was not needed. */
  before: readonly string[]
  /** Chains of others when it was switched on, or when this gateway came. */
  others: readonly string[]
}

export class FoundForwarding {
  readonly forwarding: Forwarding
  readonly #kernel: Kernel
  readonly #logger: Logger | undefined
  #before: readonly string[] = []
  #others: readonly string[] | undefined

  constructor(forwarding: Forwarding, kernel: Kernel, logger: Logger | undefined) {
    this.forwarding = forwarding
    this.#kernel = kernel
    this.#logger = logger
  }

  get found(): Found {
    return { before: this.#before, others: this.#others ?? [] }
  }

  /** As an earlier start left it. */
  remember({ before, others }: Found): void {
    this.#before = before
    this.#others = others
  }

  /** Nothing was switched on. */
  forget(): void {
    this.#before = []
  }

  /** Takes over what another controller that stopped has left to this one's table. */
  inherit({ controllers }: Chains, table: string): void {
    if (this.#before.length === 0) this.#before = this.#left(controllers.get(table))
  }

  /** Notes what there is; true where it is needed and has to be switched on. */
  note(chains: Chains, tunName: string, isNeeded: boolean): boolean {
    const isToSwitch = isNeeded && !this.forwarding.isOn(this.#kernel)
    if (isToSwitch || this.#others === undefined) this.#others = this.#foreign(chains)
    // Where somebody switched it off meanwhile, what was before this gateway counts still.
    if (isToSwitch)
      this.#before = [...new Set([...this.#before, ...this.forwarding.before(this.#kernel, tunName)])]
    return isToSwitch
  }

  /** Says what is wrong where it cannot be. */
  switchOn(): string | undefined {
    const refused = this.forwarding.switchOn(this.#kernel, this.#before)
    if (refused !== undefined) this.forget()
    return refused
  }

  /**
   * As it was, unless another controller here needs it: then that one is the last to go. Where others came meanwhile that may need it, such
   * as Docker, it stays on.
   */
  async giveBack(chains: Chains, table: string): Promise<void> {
    const { forwarding } = this
    const before = this.#before
    this.forget()
    if (before.length === 0) return
    const other = [...chains.controllers].find(([name, has]) => name !== table && has.has(forwarding.mark))
    const newcomer = this.#foreign(chains).find(each => this.#others?.includes(each) === false)
    if (newcomer !== undefined) {
      const words = `IPv${forwarding.version} forwarding stays on, for others that came meanwhile`
      this.#logger?.info({ chain: newcomer }, words)
    } else if (other === undefined) {
      const problem = forwarding.switchOff(this.#kernel, before)
      if (problem !== undefined) this.#logger?.warn(problem)
    } else if (this.#left(other[1]).length === 0) {
      const marks = before.map(mark => `add chain inet ${other[0]} ${mark}\n`)
      await this.#kernel.run('nft', ['-f', '-'], marks.join(''))
    }
  }

  #left(names: Iterable<string> = []): string[] {
    return [...names].filter(name => this.forwarding.isBefore(name))
  }

  #foreign({ others }: Chains): string[] {
    return others.filter(each => this.forwarding.families.includes(each.slice(0, each.indexOf(' '))))
  }
}
