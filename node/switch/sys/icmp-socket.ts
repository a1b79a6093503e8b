// Sockets for ICMP echo: of the kind that needs no privilege where net.ipv4.ping_group_range allows it (icmp(7)), else raw (raw(7)).
import type { Address6, IpAddress } from '../../../state/address6.ts'
import { Arena } from './arena.ts'
import { ERRNO, errno, errnoName, lastError } from './error.ts'
import { AF_INET, AF_INET6 } from './family.ts'
import { libc, POINTER } from './library.ts'
import { bindTo, boundAddress, closeFile, SOCKADDR_LENGTH, setBytes } from './socket.ts'

const socket = libc('socket', 'int', 'int', 'int', 'int')
const sendto = libc('sendto', 'int64_t', 'int', POINTER, 'size_t', 'int', POINTER, 'uint')
const recvfrom = libc('recvfrom', 'int64_t', 'int', POINTER, 'size_t', 'int', POINTER, POINTER)

const SOCK_DGRAM = 2
const SOCK_RAW = 3
const SOCK_NONBLOCK = 0x800
const SOCK_CLOEXEC = 0x80000
interface SocketVersion {
  readonly family: number
  readonly protocol: number
  /** Bytes of a sockaddr, and where the address is in it. */
  readonly nameLength: number
  readonly addressAt: number
  readonly filter: readonly [level: number, name: number]
  readonly dropped: readonly number[]
}

/** What differs between the versions of IP. The filter's value is a set of ICMP types to drop: all but the echo reply. */
const VERSIONS: Readonly<Record<4 | 6, SocketVersion>> = {
  // IPPROTO_ICMP, ICMP_FILTER of level SOL_RAW
  4: { family: AF_INET, protocol: 1, nameLength: 16, addressAt: 4, filter: [255, 1], dropped: [~1] },
  // IPPROTO_ICMPV6, ICMPV6_FILTER
  6: {
    ...{ family: AF_INET6, protocol: 58, nameLength: 28, addressAt: 8, filter: [58, 1] },
    dropped: [-1, -1, -1, -1, ~(1 << (129 & 31)), -1, -1, -1],
  },
}
const ANY6: Address6 = [0, 0, 0, 0]
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
/** One message, sent or received, and the address it goes to or comes from. */
const MESSAGE_ROOM = 256
const NAME_AT = MESSAGE_ROOM
const LENGTH_AT = NAME_AT + 32
const scratch = new Arena(LENGTH_AT + 8)

export class IcmpSocket {
  readonly version: 4 | 6
  /** Messages of others come, too; of IPv4 all with their IP header. */
  readonly raw: boolean
  /** The identifier that the kernel puts into requests; undefined where it leaves that to the sender. */
  readonly identifier: number | undefined
  /** What `receive` took: valid until the next call of any of these sockets. */
  readonly message: Uint8Array = scratch.bytes.subarray(0, MESSAGE_ROOM)
  /** Where it came from. */
  from: IpAddress = 0
  readonly #fd: number

  /** @param source of this version; without one the kernel chooses. Throws SysError */
  constructor(version: 4 | 6, source: IpAddress | undefined) {
    this.version = version
    const { family, protocol, nameLength, filter, dropped } = VERSIONS[version]
    const flags = SOCK_NONBLOCK | SOCK_CLOEXEC
    let fd = socket(family, SOCK_DGRAM | flags, protocol)
    this.raw = fd < 0
    if (fd < 0) fd = socket(family, SOCK_RAW | flags, protocol)
    if (fd < 0) throw lastError('socket')
    this.#fd = fd
    try {
      if (this.raw) {
        scratch.words.set(dropped, NAME_AT >> 2)
        setBytes(fd, filter, scratch, NAME_AT, 4 * dropped.length)
      }
      if (source !== undefined || !this.raw) {
        writeAddress(version, source ?? (version === 4 ? 0 : ANY6))
        bindTo(fd, scratch, NAME_AT, nameLength)
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

  /** Sends the first `length` bytes of `message` to an address; the errno's name when the kernel does not take it. */
  send(address: IpAddress, length: number): string | undefined {
    const { nameLength } = VERSIONS[this.version]
    writeAddress(this.version, address)
    const message = scratch.address(0, Math.min(length, MESSAGE_ROOM))
    const name = scratch.address(NAME_AT, nameLength)
    const sent = sendto(this.#fd, message, length, MSG_DONTWAIT | MSG_NOSIGNAL, name, nameLength)
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
    this.from = readAddress(this.version)
    return count
  }

  close(): void {
    closeFile(this.#fd)
  }
}

function writeAddress(version: 4 | 6, address: IpAddress): void {
  const { family, addressAt } = VERSIONS[version]
  scratch.bytes.fill(0, NAME_AT, NAME_AT + SOCKADDR_LENGTH)
  scratch.view.setUint16(NAME_AT, family, true)
  const words = typeof address === 'number' ? [address] : address
  for (const [i, word] of words.entries()) scratch.view.setUint32(NAME_AT + addressAt + 4 * i, word, false)
}

function readAddress(version: 4 | 6): IpAddress {
  const word = (i: number) => scratch.view.getUint32(NAME_AT + VERSIONS[version].addressAt + 4 * i, false)
  return version === 4 ? word(0) : [word(0), word(1), word(2), word(3)]
}
