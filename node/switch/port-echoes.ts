// Echo requests that leave by a chosen port, whatever the routes say, and their answers: how a way is judged while another is in use.
import { randomInt } from 'node:crypto'
import { ECHO_LENGTH, readEcho, writeEcho } from './echo.ts'
import {
  destination,
  isFragment,
  MIN_HEADER,
  PROTOCOL,
  protocol,
  source,
  writeHeaderChecksum,
} from './ipv4.ts'
import type { PortSender } from './port-sender.ts'
import { Arena } from './sys/arena.ts'

const TTL = 64
/** Answers that each port owes at most; no more than that are told of one. */
const MAX_OWED = 1024

export class PortEchoes {
  readonly #sender: PortSender
  /** This controller's own overlay address, u32. */
  readonly #own: number
  /** By port: who answers twice takes nothing from others. */
  readonly #owed: Uint16Array
  readonly #told: (port: number, from: number, token: Uint8Array<ArrayBuffer>) => void
  readonly #request = new Arena(MIN_HEADER + ECHO_LENGTH)
  /** Tells these from the echo requests of this machine's programs. */
  readonly #identifier = randomInt(0x10000)
  #sequence = 0

  constructor(
    capacity: number,
    sender: PortSender,
    own: number,
    told: (port: number, from: number, token: Uint8Array<ArrayBuffer>) => void,
  ) {
    this.#owed = new Uint16Array(capacity + 1)
    this.#sender = sender
    this.#own = own
    this.#told = told
  }

  /** Sends a request from this controller's own address. */
  send(port: number, to: number, token: Uint8Array): void {
    const { bytes, view } = this.#request
    this.#sequence = (this.#sequence + 1) & 0xffff
    bytes.fill(0, 0, MIN_HEADER)
    bytes[0] = 0x45
    view.setUint16(2, MIN_HEADER + ECHO_LENGTH)
    bytes[8] = TTL
    bytes[9] = PROTOCOL.icmp
    view.setUint32(12, this.#own)
    view.setUint32(16, to)
    writeHeaderChecksum(this.#request, 0)
    writeEcho(bytes, MIN_HEADER, this.#identifier, this.#sequence, token)
    if (this.#sender.send(port, this.#request, MIN_HEADER + ECHO_LENGTH))
      this.#owed[port] = Math.min(this.#owed[port] + 1, MAX_OWED)
  }

  /** Takes the valid packet of `length` bytes that came from a port; false when it is no answer to such a request. */
  received(port: number, packet: Arena, length: number): boolean {
    const { bytes, view } = packet
    if (this.#owed[port] === 0 || protocol(view, 0) !== PROTOCOL.icmp) return false
    if (destination(view, 0) >>> 0 !== this.#own || isFragment(view, 0)) return false
    const reply = readEcho(bytes, length, true)
    if (reply?.identifier !== this.#identifier) return false
    this.#owed[port]--
    this.#told(port, source(view, 0) >>> 0, reply.token)
    return true
  }
}
