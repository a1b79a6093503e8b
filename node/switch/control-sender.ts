// Sends the endpoint's control packets by one of the listening sockets, on the endpoint's own thread: many by one system call,
// each to its own path. To hand them to the loop and to wake it would cost more than to send them.
import { MAX_CONTROL_PACKET } from './control-batch.ts'
import { COUNTER } from './counters.ts'
import type { Path } from './path.ts'
import { controlAt, controlLength, nameLength, PATH_STRIDE, writePath } from './socket-address.ts'
import { Arena } from './sys/arena.ts'
import { ERRNO, LOCAL_GONE } from './sys/error.ts'
import { SendBatch } from './sys/send-batch.ts'

const CAPACITY = 64

export class ControlSender {
  readonly #socket: number
  readonly #counters: Float64Array
  readonly #batch = new SendBatch(CAPACITY, CAPACITY)
  readonly #paths = new Arena(CAPACITY * PATH_STRIDE)
  readonly #packets = new Arena(CAPACITY * MAX_CONTROL_PACKET)

  /** @param socket its file descriptor @param counters of the thread that calls */
  constructor(socket: number, counters: Float64Array) {
    this.#socket = socket
    this.#counters = counters
  }

  /** True when there is room for another packet. */
  get fits(): boolean {
    return this.#batch.fits(1)
  }

  /** Takes a packet of at most `MAX_CONTROL_PACKET` bytes, which is copied; see `fits`. */
  add(path: Path, packet: Uint8Array): void {
    const i = this.#batch.messages
    const at = i * PATH_STRIDE
    const paths = this.#paths
    if (!writePath(paths, at, path)) throw new TypeError(`no address: ${path.remote}`)
    this.#packets.bytes.set(packet, i * MAX_CONTROL_PACKET)
    this.#batch.begin(paths, at, nameLength(paths, at), paths, controlAt(at), controlLength(paths, at), 0)
    this.#batch.add(this.#packets, i * MAX_CONTROL_PACKET, packet.length)
  }

  /** Sends what was taken. What the kernel does not take is dropped: its sender will repeat it. */
  flush(): void {
    let retried = -1
    for (let first = 0; first < this.#batch.messages; ) {
      const sent = this.#batch.send(this.#socket, first)
      this.#counters[COUNTER.sendCalls]++
      if (sent > 0) {
        this.#counters[COUNTER.controlTx] += sent
        this.#counters[COUNTER.txDatagrams] += sent
        first += sent
      } else if (-sent === ERRNO.ECONNREFUSED && retried !== first) {
        retried = first
      } else if (LOCAL_GONE.includes(-sent) && retried !== first) {
        this.#batch.forgetControl(first)
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
