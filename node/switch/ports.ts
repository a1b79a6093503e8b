// The switch's ports: everything the packet path asks about a session, by slot number, in arrays made once.
import { NOBODY } from './busy-poll.ts'
import { PathIndex } from './path-index.ts'
import { BASE_MTU } from './path-mtu.ts'
import { MAX_PEER_ID, PeerIndex } from './peer-index.ts'
import { KEY_IDS, PORT_STAT, type PortStats } from './shared.ts'
import { copyLocal, copyName, PATH_STRIDE, sameLocal, sameName } from './socket-address.ts'
import { Arena } from './sys/arena.ts'
import type { ReceiveBatch } from './sys/receive-batch.ts'

/** What a port is opened with. */
export interface PortInit {
  /** Names the port in packets from its peer. */
  peerId: number
  /** Names it in packets to its peer: the same for a session. */
  remotePeerId: number
  /** A backbone link's place in `LinkStats`; 0 for a session. */
  link: number
  slot: number
  generation: number
  socket: number
  ifindex: number
  /** Overlay address, u32. */
  address: number
  /** Further prefixes that may appear as source, as (address, mask) pairs. */
  sources: Int32Array
  /** The same of IPv6 beside the overlay's own addresses: four words of address, four of mask. */
  sources6: Int32Array
  pingSeconds: number
  timeoutSeconds: number
  /** Longest overlay packet towards the peer, bytes. */
  mtu: number
}

/** What a port's floats have come to: it has its path for a while, its latest is told, or is to be told at the next look. */
export const FLOAT = { still: 0, told: 1, untold: 2 } as const

/** All ports. Slot numbers are 1 and up, chosen by the main thread; 0 is none. */
export class Ports {
  readonly capacity: number
  /** Cells, since a number in a field is an object of its own once it is passed along. */
  readonly #time = new Float64Array(2)
  /** Highest slot that was ever in use. */
  highest = 0
  /** Where the last packet that was sent on in the loop's turn came from and went: a port, `KERNEL` or `NOBODY`. */
  routedFrom = NOBODY
  routedTo = NOBODY
  readonly peers = new PeerIndex()
  /** Peer id by slot; only of meaning where `open`. */
  readonly peerId: Int32Array
  readonly remotePeerId: Int32Array
  /** Place among the backbone links, 0 for a session. */
  readonly link: Int32Array
  readonly open: Uint8Array
  readonly address: Int32Array
  readonly mtu: Int32Array
  readonly sources: (Int32Array | undefined)[] = []
  readonly sources6: (Int32Array | undefined)[] = []
  /** Listening socket, path (sockaddr and ancillary data) and interface towards the peer. */
  readonly socket: Uint8Array
  readonly ifindex: Int32Array
  readonly paths: Arena
  readonly byPath: PathIndex
  /** Key slot by slot × 8 + key id, and the one to send with; 0 is none. */
  readonly keys: Int32Array
  readonly sendKey: Int32Array
  /** Milliseconds; 0 is never. */
  readonly pingAfter: Float64Array
  readonly idleAfter: Float64Array
  /** Monotonic milliseconds. */
  readonly lastSent: Float64Array
  readonly lastReceived: Float64Array
  readonly idleReported: Uint8Array
  /** Whether the port has floated lately, and its owner was told: see `FLOAT`. */
  readonly floats: Uint8Array
  /** Set when the kernel refused segmented sends to this destination. */
  readonly unsegmented: Uint8Array
  /** Set when a packet was sent that not every path takes. */
  readonly large: Uint8Array
  readonly stats: PortStats

  constructor(capacity: number, stats: PortStats, seed: number) {
    const size = capacity + 1
    this.capacity = capacity
    this.peerId = new Int32Array(size)
    this.remotePeerId = new Int32Array(size)
    this.link = new Int32Array(size)
    this.open = new Uint8Array(size)
    this.address = new Int32Array(size)
    this.mtu = new Int32Array(size)
    this.socket = new Uint8Array(size)
    this.ifindex = new Int32Array(size)
    this.paths = new Arena(size * PATH_STRIDE)
    this.byPath = new PathIndex(capacity, this.paths, this.socket, seed)
    this.keys = new Int32Array(size * KEY_IDS)
    this.sendKey = new Int32Array(size)
    this.pingAfter = new Float64Array(size)
    this.idleAfter = new Float64Array(size)
    this.lastSent = new Float64Array(size)
    this.lastReceived = new Float64Array(size)
    this.idleReported = new Uint8Array(size)
    this.floats = new Uint8Array(size)
    this.unsegmented = new Uint8Array(size)
    this.large = new Uint8Array(size)
    this.stats = stats
  }

  /** Monotonic milliseconds of the loop's turn. */
  get now(): number {
    return this.#time[0]
  }

  set now(time: number) {
    this.#time[0] = time
  }

  /** What `now` lacks of milliseconds since 1970. */
  set sinceEpoch(ms: number) {
    this.#time[1] = ms
  }

  /** The open port of a peer id; 0 when there is none. */
  find(peerId: number): number {
    return peerId >= 0 && peerId <= MAX_PEER_ID ? this.peers.get(peerId) : 0
  }

  /** Opens a port. Its path is that in `memory` at `pathAt`; it displaces any other port from there. */
  openPort(init: PortInit, memory: { words: Int32Array }, pathAt: number): void {
    const { slot } = init
    this.highest = Math.max(this.highest, slot)
    this.open[slot] = 1
    this.peerId[slot] = init.peerId
    this.remotePeerId[slot] = init.remotePeerId
    this.link[slot] = init.link
    this.peers.set(init.peerId, slot)
    this.address[slot] = init.address
    this.setSources(slot, init)
    this.mtu[slot] = init.mtu
    this.pingAfter[slot] = init.pingSeconds * 1000
    this.idleAfter[slot] = init.timeoutSeconds * 1000
    this.lastSent[slot] = this.now
    this.lastReceived[slot] = this.now
    this.idleReported[slot] = 0
    this.floats[slot] = FLOAT.still
    this.sendKey[slot] = 0
    this.#place(slot, init.socket, init.ifindex, memory, pathAt)
    this.stats.begin(slot, init.generation, this.now)
  }

  /** Replaces the prefixes that may appear as source beside the port's own address. */
  setSources(slot: number, { sources, sources6 }: Pick<PortInit, 'sources' | 'sources6'>): void {
    this.sources[slot] = sources.length > 0 ? sources : undefined
    this.sources6[slot] = sources6.length > 0 ? sources6 : undefined
  }

  /** Gives a port the path in `memory` at `pathAt`. */
  movePort(
    slot: number,
    socket: number,
    ifindex: number,
    memory: { words: Int32Array },
    pathAt: number,
  ): void {
    this.byPath.remove(slot)
    this.#place(slot, socket, ifindex, memory, pathAt)
  }

  #place(slot: number, socket: number, ifindex: number, memory: { words: Int32Array }, pathAt: number): void {
    const at = slot * PATH_STRIDE
    for (let i = 0; i < PATH_STRIDE >> 2; i++)
      this.paths.words[(at >> 2) + i] = memory.words[(pathAt >> 2) + i]
    this.socket[slot] = socket
    this.ifindex[slot] = ifindex
    this.unsegmented[slot] = 0
    this.#takePath(slot)
  }

  /** Enters the slot's path; a port that had the same one keeps sending there, but answers to it no more. */
  #takePath(slot: number): void {
    const other = this.byPath.find(this.paths, slot * PATH_STRIDE, this.socket[slot])
    if (other !== 0) this.byPath.remove(other)
    this.byPath.add(slot)
  }

  /** Forgets a port; its keys must be gone already. */
  closePort(slot: number): void {
    this.byPath.remove(slot)
    this.peers.set(this.peerId[slot], 0)
    this.open[slot] = 0
    this.sendKey[slot] = 0
    this.sources[slot] = undefined
    this.sources6[slot] = undefined
    this.stats.end(slot)
  }

  /** Whether the port may send from this overlay address (signed or unsigned 32 bits). */
  admits(slot: number, source: number): boolean {
    if ((source | 0) === this.address[slot]) return true
    const sources = this.sources[slot]
    if (sources === undefined) return false
    for (let i = 0; i < sources.length; i += 2) {
      if (((source ^ sources[i]) & sources[i + 1]) === 0) return true
    }
    return false
  }

  /** Whether the port may send from the IPv6 address at `at`, which is none of the overlay's own. */
  admits6(slot: number, view: DataView, at: number): boolean {
    const sources = this.sources6[slot]
    if (sources === undefined) return false
    for (let i = 0; i < sources.length; i += 8) {
      const differs =
        ((view.getInt32(at) ^ sources[i]) & sources[i + 4]) |
        ((view.getInt32(at + 4) ^ sources[i + 1]) & sources[i + 5]) |
        ((view.getInt32(at + 8) ^ sources[i + 2]) & sources[i + 6]) |
        ((view.getInt32(at + 12) ^ sources[i + 3]) & sources[i + 7])
      if (differs === 0) return true
    }
    return false
  }

  /** True when datagram `i` of the batch came by the slot's own path. */
  cameByPath(slot: number, socket: number, batch: ReceiveBatch, i: number): boolean {
    return (
      this.socket[slot] === socket && sameName(this.paths, slot * PATH_STRIDE, batch.names, batch.nameAt(i))
    )
  }

  /** Remembers the local address that the peer has just asked, should it be another than before. */
  noteLocal(slot: number, batch: ReceiveBatch): void {
    const at = slot * PATH_STRIDE
    if (sameLocal(this.paths, at, batch.control, batch.localAt, batch.localLength)) return
    copyLocal(this.paths, at, batch.control, batch.localAt, batch.localLength, batch.ifindex)
    this.ifindex[slot] = batch.ifindex
  }

  /** From now on the kernel chooses the local address to answer from. */
  forgetLocal(slot: number): void {
    copyLocal(this.paths, slot * PATH_STRIDE, this.paths, 0, 0, 0)
  }

  /**
   * Moves the port to where datagram `i` came from. False, with nothing changed, when another port is there: its
   * peer would lose its answers.
   */
  float(slot: number, socket: number, batch: ReceiveBatch, i: number): boolean {
    if (this.byPath.find(batch.names, batch.nameAt(i), socket) !== 0) return false
    this.byPath.remove(slot)
    const at = slot * PATH_STRIDE
    copyName(this.paths, at, batch.names, batch.nameAt(i))
    copyLocal(this.paths, at, batch.control, batch.localAt, batch.localLength, batch.ifindex)
    this.socket[slot] = socket
    this.ifindex[slot] = batch.ifindex
    this.unsegmented[slot] = 0
    this.byPath.add(slot)
    return true
  }

  /** Counts one packet from the peer. */
  countReceived(slot: number, bytes: number): void {
    this.lastReceived[slot] = this.now
    this.idleReported[slot] = 0
    this.stats.add(slot, PORT_STAT.rxBytes, bytes)
    this.stats.add(slot, PORT_STAT.rxPackets, 1)
    this.stats.received(slot, this.#time[0] + this.#time[1], this.#time[0])
  }

  /** Counts one packet to the peer. */
  countSent(slot: number, bytes: number): void {
    this.lastSent[slot] = this.now
    if (bytes > BASE_MTU) this.large[slot] = 1
    this.stats.add(slot, PORT_STAT.txBytes, bytes)
    this.stats.add(slot, PORT_STAT.txPackets, 1)
  }
}
