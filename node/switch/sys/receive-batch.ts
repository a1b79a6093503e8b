// Many datagrams by one recvmmsg, with what the kernel tells beside each: sender, address asked, GRO segment size.
import { Arena } from './arena.ts'
import { ERRNO, errno } from './error.ts'
import { libc, POINTER } from './library.ts'

const recvmmsg = libc('recvmmsg', 'int', 'int', POINTER, 'uint', 'int', POINTER)

const MSG_DONTWAIT = 0x40
const MSG_TRUNC = 0x20
// struct mmsghdr in 32-bit words: name 0, namelen 2, iov 4, iovlen 6, control 8, controllen 10, flags 12, len 14.
const HEADER_WORDS = 16
const NAME_STRIDE = 32
const CONTROL_STRIDE = 128
/** A datagram that GRO merged may be this long. */
const SLOT_BYTES = 65536
// Slots a round 64 KiB apart would all fall into the same few cache sets.
const SLOT_STRIDE = SLOT_BYTES + 192

const SOL_IP = 0
const IP_PKTINFO = 8
const SOL_IPV6 = 41
const IPV6_PKTINFO = 50
const SOL_UDP = 17
const UDP_GRO = 104

/** The receiving half of a socket loop; one serves all sockets of a thread in turn. */
export class ReceiveBatch {
  readonly capacity: number
  /** Datagrams: `dataAt(i)`, `length(i)`. */
  readonly data: Arena
  /** Senders as sockaddr: `nameAt(i)`. */
  readonly names: Arena
  /** Ancillary data, see `localAt`. */
  readonly control: Arena
  /** After `readControl`: where in `control` the local address asked lies, and of how many bytes (0, 4 or 16). */
  localAt = 0
  localLength = 0
  /** After `readControl`: the interface the datagram came in by, 0 when untold. */
  ifindex = 0
  /** After `readControl`: length of each of the datagrams that GRO merged, 0 when it is a single one. */
  segment = 0
  readonly #headers: Arena
  readonly #iovecs: Arena

  constructor(capacity: number) {
    this.capacity = capacity
    this.data = new Arena(capacity * SLOT_STRIDE)
    this.names = new Arena(capacity * NAME_STRIDE)
    this.control = new Arena(capacity * CONTROL_STRIDE)
    this.#headers = new Arena(capacity * HEADER_WORDS * 4)
    this.#iovecs = new Arena(capacity * 16)
    for (let i = 0; i < capacity; i++) {
      this.#iovecs.point(i * 4, this.data, i * SLOT_STRIDE, SLOT_BYTES)
      this.#iovecs.words[i * 4 + 2] = SLOT_BYTES
      this.#headers.point(i * HEADER_WORDS, this.names, i * NAME_STRIDE, NAME_STRIDE)
      this.#headers.point(i * HEADER_WORDS + 4, this.#iovecs, i * 16, 16)
      this.#headers.words[i * HEADER_WORDS + 6] = 1
      this.#headers.point(i * HEADER_WORDS + 8, this.control, i * CONTROL_STRIDE, CONTROL_STRIDE)
    }
    this.#reset(capacity)
  }

  /** What the kernel overwrote: the lengths it may fill. */
  #reset(count: number): void {
    const { words } = this.#headers
    for (let at = 0; at < count * HEADER_WORDS; at += HEADER_WORDS) {
      words[at + 2] = NAME_STRIDE
      words[at + 10] = CONTROL_STRIDE
    }
  }

  /**
   * Takes what waits on the socket, up to `capacity` datagrams: how many. 0 when none, or when the socket only had an
   * error to report (an ICMP answer to something sent before), which is the next send's business.
   */
  receive(fd: number): number {
    const address = this.#headers.address(0, this.capacity * HEADER_WORDS * 4)
    let count = recvmmsg(fd, address, this.capacity, MSG_DONTWAIT, 0)
    if (count < 0 && errno() === ERRNO.EINTR) count = recvmmsg(fd, address, this.capacity, MSG_DONTWAIT, 0)
    return count < 0 ? 0 : count
  }

  /** Makes the first `count` slots ready for the next `receive`. */
  release(count: number): void {
    this.#reset(count)
  }

  dataAt(i: number): number {
    return i * SLOT_STRIDE
  }

  nameAt(i: number): number {
    return i * NAME_STRIDE
  }

  length(i: number): number {
    return this.#headers.words[i * HEADER_WORDS + 14]!
  }

  /** True when the datagram was longer than a slot and lost its end. */
  truncated(i: number): boolean {
    return (this.#headers.words[i * HEADER_WORDS + 12]! & MSG_TRUNC) !== 0
  }

  /** Reads datagram i's ancillary data into `localAt`, `localLength`, `ifindex` and `segment`. */
  readControl(i: number): void {
    this.localAt = 0
    this.localLength = 0
    this.ifindex = 0
    this.segment = 0
    const { words } = this.control
    let at = i * CONTROL_STRIDE
    const end = at + Math.min(this.#headers.words[i * HEADER_WORDS + 10]!, CONTROL_STRIDE)
    // struct cmsghdr: length of header and data (8 bytes), level, type, data; the next begins at a multiple of 8.
    while (at + 16 <= end) {
      const word = at >> 2
      const length = words[word]!
      if (length < 16 || at + length > end) return
      const level = words[word + 2]
      const type = words[word + 3]
      if (level === SOL_UDP && type === UDP_GRO && length >= 20) {
        this.segment = words[word + 4]!
      } else if (level === SOL_IP && type === IP_PKTINFO && length >= 28) {
        // struct in_pktinfo: interface, local address that routing chose, address in the packet's header.
        this.ifindex = words[word + 4]!
        this.localAt = at + 24
        this.localLength = 4
      } else if (level === SOL_IPV6 && type === IPV6_PKTINFO && length >= 36) {
        this.localAt = at + 16
        this.localLength = 16
        this.ifindex = words[word + 8]!
      }
      at += (length + 7) & ~7
    }
  }
}
