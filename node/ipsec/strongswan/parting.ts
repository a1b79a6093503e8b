// How a device is sent away without a loss. It goes on sending by an association until it has taken in that this one ends, and its
// answer, by which charon forgets the association, may come before what it sent last. So the answer is dropped: charon keeps the
// association, as if the answer had been lost, until what was under way has come.
import { isIPv6 } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Kernel, thisKernel } from '../../gateway/kernel.ts'
import { textOf } from '../vici/message.ts'
import type { NamedSa } from './carrying.ts'
import type { Run } from './run.ts'
import { tunnelOfName } from './sas.ts'

const TABLE = 'overmesh_parting'
/** ms for which an association is kept: charon says its end again after a second, should the first word have been lost. */
export const PARTING_MS = 1500
/** The kernel forgets by itself what this process was killed before it could. */
const HOLD_SECONDS = 5
/** INFORMATIONAL with the flag of an answer (RFC 7296 section 3.1); at port 4500 a marker of four zero bytes comes before it. */
const ANSWERS = [
  'udp dport 500 @th,208,8 37 @th,218,1 1 drop',
  'udp dport 4500 @th,64,32 0 @th,240,8 37 @th,250,1 1 drop',
]
const REMOVED = `add table inet ${TABLE}\ndelete table inet ${TABLE}\n`

export class Parting {
  readonly #kernel: Pick<Kernel, 'run'>
  readonly #partingMs: number
  /** How many partings are under way with each address. */
  readonly #addresses = new Map<string, number>()
  #turn: Promise<void> = Promise.resolve()

  constructor(kernel: Pick<Kernel, 'run'> = thisKernel, partingMs = PARTING_MS) {
    this.#kernel = kernel
    this.#partingMs = partingMs
  }

  /** Removes what a controller that was killed left behind. */
  sweep(): Promise<void> {
    this.#turn = this.#turn.then(async () => void (await this.#kernel.run('nft', ['-f', '-'], REMOVED)))
    return this.#turn
  }

  /**
   * Ends the IKE SAs of a tunnel that there are now; one that the device dials meanwhile stays.
   * @param told is called with them once the device is being told: nothing is to be sent by them any more
   * @throws ViciError when the daemon is gone
   */
  async end(
    run: Pick<Run, 'list' | 'endSa'>,
    tunnel: string,
    told: (sas: readonly NamedSa[]) => void,
  ): Promise<void> {
    const found = (await run.list()).filter(([connection]) => tunnelOfName(connection) === tunnel)
    const ids = found.flatMap(([, ike]) => textOf(ike, 'uniqueid') ?? [])
    // The older version has no answer to it.
    const addresses = found.flatMap(([, ike]) =>
      textOf(ike, 'version') === '1' ? [] : (textOf(ike, 'remote-host') ?? []),
    )
    await this.#change(addresses, 1)
    try {
      await Promise.all(ids.map(id => run.endSa(id, false)))
      told(found)
      await sleep(addresses.length > 0 ? this.#partingMs : 0)
      await Promise.all(ids.map(id => run.endSa(id, true)))
    } finally {
      await this.#change(addresses, -1)
    }
  }

  #change(addresses: readonly string[], by: 1 | -1): Promise<void> {
    for (const address of addresses) {
      const count = (this.#addresses.get(address) ?? 0) + by
      if (count > 0) this.#addresses.set(address, count)
      else this.#addresses.delete(address)
    }
    this.#turn = this.#turn.then(async () => {
      // Without nft(8) charon forgets it at once, and what is under way is lost.
      if (addresses.length > 0) await this.#kernel.run('nft', ['-f', '-'], this.#ruleset())
    })
    return this.#turn
  }

  #ruleset(): string {
    if (this.#addresses.size === 0) return REMOVED
    const all = [...this.#addresses.keys()]
    const families = [
      { family: 4, key: 'ip', members: all.filter(each => !isIPv6(each)) },
      { family: 6, key: 'ip6', members: all.filter(isIPv6) },
    ].filter(({ members }) => members.length > 0)
    const sets = families.map(({ family, members }) => {
      const elements = members.map(each => `${each} timeout ${HOLD_SECONDS}s`).join(', ')
      return `  set devices${family} { type ipv${family}_addr; flags timeout; elements = { ${elements} }; }\n`
    })
    const rules = families.flatMap(({ family, key }) =>
      ANSWERS.map(answer => `    ${key} saddr @devices${family} ${answer}\n`),
    )
    return `${REMOVED}table inet ${TABLE} {
${sets.join('')}  chain input {
    type filter hook input priority filter; policy accept;
${rules.join('')}  }
}
`
  }
}
