// Encrypts what goes to a port and puts it into the outbox.
import { COUNTER } from './counters.ts'
import type { Keys } from './keys.ts'
import type { Outbox } from './outbox.ts'
import type { Ports } from './ports.ts'
import type { Arena } from './sys/arena.ts'
import { DIRECTION } from './tap-ring.ts'
import type { Taps } from './taps.ts'

export interface PortSenderParts {
  ports: Ports
  keys: Keys
  outbox: Outbox
  counters: Float64Array
  taps: Taps
  /** Told of a port whose sending key is to be replaced. */
  rekeyDue: (port: number) => void
}

export class PortSender {
  readonly #ports: Ports
  readonly #keys: Keys
  readonly #outbox: Outbox
  readonly #counters: Float64Array
  readonly #taps: Taps
  /** Its first word is how many captures run. */
  readonly #tapped: Int32Array
  readonly #rekeyDue: (port: number) => void

  constructor({ ports, keys, outbox, counters, taps, rekeyDue }: PortSenderParts) {
    this.#ports = ports
    this.#keys = keys
    this.#outbox = outbox
    this.#counters = counters
    this.#taps = taps
    this.#tapped = taps.open
    this.#rekeyDue = rekeyDue
  }

  /** Sends the `length` bytes at `offset` of `plain`; false when the port has no key that may send. */
  send(port: number, plain: Arena, length: number, offset = 0): boolean {
    const key = this.#ports.sendKey[port]
    if (key === 0) return this.#drop(port, plain, length, offset)
    const at = this.#outbox.reserve()
    const sealed = this.#keys.seal(key, plain, offset, length, this.#outbox.arena, at)
    if (this.#keys.rekeyDue(key)) this.#rekeyDue(port)
    if (sealed === 0) return this.#drop(port, plain, length, offset)
    if (this.#tapped[0] !== 0) this.#taps.passes(port, DIRECTION.out, plain, offset, length)
    this.#outbox.commit(port, sealed)
    this.#ports.countSent(port, length)
    this.#counters[COUNTER.txPackets]++
    this.#counters[COUNTER.txBytes] += length
    return true
  }

  #drop(port: number, plain: Arena, length: number, offset: number): false {
    this.#counters[COUNTER.noSendKey]++
    if (this.#tapped[0] !== 0)
      this.#taps.dropped(COUNTER.noSendKey, port, DIRECTION.out, plain, offset, length)
    return false
  }
}
