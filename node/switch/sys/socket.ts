// UDP sockets: made, bound and tuned. Packets pass by receive-batch.ts and send-batch.ts.
import { Arena } from './arena.ts'
import { lastError } from './error.ts'
import { libc, POINTER } from './library.ts'

const socket = libc('socket', 'int', 'int', 'int', 'int')
const bind = libc('bind', 'int', 'int', POINTER, 'uint')
const connect = libc('connect', 'int', 'int', POINTER, 'uint')
const close = libc('close', 'int', 'int')
const getsockname = libc('getsockname', 'int', 'int', POINTER, POINTER)
const getsockopt = libc('getsockopt', 'int', 'int', 'int', 'int', POINTER, POINTER)
const setsockopt = libc('setsockopt', 'int', 'int', 'int', 'int', POINTER, 'uint')

const SOCK_DGRAM = 2
const SOCK_NONBLOCK = 0x800
const SOCK_CLOEXEC = 0x80000

/** Bytes of the larger of sockaddr_in (16) and sockaddr_in6 (28). */
export const SOCKADDR_LENGTH = 28

/** Socket options by (level, name), as in the kernel's headers. */
export const OPTION = {
  sendBuffer: [1, 7],
  receiveBuffer: [1, 8],
  noChecksum: [1, 11],
  sendBufferForce: [1, 32],
  receiveBufferForce: [1, 33],
  ipv4PacketInfo: [0, 8],
  ipv4MtuDiscover: [0, 10],
  ipv4Mtu: [0, 14],
  ipv6MtuDiscover: [41, 23],
  ipv6Mtu: [41, 24],
  ipv6Only: [41, 26],
  ipv6PacketInfo: [41, 49],
  udpSegment: [17, 103],
  udpGro: [17, 104],
} as const satisfies Record<string, readonly [level: number, name: number]>

const scratch = new Arena(64)

/** A non-blocking UDP socket of the family. */
export function openUdp(family: number): number {
  const fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
  if (fd < 0) throw lastError('socket')
  return fd
}

/** Sets an integer option; false when the kernel refuses it. */
export function setOption(fd: number, option: readonly [number, number], value: number): boolean {
  scratch.words[0] = value
  return setsockopt(fd, option[0], option[1], scratch.address(0, 4), 4) === 0
}

/** Sets an option to the `length` bytes at `offset`; false when the kernel refuses it. */
export function setBytes(
  fd: number,
  option: readonly [number, number],
  arena: Arena,
  offset: number,
  length: number,
): boolean {
  return setsockopt(fd, option[0], option[1], arena.address(offset, length), length) === 0
}

/** An integer option's value; undefined when the kernel does not tell. */
export function getOption(fd: number, option: readonly [number, number]): number | undefined {
  scratch.words[1] = 4
  const told = getsockopt(fd, option[0], option[1], scratch.address(0, 4), scratch.address(4, 4))
  return told === 0 ? scratch.words[0] : undefined
}

/** Binds to the sockaddr of `length` bytes at `offset`. */
export function bindTo(fd: number, arena: Arena, offset: number, length: number): void {
  if (bind(fd, arena.address(offset, length), length) !== 0) throw lastError('bind')
}

/** Connects a UDP socket to the sockaddr of `length` bytes at `offset`; false when there is no way to it. */
export function connectTo(fd: number, arena: Arena, offset: number, length: number): boolean {
  return connect(fd, arena.address(offset, length), length) === 0
}

/** Writes the sockaddr that a socket is bound to at `offset`. */
export function boundAddress(fd: number, arena: Arena, offset: number): void {
  scratch.words[0] = SOCKADDR_LENGTH
  if (getsockname(fd, arena.address(offset, SOCKADDR_LENGTH), scratch.address(0, 4)) !== 0) {
    throw lastError('getsockname')
  }
}

/** Closes any file descriptor. */
export function closeFile(fd: number): void {
  close(fd)
}
