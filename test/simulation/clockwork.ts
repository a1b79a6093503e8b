// Virtual time: what is to happen when, one thing after the other, all of it from one seed.
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { START, seeded, seededBytes } from '../unit/state/samples.ts'

export interface Appointment {
  readonly at: number
  readonly order: number
  run: (() => void) | undefined
}

export class Clockwork {
  /** ms since 1970 */
  time = START
  readonly next: () => number
  readonly bytes: (size: number) => Uint8Array
  /** Appointments kept so far. */
  events = 0
  /** What happened, one line each, when asked to keep it. */
  readonly lines: string[] | undefined
  readonly #heap: Appointment[] = []
  #order = 0
  #trace = 0
  #failure: { error: unknown } | undefined

  constructor(seed: number, keepsLines = false) {
    this.next = seeded(seed)
    this.bytes = seededBytes(this.next)
    if (keepsLines) this.lines = []
  }

  /** An integer from 0 to below `limit`. */
  pick(limit: number): number {
    return this.next() % limit
  }

  /** An integer from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.pick(high - low + 1)
  }

  chance(ofThousand: number): boolean {
    return this.pick(1000) < ofThousand
  }

  choose<T>(list: readonly T[]): T | undefined {
    return list.length === 0 ? undefined : list[this.pick(list.length)]
  }

  /** Equal for two runs exactly when all that was noted is: hex. */
  get trace(): string {
    return (this.#trace >>> 0).toString(16).padStart(8, '0')
  }

  note(line: string): void {
    this.#trace = crc32(line, this.#trace)
    this.lines?.push(`${((this.time - START) / 1000).toFixed(3)} ${line}`)
  }

  /** @param delay ms from now */
  after(delay: number, run: () => void): Appointment {
    const appointment: Appointment = { at: this.time + Math.max(0, delay), order: this.#order++, run }
    push(this.#heap, appointment)
    return appointment
  }

  cancel(appointment: Appointment | undefined): void {
    if (appointment) appointment.run = undefined
  }

  sleep(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.after(ms, resolve)
    return promise
  }

  /** Lets work go on beside everything else; its failure ends the run. */
  spawn(work: Promise<unknown>): void {
    work.catch(error => this.fail(error))
  }

  fail(error: unknown): void {
    this.#failure ??= { error }
  }

  /** Keeps all appointments for so long. Whatever one of them sets off is done before the next begins. */
  async advance(ms: number): Promise<void> {
    const end = this.time + ms
    await this.#settle()
    while (this.#heap.length > 0 && this.#heap[0].at <= end) {
      const { at, run } = pop(this.#heap)
      if (run === undefined) continue
      this.time = Math.max(this.time, at)
      this.events++
      run()
      await this.#settle()
    }
    this.time = end
  }

  /** Advances until `holds`, looked at every `step` ms; how long that took, or undefined when `limit` ms were too few. */
  async until(holds: () => boolean, limit: number, step = 50): Promise<number | undefined> {
    const start = this.time
    while (!holds()) {
      if (this.time - start >= limit) return undefined
      await this.advance(step)
    }
    return this.time - start
  }

  /** Everybody sleeps through this time: nothing happens, and all of it is late. */
  leap(ms: number): void {
    this.time += ms
  }

  async #settle(): Promise<void> {
    // Nothing here waits for anything but promises, and those are all done before the loop turns.
    await turnOfTheLoop()
    if (this.#failure) throw this.#failure.error
  }
}

function isBefore(a: Appointment, b: Appointment): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

function push(heap: Appointment[], item: Appointment): void {
  let at = heap.push(item) - 1
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!isBefore(item, heap[parent])) break
    heap[at] = heap[parent]
    at = parent
  }
  heap[at] = item
}

function pop(heap: Appointment[]): Appointment {
  const first = heap[0]
  const last = heap.pop()!
  if (heap.length === 0) return first
  let at = 0
  for (;;) {
    let child = 2 * at + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++
    if (!isBefore(heap[child], last)) break
    heap[at] = heap[child]
    at = child
  }
  heap[at] = last
  return first
}
