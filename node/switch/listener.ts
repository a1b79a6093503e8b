// The UDP sockets that the switch listens on.
import { formatHostPort } from '../net/ip.ts'
import { SwitchError } from './errors.ts'
import { nameLength, readName, writeName } from './socket-address.ts'
import { Arena } from './sys/arena.ts'
import { SysError } from './sys/error.ts'
import { AF_INET, AF_INET6 } from './sys/family.ts'
import { bindTo, boundAddress, closeFile, getOption, OPTION, openUdp, setOption } from './sys/socket.ts'

/** Where to listen: an IPv4 or IPv6 address in text, and a UDP port, 0 for any. */
export interface ListenAddress {
  host: string
  port: number
}

/** Asked of the kernel for each direction of each socket; it may grant less where we are not root. */
const BUFFER_BYTES = 8 << 20

/** One bound socket. */
export interface Listener extends ListenAddress {
  fd: number
  /** False once the kernel has refused to segment for this socket. */
  segmenting: boolean
  /** How its datagrams ordinarily treat the path's MTU (IP_MTU_DISCOVER, ip(7)). */
  mtuDiscovery: number
}

/** Datagrams are never fragmented, and the kernel's own idea of the path does not count. */
const PMTUDISC_PROBE = 3
/** The usual way: unfragmented as far as the kernel knows the path. */
const PMTUDISC_WANT = 1

/** Lets a socket send past the kernel's idea of the path's MTU, unfragmented, until `ordinary` is called. */
export function probing({ fd, host }: Listener): void {
  setOption(fd, mtuOption(host), PMTUDISC_PROBE)
}

/** Ends `probing`. */
export function ordinary({ fd, host, mtuDiscovery }: Listener): void {
  setOption(fd, mtuOption(host), mtuDiscovery)
}

function mtuOption(host: string): readonly [number, number] {
  return host.includes(':') ? OPTION.ipv6MtuDiscover : OPTION.ipv4MtuDiscover
}

const name = new Arena(32)

/**
 * Binds one address.
 * @param segmenting whether UDP_SEGMENT and UDP_GRO are to be used where the kernel has them
 * @throws SwitchError that says what to do
 */
export function listen({ host, port }: ListenAddress, segmenting: boolean): Listener {
  const length = writeName(name, 0, host, port, 0)
  if (length === 0)
    throw new SwitchError('ADDRESS_UNUSABLE', `${host} is no IP address; listen on one, or on 0.0.0.0 or ::`)
  const family = length === nameLength(name, 0) && length === 16 ? AF_INET : AF_INET6
  let fd = -1
  try {
    fd = openUdp(family)
    if (family === AF_INET6) setOption(fd, OPTION.ipv6Only, 1)
    setOption(fd, family === AF_INET ? OPTION.ipv4PacketInfo : OPTION.ipv6PacketInfo, 1)
    for (const [forced, polite] of [
      [OPTION.receiveBufferForce, OPTION.receiveBuffer],
      [OPTION.sendBufferForce, OPTION.sendBuffer],
    ] as const) {
      if (!setOption(fd, forced, BUFFER_BYTES)) setOption(fd, polite, BUFFER_BYTES)
    }
    bindTo(fd, name, 0, length)
    boundAddress(fd, name, 0)
    const bound = readName(name, 0)
    // A kernel without UDP_SEGMENT would send a whole run as one datagram: ask before relying on it.
    const canSegment = segmenting && setOption(fd, OPTION.udpSegment, 0)
    if (segmenting) setOption(fd, OPTION.udpGro, 1)
    const mtuDiscovery = getOption(fd, mtuOption(bound.ip)) ?? PMTUDISC_WANT
    return { fd, host: bound.ip, port: bound.port, segmenting: canSegment, mtuDiscovery }
  } catch (error) {
    if (fd >= 0) closeFile(fd)
    throw error instanceof SysError ? explain(error, host, port) : error
  }
}

function explain(error: SysError, host: string, port: number): SwitchError {
  const where = `UDP ${formatHostPort({ host, port })}`
  switch (error.code) {
    case 'EADDRINUSE':
      return new SwitchError(
        'ADDRESS_IN_USE',
        `${where} is in use by another program; stop that (\`overmesh doctor\` says how to find it)`,
      )
    case 'EACCES':
      return new SwitchError(
        'PORT_FORBIDDEN',
        `${where} needs privileges; choose a port above 1023, or run as root or with CAP_NET_BIND_SERVICE`,
      )
    case 'EADDRNOTAVAIL':
      return new SwitchError(
        'ADDRESS_UNUSABLE',
        `${where}: no interface here has this address; use one that "ip address" shows, or 0.0.0.0 or ::`,
      )
    case 'EAFNOSUPPORT':
      return new SwitchError(
        'ADDRESS_UNUSABLE',
        `${where}: this machine has no IPv6; listen on IPv4 addresses only`,
      )
    default:
      return new SwitchError('ADDRESS_UNUSABLE', `${where} cannot be listened on: ${error.message}`)
  }
}
