// A TUN interface (layer 3, no packet information header): opened, addressed and brought up by ioctl, so that no
// iproute2 is needed. The kernel removes it when the file is closed. Where the kernel can, each packet has a virtio
// header, and may be a super-packet (linux/if_tun.h).
import { addAddress6, type InterfaceAddress6 } from './address6.ts'
import { Arena } from './arena.ts'
import { ERRNO, errno, lastError, SysError } from './error.ts'
import { AF_INET } from './family.ts'
import { libc, POINTER } from './library.ts'
import { closeFile, openUdp } from './socket.ts'

const openFile = libc('open', 'int', POINTER, 'int')
const ioctl = libc('ioctl', 'int', 'int', 'ulong', POINTER)
const readv = libc('readv', 'int64_t', 'int', POINTER, 'int')
const writev = libc('writev', 'int64_t', 'int', POINTER, 'int')

const O_RDWR = 2
const O_NONBLOCK = 0x800
const O_CLOEXEC = 0x80000
const TUNSETIFF = 0x400454ca
const TUNGETIFF = 0x800454d2
const TUNSETOFFLOAD = 0x400454d0
const IFF_TUN = 0x0001
const IFF_NO_PI = 0x1000
const IFF_VNET_HDR = 0x4000
const TUN_F_CSUM = 0x01
const TUN_F_TSO4 = 0x02
const TUN_F_TSO6 = 0x04
const TUN_F_TSO_ECN = 0x08
const TUN_F_USO4 = 0x20
const TUN_F_USO6 = 0x40
/** What the kernel may leave to us, the most first: UDP segmentation came with Linux 6.2. */
const TCP_OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN
const OFFLOADS = [TCP_OFFLOADS | TUN_F_USO4 | TUN_F_USO6, TCP_OFFLOADS, TUN_F_CSUM]
const IFF_UP = 0x1
const IFF_RUNNING = 0x40
const SIOCGIFFLAGS = 0x8913
const SIOCSIFFLAGS = 0x8914
const SIOCSIFADDR = 0x8916
const SIOCSIFNETMASK = 0x891c
const SIOCSIFMTU = 0x8922
const SIOCSIFNAME = 0x8923
const SIOCSIFTXQLEN = 0x8943
const SIOCGIFINDEX = 0x8933

/** Bytes of an interface name with its final zero. */
const NAME_BYTES = 16
/** Longest name of a device here: a second address takes a label of two more characters. */
export const TUN_NAME_LIMIT = NAME_BYTES - 3
/** Packets the kernel holds for us while we are busy. */
const QUEUE_LENGTH = 1000

/** Bytes of a struct iovec. */
const IOVEC = 16
/** Of `struct virtio_net_hdr`, see switch/virtio.ts. */
const VIRTIO_HEADER = 10
/** Pieces of memory that make one packet at most. */
export const MAX_PIECES = 64

const request = new Arena(64)

function setName(name: string): void {
  request.bytes.fill(0)
  request.bytes.set(new TextEncoder().encode(name).subarray(0, NAME_BYTES - 1))
}

function nameRead(): string {
  return new TextDecoder().decode(request.bytes.slice(0, request.bytes.indexOf(0)))
}

function call(fd: number, name: string, number: number): void {
  if (ioctl(fd, number, request.address(0, 40)) < 0) throw lastError(name)
}

function setAddress(fd: number, label: string, address: number, mask: number): void {
  for (const [name, number, value] of [
    ['SIOCSIFADDR', SIOCSIFADDR, address],
    ['SIOCSIFNETMASK', SIOCSIFNETMASK, mask],
  ] as const) {
    setName(label)
    request.view.setUint16(NAME_BYTES, AF_INET, true)
    request.view.setUint32(NAME_BYTES + 4, value, false)
    call(fd, name, number)
  }
}

function indexOf(fd: number, name: string): number {
  setName(name)
  call(fd, 'SIOCGIFINDEX', SIOCGIFINDEX)
  return request.view.getInt32(NAME_BYTES, true)
}

/** Adds IPv6 addresses. A machine without IPv6 is no reason to be without a TUN: says what went wrong. */
function addAddresses6(ifindex: number, addresses: readonly InterfaceAddress6[]): SysError | undefined {
  try {
    for (const address of addresses) addAddress6(ifindex, address)
    return undefined
  } catch (error) {
    if (error instanceof SysError) return error
    throw error
  }
}

/** How a TUN interface is to be. Addresses are u32 numbers. */
export interface TunInit {
  /** Name, or a pattern such as `overmesh%d` that the kernel numbers. */
  name: string
  address: number
  /** Netmask of the subnet behind it. */
  mask: number
  /** A second address of its own, with a /32; none when equal to `address`. */
  second: number
  mtu: number
  /** Missing where the kernel has no IPv6. */
  addresses6: readonly InterfaceAddress6[]
  /** Whether the kernel may leave segmentation and checksums to us, and we to it. */
  offload: boolean
}

/** Makes, addresses and raises the interface. Throws SysError, nothing is left behind then. */
export function openTun(init: TunInit): TunDevice {
  const path = new TextEncoder().encode('/dev/net/tun\0')
  request.bytes.set(path)
  const fd = openFile(request.address(0, path.length), O_RDWR | O_NONBLOCK | O_CLOEXEC)
  if (fd < 0) throw lastError('open /dev/net/tun')
  let control = -1
  try {
    if (init.name.length > TUN_NAME_LIMIT) throw new SysError('TUNSETIFF', 'ENAMETOOLONG', init.name)
    const offload = attach(fd, init)
    const name = nameRead()
    control = openUdp(AF_INET)
    const index = indexOf(control, name)
    setName(name)
    request.view.setInt32(NAME_BYTES, init.mtu, true)
    call(control, 'SIOCSIFMTU', SIOCSIFMTU)
    setName(name)
    request.view.setInt32(NAME_BYTES, QUEUE_LENGTH, true)
    call(control, 'SIOCSIFTXQLEN', SIOCSIFTXQLEN)
    setAddress(control, name, init.address, init.mask)
    setName(name)
    call(control, 'SIOCGIFFLAGS', SIOCGIFFLAGS)
    const flags = request.view.getUint16(NAME_BYTES, true)
    request.view.setUint16(NAME_BYTES, flags | IFF_UP | IFF_RUNNING, true)
    call(control, 'SIOCSIFFLAGS', SIOCSIFFLAGS)
    if (init.second !== init.address) setAddress(control, `${name}:1`, init.second, 0xffffffff)
    const error6 = addAddresses6(index, init.addresses6)
    return new TunDevice({ fd, control, name, index, offload, error6 })
  } catch (error) {
    closeFile(fd)
    if (control >= 0) closeFile(control)
    throw error
  }
}

/** Gives the file its interface, and says whether packets have virtio headers. */
function attach(fd: number, { name, offload }: TunInit): boolean {
  const setInterface = (flags: number): number => {
    setName(name)
    request.view.setUint16(NAME_BYTES, flags, true)
    return ioctl(fd, TUNSETIFF, request.address(0, 40))
  }
  if (offload && setInterface(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR) === 0) {
    // Takes its argument by value. Where all is refused, the headers are all 0.
    OFFLOADS.some(offloads => ioctl(fd, TUNSETOFFLOAD, offloads) === 0)
    return true
  }
  // A kernel without such headers says EINVAL; what else is wrong is wrong without them, too.
  if (setInterface(IFF_TUN | IFF_NO_PI) < 0) throw lastError('TUNSETIFF')
  return false
}

export interface TunDeviceInit {
  fd: number
  /** A socket in the interface's network namespace, by which interfaces are asked for; -1 where there is none to ask for. */
  control: number
  name: string
  /** The kernel's number of it, which it keeps whatever it is called. */
  index: number
  /** Whether packets have virtio headers. */
  offload: boolean
  /** Why there are no IPv6 addresses. */
  error6?: SysError
}

/** An open TUN. Packets come and go by it one at a time, each with its virtio header if there are any. */
export class TunDevice {
  readonly fd: number
  readonly #control: number
  /** As it was made. */
  readonly name: string
  /** The kernel's number of it, which it keeps whatever it is called. */
  readonly index: number
  /** Whether packets have virtio headers. */
  readonly offload: boolean
  /** Why there are no IPv6 addresses. */
  readonly error6: SysError | undefined
  /** The virtio header of the packet that was read last, and of the one that is written next. */
  readonly readHeader = new Arena(VIRTIO_HEADER)
  readonly writeHeader = new Arena(VIRTIO_HEADER)
  // The first place of both is the header's, which is passed over where there is none.
  readonly #readVector = new Arena(2 * IOVEC)
  readonly #writeVector = new Arena((1 + MAX_PIECES) * IOVEC)
  #pieces = 0
  #length = 0

  constructor({ fd, control, name, index, offload, error6 }: TunDeviceInit) {
    this.fd = fd
    this.#control = control
    this.name = name
    this.index = index
    this.offload = offload
    this.error6 = error6
    point(this.#readVector, 0, this.readHeader, 0, VIRTIO_HEADER)
    point(this.#writeVector, 0, this.writeHeader, 0, VIRTIO_HEADER)
  }

  /** Reads one packet of at most `length` bytes to `offset`: its length, or the negative errno. */
  read(arena: Arena, offset: number, length: number): number {
    point(this.#readVector, 1, arena, offset, length)
    const first = this.offload ? 0 : 1
    const count = readv(this.fd, this.#readVector.address(first * IOVEC, (2 - first) * IOVEC), 2 - first)
    if (count < 0) return -errno()
    return this.offload ? Math.max(0, count - VIRTIO_HEADER) : count
  }

  /** Begins the packet that is written next. */
  begin(): void {
    this.#pieces = 0
    this.#length = 0
  }

  /** Adds `length` bytes at `offset` to it. At most {@link MAX_PIECES} times. */
  add(arena: Arena, offset: number, length: number): void {
    point(this.#writeVector, ++this.#pieces, arena, offset, length)
    this.#length += length
  }

  /** Writes it: 0, or the errno, or EIO when the kernel took a part of it. */
  write(): number {
    const first = this.offload ? 0 : 1
    const count = 1 - first + this.#pieces
    const wanted = this.#length + (this.offload ? VIRTIO_HEADER : 0)
    const vector = this.#writeVector.address(first * IOVEC, count * IOVEC)
    let written = writev(this.fd, vector, count)
    if (written < 0 && errno() === ERRNO.EINTR) written = writev(this.fd, vector, count)
    if (written < 0) return errno()
    return written === wanted ? 0 : ERRNO.EIO
  }

  /** What the interface is called now; undefined when it was deleted. */
  calledNow(): string | undefined {
    request.bytes.fill(0)
    return ioctl(this.fd, TUNGETIFF, request.address(0, 40)) < 0 ? undefined : nameRead()
  }

  /** Whether the interface is the one of this name in the network namespace that it was made in. */
  isHereAs(name: string): boolean {
    setName(name)
    if (ioctl(this.#control, SIOCGIFINDEX, request.address(0, 40)) < 0) return errno() !== ERRNO.ENODEV
    return request.view.getInt32(NAME_BYTES, true) === this.index
  }

  /**
   * Gives it its first name again. False where that is refused, as by kernels before Linux 6.2, and for one that is down, with whose
   * name not all is as before.
   */
  rename(from: string): boolean {
    setName(from)
    if (ioctl(this.#control, SIOCGIFFLAGS, request.address(0, 40)) < 0) return false
    if ((request.view.getUint16(NAME_BYTES, true) & IFF_UP) === 0) return false
    setName(from)
    request.bytes.set(new TextEncoder().encode(this.name), NAME_BYTES)
    return ioctl(this.#control, SIOCSIFNAME, request.address(0, 40)) === 0
  }

  close(): void {
    closeFile(this.fd)
    if (this.#control >= 0) closeFile(this.#control)
  }
}

function point(vector: Arena, index: number, arena: Arena, offset: number, length: number): void {
  const word = (index * IOVEC) >> 2
  vector.point(word, arena, offset, length)
  vector.words[word + 2] = length
}
