// Control packets on their way to the main thread: many in one buffer, each with the path it took.
import { type Memory, wrapMemory } from './memory.ts'
import { PATH_STRIDE } from './socket-address.ts'

// A record in 32-bit words: payload length, listening socket, interface, group; the path; the payload, padded.
const HEADER_BYTES = 16
const RECORD_BYTES = HEADER_BYTES + PATH_STRIDE

/** Control packets are at most this long: a UDP datagram of any control message fits, with room to spare. */
export const MAX_CONTROL_PACKET = 2048

/** Gathers records into one buffer that is then given away whole. */
export class ControlBatchWriter {
  readonly #limit: number
  #memory: Memory
  #length = 0
  /** Records gathered. */
  count = 0

  /** @param limit bytes of one batch, a multiple of 4 */
  constructor(limit: number) {
    this.#limit = limit
    this.#memory = wrapMemory(new ArrayBuffer(limit))
  }

  /** True when a packet of `length` bytes still fits. */
  fits(length: number): boolean {
    return this.#length + RECORD_BYTES + length + 3 <= this.#limit
  }

  /** Adds a packet's record and returns its memory and where its path is to be written; see `fits`. */
  add(socket: number, ifindex: number, group: number, from: Uint8Array, at: number, length: number): number {
    const { words, bytes } = this.#memory
    const word = this.#length >> 2
    words[word] = length
    words[word + 1] = socket
    words[word + 2] = ifindex
    words[word + 3] = group
    const path = this.#length + HEADER_BYTES
    bytes.set(from.subarray(at, at + length), path + PATH_STRIDE)
    this.#length += (RECORD_BYTES + length + 3) & ~3
    this.count++
    return path
  }

  /** The memory that `add` wrote to, valid until `take`. */
  get memory(): Memory {
    return this.#memory
  }

  /** The batch so far, to be transferred; the writer is empty afterwards. */
  take(): ArrayBuffer {
    const batch = this.#memory.bytes.buffer.slice(0, this.#length) as ArrayBuffer
    this.#length = 0
    this.count = 0
    return batch
  }
}

/** Walks the records of a batch that a `ControlBatchWriter` of this process made. */
export class ControlBatchReader {
  readonly memory: Memory
  #next = 0
  /** Of the record that `next` came to: offset of its path in `memory`. */
  pathAt = 0
  payloadAt = 0
  length = 0
  socket = 0
  ifindex = 0
  group = 0

  constructor(batch: ArrayBuffer) {
    this.memory = wrapMemory(batch)
  }

  /** Goes on to the next record; false at the end. */
  next(): boolean {
    const word = this.#next >> 2
    if (this.#next + RECORD_BYTES > this.memory.bytes.length) return false
    const { words } = this.memory
    this.length = words[word]
    this.socket = words[word + 1]
    this.ifindex = words[word + 2]
    this.group = words[word + 3]
    this.pathAt = this.#next + HEADER_BYTES
    this.payloadAt = this.pathAt + PATH_STRIDE
    this.#next += (RECORD_BYTES + this.length + 3) & ~3
    return true
  }
}
