// Which routes a controller's kernel gets and loses, in the language of `ip -batch -`. Pure.
import {
  type Cidr,
  cidrContains,
  cidrLast,
  compareCidr,
  formatCidr,
  parseCidr,
  parseIpv4,
} from '../../state/address.ts'
import type { GatewayDescription } from './description.ts'
import { INTERNET_LENGTH } from './reach.ts'

/** Marks routes as ours (rtnetlink(7), `rtm_protocol`); no routing daemon of iproute2's list has it. */
export const ROUTE_PROTOCOL = 172
/** Behind everything that the machine's owner sets. */
export const ROUTE_METRIC = 4096

/** A route of the main table, as far as it matters here. */
export interface KernelRoute {
  cidr: Cidr
  device: string
  protocol: string
  /** Its destinations are on the link itself, not behind a router. */
  connected: boolean
}

export interface RouteChanges {
  /** Lines for `ip -batch -`; none when all is as it should be. */
  batch: string[]
  /** What is not routed, and why. */
  problems: string[]
}

/** Reads `ip -4 -N -json route show table main`. What it does not understand it leaves out. @throws SyntaxError */
export function readKernelRoutes(json: string): KernelRoute[] {
  const list: unknown = JSON.parse(json.trim() === '' ? '[]' : json)
  if (!Array.isArray(list)) return []
  return list.flatMap((each: Record<string, unknown>) => {
    const { dst, dev, protocol } = each ?? {}
    const cidr = typeof dst === 'string' ? destination(dst) : undefined
    if (cidr === undefined) return []
    const connected = each.gateway === undefined && each.via === undefined && each.nexthops === undefined
    return [{ cidr, device: String(dev ?? ''), protocol: String(protocol ?? ''), connected }]
  })
}

/** What to change so that the described prefixes, and no others, are routed into the TUN interface by us. */
export function changeRoutes(description: GatewayDescription, present: readonly KernelRoute[]): RouteChanges {
  const { tunName, subnet, kernelRoutes, attached, underlay = [] } = description
  const devices = [tunName, ...(attached?.device === undefined ? [] : [attached.device])]
  const isOurs = ({ device, protocol }: KernelRoute): boolean =>
    devices.includes(device) && protocol === String(ROUTE_PROTOCOL)
  const foreign = present.filter(route => !devices.includes(route.device))
  const problems: string[] = []
  const wanted = new Map<string, { cidr: Cidr; device: string }>()
  for (const cidr of attached?.device === undefined ? [] : attached.prefixes) {
    const text = formatCidr(cidr)
    const problem = whyNot(cidr, foreign, underlay)
    if (problem === undefined) wanted.set(text, { cidr, device: attached!.device! })
    else problems.push(`this machine does not send ${text} to its site: ${problem}`)
  }
  for (const cidr of kernelRoutes) {
    const text = formatCidr(cidr)
    if (cidr.length < INTERNET_LENGTH || text === formatCidr(subnet) || wanted.has(text)) continue
    const problem = whyNot(cidr, foreign, underlay)
    if (problem === undefined) wanted.set(text, { cidr, device: tunName })
    else problems.push(`this machine does not send ${text} into the overlay: ${problem}`)
  }
  const tail = (device: string) =>
    `dev ${device} proto ${ROUTE_PROTOCOL} metric ${ROUTE_METRIC}${device === tunName ? '' : ` src ${attached!.source}`}`
  const batch: string[] = []
  const there = new Set<string>()
  for (const route of present.filter(isOurs)) {
    const text = formatCidr(route.cidr)
    if (wanted.get(text)?.device === route.device) there.add(text)
    else batch.push(`route delete ${text} dev ${route.device} proto ${ROUTE_PROTOCOL} metric ${ROUTE_METRIC}`)
  }
  for (const { cidr, device } of [...wanted.values()].sort((a, b) => compareCidr(a.cidr, b.cidr))) {
    const text = formatCidr(cidr)
    if (!there.has(text)) batch.push(`route replace ${text} ${tail(device)}`)
  }
  return { batch, problems: [...new Set(problems)] }
}

function whyNot(
  cidr: Cidr,
  foreign: readonly KernelRoute[],
  underlay: readonly number[],
): string | undefined {
  const owner = foreign.find(
    route =>
      (route.cidr.address === cidr.address && route.cidr.length === cidr.length) ||
      (route.connected && route.cidr.length > 0 && covers(route.cidr, cidr)),
  )
  if (owner !== undefined) {
    const own = formatCidr(owner.cidr)
    return `its own routing table has ${own} on ${owner.device || 'no interface'}; give one of the two networks another prefix`
  }
  const dialled = underlay.find(
    address =>
      cidrContains(cidr, address) &&
      !foreign.some(route => route.cidr.length > cidr.length && cidrContains(route.cidr, address)),
  )
  if (dialled === undefined) return undefined
  const host = formatCidr({ address: dialled, length: 32 })
  return `another controller is dialled at ${host.slice(0, -3)}, inside it; route longer prefixes that leave it out`
}

function covers(outer: Cidr, cidr: Cidr): boolean {
  return cidr.address >= outer.address && cidrLast(cidr) <= cidrLast(outer)
}

function destination(text: string): Cidr | undefined {
  if (text === 'default') return { address: 0, length: 0 }
  const host = parseIpv4(text)
  return host === undefined ? parseCidr(text) : { address: host, length: 32 }
}
