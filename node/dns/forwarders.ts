// The operator's resolvers, as they are written.
import { formatHostPort, formatIpv6, type HostPort, parseHostPort, parseIpv6 } from '../net/ip.ts'

export const MAX_FORWARDERS = 4
export const DNS_PORT = 53

/** `ADDRESS` or `ADDRESS:PORT`; undefined when it is none that can be asked. */
export function parseForwarder(text: string): HostPort | undefined {
  const bytes = parseIpv6(text)
  let server: HostPort
  try {
    server = bytes
      ? { host: formatIpv6(bytes), port: DNS_PORT, family: 'ipv6' }
      : parseHostPort(text, DNS_PORT)
  } catch {
    return undefined
  }
  return isServer(server) ? server : undefined
}

/** Port 53 goes without saying. */
export function formatForwarder({ host, port }: Pick<HostPort, 'host' | 'port'>): string {
  return port === DNS_PORT ? host : formatHostPort({ host, port })
}

/** Not "any address", multicast or broadcast. This machine itself may have a resolver. */
function isServer({ host, family }: HostPort): boolean {
  if (family === 'name') return false
  if (family === 'ipv6') return host !== '::' && !host.startsWith('ff')
  const [first] = host.split('.').map(Number)
  return first > 0 && first < 224
}
