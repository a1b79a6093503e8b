// Addresses in text: HOST:PORT. Those of IPv4 and IPv6, and prefixes, are those of state/address.ts and state/address6.ts,
// given here too so that one import does.
import { parseIpv4 } from '../../state/address.ts'
import { formatIpv6, parseIpv6 } from '../../state/address6.ts'

export {
  type Cidr,
  cidrContains,
  cidrMask,
  cidrOverlaps,
  formatCidr,
  formatIpv4,
  type OverlayAddress,
  parseCidr,
  parseIpv4,
} from '../../state/address.ts'
export { formatIpv6, parseIpv6 } from '../../state/address6.ts'

/** The end of a connection, as an operator writes it. */
export interface HostPort {
  /** Canonical IPv4 or IPv6 text without brackets, or a lower-case DNS name. */
  readonly host: string
  readonly port: number
  readonly family: 'ipv4' | 'ipv6' | 'name'
}

export class HostPortError extends Error {
  override name = 'HostPortError'
  readonly code: 'SYNTAX' | 'HOST' | 'PORT'
  constructor(code: HostPortError['code'], message: string) {
    super(message)
    this.code = code
  }
}

const MAX_NAME = 253
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/
/** A last label of digits only is an IPv4 address gone wrong, never a name (RFC 1123 section 2.1). */
const NUMERIC = /^[0-9]+$/

/**
 * Reads `1.2.3.4:1194`, `[::1]:1194` or `vpn.example.net:1194`; without a port, `defaultPort` is meant.
 * @param lowestPort 0 where the system may choose the port
 * @throws HostPortError that names what is wrong
 */
export function parseHostPort(text: string, defaultPort: number, lowestPort: 0 | 1 = 1): HostPort {
  const shown = text.length > 80 ? `"${text.slice(0, 77)}..."` : `"${text}"`
  const syntax = (what: string) => new HostPortError('SYNTAX', `${shown}: ${what}`)
  if (text.startsWith('[')) {
    const close = text.indexOf(']')
    if (close < 0) throw syntax('the bracket is not closed; write [ADDRESS]:PORT')
    const rest = text.slice(close + 1)
    if (rest !== '' && !rest.startsWith(':')) throw syntax('only :PORT may follow the bracket')
    const bytes = parseIpv6(text.slice(1, close))
    if (bytes === undefined) throw new HostPortError('HOST', `${shown}: no IPv6 address in the brackets`)
    const port = rest === '' ? defaultPort : parsePort(rest.slice(1), shown, lowestPort)
    return { host: formatIpv6(bytes), port, family: 'ipv6' }
  }
  const colon = text.indexOf(':')
  if (colon !== text.lastIndexOf(':')) throw syntax('write an IPv6 address in brackets: [ADDRESS]:PORT')
  const host = (colon < 0 ? text : text.slice(0, colon)).toLowerCase()
  if (host === '') throw syntax('no host; write HOST:PORT')
  const port = colon < 0 ? defaultPort : parsePort(text.slice(colon + 1), shown, lowestPort)
  if (parseIpv4(host) !== undefined) return { host, port, family: 'ipv4' }
  const labels = host.split('.')
  if (NUMERIC.test(labels[labels.length - 1]))
    throw new HostPortError('HOST', `${shown}: not an IPv4 address`)
  if (host.length > MAX_NAME || !labels.every(label => LABEL.test(label))) {
    throw new HostPortError('HOST', `${shown}: neither an address nor a host name`)
  }
  return { host, port, family: 'name' }
}

/** The same of what others wrote, which may be anything: undefined when it is none. */
export function readHostPort(text: string, defaultPort: number): HostPort | undefined {
  try {
    return parseHostPort(text, defaultPort)
  } catch (error) {
    if (error instanceof HostPortError) return undefined
    throw error
  }
}

/** Writes a host with its port, an IPv6 address in brackets. */
export function formatHostPort({ host, port }: Pick<HostPort, 'host' | 'port'>): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function parsePort(text: string, shown: string, lowest: number): number {
  const port = /^(?:0|[1-9][0-9]{0,4})$/.test(text) ? Number(text) : -1
  if (port < lowest || port > 65535) {
    throw new HostPortError('PORT', `${shown}: the port must be a number from ${lowest} to 65535`)
  }
  return port
}
