// What the main thread has for the loop and for the network: gathered until this turn of the event loop ends. Commands are
// posted as one message, in the order they were given; then control packets are sent, many by one call. So all that many
// sessions in their handshakes want goes by one wake-up, and no peer hears of a key before the loop does.
import { closeSync, writeSync } from 'node:fs'
import type { MessagePort } from 'node:worker_threads'
import { MAX_CONTROL_PACKET } from './control-batch.ts'
import { ControlSender } from './control-sender.ts'
import { COUNTER } from './counters.ts'
import type { Command } from './messages.ts'
import type { Path } from './path.ts'
import { SIGNAL } from './shared.ts'

const ONE = new Uint8Array(8).fill(1, 0, 1)

export interface CommandQueueInit {
  port: MessagePort
  signals: Int32Array<SharedArrayBuffer>
  /** The eventfd that the loop waits on. */
  wakeup: number
  /** The listening sockets, which the loop receives by. */
  sockets: readonly number[]
  /** Of this thread. */
  counters: Float64Array
}

/** Owns the files that it was given. */
export class CommandQueue {
  readonly #init: CommandQueueInit
  readonly #senders: readonly ControlSender[]
  #commands: Command[] = []
  #transfers: ArrayBuffer[] = []
  #flushSoon: NodeJS.Immediate | undefined
  #open = true
  #closed = false

  constructor(init: CommandQueueInit) {
    this.#init = init
    this.#senders = init.sockets.map(socket => new ControlSender(socket, init.counters))
  }

  /** Adds a command; the buffers in `transfers` are given away with it. */
  add(command: Command, transfers: readonly ArrayBuffer[] = []): void {
    this.#commands.push(command)
    this.#transfers.push(...transfers)
    this.#schedule()
  }

  /** Adds a control packet, which is copied. One that is too long, or for no socket of ours, is dropped and counted. */
  addControl(path: Path, packet: Uint8Array): void {
    const sender = this.#senders[path.socket]
    if (sender === undefined || packet.length > MAX_CONTROL_PACKET || !this.#open) {
      this.#init.counters[COUNTER.sendFailed]++
      return
    }
    if (!sender.fits) this.flush()
    sender.add(path, packet)
    this.#schedule()
  }

  #schedule(): void {
    this.#flushSoon ??= setImmediate(() => this.flush())
  }

  /** Posts and sends what was gathered, now. */
  flush(): void {
    clearImmediate(this.#flushSoon)
    this.#flushSoon = undefined
    if (!this.#open) return
    if (this.#commands.length > 0) this.#post()
    for (const sender of this.#senders) sender.flush()
  }

  #post(): void {
    this.#init.port.postMessage(this.#commands, this.#transfers)
    this.#commands = []
    this.#transfers = []
    if (Atomics.exchange(this.#init.signals, SIGNAL.wake, 1) === 0) this.#wake()
  }

  /** Takes nothing more, and tells the loop to end once it has done what was given before. */
  end(): void {
    if (!this.#open) return
    this.flush()
    this.#open = false
    Atomics.store(this.#init.signals, SIGNAL.stop, 1)
    this.#wake()
  }

  #wake(): void {
    writeSync(this.#init.wakeup, ONE)
  }

  /** Gives back what the queue holds. Only once the loop has ended: it waits on the same files. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#open = false
    clearImmediate(this.#flushSoon)
    this.#init.port.close()
    for (const file of [this.#init.wakeup, ...this.#init.sockets]) closeSync(file)
  }
}
