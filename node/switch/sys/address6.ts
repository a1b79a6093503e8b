// IPv6 addresses of an interface, by rtnetlink(7): ioctl(2) has no lifetimes.
import type { Address6 } from '../../../state/address6.ts'
import { Arena } from './arena.ts'
import { errnoName, lastError, SysError } from './error.ts'
import { AF_INET6 } from './family.ts'
import { libc, POINTER } from './library.ts'
import { closeFile } from './socket.ts'

const socket = libc('socket', 'int', 'int', 'int', 'int')
const send = libc('send', 'int64_t', 'int', POINTER, 'size_t', 'int')
const receive = libc('recv', 'int64_t', 'int', POINTER, 'size_t', 'int')

const AF_NETLINK = 16
const SOCK_RAW = 3
const SOCK_NONBLOCK = 0x800
const SOCK_CLOEXEC = 0x80000
const NETLINK_ROUTE = 0
const RTM_NEWADDR = 20
const NLMSG_ERROR = 2
/** NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL and NLM_F_CREATE. */
const FLAGS = 0x1 | 0x4 | 0x200 | 0x400
const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_CACHEINFO = 6
const IFA_F_NODAD = 0x02
const FOREVER = 0xffffffff

// struct nlmsghdr, struct ifaddrmsg, and three attributes of 16 bytes with their headers (linux/if_addr.h).
const HEADER = 16
const ADDRESS_MESSAGE = 8
const ATTRIBUTE = 20
const LENGTH = HEADER + ADDRESS_MESSAGE + 3 * ATTRIBUTE

export interface InterfaceAddress6 {
  address: Address6
  /** Prefix length of the subnet behind the interface; 128 for none. */
  length: number
  /** Whether the kernel may choose it as the source of what it sends. */
  preferred: boolean
}

/** Adds an address to the interface of this index, without duplicate address detection. @throws SysError */
export function addAddress6(ifindex: number, { address, length, preferred }: InterfaceAddress6): void {
  const fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE)
  if (fd < 0) throw lastError('socket')
  try {
    const message = new Arena(LENGTH)
    const { view } = message
    view.setUint32(0, LENGTH, true)
    view.setUint16(4, RTM_NEWADDR, true)
    view.setUint16(6, FLAGS, true)
    view.setUint32(8, 1, true)
    view.setUint8(HEADER, AF_INET6)
    view.setUint8(HEADER + 1, length)
    view.setUint8(HEADER + 2, IFA_F_NODAD)
    view.setUint32(HEADER + 4, ifindex, true)
    for (const [i, type] of [IFA_LOCAL, IFA_ADDRESS, IFA_CACHEINFO].entries()) {
      const at = HEADER + ADDRESS_MESSAGE + i * ATTRIBUTE
      view.setUint16(at, ATTRIBUTE, true)
      view.setUint16(at + 2, type, true)
      if (type !== IFA_CACHEINFO)
        for (const [j, word] of address.entries()) view.setUint32(at + 4 + 4 * j, word)
      else {
        view.setUint32(at + 4, preferred ? FOREVER : 0, true)
        view.setUint32(at + 8, FOREVER, true)
      }
    }
    if (send(fd, message.address(0, LENGTH), LENGTH, 0) < 0) throw lastError('RTM_NEWADDR')
    // The kernel has answered when `send` returns.
    if (receive(fd, message.address(0, LENGTH), LENGTH, 0) < HEADER + 4) throw lastError('RTM_NEWADDR')
    const error = view.getInt32(HEADER, true)
    if (view.getUint16(4, true) !== NLMSG_ERROR || error !== 0)
      throw new SysError('RTM_NEWADDR', errnoName(-error))
  } finally {
    closeFile(fd)
  }
}
