// The switch as the main thread sees it: starts the thread, hands it ports, keys and routes, and passes on what it
// tells. No data packet comes here.
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { type Cidr6, cidr6Mask, type IpAddress } from '../../state/address6.ts'
import { type Cidr, cidrMask } from '../net/ip.ts'
import { steadyTime } from '../steady-clock.ts'
import type { DataChannelKeys, DataPlane, PortSources, PortSpec } from '../vpn/data-plane.ts'
import { isLinkId } from '../vpn/peer-ids.ts'
import { CommandQueue } from './command-queue.ts'
import { ControlBatchReader } from './control-batch.ts'
import { allocateCounters, counterCells, readCounters, type SwitchCounters } from './counters.ts'
import { SwitchError } from './errors.ts'
import { type LinkFigures, LinkStats, MAX_LINKS } from './link-stats.ts'
import type { ListenAddress } from './listener.ts'
import {
  longestPacket,
  type PortEvent,
  packSecrets,
  type Report,
  type TunFacts,
  type WorkerInit,
} from './messages.ts'
import type { Path } from './path.ts'
import { MAX_PEER_ID } from './peer-index.ts'
import type { PortInit } from './ports.ts'
import { allocateSignals, KEY_IDS, type PortCounts, PortStats, SIGNAL } from './shared.ts'
import { readPath } from './socket-address.ts'
import { encodeRoutes, NEXT_HOP } from './table.ts'
import { encodeRoutes6 } from './table6.ts'
import { encodeFilter, type TapFilter } from './tap-filter.ts'
import { MAX_TAPS } from './tap-ring.ts'

export interface SwitchOptions {
  /** UDP addresses to listen on, at least one; a path's `socket` is an index in here. */
  listen: ListenAddress[]
  /** The overlay address all controllers answer on, u32. ICMP errors come from it. */
  gateway: number
  /** This controller's own overlay address, u32. */
  address: number
  subnet: Cidr
  /** Undefined: the overlay has no IPv6. */
  subnet6?: Cidr6
  /** False: the switch itself answers echo requests for `gateway` and `address`. */
  tun: { name?: string } | false
  /** Longest overlay packet, bytes, of the TUN and at most of any port. */
  mtu: number
  /** Ports at once. @default 65536 */
  maxPorts?: number
  /** UDP_SEGMENT and UDP_GRO, and the TUN's offloads, where the kernel has them. @default true */
  segmenting?: boolean
  /** Whether the MTU of sessions' paths is looked for: the kernel is asked, and clients are sent echo requests. @default true */
  pathDiscovery?: boolean
  /** Whether to have the packet path compiled before the first packet; some tenths of a second. @default true */
  warmUp?: boolean
}

/** A backbone link's place in the switch. */
export interface LinkSpec {
  /** Names the link in the data packets that come by it, and in routes: of `LINK_IDS`, see peer-ids.ts. */
  peerId: number
  /** Names the link at its other end: what data packets that leave by it carry. */
  remotePeerId: number
  path: Path
  /** Longest overlay packet at most, bytes; the path may turn out to take less. */
  mtu: number
}

/** What is known of a link, and what passed through it since it was opened. */
export interface SwitchLinkStats extends LinkFigures, PortCounts {}

/** A session's or link's peer id, or `tun` and `local` for this machine, or `unreachable` for what is known but away. */
type RouteTarget = number | 'tun' | 'local' | 'unreachable'

/** One entry of the forwarding table. */
export interface SwitchRoute extends Cidr {
  peerId: RouteTarget
}

/** The same of IPv6. The overlay's own addresses need none: they are where their IPv4 addresses are. */
export interface SwitchRoute6 extends Cidr6 {
  peerId: RouteTarget
}

/** What the two kinds of ports are opened with. */
type PortTerms = Pick<PortInit, 'address' | 'sources' | 'sources6' | 'pingSeconds' | 'timeoutSeconds' | 'mtu'>

const DEFAULT_MAX_PORTS = 65536
/** A link carries packets of all. */
const ANY_SOURCE = Int32Array.of(0, 0)
const ANY_SOURCE6 = new Int32Array(8)
const LAST_KEY_ID = KEY_IDS - 1
/** The thread keeps little in JavaScript's heap; without these V8 lets garbage grow to what a server process may have. */
const HEAP_LIMITS = { maxYoungGenerationSizeMb: 6, maxOldGenerationSizeMb: 256 }

/** A running switch. Its methods never wait; what they ask for happens in the order they are called. */
export class Switch implements DataPlane {
  /** A control packet came. The packet is a part of a larger buffer: copy it to keep it long. */
  onControl: (path: Path, packet: Uint8Array) => void = () => {}
  /** A port's peer proved that it has a new address. Of one that changes it all the time it is told some times a second. */
  onFloat: (peerId: number, path: Path) => void = () => {}
  /** Nothing authentic came from a port's peer for its `timeoutSeconds`; told once until something comes. */
  onIdle: (peerId: number) => void = () => {}
  /** A port's peer says by data channel that it leaves. */
  onExit: (peerId: number) => void = () => {}
  /** A link's probes began or ceased to be answered. Every link is down at first. */
  onLink: (peerId: number, up: boolean) => void = () => {}
  /** An answer from an address came by a port to `sendEcho` with this token. */
  onEcho: (peerId: number, from: IpAddress, token: Uint8Array) => void = () => {}
  /** A port's sending key has to be replaced soon; told once for each key. */
  onRekey: (peerId: number) => void = () => {}
  /** A DNS query, as an IPv4 packet, came for this machine; only without a TUN, where no kernel takes it. */
  onQuery: (packet: Uint8Array) => void = () => {}
  /** The TUN interface was deleted by somebody, or could not be made anew, and why; undefined: it is back. */
  onTun: (gone: string | undefined) => void = () => {}
  /** Something went wrong; after code `FAILED` the switch is dead. */
  onError: (error: Error) => void = () => {}

  /** What is bound, in the order of `listen`, with the ports that the system chose. */
  readonly addresses: readonly ListenAddress[]
  #tun: TunFacts | null

  readonly #exited: Promise<void>
  readonly #queue: CommandQueue
  readonly #signals: Int32Array<SharedArrayBuffer>
  /** Of the loop, and of this thread. */
  readonly #counters: readonly SharedArrayBuffer[]
  readonly #stats: PortStats
  readonly #linkStats: LinkStats
  readonly #maxPorts: number
  readonly #maxMtu: number
  #stopping = false

  /** Open ports by peer id. `link` is a link's place among the links, 0 for a session. */
  readonly #ports = new Map<number, { slot: number; generation: number; link: number }>()
  /** Peer ids by slot, for what the loop tells. */
  readonly #peerIds: number[] = []
  readonly #freeSlots: number[] = []
  #highestSlot = 0
  readonly #freeLinks: number[] = []
  #highestLink = 0
  #generation = 0
  readonly #taps = new Set<number>()
  #lastTap = 0

  private constructor(
    worker: Worker,
    exited: Promise<void>,
    init: WorkerInit,
    commands: MessagePort,
    ready: Report & { type: 'ready' },
  ) {
    this.#exited = exited
    const counters = allocateCounters()
    this.#queue = new CommandQueue({
      port: commands,
      signals: init.signals,
      wakeup: ready.wakeup,
      sockets: ready.sockets,
      counters: counterCells(counters),
    })
    void exited.then(() => this.#queue.close())
    this.#signals = init.signals
    this.#counters = [init.counters, counters]
    this.#stats = new PortStats(init.stats)
    this.#linkStats = new LinkStats(init.linkStats)
    this.#maxPorts = init.maxPorts
    this.#maxMtu = longestPacket(init.mtu)
    this.addresses = ready.addresses
    this.#tun = ready.tun
    worker.on('message', (report: Report) => this.#report(report))
    worker.on('error', error => this.#fail(error))
    worker.once('exit', () => {
      if (!this.#stopping) this.#fail(new Error('the thread ended'))
    })
  }

  /**
   * Starts the thread and resolves when its sockets are bound and its TUN is up.
   * @throws SwitchError that says what is wrong and what to do
   */
  static async start(options: SwitchOptions): Promise<Switch> {
    const maxPorts = options.maxPorts ?? DEFAULT_MAX_PORTS
    const { port1: commands, port2 } = new MessageChannel()
    const init: WorkerInit = {
      commands: port2,
      listen: options.listen.map(({ host, port }) => ({ host, port })),
      gateway: options.gateway,
      address: options.address,
      subnet: { address: options.subnet.address, length: options.subnet.length },
      subnet6: options.subnet6,
      tun: options.tun,
      mtu: options.mtu,
      maxPorts,
      segmenting: options.segmenting ?? true,
      pathDiscovery: options.pathDiscovery ?? true,
      warmUp: options.warmUp ?? true,
      signals: allocateSignals(),
      stats: PortStats.allocate(maxPorts).memory,
      linkStats: LinkStats.allocate().memory,
      counters: allocateCounters(),
    }
    const file = import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js'
    const worker = new Worker(new URL(file, import.meta.url), {
      workerData: init,
      transferList: [port2],
      name: 'overmesh switch',
      resourceLimits: HEAP_LIMITS,
    })
    const exited = new Promise<void>(resolve => worker.once('exit', () => resolve()))
    try {
      const ready = await firstReport(worker)
      return new Switch(worker, exited, init, commands, ready)
    } catch (error) {
      commands.close()
      await exited
      throw error
    }
  }

  /** The TUN interface, if there is one. */
  get tun(): TunFacts | null {
    return this.#tun
  }

  // --- DataPlane

  /** The packet is copied at once; at most 2,048 bytes. */
  sendControl(path: Path, packet: Uint8Array): void {
    this.#queue.addControl(path, packet)
  }

  /** Opens a port; one that has the peer id already is closed first. At the limit of ports, tells `onError`. */
  openPort(spec: PortSpec): void {
    this.#open(spec.peerId, spec.peerId, 0, spec.path, {
      address: spec.address,
      ...sourcesOf(spec),
      pingSeconds: spec.pingSeconds,
      timeoutSeconds: spec.timeoutSeconds,
      mtu: Math.min(spec.mtu, this.#maxMtu),
    })
  }

  /**
   * Opens a backbone link; keys, moving and closing are as for ports. It is probed as soon as it has a key to send
   * with. At the limit of ports or links, tells `onError`.
   */
  openLink({ peerId, remotePeerId, path, mtu }: LinkSpec): void {
    if (!isLinkId(peerId) || !isLinkId(remotePeerId))
      throw new RangeError(`link ids ${peerId}, ${remotePeerId}`)
    this.closePort(peerId)
    const link = this.#freeLinks.pop() ?? (this.#highestLink < MAX_LINKS ? ++this.#highestLink : 0)
    if (link === 0) {
      this.onError(new SwitchError('FULL', `all ${MAX_LINKS} links are in use; a mesh has fewer controllers`))
      return
    }
    const opened = this.#open(peerId, remotePeerId, link, path, {
      address: 0,
      sources: ANY_SOURCE,
      sources6: ANY_SOURCE6,
      pingSeconds: 0,
      timeoutSeconds: 0,
      mtu: Math.min(mtu, this.#maxMtu),
    })
    if (!opened) this.#freeLinks.push(link)
  }

  #open(peerId: number, remotePeerId: number, link: number, path: Path, rest: PortTerms): boolean {
    if (!Number.isInteger(peerId) || peerId < 0 || peerId > MAX_PEER_ID)
      throw new RangeError(`peer id ${peerId}`)
    this.closePort(peerId)
    const slot = this.#freeSlots.pop() ?? (this.#highestSlot < this.#maxPorts ? ++this.#highestSlot : 0)
    if (slot === 0) {
      this.onError(
        new SwitchError(
          'FULL',
          `all ${this.#maxPorts} ports are in use; let clients go to other controllers`,
        ),
      )
      return false
    }
    const generation = ++this.#generation
    this.#ports.set(peerId, { slot, generation, link })
    this.#peerIds[slot] = peerId
    const { socket, ifindex } = path
    const port = { ...rest, peerId, remotePeerId, link, slot, generation, socket, ifindex }
    this.#queue.add({ type: 'open', path, port })
    return true
  }

  setKey(peerId: number, keyId: number, keys: DataChannelKeys): void {
    const port = this.#ports.get(peerId)
    if (port === undefined) return
    const { slot, link } = port
    const { cipher, format } = keys
    const secrets = packSecrets(keys.send, keys.receive)
    this.#queue.add({ type: 'setKey', slot, keyId: keyId & LAST_KEY_ID, cipher, format, secrets }, [secrets])
    // The other end of a link is told by another way than the switch's, and may send with the key at once.
    if (link !== 0) this.#queue.flush()
  }

  useKey(peerId: number, keyId: number): void {
    const slot = this.#ports.get(peerId)?.slot
    if (slot !== undefined) this.#queue.add({ type: 'useKey', slot, keyId: keyId & LAST_KEY_ID })
  }

  dropKey(peerId: number, keyId: number): void {
    const slot = this.#ports.get(peerId)?.slot
    if (slot !== undefined) this.#queue.add({ type: 'dropKey', slot, keyId: keyId & LAST_KEY_ID })
  }

  movePort(peerId: number, path: Path): void {
    const slot = this.#ports.get(peerId)?.slot
    if (slot !== undefined) this.#queue.add({ type: 'move', slot, path })
  }

  /** As `movePort`; the path's MTU is looked for anew. */
  moveLink(peerId: number, path: Path): void {
    this.movePort(peerId, path)
  }

  setSources(peerId: number, sources: PortSources): void {
    const slot = this.#ports.get(peerId)?.slot
    if (slot !== undefined) this.#queue.add({ type: 'sources', slot, ...sourcesOf(sources) })
  }

  closePort(peerId: number): void {
    const port = this.#ports.get(peerId)
    if (port === undefined) return
    this.#queue.add({ type: 'close', slot: port.slot })
    this.#freeSlots.push(port.slot)
    if (port.link !== 0) this.#freeLinks.push(port.link)
    this.#ports.delete(peerId)
  }

  closeLink(peerId: number): void {
    this.closePort(peerId)
  }

  // --- Ways

  /**
   * Sends an echo request (ICMP) out of a port, whatever the routes say, from this controller's own address; `onEcho` tells of the answer.
   * @param token 16 bytes that come back, copied
   * @returns false when there is no such port
   */
  sendEcho(peerId: number, to: IpAddress, token: Uint8Array): boolean {
    const slot = this.#ports.get(peerId)?.slot
    if (slot === undefined) return false
    this.#queue.add({ type: 'echo', slot, to, token: new Uint8Array(token) })
    return true
  }

  // --- Captures

  /**
   * Begins to copy packets as they pass, or as they are dropped; see `TapFilter`. What passes at once may be shown at once:
   * the thread begins when it gets to it. The ring is read by `RingReader`.
   * @param ring of `allocateRing`
   * @returns for `closeTap`; undefined when {@link MAX_TAPS} are open
   */
  openTap(filter: TapFilter, ring: SharedArrayBuffer): number | undefined {
    if (this.#taps.size >= MAX_TAPS) return undefined
    const encoded = encodeFilter(filter)
    const id = ++this.#lastTap
    this.#taps.add(id)
    this.#queue.add({ type: 'tap', id, filter: encoded, ring })
    return id
  }

  closeTap(id: number): void {
    if (this.#taps.delete(id)) this.#queue.add({ type: 'untap', id })
  }

  // --- Routes and figures

  /** Replaces the whole table, atomically. A route to a peer that has no port answers "host unreachable". */
  setRoutes(routes: readonly SwitchRoute[], routes6: readonly SwitchRoute6[] = []): void {
    const table = encodeRoutes(
      routes.map(({ address, length, peerId }) => ({ address, length, nextHop: nextHopOf(peerId) })),
    )
    const table6 = encodeRoutes6(
      routes6.map(({ address, length, peerId }) => ({ address, length, nextHop: nextHopOf(peerId) })),
    )
    this.#queue.add({ type: 'routes', table, table6 }, [table.buffer, table6.buffer])
    // Other controllers are told of what has changed next, and may send by it at once: what the old table would send back is lost.
    this.#queue.flush()
  }

  /** Sends a valid IPv4 packet of this machine's own to a session or link; at most {@link SwitchOptions.mtu} bytes. Given away. */
  sendPacket(packet: Uint8Array<ArrayBuffer>): void {
    if (packet.length <= this.#maxMtu) this.#queue.add({ type: 'packet', packet }, [packet.buffer])
  }

  /** What was counted since the start. */
  counters(): SwitchCounters {
    return readCounters(this.#counters)
  }

  /** Changes with every turn of the loop; one that hangs makes no more. */
  get turns(): number {
    return Atomics.load(this.#signals, SIGNAL.turns)
  }

  /** What passed through a port since it was opened; undefined when there is no such port. */
  portStats(peerId: number): PortCounts | undefined {
    const port = this.#ports.get(peerId)
    return port === undefined ? undefined : this.#stats.read(port.slot, port.generation)
  }

  /** When the peer of a port was heard last, or the port was opened, by the steady clock; undefined before that. */
  heardAt(peerId: number): number | undefined {
    const port = this.#ports.get(peerId)
    const at = port && this.#stats.heardAt(port.slot, port.generation)
    return at === undefined ? undefined : steadyTime(at)
  }

  /** What is known of a link; undefined when there is no such link. */
  linkStats(peerId: number): SwitchLinkStats | undefined {
    const port = this.#ports.get(peerId)
    if (port === undefined || port.link === 0) return undefined
    const { slot, generation, link } = port
    return { ...this.#stats.read(slot, generation), ...this.#linkStats.read(link, generation) }
  }

  /** Ends the thread: what was asked before is still done. Sockets and TUN are gone when this resolves. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#queue.end()
    await this.#exited
    this.#queue.close()
  }

  // --- From the loop

  #report(report: Report): void {
    if (report.type === 'trouble') this.onError(new Error(`switch: ${report.message}`))
    if (report.type === 'tun') this.#tunChanged(report)
    if (report.type !== 'turn') return
    try {
      if (report.control !== undefined) this.#control(report.control)
      for (const event of report.events) this.#tell(() => this.#event(event))
      for (const packet of report.queries) this.#tell(() => this.onQuery(packet))
    } finally {
      Atomics.sub(this.#signals, SIGNAL.queries, report.queries.length)
      for (const [group, count] of report.groups.entries())
        Atomics.sub(this.#signals, SIGNAL.inFlight + group, count)
      Atomics.sub(this.#signals, SIGNAL.inFlightBytes, report.bytes)
    }
  }

  #tunChanged({ gone, problem6, index }: Report & { type: 'tun' }): void {
    if (this.#tun !== null && gone === undefined) this.#tun = { ...this.#tun, problem6, index }
    this.#tell(() => this.onTun(gone))
  }

  #control(batch: ArrayBuffer): void {
    const reader = new ControlBatchReader(batch)
    while (reader.next()) {
      const path = readPath(reader.memory, reader.pathAt, reader.socket, reader.ifindex)
      const packet = reader.memory.bytes.subarray(reader.payloadAt, reader.payloadAt + reader.length)
      this.#tell(() => this.onControl(path, packet))
    }
  }

  /** What the owner makes of one packet or event must not touch those behind it. */
  #tell(report: () => void): void {
    try {
      report()
    } catch (error) {
      this.onError(error instanceof Error ? error : new Error(String(error)))
    }
  }

  #event(event: PortEvent): void {
    const { kind, slot, generation, path } = event
    const peerId = this.#peerIds[slot]
    if (this.#ports.get(peerId)?.generation !== generation) return
    if (kind === 'float' && path !== undefined) this.onFloat(peerId, path)
    else if (kind === 'idle') this.onIdle(peerId)
    else if (kind === 'exit') this.onExit(peerId)
    else if (kind === 'rekey') this.onRekey(peerId)
    else if (kind === 'echo' && event.from !== undefined && event.token !== undefined)
      this.onEcho(peerId, event.from, event.token)
    else if (kind === 'up' || kind === 'down') this.onLink(peerId, kind === 'up')
  }

  #fail(cause: Error): void {
    if (this.#stopping) return
    this.#stopping = true
    this.onError(
      new SwitchError('FAILED', `the switch has stopped: ${cause.message}; restart the controller`),
    )
  }
}

function sourcesOf({ subnets, subnets6 = [] }: PortSources): Pick<PortInit, 'sources' | 'sources6'> {
  return {
    sources: Int32Array.from(subnets.flatMap(({ address, length }) => [address, cidrMask(length)])),
    sources6: Int32Array.from(subnets6.flatMap(({ address, length }) => [...address, ...cidr6Mask(length)])),
  }
}

function nextHopOf(target: RouteTarget): number {
  return typeof target === 'number' ? target : NEXT_HOP[target]
}

/** The thread's first word: that it is ready, or why not. */
async function firstReport(worker: Worker): Promise<Report & { type: 'ready' }> {
  return new Promise((resolve, reject) => {
    const ended = (): void =>
      reject(new SwitchError('UNSUPPORTED', 'the switch cannot run here: its thread ended at once'))
    const failed = (error: Error): void => {
      reject(new SwitchError('UNSUPPORTED', `the switch cannot run here: ${error.message}`))
    }
    worker.once('exit', ended)
    worker.once('error', failed)
    worker.once('message', (report: Report) => {
      worker.off('exit', ended)
      worker.off('error', failed)
      if (report.type === 'ready') resolve(report)
      else if (report.type === 'refused') reject(new SwitchError(report.code, report.message))
      else reject(new SwitchError('UNSUPPORTED', 'the switch cannot run here'))
    })
  })
}
