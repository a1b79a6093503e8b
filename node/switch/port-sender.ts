// Encrypts what goes to a port and puts it into the outbox.
import { COUNTER } from './counters.ts'
import type { Keys } from './keys.ts'
import type { Outbox } from './outbox.ts'
import type { Ports } from './ports.ts'
import type { Arena } from './sys/arena.ts'

export interface PortSenderParts {
  ports: Ports
  keys: Keys
  outbox: Outbox
  counters: Float64Array
  /** Told of a port whose sending key is to be replaced. */
  rekeyDue: (port: number) => void
}

export class PortSender {
  readonly #ports: Ports
  readonly #keys: Keys
  readonly #outbox: Outbox
  readonly #counters: Float64Array
  readonly #rekeyDue: (port: number) => void

  constructor({ ports, keys, outbox, counters, rekeyDue }: PortSenderParts) {
    this.#ports = ports
    this.#keys = keys
    this.#outbox = outbox
    this.#counters = counters
    this.#rekeyDue = rekeyDue
  }

  /** Sends the `length` bytes at `offset` of `plain`; false when the port has no key that may send. */
  send(port: number, plain: Arena, length: number, offset = 0): boolean {
    const key = this.#ports.sendKey[port]
    if (key === 0) {
      this.#counters[COUNTER.noSendKey]++
      return false
    }
    const at = this.#outbox.reserve()
    const sealed = this.#keys.seal(key, plain, offset, length, this.#outbox.arena, at)
    if (this.#keys.rekeyDue(key)) this.#rekeyDue(port)
    if (sealed === 0) {
      this.#counters[COUNTER.noSendKey]++
      return false
    }
    this.#outbox.commit(port, sealed)
    this.#ports.countSent(port, length)
    this.#counters[COUNTER.txPackets]++
    this.#counters[COUNTER.txBytes] += length
    return true
  }
}
