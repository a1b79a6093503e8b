// Which routes a controller's kernel gets and loses, in the language of `ip -batch -`. Pure.
import { type Cidr, cidrCovers, compareCidr, formatCidr, parseCidr } from '../../state/address.ts'
import { type Cidr6, cidr6Covers, compareCidr6, formatCidr6, parseCidr6 } from '../../state/address6.ts'
import type { GatewayDescription } from './description.ts'
import { INTERNET_LENGTH } from './reach.ts'
import { GLOBAL_UNICAST, INTERNET_LENGTH6 } from './reach6.ts'

/** Marks routes as ours (rtnetlink(7), `rtm_protocol`); no routing daemon of iproute2's list has it. */
export const ROUTE_PROTOCOL = 172
/** Behind everything that the machine's owner sets. */
export const ROUTE_METRIC = 4096
/** Bits of a prefix that is half a default route; a longer one may be that of multicast. */
const HALF_LENGTH = 1

/** A route, as far as it matters here. */
export interface KernelRoute<P = Cidr> {
  cidr: P
  device: string
  protocol: string
  /** Its destinations are on the link itself, not behind a router. */
  connected: boolean
  /** Absent for the main table. */
  table?: string
  /** Absent for a route to other machines: this one refuses or drops packets there, or takes them itself. */
  type?: string
}

export interface RouteChanges {
  /** Lines for `ip -batch -`; none when all is as it should be. */
  batch: string[]
  /** What is not routed, and why. */
  problems: string[]
}

/** What prefixes of one version of IP are treated with. */
interface Version<P> {
  /** Bits of an address. */
  readonly bits: number
  /** Shorter prefixes mean the Internet. */
  readonly internetLength: number
  readonly all: P
  parse(text: string): P | undefined
  format(cidr: P): string
  covers(outer: P, inner: P): boolean
  compare(a: P, b: P): number
}

const IPV4: Version<Cidr> = {
  bits: 32,
  internetLength: INTERNET_LENGTH,
  all: { address: 0, length: 0 },
  parse: parseCidr,
  format: formatCidr,
  covers: cidrCovers,
  compare: compareCidr,
}

const IPV6: Version<Cidr6> = {
  bits: 128,
  internetLength: INTERNET_LENGTH6,
  all: { address: [0, 0, 0, 0], length: 0 },
  parse: parseCidr6,
  format: formatCidr6,
  covers: cidr6Covers,
  compare: compareCidr6,
}

/** What goes where, of one version. */
interface Wanted<P> {
  readonly devices: readonly string[]
  readonly tunName: string
  readonly subnet: P
  readonly kernelRoutes: readonly P[]
  readonly attached:
    | { readonly prefixes: readonly P[]; readonly device: string; readonly source: string }
    | undefined
  /** Hosts. */
  readonly underlay: readonly P[]
}

/** Reads `ip -4 -N -json route show table all`. What it does not understand it leaves out. @throws SyntaxError */
export function readKernelRoutes(json: string): KernelRoute[] {
  return read(json, IPV4)
}

/** The same of `ip -6`. @throws SyntaxError */
export function readKernelRoutes6(json: string): KernelRoute<Cidr6>[] {
  return read(json, IPV6)
}

/**
 * Whether the machine itself has a way to the Internet: a default route, or one half of it, in any table, that is not ours. Where it
 * has none, a network of its own may still be what somebody calls the Internet.
 */
export function hasExit(
  { tunName, attached }: Pick<GatewayDescription, 'tunName' | 'attached'>,
  present: readonly KernelRoute[],
): boolean {
  return present.some(route => isExit(route, [tunName, attached?.device]) && route.cidr.length <= HALF_LENGTH)
}

/** The same of IPv6, where a route to all global addresses does. */
export function hasExit6(
  { tunName }: Pick<GatewayDescription, 'tunName'>,
  present: readonly KernelRoute<Cidr6>[],
): boolean {
  return present.some(route => isExit(route, [tunName]) && cidr6Covers(route.cidr, GLOBAL_UNICAST))
}

/** `lo` is where IPv6 routes lead that refuse. */
function isExit({ device, type }: KernelRoute<unknown>, ours: readonly (string | undefined)[]): boolean {
  return type === undefined && device !== 'lo' && !ours.includes(device)
}

/** What to change so that the described prefixes, and no others, are routed into the TUN interface by us. */
export function changeRoutes(description: GatewayDescription, present: readonly KernelRoute[]): RouteChanges {
  const { tunName, subnet, kernelRoutes, attached, underlay = [] } = description
  const device = attached?.device
  const wanted: Wanted<Cidr> = {
    devices: device === undefined ? [tunName] : [tunName, device],
    ...{ tunName, subnet },
    // Where the kernel does ESP, its policies take packets wherever they are routed. This way they have the overlay's source address,
    // which the policies ask for, and none goes out in clear.
    kernelRoutes: attached && device === undefined ? [...kernelRoutes, ...attached.prefixes] : kernelRoutes,
    attached: attached && device !== undefined ? { ...attached, device } : undefined,
    underlay: underlay.map(address => ({ address, length: IPV4.bits })),
  }
  return change(wanted, present, IPV4)
}

/** The same of IPv6. */
export function changeRoutes6(
  { tunName, six }: Pick<GatewayDescription, 'tunName' | 'six'>,
  present: readonly KernelRoute<Cidr6>[],
): RouteChanges {
  if (six === undefined) return { batch: [], problems: [] }
  const { subnet, kernelRoutes, underlay = [] } = six
  const wanted: Wanted<Cidr6> = {
    ...{ devices: [tunName], tunName, subnet, kernelRoutes, attached: undefined },
    underlay: underlay.map(address => ({ address, length: IPV6.bits })),
  }
  return change(wanted, present, IPV6)
}

function read<P>(json: string, version: Version<P>): KernelRoute<P>[] {
  const list: unknown = JSON.parse(json.trim() === '' ? '[]' : json)
  if (!Array.isArray(list)) return []
  return list.flatMap((each: Record<string, unknown>) => {
    const { dst, dev, protocol, table, type } = each ?? {}
    const cidr = typeof dst === 'string' ? destination(dst, version) : undefined
    if (cidr === undefined) return []
    const connected = each.gateway === undefined && each.via === undefined && each.nexthops === undefined
    const route: KernelRoute<P> = {
      cidr,
      device: String(dev ?? ''),
      protocol: String(protocol ?? ''),
      connected,
    }
    if (table !== undefined) route.table = String(table)
    if (type !== undefined) route.type = String(type)
    return [route]
  })
}

function change<P extends { length: number }>(
  { devices, tunName, subnet, kernelRoutes, attached, underlay }: Wanted<P>,
  all: readonly KernelRoute<P>[],
  version: Version<P>,
): RouteChanges {
  const present = all.filter(({ table }) => table === undefined)
  const isOurs = ({ device, protocol }: KernelRoute<P>): boolean =>
    devices.includes(device) && protocol === String(ROUTE_PROTOCOL)
  const foreign = present.filter(route => !devices.includes(route.device))
  const problems: string[] = []
  const wanted = new Map<string, { cidr: P; device: string }>()
  for (const cidr of attached?.prefixes ?? []) {
    const text = version.format(cidr)
    const problem = whyNot(cidr, foreign, underlay, version)
    if (problem === undefined) wanted.set(text, { cidr, device: attached!.device })
    else problems.push(`this machine does not send ${text} to its site: ${problem}`)
  }
  for (const cidr of kernelRoutes) {
    const text = version.format(cidr)
    const isElsewhere = cidr.length < version.internetLength || text === version.format(subnet)
    if (isElsewhere || wanted.has(text)) continue
    const problem = whyNot(cidr, foreign, underlay, version)
    if (problem === undefined) wanted.set(text, { cidr, device: tunName })
    else problems.push(`this machine does not send ${text} into the overlay: ${problem}`)
  }
  const tail = (device: string) =>
    `dev ${device} proto ${ROUTE_PROTOCOL} metric ${ROUTE_METRIC}${device === tunName ? '' : ` src ${attached!.source}`}`
  const batch: string[] = []
  const there = new Set<string>()
  for (const route of present.filter(isOurs)) {
    const text = version.format(route.cidr)
    if (wanted.get(text)?.device === route.device) there.add(text)
    else batch.push(`route delete ${text} dev ${route.device} proto ${ROUTE_PROTOCOL} metric ${ROUTE_METRIC}`)
  }
  for (const { cidr, device } of [...wanted.values()].sort((a, b) => version.compare(a.cidr, b.cidr))) {
    const text = version.format(cidr)
    if (!there.has(text)) batch.push(`route replace ${text} ${tail(device)}`)
  }
  return { batch, problems: [...new Set(problems)] }
}

function whyNot<P extends { length: number }>(
  cidr: P,
  foreign: readonly KernelRoute<P>[],
  underlay: readonly P[],
  { format, covers, compare, bits }: Version<P>,
): string | undefined {
  const owner = foreign.find(
    route =>
      compare(route.cidr, cidr) === 0 ||
      (route.connected && route.cidr.length > 0 && covers(route.cidr, cidr)),
  )
  if (owner !== undefined)
    return `its own routing table has ${format(owner.cidr)} on ${owner.device || 'no interface'}; give one of the two networks another prefix`
  const dialled = underlay.find(
    host =>
      covers(cidr, host) &&
      !foreign.some(route => route.cidr.length > cidr.length && covers(route.cidr, host)),
  )
  if (dialled === undefined) return undefined
  const host = format(dialled).slice(0, -`/${bits}`.length)
  return `another controller is dialled at ${host}, inside it; route longer prefixes that leave it out`
}

function destination<P>(text: string, { all, parse, bits }: Version<P>): P | undefined {
  if (text === 'default') return all
  return parse(text.includes('/') ? text : `${text}/${bits}`)
}
