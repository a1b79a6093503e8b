// Many datagrams by one sendmmsg: each message goes to one address, from one local address, and may be a run of
// equal datagrams that the kernel cuts apart (UDP_SEGMENT).
import { Arena } from './arena.ts'
import { errno } from './error.ts'
import { libc, POINTER } from './library.ts'

const sendmmsg = libc('sendmmsg', 'int', 'int', POINTER, 'uint', 'int')

const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const HEADER_WORDS = 16
const CONTROL_STRIDE = 64
const SOL_UDP = 17
const UDP_SEGMENT = 103

/** Messages gathered for one sendmmsg on one socket. */
export class SendBatch {
  readonly messageCapacity: number
  readonly vectorCapacity: number
  /** Messages gathered. */
  messages = 0
  #vectors = 0
  readonly #headers: Arena
  readonly #iovecs: Arena
  readonly #control: Arena

  constructor(messages: number, vectors: number) {
    this.messageCapacity = messages
    this.vectorCapacity = vectors
    this.#headers = new Arena(messages * HEADER_WORDS * 4)
    this.#iovecs = new Arena(vectors * 16)
    this.#control = new Arena(messages * CONTROL_STRIDE)
  }

  /** Forgets all messages. */
  clear(): void {
    this.messages = 0
    this.#vectors = 0
  }

  /** True when another message of `vectors` pieces fits. */
  fits(vectors: number): boolean {
    return this.messages < this.messageCapacity && this.#vectors + vectors <= this.vectorCapacity
  }

  /**
   * Begins a message to the sockaddr at `nameAt`, with the `controlLength` bytes of ready ancillary data at
   * `controlAt` (a whole number of words, at most 40 bytes), and, when `segment` is not 0, to be cut into datagrams
   * of that length.
   */
  begin(
    names: Arena,
    nameAt: number,
    nameLength: number,
    control: Arena,
    controlAt: number,
    controlLength: number,
    segment: number,
  ): void {
    const message = this.messages++
    const { words } = this.#headers
    const at = message * HEADER_WORDS
    const to = message * CONTROL_STRIDE
    this.#headers.point(at, names, nameAt, nameLength)
    words[at + 2] = nameLength
    this.#headers.point(at + 4, this.#iovecs, this.#vectors * 16, 16)
    words[at + 6] = 0
    const from = controlAt >> 2
    for (let i = 0; i < controlLength >> 2; i++) this.#control.words[(to >> 2) + i] = control.words[from + i]!
    let length = controlLength
    if (segment > 0) {
      const cmsg = (to + length) >> 2
      this.#control.words[cmsg] = 18
      this.#control.words[cmsg + 1] = 0
      this.#control.words[cmsg + 2] = SOL_UDP
      this.#control.words[cmsg + 3] = UDP_SEGMENT
      this.#control.words[cmsg + 4] = segment
      length += 24
    }
    this.#headers.point(at + 8, this.#control, to, length)
    words[at + 10] = length
  }

  /** Adds `length` bytes at `offset` to the message begun last. */
  add(arena: Arena, offset: number, length: number): void {
    const word = this.#vectors++ * 4
    this.#iovecs.point(word, arena, offset, length)
    this.#iovecs.words[word + 2] = length
    this.#headers.words[(this.messages - 1) * HEADER_WORDS + 6]!++
  }

  /** Message `message` leaves from whatever local address the kernel chooses, and uncut. */
  forgetControl(message: number): void {
    this.#headers.words[message * HEADER_WORDS + 10] = 0
  }

  /** Sends messages `first` and following: how many went, or the negative errno that the first one met. */
  send(fd: number, first: number): number {
    const count = this.messages - first
    const address = this.#headers.address(first * HEADER_WORDS * 4, count * HEADER_WORDS * 4)
    const sent = sendmmsg(fd, address, count, MSG_DONTWAIT | MSG_NOSIGNAL)
    return sent < 0 ? -errno() : sent
  }
}
