// Tells that something changed in this network namespace's interfaces, addresses, routes or nftables' rules, not what: the
// multicast groups of rtnetlink(7) and of nfnetlink, as they are subscribed to.
import { Arena } from './arena.ts'
import { ERRNO, errno, lastError } from './error.ts'
import { libc, POINTER } from './library.ts'
import { bindTo, closeFile } from './socket.ts'

const socket = libc('socket', 'int', 'int', 'int', 'int')
const recv = libc('recv', 'int64_t', 'int', POINTER, 'size_t', 'int')

const AF_NETLINK = 16
const SOCK_RAW = 3
const SOCK_NONBLOCK = 0x800
const SOCK_CLOEXEC = 0x80000
const MSG_DONTWAIT = 0x40
/** Bytes of a sockaddr_nl: family, port id at 4, groups at 8. */
const NAME_LENGTH = 12
/** Of a message only that it came counts. */
const MESSAGE_ROOM = 64
/** Messages that are read at a time: what is left then is news the next time. */
const MOST = 4096

const NETLINK_ROUTE = 0
const NETLINK_NETFILTER = 12
/** As `RTNLGRP_` counts: links, IPv4 addresses, routes and rules, IPv6 addresses, routes and rules, next hops. */
const ROUTE_GROUPS = [1, 5, 7, 8, 9, 11, 19, 32]
/** `NFNLGRP_NFTABLES` */
const NFTABLES_GROUPS = [7]

const scratch = new Arena(MESSAGE_ROOM)

function subscribe(protocol: number, groups: readonly number[]): number {
  const fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol)
  if (fd < 0) throw lastError('socket')
  scratch.words.fill(0)
  scratch.view.setUint16(0, AF_NETLINK, true)
  scratch.words[2] = groups.reduce((set, group) => set | (1 << (group - 1)), 0)
  try {
    bindTo(fd, scratch, 0, NAME_LENGTH)
  } catch (error) {
    closeFile(fd)
    throw error
  }
  return fd
}

export class KernelNews {
  readonly #fds: number[] = []

  /** Needs CAP_NET_ADMIN, as to list nftables' rules does. Throws SysError. */
  constructor() {
    try {
      this.#fds.push(subscribe(NETLINK_ROUTE, ROUTE_GROUPS))
      this.#fds.push(subscribe(NETLINK_NETFILTER, NFTABLES_GROUPS))
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Whether something changed since the last call, or may have. */
  take(): boolean {
    let any = false
    for (const fd of this.#fds) if (this.#drain(fd)) any = true
    return any
  }

  close(): void {
    for (const fd of this.#fds.splice(0)) closeFile(fd)
  }

  #drain(fd: number): boolean {
    for (let count = 0; count < MOST; count++) {
      if (recv(fd, scratch.address(0, MESSAGE_ROOM), MESSAGE_ROOM, MSG_DONTWAIT) >= 0) continue
      // Any other error counts as news: ENOBUFS is what the kernel answers where it had more than it could keep.
      if (errno() === ERRNO.EAGAIN) return count > 0
    }
    return true
  }
}
