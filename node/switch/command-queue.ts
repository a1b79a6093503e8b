// Commands on their way from the main thread to the loop: gathered until this turn of the event loop ends, posted as one
// message, in the order they were given. Control packets among them go in batches, only so many at once. So all that many
// sessions in their handshakes want goes by one wake-up.
import { closeSync, writeSync } from 'node:fs'
import type { MessagePort } from 'node:worker_threads'
import { ControlBatchWriter, MAX_CONTROL_PACKET } from './control-batch.ts'
import type { Command } from './messages.ts'
import type { Path } from './path.ts'
import { OUTGOING_LIMIT, SIGNAL } from './shared.ts'
import { writePath } from './socket-address.ts'

/** Bytes of control packets that one command takes along. */
const BATCH_BYTES = 256 << 10
const ONE = new Uint8Array(8).fill(1, 0, 1)

export class CommandQueue {
  /** Control packets dropped since the loop was behind, or they were too long. */
  dropped = 0
  readonly #port: MessagePort
  readonly #signals: Int32Array<SharedArrayBuffer>
  /** The eventfd that the loop waits on. */
  readonly #wakeup: number
  #commands: Command[] = []
  #transfers: ArrayBuffer[] = []
  readonly #control = new ControlBatchWriter(BATCH_BYTES)
  #flushSoon: NodeJS.Immediate | undefined
  #open = true

  constructor(port: MessagePort, signals: Int32Array<SharedArrayBuffer>, wakeup: number) {
    this.#port = port
    this.#signals = signals
    this.#wakeup = wakeup
  }

  /** Adds a command; the buffers in `transfers` are given away with it. */
  add(command: Command, transfers: readonly ArrayBuffer[] = []): void {
    this.#closeBatch()
    this.#commands.push(command)
    this.#transfers.push(...transfers)
    this.#schedule()
  }

  /** Adds a control packet, which is copied. Dropped and counted at the limit, as a network would. */
  addControl(path: Path, packet: Uint8Array): void {
    const waiting = Atomics.load(this.#signals, SIGNAL.outgoing) + this.#control.count
    if (packet.length > MAX_CONTROL_PACKET || waiting >= OUTGOING_LIMIT || !this.#open) {
      this.dropped++
      return
    }
    if (!this.#control.fits(packet.length)) this.#closeBatch()
    const at = this.#control.add(path.socket, path.ifindex, 0, packet, 0, packet.length)
    if (!writePath(this.#control.memory, at, path)) throw new TypeError(`no address: ${path.remote}`)
    this.#schedule()
  }

  #closeBatch(): void {
    const { count } = this.#control
    if (count === 0) return
    const batch = this.#control.take()
    Atomics.add(this.#signals, SIGNAL.outgoing, count)
    this.#commands.push({ type: 'control', batch, count })
    this.#transfers.push(batch)
  }

  #schedule(): void {
    this.#flushSoon ??= setImmediate(() => this.flush())
  }

  /** Posts what was gathered, now. */
  flush(): void {
    clearImmediate(this.#flushSoon)
    this.#flushSoon = undefined
    this.#closeBatch()
    if (this.#commands.length === 0 || !this.#open) return
    this.#port.postMessage(this.#commands, this.#transfers)
    this.#commands = []
    this.#transfers = []
    if (Atomics.exchange(this.#signals, SIGNAL.wake, 1) === 0) this.#wake()
  }

  /** Takes nothing more, and tells the loop to end once it has done what was given before. */
  end(): void {
    if (!this.#open) return
    this.flush()
    this.#open = false
    Atomics.store(this.#signals, SIGNAL.stop, 1)
    this.#wake()
  }

  #wake(): void {
    writeSync(this.#wakeup, ONE)
  }

  /** Gives back what the queue holds. Only once the loop has ended: it waits on the same file. */
  close(): void {
    this.#open = false
    this.#port.close()
    closeSync(this.#wakeup)
  }
}
