// Sends the prober's echo requests and takes their answers: a socket for each source address, read when asked to.
import { randomFillSync, timingSafeEqual } from 'node:crypto'
import { SysError } from '../switch/sys/error.ts'
import { IcmpSocket } from '../switch/sys/icmp-socket.ts'
import { ECHO_LENGTH, readEcho, TOKEN_LENGTH, writeEcho } from './echo.ts'
import { type EchoRequest, MAX_TARGETS } from './prober.ts'

/** The socket as it is used here; tests give one of their own. */
export type EchoSocket = Pick<
  IcmpSocket,
  'raw' | 'identifier' | 'message' | 'from' | 'send' | 'receive' | 'close'
>

/** Source addresses: this controller's own, and the kernel's choice. */
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
  readonly token: Uint8Array
}

interface Channel {
  readonly socket: EchoSocket
  readonly identifier: number
}

export class Pinger {
  readonly #open: (source: number | undefined) => EchoSocket
  readonly #channels = new Map<number | undefined, Channel>()
  /** By source and ICMP sequence. */
  readonly #waiting = new Map<string, Waiting>()
  #sequence = 0
  #problem: string | undefined

  constructor(open: (source: number | undefined) => EchoSocket = source => new IcmpSocket(source)) {
    this.#open = open
  }

  /** Why requests cannot be sent, and what to do; undefined while they can. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** Sends a request; false when it cannot be asked from here at all. */
  send(request: EchoRequest): boolean {
    const channel = this.#channel(request.source)
    if (channel === undefined) return false
    this.#sequence = (this.#sequence + 1) & 0xffff
    const token = randomFillSync(new Uint8Array(TOKEN_LENGTH))
    writeEcho(channel.socket.message, channel.identifier, this.#sequence, token)
    const error = channel.socket.send(request.address, ECHO_LENGTH)
    if (error !== undefined && NO_SOURCE.has(error)) {
      channel.socket.close()
      this.#channels.delete(request.source)
    }
    if (error !== undefined && (BUSY.has(error) || NO_SOURCE.has(error))) return false
    const key = keyOf(request.source, this.#sequence)
    this.#waiting.delete(key)
    this.#waiting.set(key, { request, token })
    if (this.#waiting.size > MAX_WAITING) this.#waiting.delete(this.#waiting.keys().next().value!)
    return true
  }

  /** Hands over each answer that waits. */
  collect(answered: (request: EchoRequest) => void): void {
    for (const [source, { socket, identifier }] of this.#channels) {
      for (let i = 0; i < MAX_MESSAGES; i++) {
        const length = socket.receive()
        if (length === 0) break
        const reply = readEcho(socket.message, length, socket.raw)
        if (reply?.identifier !== identifier) continue
        const key = keyOf(source, reply.sequence)
        const waiting = this.#waiting.get(key)
        if (waiting?.request.address !== socket.from) continue
        if (!timingSafeEqual(waiting.token, reply.token)) continue
        this.#waiting.delete(key)
        answered(waiting.request)
      }
    }
  }

  close(): void {
    for (const { socket } of this.#channels.values()) socket.close()
    this.#channels.clear()
    this.#waiting.clear()
  }

  #channel(source: number | undefined): Channel | undefined {
    const known = this.#channels.get(source)
    if (known !== undefined) return known
    if (this.#channels.size === MAX_SOURCES) return undefined
    try {
      const socket = this.#open(source)
      const identifier = socket.identifier ?? (randomFillSync(new Uint16Array(1))[0] as number)
      const channel = { socket, identifier }
      this.#channels.set(source, channel)
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

function keyOf(source: number | undefined, sequence: number): string {
  return `${source ?? 'any'} ${sequence}`
}
