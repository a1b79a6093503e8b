// The network between simulated controllers, with what goes wrong in one: channels that stall and break, gossip that is
// lost, late, twice or out of turn, and cuts of one direction or both.
import { hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { Dialer } from '../../mesh/libp2p/dialer.ts'
import type { Standing } from '../../mesh/libp2p/transport.ts'
import type { Transport, TransportHandler } from '../../mesh/transport.ts'
import { PROTOCOL } from '../../mesh/versions.ts'
import type { ControllerId } from '../../state/kinds.ts'
import type { Appointment, Clockwork } from './clockwork.ts'

/** A process that takes part in the network. */
export interface Attendant {
  readonly handler: TransportHandler
  /** Admitted controllers but itself. */
  peers(): readonly ControllerId[]
  standing(id: ControllerId): Standing
  farewell(id: ControllerId): Uint8Array[]
  onFarewell(records: Uint8Array[]): void
  /** Its own record, for whom it does not know. */
  introduction(): Uint8Array | undefined
  onIntroduced(record: Uint8Array): Promise<void>
  /** Its own clock. */
  now(): number
}

/** ms between two tries of a frame that does not get through, as of TCP. */
const RETRANSMISSION = 200
/** ms between two looks at who is to be dialled. */
const DIAL_TURN = 100
/** ms for which gossipsub remembers what it has seen. */
const SEEN = 120_000
/** To how many a gossiped frame is handed on. */
const FAN_OUT = 6
const MAX_QUEUE = 5000

type Item = 'hello' | Uint8Array

/** One end of a channel. */
class End {
  readonly port: Port
  readonly peer: ControllerId
  other!: End
  isOpen = false
  isClosed = false
  /** Gossip stopped in this direction, in silence. */
  isMute = false
  readonly inbox: { at: number; item: Item }[] = []
  pump: Appointment | undefined

  constructor(port: Port, peer: ControllerId) {
    this.port = port
    this.peer = peer
  }
}

export class SimNetwork {
  readonly clockwork: Clockwork
  /** Chances of 1000 that gossip is lost on one hop, or comes twice; and that a channel's queue is full. */
  loss = 0
  duplication = 0
  congestion = 0
  /** ms that a hop takes at most beyond the distance; gossip may take ten times as long. */
  jitter = 5
  /** Gossip that honest controllers do not send. */
  readonly hostile = new Set<string>()
  readonly #ports = new Map<ControllerId, Port>()
  readonly #cuts = new Set<string>()
  readonly #distances = new Map<string, number>()

  constructor(clockwork: Clockwork) {
    this.clockwork = clockwork
  }

  attach(id: ControllerId, attendant: Attendant): Port {
    const port = new Port(this, id, attendant)
    this.#ports.set(id, port)
    return port
  }

  detach(port: Port): void {
    if (this.#ports.get(port.id) === port) this.#ports.delete(port.id)
  }

  port(id: ControllerId): Port | undefined {
    return this.#ports.get(id)
  }

  /** Nothing gets from one to the other any more; the other direction is as it was. */
  cut(from: ControllerId, to: ControllerId): void {
    this.#cuts.add(`${from}>${to}`)
  }

  mend(): void {
    this.#cuts.clear()
  }

  passes(from: ControllerId, to: ControllerId): boolean {
    return !this.#cuts.has(`${from}>${to}`)
  }

  /** ms that the next hop between two takes. */
  delay(a: ControllerId, b: ControllerId): number {
    const pair = a < b ? `${a}${b}` : `${b}${a}`
    let distance = this.#distances.get(pair)
    if (distance === undefined) {
      distance = this.clockwork.chance(700) ? this.clockwork.between(1, 15) : this.clockwork.between(15, 90)
      this.#distances.set(pair, distance)
    }
    return distance + this.clockwork.pick(this.jitter + 1)
  }

  put(to: End, item: Item): void {
    const { inbox, port, peer } = to
    const at = Math.max(inbox.at(-1)?.at ?? 0, this.clockwork.time + this.delay(peer, port.id))
    inbox.push({ at, item })
    if (inbox.length === 1) this.#pump(to, at)
  }

  /** Tells the other end that there is no channel any more, if that gets through. */
  reset(end: End): void {
    const { other } = end
    this.clockwork.after(this.delay(end.port.id, other.port.id), () => {
      if (this.passes(end.port.id, other.port.id)) other.port.close(other, false)
    })
  }

  #pump(end: End, at: number): void {
    end.pump = this.clockwork.after(at - this.clockwork.time, () => {
      const { inbox, port, peer } = end
      if (inbox.length === 0) return
      if (!this.passes(peer, port.id)) {
        this.#pump(end, this.clockwork.time + RETRANSMISSION)
        return
      }
      const { item } = inbox.shift()!
      if (inbox.length > 0) this.#pump(end, inbox[0].at)
      port.arrived(end, item)
    })
  }
}

/** One process's place in the network. */
export class Port implements Transport {
  readonly id: ControllerId
  readonly network: SimNetwork
  readonly attendant: Attendant
  /** Frames of honest controllers that were rejected, of which there must be none. */
  rejected = 0
  readonly #ends = new Map<ControllerId, End>()
  readonly #seen = new Map<string, number>()
  readonly #dialer: Dialer
  #turn: Appointment | undefined
  isStopped = false

  constructor(network: SimNetwork, id: ControllerId, attendant: Attendant) {
    this.network = network
    this.id = id
    this.attendant = attendant
    this.#dialer = new Dialer({
      id,
      now: () => attendant.now(),
      random: () => network.clockwork.pick(1000) / 1000,
      dial: peer => this.#dial(peer),
    })
  }

  start(): void {
    this.peersChanged()
    const turn = () => {
      this.#dialer.poll()
      this.#turn = this.network.clockwork.after(DIAL_TURN, turn)
    }
    turn()
  }

  /** @param isPower nobody is left to tell the others */
  stop(isPower: boolean): void {
    this.isStopped = true
    this.network.clockwork.cancel(this.#turn)
    this.network.detach(this)
    for (const end of this.#ends.values()) {
      end.isClosed = true
      if (!isPower) this.network.reset(end)
    }
    this.#ends.clear()
  }

  get connected(): ControllerId[] {
    return [...this.#ends].filter(([, end]) => end.isOpen).map(([id]) => id)
  }

  // --- Transport

  send(peer: ControllerId, frame: Uint8Array): boolean {
    const end = this.#ends.get(peer)
    if (!end?.isOpen || this.isStopped) return false
    const { network } = this
    if (end.other.inbox.length >= MAX_QUEUE || network.clockwork.chance(network.congestion)) return false
    network.put(end.other, frame)
    return true
  }

  publish(frame: Uint8Array): void {
    if (this.isStopped) return
    const name = hash('sha1', frame)
    // As gossipsub does with the content's hash for a name: what was said lately is not said again.
    if (!this.#isNew(name)) return
    this.#handOn(name, frame, undefined)
  }

  disconnect(peer: ControllerId, _reason: string): void {
    const end = this.#ends.get(peer)
    if (end) this.close(end, true)
  }

  peersChanged(): void {
    const missing = this.attendant.peers().filter(id => !this.#ends.has(id))
    this.#dialer.setMissing(missing)
  }

  // --- From the network

  arrived(end: End, item: Item): void {
    if (end.isClosed || this.isStopped) {
      // Nobody is there: the sender is told.
      this.network.reset(end)
      return
    }
    if (item === 'hello') {
      this.#open(end)
      return
    }
    this.network.clockwork.note(`${end.peer.slice(0, 4)}>${this.id.slice(0, 4)} ${crc32(item)}`)
    this.attendant.handler.frame(end.peer, item)
  }

  close(end: End, tells: boolean): void {
    if (end.isClosed) return
    const wasOpen = end.isOpen
    end.isClosed = true
    end.isOpen = false
    if (this.#ends.get(end.peer) === end) this.#ends.delete(end.peer)
    if (tells) this.network.reset(end)
    if (this.isStopped) return
    if (wasOpen) this.attendant.handler.disconnected(end.peer)
    this.peersChanged()
  }

  /** Gossip stops in one direction of one channel, and nothing tells so. */
  mute(peer: ControllerId): void {
    const end = this.#ends.get(peer)
    if (end) end.isMute = true
  }

  /** Takes a gossiped frame in, as from one of its peers. */
  hear(name: string, frame: Uint8Array, from: ControllerId | undefined, isRepeated = false): void {
    if (this.isStopped || (!this.#isNew(name) && !isRepeated)) return
    const verdict = this.attendant.handler.gossip(frame)
    this.network.clockwork.note(`${this.id.slice(0, 4)} heard ${name.slice(0, 8)} ${verdict}`)
    if (verdict === 'reject' && !this.network.hostile.has(name)) this.rejected++
    if (verdict === 'accept' && !isRepeated) this.#handOn(name, frame, from)
  }

  #handOn(name: string, frame: Uint8Array, except: ControllerId | undefined): void {
    const { network } = this
    const { clockwork } = network
    const ends = [...this.#ends.values()].filter(end => end.isOpen && end.peer !== except)
    while (ends.length > FAN_OUT) ends.splice(clockwork.pick(ends.length), 1)
    for (const end of ends) {
      if (end.isMute || clockwork.chance(network.loss)) continue
      const times = clockwork.chance(network.duplication) ? 2 : 1
      for (let i = 0; i < times; i++) {
        const delay = network.delay(this.id, end.peer) + clockwork.pick(10 * network.jitter + 1)
        clockwork.after(delay, () => {
          const { other } = end
          if (other.isOpen && network.passes(this.id, end.peer)) other.port.hear(name, frame, this.id, i > 0)
        })
      }
    }
  }

  #isNew(name: string): boolean {
    const { time } = this.network.clockwork
    const at = this.#seen.get(name)
    this.#seen.set(name, at ?? time)
    if (at !== undefined && time - at < SEEN) return false
    this.#seen.set(name, time)
    return true
  }

  async #dial(peer: ControllerId): Promise<boolean> {
    const { network } = this
    for (let step = 0; step < 3; step++) {
      const [from, to] = step % 2 === 0 ? [this.id, peer] : [peer, this.id]
      if (!network.passes(from, to)) {
        await network.clockwork.sleep(1000)
        return false
      }
      await network.clockwork.sleep(network.delay(from, to))
    }
    const other = network.port(peer)
    if (this.isStopped || other === undefined) return false
    if (this.attendant.standing(peer) !== 'admitted') return false
    const standing = other.attendant.standing(this.id)
    if (standing === 'removed') this.attendant.onFarewell(other.attendant.farewell(this.id))
    const introduction = standing === 'unknown' ? this.attendant.introduction() : undefined
    if (introduction) await other.attendant.onIntroduced(introduction)
    if (standing !== 'admitted') return false
    const [mine, theirs] = [this.#ends.get(peer), other.#ends.get(this.id)]
    if (mine || theirs) {
      // Two connections at once: both go, and the next attempt starts from nothing.
      if (mine) this.close(mine, true)
      if (theirs) other.close(theirs, true)
      return false
    }
    const here = new End(this, peer)
    const there = new End(other, this.id)
    here.other = there
    there.other = here
    this.#ends.set(peer, here)
    network.put(here, 'hello')
    other.#open(there)
    this.peersChanged()
    return true
  }

  #open(end: End): void {
    if (this.attendant.standing(end.peer) !== 'admitted') {
      this.close(end, true)
      return
    }
    this.#ends.set(end.peer, end)
    end.isOpen = true
    this.network.clockwork.note(`${this.id.slice(0, 4)} has ${end.peer.slice(0, 4)}`)
    this.peersChanged()
    this.attendant.handler.connected(end.peer, PROTOCOL.highest)
  }
}
