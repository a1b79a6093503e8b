// The controller's own interface to the overlay.
import { cidrMask, formatIpv4 } from '../net/ip.ts'
import { SwitchError } from './errors.ts'
import type { Arena } from './sys/arena.ts'
import { ERRNO, SysError } from './sys/error.ts'
import { closeFile } from './sys/socket.ts'
import { openTun, readTun, TUN_NAME_LIMIT, writeTun } from './sys/tun-device.ts'

export interface TunOptions {
  /** Interface name; the kernel numbers `overmesh%d` when there is none. */
  name?: string
  /** This controller's own overlay address and the one that all controllers answer on, u32. */
  address: number
  gateway: number
  /** Prefix length of the overlay's subnet. */
  prefixLength: number
  mtu: number
}

/** A TUN interface, open. It vanishes when closed, or with the process. */
export class Tun {
  readonly fd: number
  readonly name: string
  readonly mtu: number

  private constructor(fd: number, name: string, mtu: number) {
    this.fd = fd
    this.name = name
    this.mtu = mtu
  }

  /** @throws SwitchError `TUN_UNAVAILABLE` that says what to do */
  static open({ name = 'overmesh%d', address, gateway, prefixLength, mtu }: TunOptions): Tun {
    try {
      const mask = cidrMask(prefixLength)
      const { fd, name: given } = openTun({ name, address, mask, second: gateway, mtu })
      return new Tun(fd, given, mtu)
    } catch (error) {
      throw error instanceof SysError ? explain(error, name, address) : error
    }
  }

  /** Takes one packet from the kernel to `at`: its length, or 0 when none waits. */
  read(arena: Arena, at: number, room: number): number {
    return Math.max(0, readTun(this.fd, arena, at, room))
  }

  /** Gives the kernel one packet; false when it did not take it. */
  write(arena: Arena, at: number, length: number): boolean {
    const written = writeTun(this.fd, arena, at, length)
    return written === length || (written === -ERRNO.EINTR && writeTun(this.fd, arena, at, length) === length)
  }

  close(): void {
    closeFile(this.fd)
  }
}

function explain(error: SysError, name: string, address: number): SwitchError {
  const without = 'or start without a TUN'
  switch (error.code) {
    case 'EPERM':
    case 'EACCES':
      return new SwitchError(
        'TUN_UNAVAILABLE',
        `no permission to make the TUN interface; run as root or with CAP_NET_ADMIN, ${without}`,
      )
    case 'ENOENT':
    case 'ENODEV':
    case 'ENXIO':
      return new SwitchError(
        'TUN_UNAVAILABLE',
        `there is no /dev/net/tun; load the module ("modprobe tun"), give the container the device, ${without}`,
      )
    case 'EBUSY':
      return new SwitchError(
        'TUN_UNAVAILABLE',
        `the interface ${name} is in use by another program; choose another name, ${without}`,
      )
    case 'EINVAL':
    case 'ENAMETOOLONG':
      return new SwitchError(
        'TUN_UNAVAILABLE',
        `the TUN interface cannot be named ${name} (at most ${TUN_NAME_LIMIT} characters) or have ${formatIpv4(address)}: ${error.message}`,
      )
    default:
      return new SwitchError(
        'TUN_UNAVAILABLE',
        `the TUN interface cannot be made: ${error.message}; repair that, ${without}`,
      )
  }
}
