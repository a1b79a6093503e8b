// A client of strongSwan's VICI on a unix socket. The protocol numbers nothing: one request at a time is under way, and the
// others wait; events may come at any moment.
import { connect, type Socket } from 'node:net'
import { ViciError } from './error.ts'
import { textOf, type ViciMessage, type ViciSection } from './message.ts'
import {
  decodePacket,
  encodeRegister,
  encodeRequest,
  encodeUnregister,
  PacketReader,
  type ViciPacket,
} from './packet.ts'

/** Requests that may wait behind the one under way. */
const MAX_WAITING = 1024
/** Messages of one streamed command that are taken. */
const MAX_STREAMED = 65_536
/** Bytes that the daemon may leave unread before it is given up. */
const MAX_UNSENT = 8 * 1024 * 1024

interface Turn {
  readonly what: string
  readonly bytes: Uint8Array
  /** The streamed event that belongs to it. */
  readonly event: string | undefined
  readonly streamed: ViciSection[]
  readonly resolve: (answer: ViciSection | undefined) => void
  readonly reject: (error: ViciError) => void
}

export class ViciClient {
  /** An event that was registered for. */
  onEvent: (name: string, message: ViciSection) => void = () => {}
  /** The connection is gone, for good; not called after `close`. */
  onClose: (reason: ViciError) => void = () => {}
  readonly #socket: Socket
  readonly #timeoutMs: number
  readonly #reader = new PacketReader()
  readonly #waiting: Turn[] = []
  #current: Turn | undefined
  #timer: NodeJS.Timeout | undefined
  #ended: ViciError | undefined

  private constructor(socket: Socket, timeoutMs: number) {
    this.#socket = socket
    this.#timeoutMs = timeoutMs
    socket.on('data', chunk => this.#read(chunk))
    socket.on('error', error => this.#end(new ViciError('closed', error.message)))
    socket.on('close', () => this.#end(new ViciError('closed', 'the daemon closed the connection')))
  }

  /**
   * @param timeoutMs how long connecting, and later each answer, may take. An answer that is late ends the connection:
   * what came after it could not be told from it.
   * @throws ViciError `closed` or `timeout`
   */
  static connect(path: string, timeoutMs = 10_000): Promise<ViciClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(path)
      const fail = (error: ViciError): void => {
        clearTimeout(timer)
        socket.destroy()
        reject(error)
      }
      const timer = setTimeout(() => fail(new ViciError('timeout', 'the daemon does not answer')), timeoutMs)
      const failed = (error: Error): void => fail(new ViciError('closed', error.message))
      socket.once('error', failed)
      socket.once('connect', () => {
        clearTimeout(timer)
        socket.off('error', failed)
        resolve(new ViciClient(socket, timeoutMs))
      })
    })
  }

  /** @throws ViciError `unknown` when the daemon has no such event; otherwise as `request` */
  async register(event: string): Promise<void> {
    await this.#ask(`registering for ${event}`, encodeRegister(event))
  }

  /**
   * Sends a command and returns its answer.
   * @throws ViciError `refused` with the daemon's words when it says that it failed; `unknown`, `timeout`, `closed`, `busy`
   */
  async request(command: string, message: ViciMessage = {}): Promise<ViciSection> {
    const answer = (await this.#ask(command, encodeRequest(command, message)))!
    if (textOf(answer, 'success') === 'no')
      throw new ViciError('refused', textOf(answer, 'errmsg') ?? `${command} failed`)
    return answer
  }

  /** Sends a command that answers by events of the given name, and returns those. @throws ViciError as `request` does */
  async stream(command: string, event: string, message: ViciMessage = {}): Promise<ViciSection[]> {
    const streamed: ViciSection[] = []
    // All three at once, so that no other of the same event comes between them.
    await Promise.all([
      this.#ask(`registering for ${event}`, encodeRegister(event)),
      this.#ask(command, encodeRequest(command, message), event, streamed),
      this.#ask(`unregistering from ${event}`, encodeUnregister(event)),
    ])
    return streamed
  }

  /** Requests under way fail with `closed`. */
  close(): void {
    this.onClose = () => {}
    this.#end(new ViciError('closed', 'the connection was closed'))
  }

  #ask(
    what: string,
    bytes: Uint8Array,
    event?: string,
    streamed: ViciSection[] = [],
  ): Promise<ViciSection | undefined> {
    if (this.#ended) return Promise.reject(this.#ended)
    if (this.#waiting.length >= MAX_WAITING || this.#socket.writableLength > MAX_UNSENT)
      return Promise.reject(new ViciError('busy', `${what}: the daemon has too much to do`))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ what, bytes, event, streamed, resolve, reject })
      this.#next()
    })
  }

  #next(): void {
    if (this.#current !== undefined) return
    const turn = this.#waiting.shift()
    if (turn === undefined) return
    this.#current = turn
    this.#socket.write(turn.bytes)
    this.#timer = setTimeout(
      () => this.#end(new ViciError('timeout', `${turn.what}: no answer in ${this.#timeoutMs / 1000} s`)),
      this.#timeoutMs,
    )
  }

  #read(chunk: Uint8Array): void {
    try {
      for (const bytes of this.#reader.push(chunk)) {
        if (this.#ended) return
        this.#take(decodePacket(bytes))
      }
    } catch (error) {
      if (!(error instanceof ViciError)) throw error
      this.#end(error)
    }
  }

  #take(packet: ViciPacket): void {
    const turn = this.#current
    if (packet.type === 'event') {
      if (turn?.event !== packet.name) {
        this.onEvent(packet.name, packet.message)
        return
      }
      if (turn.streamed.length >= MAX_STREAMED) throw new ViciError('malformed', `${turn.what} does not end`)
      turn.streamed.push(packet.message)
      this.#timer?.refresh()
      return
    }
    if (turn === undefined) throw new ViciError('malformed', 'an answer to nothing')
    clearTimeout(this.#timer)
    this.#current = undefined
    if (packet.type === 'command-unknown' || packet.type === 'event-unknown')
      turn.reject(new ViciError('unknown', `${turn.what}: the daemon does not know it`))
    else turn.resolve(packet.type === 'response' ? packet.message : undefined)
    this.#next()
  }

  #end(reason: ViciError): void {
    if (this.#ended) return
    this.#ended = reason
    clearTimeout(this.#timer)
    this.#socket.destroy()
    for (const turn of [this.#current, ...this.#waiting.splice(0)]) turn?.reject(reason)
    this.#current = undefined
    this.onClose(reason)
  }
}
