// Between `host:port`, as records have it, and libp2p's multiaddrs.
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'

export interface HostPort {
  host: string
  port: number
}

/** Addresses of one name that are tried. */
const MAX_ADDRESSES = 4

/** `host:port` or `[ipv6]:port`; undefined when it is neither. */
export function readEndpoint(text: string): HostPort | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^[\]:]+)):(\d{1,5})$/.exec(text)
  if (!match) return undefined
  const port = Number(match[3])
  return port <= 65_535 ? { host: match[1] ?? match[2], port } : undefined
}

export function formatEndpoint({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

export function listenAddress({ host, port }: HostPort): string {
  return `/${isIP(host) === 6 ? 'ip6' : 'ip4'}/${host}/tcp/${port}`
}

/** What to dial for these endpoints, names resolved; what cannot be read, resolved or written is left out. */
export async function dialAddresses(
  endpoints: readonly string[],
  peerId: string,
  resolve: (host: string) => Promise<readonly { address: string }[]> = host => lookup(host, { all: true }),
): Promise<Multiaddr[]> {
  const found = await Promise.all(
    endpoints.map(async text => {
      const endpoint = readEndpoint(text)
      if (!endpoint || endpoint.port === 0) return []
      const { host, port } = endpoint
      const addresses = isIP(host)
        ? [host]
        : await resolve(host).then(
            all => all.map(({ address }) => address).slice(0, MAX_ADDRESSES),
            () => [],
          )
      return addresses.flatMap(address => {
        try {
          return multiaddr(`${listenAddress({ host: address, port })}/p2p/${peerId}`)
        } catch {
          // Such as one of a link alone, fe80::1%eth0, which a name of the local network may have.
          return []
        }
      })
    }),
  )
  return found.flat()
}
