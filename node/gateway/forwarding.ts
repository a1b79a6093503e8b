// The kernel's switches for forwarding (ip-sysctl of the kernel's documentation), one for each version of IP.
import type { Kernel } from './kernel.ts'

export const IP_FORWARD = '/proc/sys/net/ipv4/ip_forward'
export const IP6_FORWARD = '/proc/sys/net/ipv6/conf/all/forwarding'
const CONF = '/proc/sys/net/ipv4/conf'
const CONF6 = '/proc/sys/net/ipv6/conf'

/** Reverse path filter: packets whose answers would leave by another interface are dropped, or only those without any way. */
const STRICT = 1
const LOOSE = '2'

const WAS_OFF = 'forwarding-was-off'
const WAS_OFF6 = 'forwarding6-was-off'
/** Interfaces that took router advertisements, and those that were routers' before all were. */
const TOOK_RA = 'accept-ra-was-1-'
const WAS_ROUTER = 'forwarding6-was-1-'
/** `accept_ra`: as a host only, or as a router too. */
const AS_HOST = '1'
const ALWAYS = '2'
/** Interfaces whose names can stand in the name of a chain, and how many of them are looked at. */
const INTERFACE = /^\w[\w.-]{0,14}$/
const MAX_INTERFACES = 1024

/** Forwarding of one version of IP. */
export interface Forwarding {
  readonly version: 4 | 6
  /** Families of nftables whose chains see its packets. */
  readonly families: readonly string[]
  /** Name of an empty chain that says: this table's controller forwards. Others on the same machine look for it. */
  readonly mark: string
  isOn(kernel: Kernel): boolean
  /**
   * What has to be known to switch it off again, told to other controllers as names of empty chains. The first says that it was off
   * before controllers came.
   */
  before(kernel: Kernel, tunName: string): string[]
  /** Whether a chain's name is of `before`. */
  isBefore(name: string): boolean
  /** Says what is wrong where that cannot be done. */
  switchOn(kernel: Kernel, before: readonly string[]): string | undefined
  switchOff(kernel: Kernel, before: readonly string[]): string | undefined
}

export const FORWARDING4: Forwarding = {
  version: 4,
  families: ['ip', 'inet'],
  mark: 'forwards',
  isOn: kernel => kernel.read(IP_FORWARD) === '1',
  before: () => [WAS_OFF],
  isBefore: name => name === WAS_OFF,
  switchOn: kernel => cannotSwitchOn('4', 'net.ipv4.ip_forward', write(kernel, IP_FORWARD, '1')),
  switchOff: kernel => cannotSwitchOff('4', write(kernel, IP_FORWARD, '0')),
}

/**
 * The switch for all interfaces sets that of each, and one that forwards takes router advertisements only where it is told so: without
 * that, a machine that learnt its own way to the Internet by them would lose it.
 */
export const FORWARDING6: Forwarding = {
  version: 6,
  families: ['ip6', 'inet'],
  mark: 'forwards6',
  isOn: kernel => kernel.read(IP6_FORWARD) === '1',
  before(kernel, tunName) {
    const others = kernel.list(CONF6).filter(name => !['all', 'lo', tunName].includes(name))
    const interfaces = others.filter(name => INTERFACE.test(name)).slice(0, MAX_INTERFACES)
    return [
      WAS_OFF6,
      ...interfaces.flatMap(name => {
        if (kernel.read(`${CONF6}/${name}/forwarding`) === '1') return [WAS_ROUTER + name]
        return kernel.read(`${CONF6}/${name}/accept_ra`) === AS_HOST ? [TOOK_RA + name] : []
      }),
    ]
  },
  isBefore: name =>
    name === WAS_OFF6 ||
    [TOOK_RA, WAS_ROUTER].some(each => name.startsWith(each) && INTERFACE.test(name.slice(each.length))),
  switchOn(kernel, before) {
    const takers = named(before, TOOK_RA)
    const refused =
      takers.map(name => writeIfThere(kernel, `${CONF6}/${name}/accept_ra`, ALWAYS)).find(Boolean) ??
      write(kernel, IP6_FORWARD, '1')
    if (refused !== undefined) takeAsHosts(kernel, takers)
    return cannotSwitchOn('6', 'net.ipv6.conf.all.forwarding', refused)
  },
  switchOff(kernel, before) {
    const refused = write(kernel, IP6_FORWARD, '0')
    // Before the others take advertisements as hosts again: this forgets the routers of those.
    for (const name of named(before, WAS_ROUTER)) writeIfThere(kernel, `${CONF6}/${name}/forwarding`, '1')
    takeAsHosts(kernel, named(before, TOOK_RA))
    return cannotSwitchOff('6', refused)
  },
}

/** The sysctl's name and what to do, for one line. */
export function switchOnWords(sysctl: string): string {
  return `on the machine: sysctl -w ${sysctl}=1; for a container: docker run --sysctl ${sysctl}=1`
}

/** Whether there is an interface of this name. */
export function isInterface(kernel: Kernel, name: string): boolean {
  return kernel.read(`${CONF}/${name}/forwarding`) !== undefined
}

/**
 * Makes the TUN interface, which is ours, forward, and take packets of a network that this machine reaches by another interface too: they
 * come from other controllers that reach it. Says what is wrong where that cannot be done. IPv6 knows neither.
 */
export function prepareInterface(kernel: Kernel, tunName: string): string | undefined {
  const forwarding = `${CONF}/${tunName}/forwarding`
  const filter = `${CONF}/${tunName}/rp_filter`
  const error = kernel.read(forwarding) === '0' ? write(kernel, forwarding, '1') : undefined
  if (error !== undefined)
    return `${tunName} does not forward (${error}); as root: sysctl -w net.ipv4.conf.${tunName}.forwarding=1`
  const values = [`${CONF}/all/rp_filter`, filter].map(path => Number(kernel.read(path) ?? 0))
  if (Math.max(...values) !== STRICT) return undefined
  const refused = write(kernel, filter, LOOSE)
  if (refused === undefined) return undefined
  return (
    `the reverse path filter is strict and cannot be made loose from here (${refused}); ` +
    'for a container: docker run --sysctl net.ipv4.conf.all.rp_filter=2'
  )
}

function cannotSwitchOn(version: string, sysctl: string, refused: string | undefined): string | undefined {
  if (refused === undefined) return undefined
  return `IPv${version} forwarding is off and cannot be switched on from here (${refused}); ${switchOnWords(sysctl)}`
}

function cannotSwitchOff(version: string, refused: string | undefined): string | undefined {
  return refused && `IPv${version} forwarding was off and cannot be switched off again (${refused})`
}

function named(before: readonly string[], prefix: string): string[] {
  return before.flatMap(each => (each.startsWith(prefix) ? [each.slice(prefix.length)] : []))
}

/** What somebody else has changed meanwhile stays. */
function takeAsHosts(kernel: Kernel, interfaces: readonly string[]): void {
  for (const name of interfaces) {
    const path = `${CONF6}/${name}/accept_ra`
    if (kernel.read(path) === ALWAYS) writeIfThere(kernel, path, AS_HOST)
  }
}

/** An interface may be gone. */
function writeIfThere(kernel: Kernel, path: string, text: string): string | undefined {
  return kernel.read(path) === undefined ? undefined : write(kernel, path, text)
}

/** Why it cannot be written. */
function write(kernel: Kernel, path: string, text: string): string | undefined {
  try {
    kernel.write(path, text)
    return undefined
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    return code === 'EROFS' ? '/proc/sys is read-only' : code
  }
}
