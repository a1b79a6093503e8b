// Addresses of remote ends that are given by host name: looked up now and then, so that the daemon itself never waits for DNS.
import { lookup } from 'node:dns/promises'

export class HostNames {
  #addresses = new Map<string, readonly string[]>()

  /** IPv4 before IPv6; none where it is not known. */
  addresses(name: string): readonly string[] {
    return this.#addresses.get(name) ?? []
  }

  /** Looks up these names and forgets others; a name that cannot be looked up keeps what it had. @returns whether any is another */
  async refresh(names: Iterable<string>): Promise<boolean> {
    const before = this.#addresses
    const found = [...new Set(names)].map(async name => {
      const answers = await lookup(name, { all: true, order: 'ipv4first' }).catch(() => undefined)
      const addresses = answers?.slice(0, MAX_ADDRESSES).map(({ address }) => address)
      return [name, addresses ?? before.get(name) ?? []] as const
    })
    this.#addresses = new Map(await Promise.all(found))
    return [...this.#addresses].some(([name, list]) => (before.get(name) ?? []).join() !== list.join())
  }
}

const MAX_ADDRESSES = 8
