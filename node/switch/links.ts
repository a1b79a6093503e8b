// The backbone links among the ports: probes them, answers probes, and keeps what is found out where all can read it.
import { COUNTER } from './counters.ts'
import { DOWN_AFTER, LinkMonitor, PROBE_INTERVAL } from './link-monitor.ts'
import { LINK_STAT, type LinkStats } from './link-stats.ts'
import { BASE_MTU, PathMtu } from './path-mtu.ts'
import type { PortSender } from './port-sender.ts'
import type { Ports } from './ports.ts'
import { PROBE, PROBE_LENGTH, probeKind, probeSequence, probeSize, writeProbe } from './probe.ts'
import type { SizeProber } from './size-prober.ts'
import { Arena } from './sys/arena.ts'

/** A tick this late, in milliseconds, means that the loop did not run meanwhile, and so took no answers. */
const LATE = 100

interface Link {
  readonly port: number
  readonly place: number
  /** Longest overlay packet at most. */
  readonly mtu: number
  readonly monitor: LinkMonitor
  readonly path: PathMtu
  /** Something was answered since the link was last down. */
  heard: boolean
}

export interface LinksParts {
  ports: Ports
  sender: PortSender
  prober: SizeProber
  stats: LinkStats
  counters: Float64Array
  /** A link went up or down. */
  changed: (port: number, up: boolean) => void
}

export class Links {
  /** When `tick` is to be called, monotonic milliseconds. */
  deadline = Number.POSITIVE_INFINITY
  readonly #parts: LinksParts
  /** By place. */
  readonly #links: (Link | undefined)[] = []
  readonly #open: Link[] = []
  readonly #probe = new Arena(PROBE_LENGTH)
  #nextProbes = 0

  constructor(parts: LinksParts) {
    this.#parts = parts
  }

  /** Takes charge of a port that has just been opened, if it is a link. */
  open(port: number, generation: number): void {
    const { ports, stats } = this.#parts
    const place = ports.link[port]
    if (place === 0) return
    const mtu = ports.mtu[port]
    const link = { port, place, mtu, monitor: new LinkMonitor(), path: new PathMtu(), heard: false }
    this.#links[place] = link
    this.#open.push(link)
    stats.begin(place, generation)
    ports.mtu[port] = Math.min(mtu, BASE_MTU)
    stats.set(place, LINK_STAT.mtu, ports.mtu[port])
    if (this.#open.length === 1) this.#nextProbes = ports.now
    this.deadline = Math.min(this.deadline, this.#nextProbes)
  }

  /** Forgets a port that is about to be closed. */
  close(port: number): void {
    const link = this.#links[this.#parts.ports.link[port]]
    if (link === undefined) return
    this.#links[link.place] = undefined
    this.#open.splice(this.#open.indexOf(link), 1)
    this.#parts.stats.end(link.place)
    if (this.#open.length === 0) this.deadline = Number.POSITIVE_INFINITY
  }

  /** A port has another path than before: what is known of the old one is looked at again. */
  moved(port: number): void {
    const link = this.#links[this.#parts.ports.link[port]]
    if (link === undefined) return
    link.monitor.moved()
    link.path.search()
  }

  /** A probe or an answer of `packet` came by a link. */
  received(port: number, packet: Arena): void {
    const { ports, sender, counters, changed } = this.#parts
    const link = this.#links[ports.link[port]]
    if (link === undefined) return
    counters[COUNTER.probeRx]++
    const kind = probeKind(packet)
    const size = probeSize(packet)
    const sequence = probeSequence(packet)
    if (kind === PROBE.ask || kind === PROBE.askSize) {
      writeProbe(this.#probe, kind | PROBE.answer, size, sequence)
      if (sender.send(port, this.#probe, PROBE_LENGTH)) counters[COUNTER.probeTx]++
    } else if (kind === (PROBE.ask | PROBE.answer)) {
      const { monitor } = link
      const wasUp = monitor.up
      if (!monitor.answered(sequence, ports.now) || wasUp) return
      // The size is known by the time the link is up.
      if (!link.heard) link.path.search()
      link.heard = true
      if (!monitor.up) return
      this.#tell(link)
      changed(port, true)
    } else if (kind === (PROBE.askSize | PROBE.answer)) {
      if (link.path.answered(size, sequence)) this.#resize(link)
    }
  }

  /** Sends the probes that are due, and takes down the links that are silent. */
  tick(now: number): void {
    const late = now - this.deadline
    const due = now >= this.#nextProbes
    if (due) this.#nextProbes = Math.max(this.#nextProbes, now - PROBE_INTERVAL / 2) + PROBE_INTERVAL
    this.deadline = this.#nextProbes
    for (let i = 0; i < this.#open.length; i++) {
      const link = this.#open[i]
      const { monitor, port } = link
      if (late > LATE) monitor.excuse(late, now)
      if (monitor.expire(now)) {
        link.heard = false
        this.#tell(link)
        this.#parts.changed(port, false)
      }
      if (due && this.#parts.ports.sendKey[port] !== 0) this.#probeLink(link, now)
      if (due) this.#tell(link)
      this.deadline = Math.min(this.deadline, monitor.downAt)
    }
    if (due) this.#parts.prober.flush()
    if (this.#open.length === 0) this.deadline = Number.POSITIVE_INFINITY
  }

  #probeLink(link: Link, now: number): void {
    const { sender, prober, counters } = this.#parts
    const { monitor, path, port } = link
    writeProbe(this.#probe, PROBE.ask, 0, monitor.sent(now))
    if (sender.send(port, this.#probe, PROBE_LENGTH)) counters[COUNTER.probeTx]++
    if (now - monitor.heardAt >= DOWN_AFTER) return
    path.fit(link.mtu + prober.overhead(port))
    const before = path.size
    const count = path.tick(now, monitor.rtt, monitor.heardAt)
    if (path.size !== before) this.#resize(link)
    for (let i = 0; i < count; i++) {
      const length = path.sizes[i] - prober.overhead(port)
      if (length < PROBE_LENGTH) continue
      writeProbe(prober.plain, PROBE.askSize, path.sizes[i], path.sequence)
      prober.add(port, length)
    }
  }

  #resize({ port, place, mtu, path }: Link): void {
    const { ports, prober, stats } = this.#parts
    ports.mtu[port] = Math.min(mtu, path.size - prober.overhead(port))
    // What the kernel would not cut into segments may have been too long for this path.
    ports.unsegmented[port] = 0
    stats.set(place, LINK_STAT.mtu, ports.mtu[port])
  }

  #tell({ place, monitor }: Link): void {
    const { stats } = this.#parts
    stats.set(place, LINK_STAT.up, Number(monitor.up))
    stats.set(place, LINK_STAT.rtt, monitor.rtt)
    stats.set(place, LINK_STAT.lastRtt, monitor.lastRtt)
    stats.set(place, LINK_STAT.loss, monitor.loss())
  }
}
