// What the kernel knows of the path to an address: the MTU of the interface, or what routers have told since (RFC 1191,
// RFC 8201). Asked by sockets that are connected to the address and never send.
import type { Arena } from './arena.ts'
import { AF_INET, AF_INET6 } from './family.ts'
import { closeFile, connectTo, getOption, OPTION, openUdp } from './socket.ts'

const SOCKADDR_IN = 16

export class RouteMtu {
  #socket4 = -1
  #socket6 = -1

  /** The path's MTU in bytes to the sockaddr of `length` bytes at `offset`; 0 when the kernel does not tell. */
  ask(names: Arena, offset: number, length: number): number {
    const four = length === SOCKADDR_IN
    try {
      if (four && this.#socket4 < 0) this.#socket4 = openUdp(AF_INET)
      if (!four && this.#socket6 < 0) this.#socket6 = openUdp(AF_INET6)
    } catch {
      // Out of descriptors: what routers tell is then not known, and probes find it out.
      return 0
    }
    const fd = four ? this.#socket4 : this.#socket6
    if (!connectTo(fd, names, offset, length)) return 0
    return getOption(fd, four ? OPTION.ipv4Mtu : OPTION.ipv6Mtu) ?? 0
  }

  close(): void {
    if (this.#socket4 >= 0) closeFile(this.#socket4)
    if (this.#socket6 >= 0) closeFile(this.#socket6)
  }
}
