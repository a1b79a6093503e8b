// Addresses in text: IPv6 (RFC 4291 section 2.2, written as RFC 5952 says) and HOST:PORT. IPv4 and prefixes are those of
// state/address.ts, given here too so that one import does.
import { formatIpv4, parseIpv4 } from '../../state/address.ts'

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

/** The longest form: six full groups and a dotted quad. */
const MAX_IPV6_TEXT = 45
const GROUPS = 8
const GROUP = /^[0-9a-fA-F]{1,4}$/

/** Reads IPv6 text into 16 bytes, network order. No zone, brackets or prefix length. Undefined for anything else. */
export function parseIpv6(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length > MAX_IPV6_TEXT) return undefined
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const elided = halves.length === 2
  const head = parseGroups(halves[0], !elided)
  const tail = elided ? parseGroups(halves[1], true) : []
  if (head === undefined || tail === undefined) return undefined
  const given = head.length + tail.length
  // "::" stands for at least one group.
  if (elided ? given >= GROUPS : given !== GROUPS) return undefined
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  head.forEach((group, i) => {
    view.setUint16(i * 2, group)
  })
  tail.forEach((group, i) => {
    view.setUint16((GROUPS - tail.length + i) * 2, group)
  })
  return bytes
}

/** Colon-separated groups; the last may be a dotted quad, if nothing follows it in the address. */
function parseGroups(text: string, atEnd: boolean): number[] | undefined {
  if (text === '') return []
  const parts = text.split(':')
  if (parts.length > GROUPS) return undefined
  const groups: number[] = []
  for (const [i, part] of parts.entries()) {
    if (GROUP.test(part)) {
      groups.push(Number.parseInt(part, 16))
      continue
    }
    const quad = atEnd && i === parts.length - 1 ? parseIpv4(part) : undefined
    if (quad === undefined) return undefined
    groups.push(quad >>> 16, quad & 0xffff)
  }
  return groups
}

/**
 * Writes the 16 bytes at `offset` in the one form of RFC 5952: lower case, the longest run of zero groups elided (the
 * first of equals, never a single group), IPv4-mapped addresses with a dotted quad.
 */
export function formatIpv6(bytes: Uint8Array, offset = 0): string {
  const groups: number[] = []
  for (let i = 0; i < GROUPS; i++) groups.push((bytes[offset + i * 2] << 8) | bytes[offset + i * 2 + 1])
  if (groups[5] === 0xffff && groups.slice(0, 5).every(group => group === 0)) {
    return `::ffff:${formatIpv4(((groups[6] << 16) | groups[7]) >>> 0)}`
  }
  let start = 0
  let length = 0
  for (let i = 0; i < GROUPS; ) {
    let end = i
    while (end < GROUPS && groups[end] === 0) end++
    if (end - i > length) {
      start = i
      length = end - i
    }
    i = end + 1
  }
  const text = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map(group => group.toString(16))
      .join(':')
  return length < 2 ? text(0, GROUPS) : `${text(0, start)}::${text(start + length, GROUPS)}`
}

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
