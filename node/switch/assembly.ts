// The parts of a switch put together: once for what is real, and once to warm up. That both are made here, alike to the
// last field, is what lets compiled code of the one serve the other.
import type { MessagePort } from 'node:worker_threads'
import { type Cidr6, overlayAddress6 } from '../../state/address6.ts'
import { BusyPoll } from './busy-poll.ts'
import { Forwarder } from './forwarder.ts'
import type { ErrorOrigin } from './icmp.ts'
import { Keys } from './keys.ts'
import type { LinkStats } from './link-stats.ts'
import { Links } from './links.ts'
import type { Listener } from './listener.ts'
import { type MAX_DELAY, Moderation } from './moderation.ts'
import { Outbox } from './outbox.ts'
import { Overlay6 } from './overlay6.ts'
import { PortEchoes } from './port-echoes.ts'
import { PortSender } from './port-sender.ts'
import { Ports } from './ports.ts'
import { Reporter } from './reporter.ts'
import { SessionPaths } from './session-paths.ts'
import type { PortStats } from './shared.ts'
import { SizeProber } from './size-prober.ts'
import { Taps } from './taps.ts'
import type { Tun } from './tun.ts'

/** What sealing adds to an overlay packet at most, in any format. */
const MAX_OVERHEAD = 32
/** Keys that a port has at once while they are rolled over; the pool is shared, see `Keys`. */
const KEYS_PER_PORT = 4

export interface AssemblyInit {
  listeners: readonly Listener[]
  tun: Tun | undefined
  /** Where reports go. */
  main: MessagePort
  signals: Int32Array<SharedArrayBuffer>
  counters: Float64Array
  maxPorts: number
  stats: PortStats
  linkStats: LinkStats
  /** Longest overlay packet, bytes. */
  longest: number
  /** The controller's own overlay address and the one all controllers answer on, u32. */
  address: number
  gateway: number
  subnet: { address: number; length: number }
  subnet6: Cidr6 | undefined
  origin: ErrorOrigin
  /** See `Moderation`. */
  delays?: Readonly<Record<keyof typeof MAX_DELAY, number>>
  /** See `BusyPoll`. */
  busyShare?: number
  /** Makes the places of the port index hard to guess. */
  seed: number
}

export interface Assembly {
  listeners: readonly Listener[]
  tun: Tun | undefined
  signals: Int32Array<SharedArrayBuffer>
  counters: Float64Array
  ports: Ports
  keys: Keys
  outbox: Outbox
  reporter: Reporter
  links: Links
  sessions: SessionPaths
  echoes: PortEchoes
  taps: Taps
  forwarder: Forwarder
  moderation: Moderation
  busyPoll: BusyPoll
}

export function assemble(init: AssemblyInit): Assembly {
  const { listeners, tun, signals, counters, maxPorts, address, gateway, origin } = init
  const ports = new Ports(maxPorts, init.stats, init.seed)
  const keys = new Keys(maxPorts * KEYS_PER_PORT)
  const longest = init.longest + MAX_OVERHEAD
  const outbox = new Outbox(ports, listeners, counters, longest)
  const reporter = new Reporter(init.main, ports, signals, counters)
  const overlay6 = init.subnet6 && new Overlay6(init.subnet6, init.subnet, gateway)
  const rekeyDue = (port: number): void => reporter.rekeyDue(port)
  const taps = new Taps(ports)
  const sender = new PortSender({ ports, keys, outbox, counters, taps, rekeyDue })
  const prober = new SizeProber(ports, keys, listeners, counters, taps, longest)
  const own6 = init.subnet6 && overlayAddress6(init.subnet6, address)
  const echoes = new PortEchoes(maxPorts, sender, address, own6, (port, from, token) =>
    reporter.echoed(port, from, token),
  )
  const changed = (port: number, up: boolean): void => reporter.changed(port, up)
  const links = new Links({ ports, sender, prober, stats: init.linkStats, counters, changed })
  const sessions = new SessionPaths(ports, prober, gateway)
  const notices = reporter
  const forwarder = new Forwarder({
    ...{ ports, keys, sender, links, sessions, echoes, counters, taps, tun, notices, origin, overlay6 },
  })
  return {
    ...{ listeners, tun, signals, counters, ports, keys, outbox, reporter, links, sessions, echoes, taps },
    forwarder,
    moderation: new Moderation(ports, init.delays),
    busyPoll: new BusyPoll(ports, maxPorts, init.busyShare),
  }
}
