// The kernel's switches for forwarding IPv4 (ip-sysctl of the kernel's documentation).
import type { Kernel } from './kernel.ts'

export const IP_FORWARD = '/proc/sys/net/ipv4/ip_forward'
const CONF = '/proc/sys/net/ipv4/conf'

/** Reverse path filter: packets whose answers would leave by another interface are dropped, or only those without any way. */
const STRICT = 1
const LOOSE = '2'

export function isForwarding(kernel: Kernel): boolean {
  return kernel.read(IP_FORWARD) === '1'
}

/** Sets forwarding; says what is wrong where that cannot be done. */
export function setForwarding(kernel: Kernel, on: boolean): string | undefined {
  const value = on ? '1' : '0'
  const error = attempt(() => kernel.write(IP_FORWARD, value))
  if (error === undefined) return undefined
  return on ? forwardingWords(error) : `IPv4 forwarding was off and cannot be switched off again (${error})`
}

/** What is wrong when forwarding cannot be switched on, and what to do. */
export function forwardingWords(reason: string): string {
  return (
    `IPv4 forwarding is off and cannot be switched on from here (${reason}); ` +
    'on the machine: sysctl -w net.ipv4.ip_forward=1; for a container: docker run --sysctl net.ipv4.ip_forward=1'
  )
}

/**
 * Makes the TUN interface, which is ours, forward, and take packets of a network that this machine reaches by another interface too: they
 * come from other controllers that reach it. Says what is wrong where that cannot be done.
 */
export function prepareInterface(kernel: Kernel, tunName: string): string | undefined {
  const forwarding = `${CONF}/${tunName}/forwarding`
  const filter = `${CONF}/${tunName}/rp_filter`
  const error = attempt(() => {
    if (kernel.read(forwarding) === '0') kernel.write(forwarding, '1')
  })
  if (error !== undefined)
    return `${tunName} does not forward (${error}); as root: sysctl -w net.ipv4.conf.${tunName}.forwarding=1`
  const values = [`${CONF}/all/rp_filter`, filter].map(path => Number(kernel.read(path) ?? 0))
  if (Math.max(...values) !== STRICT) return undefined
  const refused = attempt(() => kernel.write(filter, LOOSE))
  if (refused === undefined) return undefined
  return (
    `the reverse path filter is strict and cannot be made loose from here (${refused}); ` +
    'for a container: docker run --sysctl net.ipv4.conf.all.rp_filter=2'
  )
}

function attempt(act: () => void): string | undefined {
  try {
    act()
    return undefined
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    return code === 'EROFS' ? '/proc/sys is read-only' : code
  }
}
