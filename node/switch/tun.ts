// The controller's own interface to the overlay.
import { type Cidr6, onLinkLength, overlayAddress6 } from '../../state/address6.ts'
import { cidrMask, formatIpv4 } from '../net/ip.ts'
import type { PacketSink } from './coalescer.ts'
import { COUNTER } from './counters.ts'
import { SwitchError } from './errors.ts'
import { isIpv6 } from './ip-packet.ts'
import type { InterfaceAddress6 } from './sys/address6.ts'
import type { Arena } from './sys/arena.ts'
import { ERRNO, SysError } from './sys/error.ts'
import { openTun, TUN_NAME_LIMIT, type TunDevice } from './sys/tun-device.ts'
import { GSO, writeVirtio } from './virtio.ts'

export interface TunOptions {
  /** Interface name; the kernel numbers `overmesh%d` when there is none. */
  name?: string
  /** This controller's own overlay address and the one that all controllers answer on, u32. */
  address: number
  gateway: number
  /** Prefix length of the overlay's subnet. */
  prefixLength: number
  mtu: number
  /** With it the interface has the IPv6 addresses that go with `address` and `gateway`. */
  subnet6?: Cidr6
  /** Super-packets both ways, where the kernel has them. */
  offload: boolean
}

/** What a kernel says whose IPv6 is disabled, or that has none. */
const NO_IPV6 = ['EACCES', 'EAFNOSUPPORT', 'EOPNOTSUPP']

/** A TUN interface, open. It vanishes when closed, or with the process; and others may delete, rename or move it. */
export class Tun implements PacketSink {
  readonly name: string
  readonly mtu: number
  /** Whether the kernel takes super-packets. */
  readonly offload: boolean
  /** The interface was deleted, or given up: nothing comes or goes by it before it is made anew. */
  isGone = false
  #isClosed = false
  #hasIpv6: boolean
  #device: TunDevice
  readonly #counters: Float64Array
  readonly #make: (name: string) => TunDevice

  /**
   * See `open`; by itself for a device that is none of the kernel's.
   * @param make another device of the same kind
   */
  constructor(
    device: TunDevice,
    mtu: number,
    counters: Float64Array,
    make: (name: string) => TunDevice = () => device,
  ) {
    this.name = device.name
    this.mtu = mtu
    this.offload = device.offload
    this.#hasIpv6 = device.error6 === undefined
    this.#device = device
    this.#counters = counters
    this.#make = make
  }

  /** @throws SwitchError `TUN_UNAVAILABLE` that says what to do */
  static open(options: TunOptions, counters: Float64Array): Tun {
    const { address, gateway, prefixLength, mtu, offload } = options
    const init = { address, mask: cidrMask(prefixLength), second: gateway, mtu, offload }
    const make = (name: string): TunDevice => {
      try {
        return openTun({ ...init, name, addresses6: addresses6Of(options) })
      } catch (error) {
        throw error instanceof SysError ? explain(error, name, address) : error
      }
    }
    return new Tun(make(options.name ?? 'overmesh%d'), mtu, counters, make)
  }

  get fd(): number {
    return this.#device.fd
  }

  /** The kernel's number of it. */
  get index(): number {
    return this.#device.index
  }

  /**
   * What somebody has done to the interface, in words, so that what holds for its name does not hold for it; undefined where nothing. Of
   * one that was deleted reading tells.
   */
  displaced(): string | undefined {
    // Nearly always, and at no cost to others: what the device itself is asked waits for all that change interfaces.
    if (this.#device.isHereAs(this.name)) return undefined
    const called = this.#device.calledNow()
    if (called === undefined) return undefined
    return this.#device.isHereAs(called)
      ? `it was renamed ${called}`
      : 'it was moved to another network namespace'
  }

  /** Has one that was renamed called by its name again; false where that cannot be. */
  rename(): boolean {
    const called = this.#device.calledNow()
    return called !== undefined && this.#device.isHereAs(called) && this.#device.rename(called)
  }

  /** Makes the interface that is gone anew, by its old name. @throws SwitchError `TUN_UNAVAILABLE` */
  remake(): void {
    const device = this.#make(this.name)
    if (device.offload !== this.offload) {
      device.close()
      throw new SwitchError('TUN_UNAVAILABLE', 'the kernel has other offloads than before')
    }
    this.#device = device
    this.#hasIpv6 = device.error6 === undefined
    this.isGone = false
    this.#isClosed = false
  }

  /** Why it has no IPv6 addresses although there are some; undefined where it has them. */
  get problem6(): string | undefined {
    const { error6 } = this.#device
    if (error6 === undefined) return undefined
    return NO_IPV6.includes(error6.code) ? 'this machine has IPv6 disabled' : error6.message
  }

  /** Whether the kernel has addresses of the packet's version of IP here. */
  takes(packet: Arena): boolean {
    return this.#hasIpv6 || !isIpv6(packet, 0)
  }

  /** What the kernel left to do to the packet that was read last. */
  get virtio(): Arena {
    return this.#device.readHeader
  }

  /** Takes one packet or super-packet from the kernel to the start of `packet`: its length, or 0 when none waits. */
  read(packet: Arena): number {
    if (this.isGone) return 0
    const length = this.#device.read(packet, 0, packet.size)
    if (length <= 0) {
      if (length === -ERRNO.EBADFD) this.isGone = true
      return 0
    }
    this.#counters[COUNTER.tunReads]++
    return length
  }

  write(packet: Arena, length: number): boolean {
    this.beginSuper(GSO.none, 0, 0, 0, 0)
    this.#device.add(packet, 0, length)
    return this.writeSuper()
  }

  beginSuper(
    type: number,
    headerLength: number,
    size: number,
    checksumStart: number,
    checksumOffset: number,
  ): void {
    this.#device.begin()
    writeVirtio(this.#device.writeHeader, type, headerLength, size, checksumStart, checksumOffset)
  }

  add(packet: Arena, offset: number, length: number): void {
    this.#device.add(packet, offset, length)
  }

  writeSuper(): boolean {
    if (this.isGone) return false
    this.#counters[COUNTER.tunWrites]++
    const error = this.#device.write()
    if (error === ERRNO.EBADFD) this.isGone = true
    return error === 0
  }

  close(): void {
    this.isGone = true
    if (!this.#isClosed) this.#device.close()
    this.#isClosed = true
  }
}

/** The kernel sends from the controller's own address: what is sent to the gateway's ends at the nearest controller. */
function addresses6Of({ subnet6, address, gateway }: TunOptions): InterfaceAddress6[] {
  if (subnet6 === undefined) return []
  const own = { address: overlayAddress6(subnet6, address), length: onLinkLength(subnet6), preferred: true }
  return [own, { address: overlayAddress6(subnet6, gateway), length: 128, preferred: false }]
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
