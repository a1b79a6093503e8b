// The switch's loop: waits for sockets, TUN and commands, lets the forwarder work, sends, and keeps the ports' timers.
import { COUNTER } from './counters.ts'
import type { Forwarder } from './forwarder.ts'
import type { Links } from './links.ts'
import type { Listener } from './listener.ts'
import { Moderation } from './moderation.ts'
import type { Outbox } from './outbox.ts'
import type { Ports } from './ports.ts'
import type { Reporter } from './reporter.ts'
import type { SessionPaths } from './session-paths.ts'
import { SIGNAL } from './shared.ts'
import { Clock } from './sys/clock.ts'
import { Poller, preciseSleep, sleep } from './sys/poller.ts'
import { ReceiveBatch } from './sys/receive-batch.ts'
import type { Tun } from './tun.ts'

/** Datagrams taken by one system call. */
const RECEIVE_BATCH = 64
/** Calls in a row on one socket, and packets from the TUN, before the others have their turn. */
const CALLS_PER_TURN = 4
const TUN_PACKETS_PER_TURN = 128
/** The longest wait: how late a command without a wake-up, or a timer, may be noticed. Milliseconds. */
const MAX_WAIT = 250
/** How often the ports' timers are looked at. Milliseconds. */
const TIMER_INTERVAL = 250
/** Turns that may fail one after another before the loop gives up. */
const MAX_FAILURES = 100

const WAKEUP = 0
const TUN = 1
const FIRST_LISTENER = 2

export interface LoopParts {
  listeners: readonly Listener[]
  tun: Tun | undefined
  wakeup: number
  forwarder: Forwarder
  outbox: Outbox
  ports: Ports
  links: Links
  sessions: SessionPaths
  reporter: Reporter
  signals: Int32Array<SharedArrayBuffer>
  counters: Float64Array
  /** Carries out the commands that wait. */
  commands: () => void
}

export class Loop {
  readonly #parts: LoopParts
  readonly #poller: Poller
  readonly #batch = new ReceiveBatch(RECEIVE_BATCH)
  readonly #moderation: Moderation
  readonly #clock = new Clock()
  #nextTimers = 0
  /** Nanoseconds to sleep before the next turn. */
  #delay = 0
  /** More is known to wait: do not sleep. */
  #backlog = false

  constructor(parts: LoopParts) {
    this.#parts = parts
    this.#moderation = new Moderation(parts.ports)
    this.#poller = new Poller(parts.listeners.length + FIRST_LISTENER)
    this.#poller.add(parts.wakeup, WAKEUP, true)
    if (parts.tun !== undefined) this.#poller.add(parts.tun.fd, TUN)
    for (const [i, listener] of parts.listeners.entries()) this.#poller.add(listener.fd, FIRST_LISTENER + i)
  }

  /** Runs until the stop signal. Throws only when nothing works any more. */
  run(): void {
    const { signals, forwarder, outbox, reporter } = this.#parts
    preciseSleep()
    this.#setEpoch(this.#clock.read())
    let failures = 0
    while (Atomics.load(signals, SIGNAL.stop) === 0) {
      try {
        this.turn()
        failures = 0
      } catch (error) {
        // One packet's trouble must not be everyone's: forget the turn and go on.
        outbox.clear()
        forwarder.clear()
        if (failures++ === 0)
          reporter.trouble(error instanceof Error ? (error.stack ?? error.message) : String(error))
        if (failures === MAX_FAILURES) throw error
      }
    }
    // What was asked for before the end, above all a farewell to the peers.
    this.#parts.commands()
    outbox.flush()
    this.close()
  }

  /** Gives back what it waits by; the parts are their owner's. */
  close(): void {
    this.#poller.close()
  }

  /** Waits for packets, commands or timers, and sees to what there is. */
  turn(): void {
    const { forwarder, ports, links, outbox, reporter, signals } = this.#parts
    signals[SIGNAL.turns] = (signals[SIGNAL.turns] + 1) | 0
    const bytesBefore = this.#bytes()
    let packets: number
    if (this.#delay > 0) {
      // So many packets come that there is no need to ask who has some.
      if (!this.#backlog) sleep(this.#delay)
      this.#begin()
      packets = this.#takeAll()
    } else {
      const deadline = Math.min(this.#nextTimers, links.deadline)
      const wait = this.#backlog ? 0 : Math.min(MAX_WAIT, Math.max(0, Math.ceil(deadline - ports.now)))
      // A small integer, which is no object when it is passed along.
      const ready = this.#poller.wait(wait | 0)
      this.#begin()
      packets = this.#takeReady(ready)
    }
    forwarder.flush()
    if (ports.now >= this.#nextTimers) this.#timers()
    if (ports.now >= links.deadline) {
      // Round trips count from when their probes are sent.
      ports.now = this.#clock.read()
      links.tick(ports.now)
    }
    outbox.flush()
    reporter.post()
    const bytes = (this.#bytes() - bytesBefore) | 0
    this.#delay = this.#moderation.after(packets, bytes)
  }

  /** What comes before the packets of a turn: the time, and commands. */
  #begin(): void {
    const { ports } = this.#parts
    ports.now = this.#clock.read()
    this.#obey()
    this.#backlog = false
  }

  #obey(): void {
    if (Atomics.exchange(this.#parts.signals, SIGNAL.wake, 0) !== 0) this.#parts.commands()
  }

  #takeReady(ready: number): number {
    let packets = 0
    for (let i = 0; i < ready; i++) {
      const token = this.#poller.token(i)
      if (token >= FIRST_LISTENER) packets += this.#receive(token - FIRST_LISTENER)
      else if (token === TUN) packets += this.#readTun()
    }
    return packets
  }

  #takeAll(): number {
    let packets = 0
    for (let i = 0; i < this.#parts.listeners.length; i++) packets += this.#receive(i)
    return this.#parts.tun === undefined ? packets : packets + this.#readTun()
  }

  /** The wall clock may be set at any time, so this is repeated. */
  #setEpoch(now: number): void {
    this.#parts.ports.sinceEpoch = Date.now() - now
  }

  /** Overlay bytes taken so far. */
  #bytes(): number {
    const { counters } = this.#parts
    return counters[COUNTER.rxBytes] + counters[COUNTER.tunRxBytes]
  }

  #receive(socket: number): number {
    const { listeners, forwarder, counters } = this.#parts
    const batch = this.#batch
    let total = 0
    for (let call = 0; call < CALLS_PER_TURN; call++) {
      const count = batch.receive(listeners[socket].fd)
      counters[COUNTER.receiveCalls]++
      // A peer that has a new key may use it as soon as it was told of it, and the command to take it comes before that.
      this.#obey()
      try {
        for (let i = 0; i < count; i++) forwarder.datagram(socket, batch, i)
      } finally {
        batch.release(count)
      }
      total += count
      if (count < batch.capacity) return total
    }
    this.#backlog = true
    return total
  }

  #readTun(): number {
    const { forwarder } = this.#parts
    let count = 0
    while (count < TUN_PACKETS_PER_TURN) {
      const packets = forwarder.fromTun()
      if (packets === 0) return count
      count += packets
    }
    this.#backlog = true
    return count
  }

  /** Pings where nothing was sent for a while, tells of ports from which nothing came, and looks after sessions' paths. */
  #timers(): void {
    const { ports, forwarder, sessions, reporter } = this.#parts
    const { now } = ports
    this.#nextTimers = now + TIMER_INTERVAL
    this.#setEpoch(now)
    for (let port = 1; port <= ports.highest; port++) {
      if (ports.open[port] === 0) continue
      const pingAfter = ports.pingAfter[port]
      if (pingAfter > 0 && ports.sendKey[port] !== 0 && now - ports.lastSent[port] >= pingAfter)
        forwarder.ping(port)
      const idleAfter = ports.idleAfter[port]
      if (idleAfter > 0 && ports.idleReported[port] === 0 && now - ports.lastReceived[port] >= idleAfter) {
        ports.idleReported[port] = 1
        reporter.idle(port)
      }
      sessions.tick(port, now)
    }
    sessions.flush()
  }
}
