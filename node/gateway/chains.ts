// What `nft -j list chains` tells: the tables of controllers, and firewalls of others that stand in the way. Pure.
import { FORWARDS_MARK, TABLE_PREFIX, WAS_OFF_MARK } from './ruleset.ts'

/** The table of a controller on this machine, this one or another, running or left behind. */
export interface ControllerTable {
  readonly forwards: boolean
  /** It is the one that remembers that forwarding was off before controllers came. */
  readonly wasOff: boolean
}

/** A chain of a firewall that drops what it does not accept, of all that this machine forwards. */
export interface ForeignChain {
  readonly family: string
  readonly table: string
  readonly name: string
}

export interface Chains {
  readonly controllers: ReadonlyMap<string, ControllerTable>
  readonly droppers: readonly ForeignChain[]
  /** Chains of others, in words, that deal with what is forwarded: who has some may need forwarding. */
  readonly others: readonly string[]
}

interface ListedChain {
  family?: unknown
  table?: unknown
  name?: unknown
  hook?: unknown
  policy?: unknown
}

const FORWARDING_HOOKS = new Set<unknown>(['forward', 'postrouting'])

/** Names of tables and chains (nft(8), identifiers); others cannot be told in a command to paste. */
const NAME = /^[\w./\\-]{1,128}$/

/** @throws SyntaxError */
export function readChains(json: string): Chains {
  const controllers = new Map<string, ControllerTable>()
  const droppers: ForeignChain[] = []
  const others: string[] = []
  const { nftables } = JSON.parse(json) as { nftables?: unknown }
  for (const each of Array.isArray(nftables) ? nftables : []) {
    const chain = (each as { chain?: ListedChain } | null)?.chain
    if (!chain) continue
    const [family, table, name] = [String(chain.family), String(chain.table), String(chain.name)]
    if (family === 'inet' && table.startsWith(TABLE_PREFIX)) {
      const known = controllers.get(table)
      controllers.set(table, {
        forwards: known?.forwards === true || name === FORWARDS_MARK,
        wasOff: known?.wasOff === true || name === WAS_OFF_MARK,
      })
    } else if (FORWARDING_HOOKS.has(chain.hook) && (family === 'ip' || family === 'inet')) {
      others.push(`${family} ${table} ${name}`)
      const drops = chain.hook === 'forward' && chain.policy === 'drop'
      if (drops && NAME.test(table) && NAME.test(name)) droppers.push({ family, table, name })
    }
  }
  return { controllers, droppers, others }
}

/** What is wrong and what to do, for one line. */
export function dropperWords(chain: ForeignChain, tunName: string): string {
  const { family, table, name } = chain
  return (
    `the chain ${name} of the firewall's table ${family} ${table} drops what it does not accept, overlay traffic too; ` +
    `let it pass: ${passRules(chain, tunName).join('; ')}`
  )
}

/** Commands that let both directions pass. `tunName` may end in `*`. */
export function passRules({ family, table, name }: ForeignChain, tunName: string): string[] {
  return ['iifname', 'oifname'].map(
    way => `nft insert rule ${family} ${table} ${name} ${way} '"${tunName}"' accept`,
  )
}
