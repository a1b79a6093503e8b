// What `nft -j list chains` tells: the tables of controllers, and firewalls of others that stand in the way. Pure.
import { TABLE_PREFIX } from './ruleset.ts'

/** A chain of a firewall that drops what it does not accept, of all that this machine forwards. */
export interface ForeignChain {
  readonly family: string
  readonly table: string
  readonly name: string
}

export interface Chains {
  /** Tables of controllers on this machine, this one or others, running or left behind, each with the names of its chains. */
  readonly controllers: ReadonlyMap<string, ReadonlySet<string>>
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

const FAMILIES = new Set(['ip', 'ip6', 'inet'])
const FORWARDING_HOOKS = new Set<unknown>(['forward', 'postrouting'])

/** Names of tables and chains (nft(8), identifiers); others cannot be told in a command to paste. */
const NAME = /^[\w./\\-]{1,128}$/

/** @throws SyntaxError */
export function readChains(json: string): Chains {
  const controllers = new Map<string, Set<string>>()
  const droppers: ForeignChain[] = []
  const others: string[] = []
  const { nftables } = JSON.parse(json) as { nftables?: unknown }
  for (const each of Array.isArray(nftables) ? nftables : []) {
    const chain = (each as { chain?: ListedChain } | null)?.chain
    if (!chain) continue
    const [family, table, name] = [String(chain.family), String(chain.table), String(chain.name)]
    if (family === 'inet' && table.startsWith(TABLE_PREFIX)) {
      controllers.set(table, (controllers.get(table) ?? new Set()).add(name))
    } else if (FORWARDING_HOOKS.has(chain.hook) && FAMILIES.has(family)) {
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
