// What a gateway made on this machine, on disk before it is made, so that the next start finds what a crash left behind.
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import type { DataDirectory } from '../data-directory.ts'
import { FORWARDING4, FORWARDING6 } from './forwarding.ts'
import type { Found } from './found.ts'
import type { Kernel } from './kernel.ts'

const Traces = Type.Object({
  version: Type.Literal(1),
  /** The boot and the network namespace in which it was made: in others nothing of it is left. */
  boot: Type.String({ maxLength: 64 }),
  namespace: Type.String({ maxLength: 64 }),
  /** The nftables table. */
  table: Type.String({ pattern: '^overmesh-[a-z0-9]{1,32}$' }),
  /** Forwarding was off before controllers came. */
  wasOff: Type.Boolean(),
  /** `others` of `Found`, as it was then. */
  others: Type.Array(Type.String()),
  /** `Found` of IPv6; earlier versions forwarded none. */
  six: Type.Optional(
    Type.Object({ before: Type.Array(Type.String({ maxLength: 128 })), others: Type.Array(Type.String()) }),
  ),
})

/** What was made, and what is to be known to undo it. */
export interface Left {
  readonly table: string
  readonly four: Found
  readonly six: Found
}

/** Kept in the data directory, mode 0600. */
export class TraceFile {
  readonly #directory: DataDirectory
  readonly #kernel: Kernel
  #written = ''

  constructor(directory: DataDirectory, kernel: Kernel) {
    this.#directory = directory
    this.#kernel = kernel
  }

  /** What an earlier start left behind here; undefined when that is nothing. */
  async left(): Promise<Left | undefined> {
    const text = await this.#directory.readIfThere(this.#directory.gatewayFile)
    if (text === undefined) return undefined
    let traces: unknown
    try {
      traces = JSON.parse(text)
    } catch {
      return undefined // Written whole or not at all: this is not ours.
    }
    if (!Value.Check(Traces, traces)) return undefined
    const here = this.#place()
    if (traces.boot !== here.boot || traces.namespace !== here.namespace) return undefined
    const { table, wasOff, others, six = { before: [], others: [] } } = traces
    return {
      table,
      four: { before: wasOff ? FORWARDING4.before(this.#kernel, '') : [], others },
      six: { ...six, before: six.before.filter(FORWARDING6.isBefore) },
    }
  }

  /** On disk when this resolves. */
  async write({ table, four, six }: Left): Promise<void> {
    const wasOff = four.before.length > 0
    const traces = { version: 1, ...this.#place(), table, wasOff, others: four.others, six }
    const text = `${JSON.stringify(traces)}\n`
    if (text === this.#written) return
    await this.#directory.write(this.#directory.gatewayFile, text)
    this.#written = text
  }

  async remove(): Promise<void> {
    await this.#directory.remove(this.#directory.gatewayFile)
    this.#written = ''
  }

  #place(): { boot: string; namespace: string } {
    return {
      boot: this.#kernel.read('/proc/sys/kernel/random/boot_id') ?? '',
      namespace: this.#kernel.link('/proc/self/ns/net') ?? '',
    }
  }
}
