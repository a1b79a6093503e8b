// Sockets for ICMP echo over IPv4: of the kind that needs no privilege where net.ipv4.ping_group_range allows it (icmp(7)), else raw (raw(7)).
import { Arena } from './arena.ts'
import { ERRNO, errno, errnoName, lastError } from './error.ts'
import { AF_INET } from './family.ts'
import { libc, POINTER } from './library.ts'
import { bindTo, boundAddress, closeFile, SOCKADDR_LENGTH, setOption } from './socket.ts'

const socket = libc('socket', 'int', 'int', 'int', 'int')
const sendto = libc('sendto', 'int64_t', 'int', POINTER, 'size_t', 'int', POINTER, 'uint')
const recvfrom = libc('recvfrom', 'int64_t', 'int', POINTER, 'size_t', 'int', POINTER, POINTER)

const SOCK_DGRAM = 2
const SOCK_RAW = 3
const SOCK_NONBLOCK = 0x800
const SOCK_CLOEXEC = 0x80000
const IPPROTO_ICMP = 1
/** Level SOL_RAW; the value is a set of ICMP types to drop. */
const ICMP_FILTER = [255, 1] as const
const ALL_BUT_ECHO_REPLY = ~1
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const SOCKADDR_IN = 16

/** One message, sent or received, and the address it goes to or comes from. */
const MESSAGE_ROOM = 256
const NAME_AT = MESSAGE_ROOM
const LENGTH_AT = NAME_AT + 32
const scratch = new Arena(LENGTH_AT + 8)

export class IcmpSocket {
  /** Messages come with their IP header, and those of others too. */
  readonly raw: boolean
  /** The identifier that the kernel puts into requests; undefined where it leaves that to the sender. */
  readonly identifier: number | undefined
  /** What `receive` took: valid until the next call of any of these sockets. */
  readonly message: Uint8Array = scratch.bytes.subarray(0, MESSAGE_ROOM)
  /** Where it came from, u32. */
  from = 0
  readonly #fd: number

  /** @param source u32; without one the kernel chooses. Throws SysError */
  constructor(source: number | undefined) {
    const flags = SOCK_NONBLOCK | SOCK_CLOEXEC
    let fd = socket(AF_INET, SOCK_DGRAM | flags, IPPROTO_ICMP)
    this.raw = fd < 0
    if (fd < 0) fd = socket(AF_INET, SOCK_RAW | flags, IPPROTO_ICMP)
    if (fd < 0) throw lastError('socket')
    this.#fd = fd
    try {
      if (this.raw) setOption(fd, ICMP_FILTER, ALL_BUT_ECHO_REPLY)
      if (source !== undefined || !this.raw) {
        writeAddress(source ?? 0)
        bindTo(fd, scratch, NAME_AT, SOCKADDR_IN)
      }
      if (!this.raw) {
        boundAddress(fd, scratch, NAME_AT)
        this.identifier = scratch.view.getUint16(NAME_AT + 2, false)
      }
    } catch (error) {
      closeFile(fd)
      throw error
    }
  }

  /** Sends the first `length` bytes of `message` to an address, u32; the errno's name when the kernel does not take it. */
  send(address: number, length: number): string | undefined {
    writeAddress(address)
    const message = scratch.address(0, Math.min(length, MESSAGE_ROOM))
    const name = scratch.address(NAME_AT, SOCKADDR_IN)
    const sent = sendto(this.#fd, message, length, MSG_DONTWAIT | MSG_NOSIGNAL, name, SOCKADDR_IN)
    return sent === length ? undefined : errnoName(errno())
  }

  /** Takes a message that waits: its bytes, 0 when there is none. What is longer than a few hundred bytes is cut. */
  receive(): number {
    scratch.words[LENGTH_AT >> 2] = SOCKADDR_LENGTH
    const count = recvfrom(
      this.#fd,
      scratch.address(0, MESSAGE_ROOM),
      MESSAGE_ROOM,
      MSG_DONTWAIT,
      scratch.address(NAME_AT, SOCKADDR_LENGTH),
      scratch.address(LENGTH_AT, 4),
    )
    if (count < 0) return errno() === ERRNO.EINTR ? this.receive() : 0
    this.from = scratch.view.getUint32(NAME_AT + 4, false)
    return count
  }

  close(): void {
    closeFile(this.#fd)
  }
}

function writeAddress(address: number): void {
  scratch.bytes.fill(0, NAME_AT, NAME_AT + SOCKADDR_IN)
  scratch.view.setUint16(NAME_AT, AF_INET, true)
  scratch.view.setUint32(NAME_AT + 4, address, false)
}
