// Addresses of controllers that are given by host name. Node.js has two names looked up at once in the whole process, and with a
// resolver that is silent, or has lost the half of the network that a zone is served in, each takes 20 s. So a name is looked up once
// at a time, whoever asks, one that failed rests in proportion to what it took, and nobody waits for long: what was found last serves.
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'

export interface HostAddress {
  readonly address: string
  readonly family: number
}

export type Resolve = (host: string) => Promise<readonly HostAddress[]>

export interface HostAddressesInit {
  readonly lookUp?: Resolve
  /** Monotonic ms. */
  readonly now?: () => number
}

/** ms for which one who asks waits. */
const PATIENCE = 2000
/** Times as long as a look-up took that failed, for which the name is not looked up again. */
const REST = 3
/** Names that are kept, and those that are looked up or wait for that: more than a mesh has, as what peers say is not bounded. */
const MAX_NAMES = 4096
const MAX_UNDER_WAY = 128

interface Entry {
  /** What was found last. */
  known: readonly HostAddress[]
  underWay: Promise<void> | undefined
  restsUntil: number
}

export class HostAddresses {
  readonly #lookUp: Resolve
  readonly #now: () => number
  readonly #entries = new Map<string, Entry>()
  #underWay = 0

  constructor({ lookUp = ask, now = () => performance.now() }: HostAddressesInit = {}) {
    this.#lookUp = lookUp
    this.#now = now
  }

  /** Addresses of a host; none where they cannot be told. Never rejects. */
  readonly resolve: Resolve = async host => {
    const family = isIP(host)
    if (family !== 0) return [{ address: host, family }]
    const entry = this.#entryOf(host)
    if (entry.underWay === undefined && this.#now() >= entry.restsUntil && this.#underWay < MAX_UNDER_WAY)
      entry.underWay = this.#find(host, entry)
    if (entry.underWay !== undefined) await within(PATIENCE, entry.underWay)
    return entry.known
  }

  #entryOf(host: string): Entry {
    let entry = this.#entries.get(host)
    if (entry === undefined) {
      if (this.#entries.size >= MAX_NAMES) this.#makeRoom()
      entry = { known: [], underWay: undefined, restsUntil: Number.NEGATIVE_INFINITY }
      this.#entries.set(host, entry)
    }
    return entry
  }

  #makeRoom(): void {
    for (const [host, { underWay }] of this.#entries) if (underWay === undefined) this.#entries.delete(host)
  }

  async #find(host: string, entry: Entry): Promise<void> {
    const begun = this.#now()
    this.#underWay++
    const found = await this.#lookUp(host).catch(() => [])
    this.#underWay--
    entry.underWay = undefined
    const now = this.#now()
    if (found.length > 0) entry.known = found
    else entry.restsUntil = now + REST * (now - begun)
  }
}

function ask(host: string): Promise<HostAddress[]> {
  return lookup(host, { all: true })
}

async function within(ms: number, work: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  await Promise.race([work, promise])
  clearTimeout(timer)
}
