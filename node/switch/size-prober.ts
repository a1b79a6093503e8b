// Sends probes of the size of a port's path: each as long as asked, and never fragmented.
import { COUNTER } from './counters.ts'
import type { Keys } from './keys.ts'
import { type Listener, ordinary, probing } from './listener.ts'
import type { Ports } from './ports.ts'
import { controlAt, controlLength, nameLength, PATH_STRIDE } from './socket-address.ts'
import { Arena } from './sys/arena.ts'
import { SendBatch } from './sys/send-batch.ts'
import { DIRECTION } from './tap-ring.ts'
import type { Taps } from './taps.ts'

const CAPACITY = 64
const IPV4_HEADER = 20
const IPV6_HEADER = 40
const UDP_HEADER = 8

export class SizeProber {
  readonly #ports: Ports
  readonly #keys: Keys
  readonly #listeners: readonly Listener[]
  readonly #counters: Float64Array
  readonly #taps: Taps
  /** What is to be sealed next; probes may leave what the one before left behind their own bytes. */
  readonly plain: Arena
  readonly #packets: Arena
  readonly #stride: number
  readonly #batch = new SendBatch(CAPACITY, CAPACITY)
  #socket = 0

  /** @param packetBytes the longest packet that is ever sent, sealed */
  constructor(
    ports: Ports,
    keys: Keys,
    listeners: readonly Listener[],
    counters: Float64Array,
    taps: Taps,
    packetBytes: number,
  ) {
    this.#ports = ports
    this.#keys = keys
    this.#listeners = listeners
    this.#counters = counters
    this.#taps = taps
    this.#stride = (packetBytes + 63) & ~63
    this.plain = new Arena(this.#stride)
    this.#packets = new Arena(this.#stride * CAPACITY)
  }

  /** What the underlay's packet is longer by than the overlay packet it carries to this port. */
  overhead(port: number): number {
    const ip = nameLength(this.#ports.paths, port * PATH_STRIDE) === 16 ? IPV4_HEADER : IPV6_HEADER
    return ip + UDP_HEADER + this.#keys.overhead(this.#ports.sendKey[port])
  }

  /** Adds the first `length` bytes of `plain`, sealed for a port; goes with `flush` at the latest. */
  add(port: number, length: number): void {
    const { paths, socket, sendKey } = this.#ports
    if (sendKey[port] === 0 || length > this.#stride) return
    if (socket[port] !== this.#socket || !this.#batch.fits(1)) this.flush()
    this.#socket = socket[port]
    const at = this.#batch.messages * this.#stride
    const sealed = this.#keys.seal(sendKey[port], this.plain, 0, length, this.#packets, at)
    if (sealed === 0) return
    const path = port * PATH_STRIDE
    this.#batch.begin(
      paths,
      path,
      nameLength(paths, path),
      paths,
      controlAt(path),
      controlLength(paths, path),
      0,
    )
    this.#batch.add(this.#packets, at, sealed)
    this.#ports.countSent(port, length)
    if (this.#taps.open[0] !== 0) this.#taps.passes(port, DIRECTION.out, this.plain, 0, length)
    this.#counters[COUNTER.probeTx]++
  }

  /** Sends what was added. What is too long for the interface, or cannot be sent else, is a probe without an answer. */
  flush(): void {
    const listener = this.#listeners[this.#socket]
    if (this.#batch.messages === 0) return
    probing(listener)
    for (let first = 0; first < this.#batch.messages; ) {
      const sent = this.#batch.send(listener.fd, first)
      this.#counters[COUNTER.sendCalls]++
      if (sent > 0) this.#counters[COUNTER.txDatagrams] += sent
      first += Math.max(1, sent)
    }
    ordinary(listener)
    this.#batch.clear()
  }
}
