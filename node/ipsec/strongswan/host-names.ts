// Addresses of remote ends that are given by host name, looked up here now and then. The daemon is told addresses only: of a name it
// would ask DNS itself, and until that answers it does nothing else for anyone, us included.
import { lookup } from 'node:dns/promises'
import { isHostName, type Names } from './connection.ts'
import { FIRST_RETRY_MS, LAST_RETRY_MS } from './dialer.ts'

/** ms after which addresses that were found are looked up again. */
const REFRESH_MS = 60_000
/** ms after which a name that is being looked up, or waits for that, is told to be missing. */
const PATIENCE_MS = 5000
const MAX_ADDRESSES = 8

export interface HostNamesInit {
  /** IPv4 before IPv6; rejects, or finds none, where the name cannot be looked up. */
  readonly lookUp?: (name: string) => Promise<Names>
  /** Monotonic ms. */
  readonly now?: () => number
}

interface Entry {
  addresses: Names
  readonly wantedSince: number
  /** When it may be looked up next. */
  nextAt: number
  retryMs: number
  hasFailed: boolean
}

export class HostNames {
  /** Another address, or the first one, was found. */
  onChange: () => void = () => {}
  readonly #lookUp: (name: string) => Promise<Names>
  readonly #now: () => number
  readonly #entries = new Map<string, Entry>()
  #looking: Promise<void> | undefined

  constructor({ lookUp = ask, now = () => performance.now() }: HostNamesInit = {}) {
    this.#lookUp = lookUp
    this.#now = now
  }

  /** Those of a host name, as they were last; none where they are not known. */
  addresses(name: string): Names {
    return this.#entries.get(name)?.addresses ?? []
  }

  /** Whether a remote end has addresses to be told the daemon, or needs none. */
  isLocated(remote: string): boolean {
    return !isHostName(remote) || this.addresses(remote).length > 0
  }

  /** It has none, and not only since it was never asked for until now. */
  isMissing(remote: string): boolean {
    const entry = this.#entries.get(remote)
    if (entry === undefined || entry.addresses.length > 0) return false
    return entry.hasFailed || this.#now() - entry.wantedSince >= PATIENCE_MS
  }

  /** The names among these are kept known, all others are forgotten. */
  want(remotes: Iterable<string>): void {
    const names = new Set([...remotes].filter(isHostName))
    for (const name of this.#entries.keys()) if (!names.has(name)) this.#entries.delete(name)
    for (const name of names) {
      if (this.#entries.has(name)) continue
      const times = { wantedSince: this.#now(), nextAt: Number.NEGATIVE_INFINITY, retryMs: FIRST_RETRY_MS }
      this.#entries.set(name, { addresses: [], hasFailed: false, ...times })
    }
  }

  /**
   * Looks up what is due, and resolves when all that is done; what is under way is not begun again. One name at a time: Node.js has two
   * looked up at once in the whole process, and with a silent resolver each takes 20 s.
   */
  look(): Promise<void> {
    const first = this.#looking === undefined ? this.#due() : undefined
    if (first !== undefined) this.#looking = this.#refreshFrom(first)
    return this.#looking ?? Promise.resolve()
  }

  async #refreshFrom(first: string): Promise<void> {
    for (let name: string | undefined = first; name !== undefined; name = this.#due())
      await this.#refresh(name)
    this.#looking = undefined
  }

  /** The one that has waited longest; new ones first. */
  #due(): string | undefined {
    const now = this.#now()
    let first: { name: string; nextAt: number } | undefined
    for (const [name, { nextAt }] of this.#entries)
      if (nextAt <= now && (first === undefined || nextAt < first.nextAt)) first = { name, nextAt }
    return first?.name
  }

  async #refresh(name: string): Promise<void> {
    const found = await this.#lookUp(name).catch(() => [])
    const entry = this.#entries.get(name)
    if (entry === undefined) return
    const now = this.#now()
    entry.hasFailed = found.length === 0
    if (entry.hasFailed) {
      entry.nextAt = now + entry.retryMs
      entry.retryMs = Math.min(2 * entry.retryMs, LAST_RETRY_MS)
      return
    }
    entry.nextAt = now + REFRESH_MS
    entry.retryMs = FIRST_RETRY_MS
    if (entry.addresses.join() === found.join()) return
    entry.addresses = found
    this.onChange()
  }
}

async function ask(name: string): Promise<string[]> {
  const answers = await lookup(name, { all: true, order: 'ipv4first' })
  return answers.slice(0, MAX_ADDRESSES).map(({ address }) => address)
}
