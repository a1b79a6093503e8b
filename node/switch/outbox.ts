// Encrypted packets on their way out: gathered by destination, sent many at a time. Packets of equal length to one
// destination become one segmented send (UDP_SEGMENT); the order towards each destination is kept.
import { COUNTER } from './counters.ts'
import type { Listener } from './listener.ts'
import type { Ports } from './ports.ts'
import { controlAt, controlLength, nameLength, PATH_STRIDE } from './socket-address.ts'
import { Arena } from './sys/arena.ts'
import { ERRNO, LOCAL_GONE } from './sys/error.ts'
import { SendBatch } from './sys/send-batch.ts'

/** Most datagrams of one segmented send (UDP_MAX_SEGMENTS of older kernels), and most bytes. */
const MAX_SEGMENTS = 64
const MAX_SEGMENTED_BYTES = 65000

/** What the kernel answers where it cannot segment: no checksum offload, MTU too small, no such option. */
const REFUSALS: readonly number[] = [
  ERRNO.EIO,
  ERRNO.EINVAL,
  ERRNO.EMSGSIZE,
  ERRNO.EOPNOTSUPP,
  ERRNO.ENOPROTOOPT,
]

/** One turn's packets to ports. */
export class Outbox {
  /** Where packets are sealed into, see `reserve`. */
  readonly arena: Arena
  readonly #stride: number
  readonly #slots: number
  readonly #ports: Ports
  readonly #listeners: readonly Listener[]
  readonly #counters: Float64Array
  readonly #length: Int32Array
  /** The next packet to the same port; -1 ends. */
  readonly #next: Int32Array
  /** First and last packet by port, plus 1; 0 when the port has none. */
  readonly #head: Int32Array
  readonly #tail: Int32Array
  /** Ports that have packets. */
  readonly #waiting: Int32Array
  #waitingCount = 0
  #used = 0
  readonly #runs: SendBatch
  /** Of each message in `#runs`: its port, first packet and number of packets. */
  readonly #runPort: Int32Array
  readonly #runFirst: Int32Array
  readonly #runCount: Int32Array
  readonly #singles: SendBatch

  /**
   * @param packetBytes the longest packet
   * @param slots packets gathered before they are sent in any case
   */
  constructor(
    ports: Ports,
    listeners: readonly Listener[],
    counters: Float64Array,
    packetBytes: number,
    slots = 256,
  ) {
    this.#ports = ports
    this.#listeners = listeners
    this.#counters = counters
    this.#stride = (packetBytes + 63) & ~63
    this.#slots = slots
    this.arena = new Arena(this.#stride * slots)
    this.#length = new Int32Array(slots)
    this.#next = new Int32Array(slots)
    this.#head = new Int32Array(ports.capacity + 1)
    this.#tail = new Int32Array(ports.capacity + 1)
    this.#waiting = new Int32Array(slots)
    this.#runs = new SendBatch(slots, slots)
    this.#runPort = new Int32Array(slots)
    this.#runFirst = new Int32Array(slots)
    this.#runCount = new Int32Array(slots)
    this.#singles = new SendBatch(MAX_SEGMENTS, MAX_SEGMENTS)
  }

  /** Where in `arena` the next packet may be written. */
  reserve(): number {
    if (this.#used === this.#slots) this.flush()
    return this.#used * this.#stride
  }

  /** The packet of `length` bytes written where `reserve` said is for this port. */
  commit(port: number, length: number): void {
    const slot = this.#used++
    this.#length[slot] = length
    this.#next[slot] = -1
    if (this.#head[port] === 0) {
      this.#head[port] = slot + 1
      this.#waiting[this.#waitingCount++] = port
    } else {
      this.#next[this.#tail[port] - 1] = slot
    }
    this.#tail[port] = slot + 1
  }

  /** Sends everything. Never waits: what the kernel does not take is dropped and counted. */
  flush(): void {
    if (this.#used === 0) return
    for (let socket = 0; socket < this.#listeners.length; socket++) {
      this.#runs.clear()
      for (let i = 0; i < this.#waitingCount; i++) {
        const port = this.#waiting[i]
        if (this.#ports.socket[port] === socket) this.#gather(port)
      }
      if (this.#runs.messages > 0) this.#send(this.#listeners[socket])
    }
    this.clear()
  }

  /** Forgets everything unsent. */
  clear(): void {
    for (let i = 0; i < this.#waitingCount; i++) this.#head[this.#waiting[i]] = 0
    this.#waitingCount = 0
    this.#used = 0
  }

  /** Cuts a port's packets into runs. */
  #gather(port: number): void {
    const segmenting =
      this.#listeners[this.#ports.socket[port]].segmenting && this.#ports.unsegmented[port] === 0
    for (let slot = this.#head[port] - 1; slot >= 0; ) {
      const first = slot
      const size = this.#length[first]
      const most = segmenting ? Math.min(MAX_SEGMENTS, Math.floor(MAX_SEGMENTED_BYTES / size)) : 1
      let count = 0
      let last = size
      // All of one length; a shorter one may only be the last.
      while (slot >= 0 && count < most && last === size && this.#length[slot] <= size) {
        last = this.#length[slot]
        slot = this.#next[slot]
        count++
      }
      const message = this.#runs.messages
      this.#runPort[message] = port
      this.#runFirst[message] = first
      this.#runCount[message] = count
      this.#begin(this.#runs, port, count > 1 ? size : 0)
      for (let i = 0, at = first; i < count; i++, at = this.#next[at]) {
        this.#runs.add(this.arena, at * this.#stride, this.#length[at])
      }
    }
  }

  #begin(batch: SendBatch, port: number, segment: number): void {
    const { paths } = this.#ports
    const at = port * PATH_STRIDE
    batch.begin(paths, at, nameLength(paths, at), paths, controlAt(at), controlLength(paths, at), segment)
  }

  #send(listener: Listener): void {
    for (let first = 0, retried = -1; first < this.#runs.messages; ) {
      const sent = this.#runs.send(listener.fd, first)
      this.#counters[COUNTER.sendCalls]++
      if (sent > 0) {
        for (let i = first; i < first + sent; i++) this.#counters[COUNTER.txDatagrams] += this.#runCount[i]
        first += sent
        continue
      }
      const error = -sent
      if (error === ERRNO.EAGAIN) {
        for (; first < this.#runs.messages; first++) this.#drop(COUNTER.sendBufferFull, this.#runCount[first])
        return
      }
      if (error === ERRNO.ECONNREFUSED && retried !== first) {
        // The ICMP answer to something sent before; reading it has cleared it.
        retried = first
        continue
      }
      if (REFUSALS.includes(error) || LOCAL_GONE.includes(error)) this.#sendSingly(listener, first, error)
      else
        this.#drop(
          error === ERRNO.ENOBUFS ? COUNTER.sendBufferFull : COUNTER.sendFailed,
          this.#runCount[first],
        )
      first++
    }
  }

  #drop(counter: number, packets: number): void {
    this.#counters[counter] += packets
  }

  /** Sends a refused run one datagram at a time, and remembers what the kernel cannot do. */
  #sendSingly(listener: Listener, run: number, error: number): void {
    const port = this.#runPort[run]
    const count = this.#runCount[run]
    if (count > 1 && REFUSALS.includes(error)) {
      // EIO tells of the interface, others may be this destination's own: a smaller MTU.
      if (error === ERRNO.EIO) listener.segmenting = false
      else this.#ports.unsegmented[port] = 1
    } else if (LOCAL_GONE.includes(error)) {
      this.#ports.forgetLocal(port)
    }
    this.#singles.clear()
    for (let i = 0, at = this.#runFirst[run]; i < count; i++, at = this.#next[at]) {
      this.#begin(this.#singles, port, 0)
      this.#singles.add(this.arena, at * this.#stride, this.#length[at])
    }
    for (let first = 0; first < count; ) {
      const sent = this.#singles.send(listener.fd, first)
      this.#counters[COUNTER.sendCalls]++
      if (sent > 0) {
        this.#counters[COUNTER.txDatagrams] += sent
        first += sent
      } else {
        this.#drop(
          -sent === ERRNO.EAGAIN || -sent === ERRNO.ENOBUFS ? COUNTER.sendBufferFull : COUNTER.sendFailed,
          1,
        )
        first++
      }
    }
  }
}
