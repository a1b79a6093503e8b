// What the loop tells the main thread: gathered over a turn, posted as one message, and never more at once than the
// main thread can be behind with.

import type { MessagePort } from 'node:worker_threads'
import type { IpAddress } from '../../state/address6.ts'
import { ControlBatchWriter, MAX_CONTROL_PACKET } from './control-batch.ts'
import { COUNTER } from './counters.ts'
import type { Notices } from './forwarder.ts'
import type { PortEvent, Report, TunFacts } from './messages.ts'
import { FLOAT, type Ports } from './ports.ts'
import { GROUP, IN_FLIGHT_BYTES, IN_FLIGHT_LIMIT, QUERY_LIMIT, SIGNAL } from './shared.ts'
import { copyLocal, copyName, PATH_STRIDE, readPath } from './socket-address.ts'
import type { Arena } from './sys/arena.ts'
import type { ReceiveBatch } from './sys/receive-batch.ts'

const BATCH_BYTES = 512 << 10
const HARD_RESET_CLIENT_V2 = 7
const HARD_RESET_CLIENT_V3 = 10
const CONTROL_WKC_V1 = 11

export class Reporter implements Notices {
  readonly #port: MessagePort
  readonly #ports: Ports
  readonly #signals: Int32Array<SharedArrayBuffer>
  readonly #counters: Float64Array
  readonly #writer = new ControlBatchWriter(BATCH_BYTES)
  #groups = [0, 0, 0]
  #bytes = 0
  #events: PortEvent[] = []
  #queries: Uint8Array<ArrayBuffer>[] = []

  constructor(
    port: MessagePort,
    ports: Ports,
    signals: Int32Array<SharedArrayBuffer>,
    counters: Float64Array,
  ) {
    this.#port = port
    this.#ports = ports
    this.#signals = signals
    this.#counters = counters
  }

  control(socket: number, batch: ReceiveBatch, i: number, at: number, length: number): void {
    if (length > MAX_CONTROL_PACKET) {
      this.#counters[COUNTER.badLength]++
      return
    }
    const group = this.#groupOf(socket, batch, i, at)
    if (!this.#admit(group, length)) {
      this.#counters[COUNTER.controlQueueFull]++
      return
    }
    if (!this.#writer.fits(length)) this.post()
    const path = this.#writer.add(socket, batch.ifindex, group, batch.data.bytes, at, length)
    copyName(this.#writer.memory, path, batch.names, batch.nameAt(i))
    copyLocal(this.#writer.memory, path, batch.control, batch.localAt, batch.localLength, batch.ifindex)
    this.#groups[group]++
    this.#bytes += length
    this.#counters[COUNTER.controlRx]++
  }

  #groupOf(socket: number, batch: ReceiveBatch, i: number, at: number): number {
    if (this.#ports.byPath.find(batch.names, batch.nameAt(i), socket) !== 0) return GROUP.established
    const opcode = batch.data.bytes[at] >> 3
    const first =
      opcode === HARD_RESET_CLIENT_V2 || opcode === HARD_RESET_CLIENT_V3 || opcode === CONTROL_WKC_V1
    return first ? GROUP.first : GROUP.handshake
  }

  #admit(group: number, length: number): boolean {
    const packets = Atomics.load(this.#signals, SIGNAL.inFlight + group) + this.#groups[group]
    if (packets >= IN_FLIGHT_LIMIT[group]) return false
    const bytes = Atomics.load(this.#signals, SIGNAL.inFlightBytes) + this.#bytes + length
    return bytes <= (group === GROUP.established ? IN_FLIGHT_BYTES : IN_FLIGHT_BYTES / 2)
  }

  query(packet: Arena, length: number): void {
    const waiting = Atomics.load(this.#signals, SIGNAL.queries) + this.#queries.length
    if (waiting >= QUERY_LIMIT) this.#counters[COUNTER.queryQueueFull]++
    else this.#queries.push(packet.bytes.slice(0, length))
  }

  /** Of a port that was still it is told at once; of one whose packets come from here and there, by `settle` alone. */
  floated(port: number): void {
    const { floats } = this.#ports
    if (floats[port] === FLOAT.still) this.#tellFloat(port)
    else floats[port] = FLOAT.untold
  }

  /** Tells where a port has floated to meanwhile; to be called some times a second. */
  settle(port: number): void {
    const { floats } = this.#ports
    if (floats[port] === FLOAT.untold) this.#tellFloat(port)
    else floats[port] = FLOAT.still
  }

  #tellFloat(port: number): void {
    this.#ports.floats[port] = FLOAT.told
    const path = readPath(
      this.#ports.paths,
      port * PATH_STRIDE,
      this.#ports.socket[port],
      this.#ports.ifindex[port],
    )
    this.#events.push({ kind: 'float', slot: port, generation: this.#ports.stats.generation(port), path })
  }

  exited(port: number): void {
    this.#event('exit', port)
  }

  idle(port: number): void {
    this.#event('idle', port)
  }

  /** Of a backbone link. */
  changed(port: number, up: boolean): void {
    this.#event(up ? 'up' : 'down', port)
  }

  /** An answer to an echo request that left by this port. */
  echoed(port: number, from: IpAddress, token: Uint8Array<ArrayBuffer>): void {
    const generation = this.#ports.stats.generation(port)
    this.#events.push({ kind: 'echo', slot: port, generation, from, token })
  }

  rekeyDue(port: number): void {
    this.#event('rekey', port)
  }

  #event(kind: PortEvent['kind'], port: number): void {
    this.#events.push({ kind, slot: port, generation: this.#ports.stats.generation(port) })
  }

  /** Tells of a turn that failed. */
  trouble(message: string): void {
    this.#port.postMessage({ type: 'trouble', message } satisfies Report)
  }

  /** The TUN interface is gone, or could not be made anew. */
  tunGone(reason: string): void {
    this.#port.postMessage({ type: 'tun', gone: reason, problem6: undefined, index: 0 } satisfies Report)
  }

  tunBack({ problem6, index }: Pick<TunFacts, 'problem6' | 'index'>): void {
    this.#port.postMessage({ type: 'tun', gone: undefined, problem6, index } satisfies Report)
  }

  /** Whether the `packets` of a turn that is not posted yet are all control packets, and the main thread is still at earlier ones. */
  isBehind(packets: number): boolean {
    if (packets === 0 || this.#writer.count < packets) return false
    return Atomics.load(this.#signals, SIGNAL.inFlightBytes) > 0
  }

  /** Posts what was gathered, if anything was. */
  post(): void {
    if (this.#writer.count === 0 && this.#events.length === 0 && this.#queries.length === 0) return
    const control = this.#writer.count > 0 ? this.#writer.take() : undefined
    for (const [group, count] of this.#groups.entries())
      Atomics.add(this.#signals, SIGNAL.inFlight + group, count)
    Atomics.add(this.#signals, SIGNAL.inFlightBytes, this.#bytes)
    Atomics.add(this.#signals, SIGNAL.queries, this.#queries.length)
    const report: Report = {
      type: 'turn',
      control,
      groups: this.#groups,
      bytes: this.#bytes,
      events: this.#events,
      queries: this.#queries,
    }
    this.#port.postMessage(report, control === undefined ? [] : [control])
    this.#groups = [0, 0, 0]
    this.#bytes = 0
    this.#events = []
    this.#queries = []
  }
}
