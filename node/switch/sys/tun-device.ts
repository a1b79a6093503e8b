// A TUN interface (layer 3, no packet information header): opened, addressed and brought up by ioctl, so that no
// iproute2 is needed. The kernel removes it when the file is closed.
import { Arena } from './arena.ts'
import { errno, lastError, SysError } from './error.ts'
import { AF_INET } from './family.ts'
import { libc, POINTER } from './library.ts'
import { closeFile, openUdp } from './socket.ts'

const openFile = libc('open', 'int', POINTER, 'int')
const ioctl = libc('ioctl', 'int', 'int', 'ulong', POINTER)
const read = libc('read', 'int64_t', 'int', POINTER, 'size_t')
const write = libc('write', 'int64_t', 'int', POINTER, 'size_t')

const O_RDWR = 2
const O_NONBLOCK = 0x800
const O_CLOEXEC = 0x80000
const TUNSETIFF = 0x400454ca
const IFF_TUN = 0x0001
const IFF_NO_PI = 0x1000
const IFF_UP = 0x1
const IFF_RUNNING = 0x40
const SIOCGIFFLAGS = 0x8913
const SIOCSIFFLAGS = 0x8914
const SIOCSIFADDR = 0x8916
const SIOCSIFNETMASK = 0x891c
const SIOCSIFMTU = 0x8922
const SIOCSIFTXQLEN = 0x8943

/** Bytes of an interface name with its final zero. */
const NAME_BYTES = 16
/** Longest name of a device here: a second address takes a label of two more characters. */
export const TUN_NAME_LIMIT = NAME_BYTES - 3
/** Packets the kernel holds for us while we are busy. */
const QUEUE_LENGTH = 1000

const request = new Arena(64)

function setName(name: string): void {
  request.bytes.fill(0)
  request.bytes.set(new TextEncoder().encode(name).subarray(0, NAME_BYTES - 1))
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
}

/** Makes, addresses and raises the interface. Throws SysError, nothing is left behind then. */
export function openTun(init: TunInit): { fd: number; name: string } {
  const path = new TextEncoder().encode('/dev/net/tun\0')
  request.bytes.set(path)
  const fd = openFile(request.address(0, path.length), O_RDWR | O_NONBLOCK | O_CLOEXEC)
  if (fd < 0) throw lastError('open /dev/net/tun')
  let control = -1
  try {
    if (init.name.length > TUN_NAME_LIMIT) throw new SysError('TUNSETIFF', 'ENAMETOOLONG', init.name)
    setName(init.name)
    request.view.setUint16(NAME_BYTES, IFF_TUN | IFF_NO_PI, true)
    call(fd, 'TUNSETIFF', TUNSETIFF)
    const name = new TextDecoder().decode(request.bytes.slice(0, request.bytes.indexOf(0)))
    control = openUdp(AF_INET)
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
    return { fd, name }
  } catch (error) {
    closeFile(fd)
    throw error
  } finally {
    if (control >= 0) closeFile(control)
  }
}

/** Reads one packet of at most `length` bytes to `offset`: its length, or the negative errno. */
export function readTun(fd: number, arena: Arena, offset: number, length: number): number {
  const count = read(fd, arena.address(offset, length), length)
  return count < 0 ? -errno() : count
}

/** Writes one packet: the bytes taken, or the negative errno. */
export function writeTun(fd: number, arena: Arena, offset: number, length: number): number {
  const count = write(fd, arena.address(offset, length), length)
  return count < 0 ? -errno() : count
}
