// Echo requests that leave by a chosen port, whatever the routes say, and their answers: how a way is judged while another is in use.
import { randomInt } from 'node:crypto'
import type { Address6, IpAddress } from '../../state/address6.ts'
import { ECHO_LENGTH, type EchoReply, readEcho, readEcho6, writeEcho, writeEcho6 } from './echo.ts'
import { ECHO6_REPLY, echoOffset, writeHeader6, writeIcmp6Checksum } from './icmpv6.ts'
import {
  destination,
  isFragment,
  MIN_HEADER,
  PROTOCOL,
  protocol,
  source,
  writeHeaderChecksum,
} from './ipv4.ts'
import { DESTINATION6, IPV6_HEADER, NEXT_HEADER, nextHeader, SOURCE6 } from './ipv6.ts'
import type { PortSender } from './port-sender.ts'
import { Arena } from './sys/arena.ts'

const TTL = 64
/** Answers that each port owes at most; no more than that are told of one. */
const MAX_OWED = 1024

/** What an answer is told with. */
export type EchoTold = (port: number, from: IpAddress, token: Uint8Array<ArrayBuffer>) => void

export class PortEchoes {
  readonly #sender: PortSender
  /** This controller's own overlay address, u32. */
  readonly #own: number
  /** The same of IPv6, if the overlay has that. */
  readonly #own6: Address6 | undefined
  /** By port: who answers twice takes nothing from others. */
  readonly #owed: Uint16Array
  readonly #told: EchoTold
  readonly #request = new Arena(IPV6_HEADER + ECHO_LENGTH)
  /** Tells these from the echo requests of this machine's programs. */
  readonly #identifier = randomInt(0x10000)
  #sequence = 0

  constructor(capacity: number, sender: PortSender, own: number, own6: Address6 | undefined, told: EchoTold) {
    this.#owed = new Uint16Array(capacity + 1)
    this.#sender = sender
    this.#own = own
    this.#own6 = own6
    this.#told = told
  }

  /** Sends a request from this controller's own address. */
  send(port: number, to: IpAddress, token: Uint8Array): void {
    this.#sequence = (this.#sequence + 1) & 0xffff
    const length = typeof to === 'number' ? this.#write(to, token) : this.#write6(to, token)
    if (length > 0 && this.#sender.send(port, this.#request, length))
      this.#owed[port] = Math.min(this.#owed[port] + 1, MAX_OWED)
  }

  /** Length of the packet. */
  #write(to: number, token: Uint8Array): number {
    const { bytes, view } = this.#request
    bytes.fill(0, 0, MIN_HEADER)
    bytes[0] = 0x45
    view.setUint16(2, MIN_HEADER + ECHO_LENGTH)
    bytes[8] = TTL
    bytes[9] = PROTOCOL.icmp
    view.setUint32(12, this.#own)
    view.setUint32(16, to)
    writeHeaderChecksum(this.#request, 0)
    writeEcho(bytes, MIN_HEADER, this.#identifier, this.#sequence, token)
    return MIN_HEADER + ECHO_LENGTH
  }

  /** 0 where there is no address to send from. */
  #write6(to: Address6, token: Uint8Array): number {
    if (this.#own6 === undefined) return 0
    const { bytes, view } = this.#request
    writeHeader6(this.#request, 0, ECHO_LENGTH, 0)
    for (const [i, word] of this.#own6.entries()) view.setUint32(SOURCE6 + 4 * i, word)
    for (const [i, word] of to.entries()) view.setUint32(DESTINATION6 + 4 * i, word)
    writeEcho6(bytes, IPV6_HEADER, this.#identifier, this.#sequence, token)
    writeIcmp6Checksum(this.#request, 0)
    return IPV6_HEADER + ECHO_LENGTH
  }

  /** Takes the valid packet of `length` bytes that came from a port; false when it is no answer to such a request. */
  received(port: number, packet: Arena, length: number): boolean {
    const { bytes, view } = packet
    if (this.#owed[port] === 0 || protocol(view, 0) !== PROTOCOL.icmp) return false
    if (destination(view, 0) >>> 0 !== this.#own || isFragment(view, 0)) return false
    return this.#take(port, source(view, 0) >>> 0, readEcho(bytes, length, true))
  }

  /** The same of IPv6. */
  received6(port: number, packet: Arena, length: number): boolean {
    const { bytes, view } = packet
    if (this.#owed[port] === 0 || nextHeader(view, 0) !== NEXT_HEADER.icmp || !this.#isOwn6(view))
      return false
    if (echoOffset(view, 0, ECHO6_REPLY) !== IPV6_HEADER) return false
    const word = (i: number) => view.getUint32(SOURCE6 + 4 * i)
    return this.#take(port, [word(0), word(1), word(2), word(3)], readEcho6(bytes, IPV6_HEADER, length))
  }

  #isOwn6(view: DataView): boolean {
    return this.#own6?.every((word, i) => word === view.getUint32(DESTINATION6 + 4 * i)) === true
  }

  #take(port: number, from: IpAddress, reply: EchoReply | undefined): boolean {
    if (reply?.identifier !== this.#identifier) return false
    this.#owed[port]--
    this.#told(port, from, reply.token)
    return true
  }
}
