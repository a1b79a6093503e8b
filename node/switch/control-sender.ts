// Sends the endpoint's control packets: each to its own path, many by one system call.
import { ControlBatchReader, MAX_CONTROL_PACKET } from './control-batch.ts'
import { COUNTER } from './counters.ts'
import type { Listener } from './listener.ts'
import { controlAt, controlLength, nameLength, PATH_STRIDE } from './socket-address.ts'
import { Arena } from './sys/arena.ts'
import { ERRNO } from './sys/error.ts'
import { SendBatch } from './sys/send-batch.ts'

const CAPACITY = 64

export class ControlSender {
  readonly #listeners: readonly Listener[]
  readonly #counters: Float64Array
  readonly #batch = new SendBatch(CAPACITY, CAPACITY)
  readonly #paths = new Arena(CAPACITY * PATH_STRIDE)
  readonly #packets = new Arena(CAPACITY * MAX_CONTROL_PACKET)

  constructor(listeners: readonly Listener[], counters: Float64Array) {
    this.#listeners = listeners
    this.#counters = counters
  }

  /** Sends a batch of the main thread's. What the kernel does not take is dropped: its sender will repeat it. */
  send(batch: ArrayBuffer): void {
    const reader = new ControlBatchReader(batch)
    let socket = -1
    while (reader.next()) {
      if (reader.length > MAX_CONTROL_PACKET || this.#listeners[reader.socket] === undefined) {
        this.#counters[COUNTER.sendFailed]++
        continue
      }
      if (reader.socket !== socket || !this.#batch.fits(1)) this.#flush(socket)
      socket = reader.socket
      const i = this.#batch.messages
      const path = i * PATH_STRIDE
      const { words, bytes } = reader.memory
      for (let w = 0; w < PATH_STRIDE >> 2; w++)
        this.#paths.words[(path >> 2) + w] = words[(reader.pathAt >> 2) + w]
      const payload = bytes.subarray(reader.payloadAt, reader.payloadAt + reader.length)
      this.#packets.bytes.set(payload, i * MAX_CONTROL_PACKET)
      const paths = this.#paths
      this.#batch.begin(
        paths,
        path,
        nameLength(paths, path),
        paths,
        controlAt(path),
        controlLength(paths, path),
        0,
      )
      this.#batch.add(this.#packets, i * MAX_CONTROL_PACKET, reader.length)
    }
    this.#flush(socket)
  }

  #flush(socket: number): void {
    let retried = -1
    for (let first = 0; first < this.#batch.messages; ) {
      const sent = this.#batch.send(this.#listeners[socket].fd, first)
      this.#counters[COUNTER.sendCalls]++
      if (sent > 0) {
        this.#counters[COUNTER.controlTx] += sent
        this.#counters[COUNTER.txDatagrams] += sent
        first += sent
      } else if (-sent === ERRNO.ECONNREFUSED && retried !== first) {
        retried = first
      } else {
        const full = -sent === ERRNO.EAGAIN || -sent === ERRNO.ENOBUFS
        this.#counters[full ? COUNTER.sendBufferFull : COUNTER.sendFailed]++
        first++
      }
    }
    this.#batch.clear()
  }
}
