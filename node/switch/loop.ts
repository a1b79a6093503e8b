// The switch's loop: waits for sockets, TUN and commands, lets the forwarder work, sends, and keeps the ports' timers.
import { type BusyPoll, NOBODY } from './busy-poll.ts'
import { COUNTER } from './counters.ts'
import type { Forwarder } from './forwarder.ts'
import type { Links } from './links.ts'
import type { Listener } from './listener.ts'
import type { Moderation } from './moderation.ts'
import type { Outbox } from './outbox.ts'
import type { Ports } from './ports.ts'
import type { Reporter } from './reporter.ts'
import type { SessionPaths } from './session-paths.ts'
import { SIGNAL } from './shared.ts'
import { Clock } from './sys/clock.ts'
import { Poller, preciseSleep, sleep, yieldProcessor } from './sys/poller.ts'
import { ReceiveBatch } from './sys/receive-batch.ts'
import { requestSlice } from './sys/scheduling.ts'
import { TimeSlices, USUAL_SLICE } from './time-slices.ts'
import type { Tun } from './tun.ts'
import { TunKeeper } from './tun-keeper.ts'

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
  moderation: Moderation
  busyPoll: BusyPoll
  /** Carries out the commands that wait. */
  commands: () => void
  /** How often the ports' timers are looked at, milliseconds. @default 250 */
  timerInterval?: number
}

export class Loop {
  readonly #listeners: readonly Listener[]
  readonly #tun: TunKeeper | undefined
  readonly #forwarder: Forwarder
  readonly #outbox: Outbox
  readonly #ports: Ports
  readonly #links: Links
  readonly #sessions: SessionPaths
  readonly #reporter: Reporter
  readonly #signals: Int32Array<SharedArrayBuffer>
  readonly #counters: Float64Array
  readonly #moderation: Moderation
  readonly #busyPoll: BusyPoll
  readonly #commands: () => void
  readonly #timerInterval: number
  readonly #poller: Poller
  readonly #batch = new ReceiveBatch(RECEIVE_BATCH)
  readonly #clock = new Clock()
  readonly #slices = new TimeSlices(requestSlice)
  /** Milliseconds. A fraction from the start: a field that turns into one makes compiled code useless. */
  #nextTimers = Number.NEGATIVE_INFINITY
  /** Nanoseconds to sleep before the next turn. */
  #delay = 0
  /** The next packet is about to come: wait for it awake. */
  #awake = false
  /** More is known to wait: do not sleep. */
  #backlog = false

  constructor(parts: LoopParts) {
    this.#listeners = parts.listeners
    this.#forwarder = parts.forwarder
    this.#outbox = parts.outbox
    this.#ports = parts.ports
    this.#links = parts.links
    this.#sessions = parts.sessions
    this.#reporter = parts.reporter
    this.#signals = parts.signals
    this.#counters = parts.counters
    this.#moderation = parts.moderation
    this.#busyPoll = parts.busyPoll
    this.#commands = parts.commands
    this.#timerInterval = parts.timerInterval ?? TIMER_INTERVAL
    this.#poller = new Poller(parts.listeners.length + FIRST_LISTENER)
    this.#poller.add(parts.wakeup, WAKEUP, true)
    if (parts.tun !== undefined) this.#tun = new TunKeeper(parts.tun, this.#poller, TUN, parts.reporter)
    for (const [i, listener] of parts.listeners.entries()) this.#poller.add(listener.fd, FIRST_LISTENER + i)
  }

  /** Runs until the stop signal. Throws only when nothing works any more. */
  run(): void {
    preciseSleep()
    // The packets that warmed the code may have asked for others.
    requestSlice(USUAL_SLICE)
    this.#setEpoch(this.#clock.read())
    let failures = 0
    while (Atomics.load(this.#signals, SIGNAL.stop) === 0) {
      try {
        this.turn()
        failures = 0
      } catch (error) {
        // One packet's trouble must not be everyone's: forget the turn and go on.
        this.#outbox.clear()
        this.#forwarder.clear()
        if (failures++ === 0)
          this.#reporter.trouble(error instanceof Error ? (error.stack ?? error.message) : String(error))
        if (failures === MAX_FAILURES) throw error
      }
    }
    // What was asked for before the end, above all a farewell to the peers.
    this.#commands()
    this.#outbox.flush()
    this.close()
  }

  /** Gives back what it waits by; the parts are their owner's. */
  close(): void {
    this.#poller.close()
  }

  /** Waits for packets, commands or timers, and sees to what there is. */
  turn(): void {
    this.#signals[SIGNAL.turns] = (this.#signals[SIGNAL.turns] + 1) | 0
    const bytesBefore = this.#bytes()
    const packetsBefore = this.#packets()
    let packets: number
    if (this.#delay > 0) {
      // So many packets come that there is no need to ask who has some.
      if (!this.#backlog) sleep(this.#delay)
      this.#begin()
      packets = this.#takeAll()
    } else {
      let ready = this.#awake && this.#wait() > 0 ? this.#poll() : 0
      if (ready === 0) ready = this.#poller.wait(this.#wait())
      this.#begin()
      packets = this.#takeReady(ready)
    }
    this.#forwarder.flush()
    if (this.#ports.now >= this.#nextTimers) this.#timers()
    if (this.#ports.now >= this.#links.deadline) {
      // Round trips count from when their probes are sent.
      this.#ports.now = this.#clock.read()
      this.#links.tick(this.#ports.now)
    }
    this.#outbox.flush()
    const behind = this.#reporter.isBehind(packets)
    this.#reporter.post()
    const bytes = (this.#bytes() - bytesBefore) | 0
    this.#delay = this.#moderation.after(packets, bytes, behind)
    const alone = ((this.#packets() - packetsBefore) | 0) === 1
    this.#awake = alone && this.#busyPoll.after(this.#ports.routedFrom, this.#ports.routedTo)
  }

  /** How long there is nothing to do but packets and commands that come, in whole milliseconds. */
  #wait(): number {
    if (this.#backlog) return 0
    const deadline = Math.min(this.#nextTimers, this.#links.deadline)
    // A small integer, which is no object when it is passed along.
    return Math.min(MAX_WAIT, Math.max(0, Math.ceil(deadline - this.#ports.now))) | 0
  }

  /** Waits awake: how many are ready. */
  #poll(): number {
    const ports = this.#ports
    const busyPoll = this.#busyPoll
    this.#counters[COUNTER.busyPolls]++
    ports.now = this.#clock.read()
    busyPoll.begin()
    let ready: number
    do {
      yieldProcessor()
      ready = this.#poller.wait(0)
      ports.now = this.#clock.read()
    } while (busyPoll.goesOn() && ready === 0)
    busyPoll.end()
    return ready
  }

  /** What comes before the packets of a turn: the time, and commands. */
  #begin(): void {
    this.#ports.now = this.#clock.read()
    this.#obey()
    this.#ports.routedFrom = NOBODY
    this.#ports.routedTo = NOBODY
    this.#backlog = false
  }

  #obey(): void {
    if (Atomics.exchange(this.#signals, SIGNAL.wake, 0) !== 0) this.#commands()
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
    for (let i = 0; i < this.#listeners.length; i++) packets += this.#receive(i)
    return this.#tun === undefined ? packets : packets + this.#readTun()
  }

  /** The wall clock may be set at any time, so this is repeated. */
  #setEpoch(now: number): void {
    this.#ports.sinceEpoch = Date.now() - now
  }

  /** Packets taken so far. */
  #packets(): number {
    return this.#counters[COUNTER.rxPackets] + this.#counters[COUNTER.tunRxPackets]
  }

  /** Overlay bytes taken so far. */
  #bytes(): number {
    return this.#counters[COUNTER.rxBytes] + this.#counters[COUNTER.tunRxBytes]
  }

  #receive(socket: number): number {
    const batch = this.#batch
    let total = 0
    for (let call = 0; call < CALLS_PER_TURN; call++) {
      const count = batch.receive(this.#listeners[socket].fd)
      this.#counters[COUNTER.receiveCalls]++
      // A peer that has a new key may use it as soon as it was told of it, and the command to take it comes before that.
      this.#obey()
      try {
        for (let i = 0; i < count; i++) this.#forwarder.datagram(socket, batch, i)
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
    let count = 0
    while (count < TUN_PACKETS_PER_TURN) {
      const packets = this.#forwarder.fromTun()
      if (packets === 0) {
        this.#tun?.look()
        return count
      }
      count += packets
    }
    this.#backlog = true
    return count
  }

  /**
   * Pings where nothing was sent for a while, tells of ports from which nothing came, or from elsewhere, and looks after sessions'
   * paths and the TUN.
   */
  #timers(): void {
    const { now } = this.#ports
    this.#nextTimers = now + this.#timerInterval
    this.#setEpoch(now)
    this.#slices.note(this.#packets(), now)
    for (let port = 1; port <= this.#ports.highest; port++) {
      if (this.#ports.open[port] === 0) continue
      const pingAfter = this.#ports.pingAfter[port]
      if (pingAfter > 0 && this.#ports.sendKey[port] !== 0 && now - this.#ports.lastSent[port] >= pingAfter)
        this.#forwarder.ping(port)
      const idleAfter = this.#ports.idleAfter[port]
      if (
        idleAfter > 0 &&
        this.#ports.idleReported[port] === 0 &&
        now - this.#ports.lastReceived[port] >= idleAfter
      ) {
        this.#ports.idleReported[port] = 1
        this.#reporter.idle(port)
      }
      this.#reporter.settle(port)
      this.#sessions.tick(port, now)
    }
    this.#sessions.flush()
    this.#tun?.tick(now)
  }
}
