// Sends the prober's echo requests and takes their answers: by sockets, one for each source address, and by ports of the switch.
import { randomFillSync, randomInt } from 'node:crypto'
import { type IpAddress, isSameAddress } from '../../state/address6.ts'
import { ECHO_LENGTH, readEcho, readEcho6, TOKEN_LENGTH, writeEcho, writeEcho6 } from '../switch/echo.ts'
import { SysError } from '../switch/sys/error.ts'
import { IcmpSocket } from '../switch/sys/icmp-socket.ts'
import { type EchoRequest, MAX_TARGETS } from './prober.ts'

/** The socket as it is used here; tests give one of their own. */
export type EchoSocket = Pick<
  IcmpSocket,
  'version' | 'raw' | 'identifier' | 'message' | 'from' | 'send' | 'receive' | 'close'
>

export interface PingerInit {
  /** `sendEcho` of the switch. */
  sendByPort: (port: number, to: IpAddress, token: Uint8Array) => boolean
  /** @default a socket of this machine; throws SysError */
  open?: (version: 4 | 6, source: IpAddress | undefined) => EchoSocket
}

/** Source addresses: this controller's own, and the kernel's choice, of both versions of IP. */
const MAX_SOURCES = 8
/** Requests whose answer is waited for; the oldest go first. */
const MAX_WAITING = 8 * MAX_TARGETS
/** Messages read from a socket at once: strangers must not keep us busy. */
const MAX_MESSAGES = 2 * MAX_TARGETS
/** The kernel does not take a request now. */
const BUSY = new Set(['EAGAIN', 'ENOBUFS', 'ENOMEM'])
/** The source address is gone. Any other error is what a route that leads nowhere causes. */
const NO_SOURCE = new Set(['EADDRNOTAVAIL', 'EINVAL'])

interface Waiting {
  readonly request: EchoRequest
  /** Of the ICMP message; undefined where the switch wrote and checked it. */
  readonly sequence: number | undefined
}

interface Channel {
  readonly socket: EchoSocket
  readonly identifier: number
}

export class Pinger {
  readonly #sendByPort: PingerInit['sendByPort']
  readonly #open: NonNullable<PingerInit['open']>
  /** By version and source. */
  readonly #channels = new Map<string, Channel>()
  /** By the token, which nobody can guess. */
  readonly #waiting = new Map<string, Waiting>()
  #sequence = 0
  #problem: string | undefined

  constructor({ sendByPort, open = (version, source) => new IcmpSocket(version, source) }: PingerInit) {
    this.#sendByPort = sendByPort
    this.#open = open
  }

  /** Why requests cannot be sent by sockets, and what to do; undefined while they can. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** Sends a request; false when it cannot be asked from here at all. */
  send(request: EchoRequest): boolean {
    const { from, address } = request
    const token = randomFillSync(new Uint8Array(TOKEN_LENGTH))
    if (from !== 'kernel' && 'port' in from) {
      if (!this.#sendByPort(from.port, address, token)) return false
      this.#wait(token, { request, sequence: undefined })
      return true
    }
    const source = from === 'kernel' ? undefined : from.source
    const version = typeof address === 'number' ? 4 : 6
    const name = `${version} ${source}`
    const channel = this.#channel(name, version, source)
    if (channel === undefined) return false
    const { socket, identifier } = channel
    this.#sequence = (this.#sequence + 1) & 0xffff
    const write = version === 4 ? writeEcho : writeEcho6
    write(socket.message, 0, identifier, this.#sequence, token)
    const error = socket.send(address, ECHO_LENGTH)
    if (error !== undefined && NO_SOURCE.has(error)) {
      socket.close()
      this.#channels.delete(name)
    }
    if (error !== undefined && (BUSY.has(error) || NO_SOURCE.has(error))) return false
    this.#wait(token, { request, sequence: this.#sequence })
    return true
  }

  /** Hands over each answer that waits at the sockets. */
  collect(answered: (request: EchoRequest) => void): void {
    for (const { socket, identifier } of this.#channels.values()) {
      for (let i = 0; i < MAX_MESSAGES; i++) {
        const length = socket.receive()
        if (length === 0) break
        const { message, version, raw } = socket
        const reply = version === 4 ? readEcho(message, length, raw) : readEcho6(message, 0, length)
        if (reply?.identifier !== identifier) continue
        const request = this.#take(reply.token, socket.from, reply.sequence)
        if (request !== undefined) answered(request)
      }
    }
  }

  /** The request that an answer belongs to which came by a port of the switch. */
  byPort(port: number, address: IpAddress, token: Uint8Array): EchoRequest | undefined {
    const from = this.#waiting.get(keyOf(token))?.request.from
    if (from === undefined || from === 'kernel' || !('port' in from) || from.port !== port) return undefined
    return this.#take(token, address, undefined)
  }

  close(): void {
    for (const { socket } of this.#channels.values()) socket.close()
    this.#channels.clear()
    this.#waiting.clear()
  }

  #wait(token: Uint8Array, waiting: Waiting): void {
    this.#waiting.set(keyOf(token), waiting)
    if (this.#waiting.size > MAX_WAITING) this.#waiting.delete(this.#waiting.keys().next().value!)
  }

  #take(token: Uint8Array, address: IpAddress, sequence: number | undefined): EchoRequest | undefined {
    const key = keyOf(token)
    const waiting = this.#waiting.get(key)
    if (waiting === undefined || waiting.sequence !== sequence) return undefined
    if (!isSameAddress(waiting.request.address, address)) return undefined
    this.#waiting.delete(key)
    return waiting.request
  }

  #channel(name: string, version: 4 | 6, source: IpAddress | undefined): Channel | undefined {
    const known = this.#channels.get(name)
    if (known !== undefined) return known
    if (this.#channels.size === MAX_SOURCES) return undefined
    try {
      const socket = this.#open(version, source)
      const channel = { socket, identifier: socket.identifier ?? randomInt(0x10000) }
      this.#channels.set(name, channel)
      this.#problem = undefined
      return channel
    } catch (error) {
      const reason = error instanceof SysError ? error.code : String(error)
      this.#problem =
        reason === 'EPERM' || reason === 'EACCES'
          ? 'routes are not probed: this controller may not send ICMP echo requests; run as root or with CAP_NET_RAW'
          : `routes are not probed: no socket for ICMP echo requests (${reason})`
      return undefined
    }
  }
}

function keyOf(token: Uint8Array): string {
  return Buffer.from(token.buffer, token.byteOffset, token.length).toString('hex')
}
