// One controller's part in the mesh, without a network, a clock or a disk of its own: what it tells the others, what it
// believes of what they tell, and when.
import type { ClientId, ControllerId } from '../state/kinds.ts'
import { encodeRecord } from '../state/record.ts'
import type { Receipt } from '../state/replica.ts'
import { ChannelState } from './channel-state.ts'
import { anyPeer, unequalPeers } from './comparing.ts'
import {
  heartbeatInterval,
  MESH_TIMING,
  type MeshCoreInit,
  type MeshCounters,
  type MeshEvent,
  type MeshTiming,
  type PeerState,
  presenceInterval,
} from './core-types.ts'
import { FanOut } from './fan-out.ts'
import { Inquiries } from './inquiries.ts'
import { decodeFrame, encodeFrame, type Frame, type Statement } from './messages.ts'
import { Presence } from './presence.ts'
import { PresenceExchange } from './presence-exchange.ts'
import { Replication } from './replication.ts'
import { type SignedFrame, Statements } from './statements.ts'
import { type GossipVerdict, MAX_GOSSIP_BYTES, type TransportHandler } from './transport.ts'

export * from './core-types.ts'

/** Heartbeats within which a peer must have been heard for what is new to go straight to it. */
const ATTENTION = 2.5
/** ms for which an operator's request is good. */
const REQUEST_LIFE = 60_000

export class MeshCore implements TransportHandler {
  readonly inquiries: Inquiries
  readonly presence: Presence
  readonly counters: MeshCounters = {
    badFrames: 0,
    unknownFrames: 0,
    badSignatures: 0,
    refusedRecords: 0,
    heldRecords: 0,
    droppedWork: 0,
    unknownSenders: 0,
  }
  /** The deadline that `poll` returned has moved nearer. */
  onDeadline: () => void = () => {}
  /** Bytes for the backbone. */
  onLink: (peer: ControllerId, payload: Uint8Array) => void = () => {}
  /** A channel opened or closed. */
  onPeer: (peer: ControllerId, connected: boolean) => void = () => {}
  /** An operator, at another controller, wants the session of this client ended. */
  onKick: (client: ClientId) => void = () => {}
  onEvent: (event: MeshEvent) => void = () => {}
  onFailure: (error: unknown) => void = () => {}
  readonly #init: MeshCoreInit
  readonly #timing: MeshTiming
  readonly #replication: Replication
  readonly #peers = new Map<ControllerId, ChannelState>()
  readonly #statements: Statements
  readonly #exchange: PresenceExchange
  readonly #fanOut: FanOut
  readonly #stop: () => void
  #nextHeartbeat: number
  #nextAntiEntropy: number
  #nextPresence: number
  #nextReplica: number
  #replicaBusy = false
  /** When `poll` was last called. */
  #polledAt: number
  #closed = false

  constructor(init: MeshCoreInit) {
    this.#init = init
    this.#timing = { ...MESH_TIMING, ...init.timing }
    const now = init.now()
    this.#nextHeartbeat = now
    this.#nextAntiEntropy = now + this.#timing.antiEntropy
    this.#nextPresence = now
    this.#nextReplica = now
    this.#polledAt = now
    this.#fanOut = new FanOut({
      transport: init.transport,
      few: init.few,
      now: init.now,
      attention: ATTENTION * this.#timing.heartbeat,
      others: () => this.#others(),
      peers: this.#peers,
    })
    this.#statements = new Statements({
      id: init.id,
      privateKey: init.privateKey,
      isAdmitted: id => init.views.isAdmitted(id),
      publicKeyOf: id => init.replica.get('controller', id)?.publicKey,
    })
    this.presence = new Presence({
      id: init.id,
      boot: init.boot,
      now: init.now,
      facts: init.facts,
      isAdmitted: id => init.views.isAdmitted(id),
      isReachable: id => this.#peers.has(id) || init.reaches(id),
    })
    this.inquiries = new Inquiries({
      send: (peer, frame) => this.#send(peer, frame),
      onFailure: error => this.onFailure(error),
    })
    this.#exchange = new PresenceExchange({
      id: init.id,
      presence: this.presence,
      now: init.now,
      sign: statement => this.#statements.sign(statement),
      send: (peer, frame) => this.#send(peer, frame),
      publish: (frame, isRoutine) => (isRoutine ? this.#fanOut.gossip(frame) : this.#fanOut.publish(frame)),
      onDeadline: () => this.onDeadline(),
    })
    this.#replication = new Replication({
      replica: init.replica,
      isAdmitted: id => init.views.isAdmitted(id),
      peers: () => this.#peers.keys(),
      send: (peer, frame) => this.#send(peer, frame),
      publish: frame => this.#fanOut.publish(frame),
      onRefused: (peer, reason) => {
        this.counters.refusedRecords++
        this.onEvent({ type: 'refused', peer, reason })
      },
      onHeld: (peer, why) => {
        this.counters.heldRecords++
        const reason = why === 'ahead' ? 'its clock is ahead' : 'its author is not known here'
        this.onEvent({ type: 'held', peer, reason })
      },
      onFailure: error => {
        if (!this.#closed) this.onFailure(error)
      },
    })
    this.#stop = init.replica.onChange(({ changes }) => {
      if (changes.some(({ kind }) => kind === 'controller')) this.#controllersChanged()
    })
  }

  close(): void {
    this.#closed = true
    this.#stop()
    this.#replication.close()
    this.inquiries.close()
  }

  // --- From the transport

  connected(id: ControllerId, protocol: number): void {
    const now = this.#init.now()
    this.presence.connecting(id)
    this.#peers.set(id, new ChannelState(now, protocol))
    this.#heartbeat(id, now)
    this.#replication.connected(id)
    this.#exchange.tellAll(id)
    this.presence.reconsider()
    this.onPeer(id, true)
  }

  disconnected(id: ControllerId): void {
    if (!this.#peers.delete(id)) return
    this.#replication.disconnected(id)
    this.presence.parted(id)
    this.inquiries.parted(id)
    this.presence.reconsider()
    this.onPeer(id, false)
  }

  frame(id: ControllerId, bytes: Uint8Array): void {
    const peer = this.#peers.get(id)
    if (peer === undefined) return
    peer.heardAt = this.#init.now()
    const frame = decodeFrame(bytes)
    if (frame === undefined) {
      this.counters.badFrames++
      this.onEvent({ type: 'refused', peer: id, reason: 'a malformed frame' })
      return
    }
    if (frame.type === 'foreign') this.counters.unknownFrames++
    else if (frame.type === 'heartbeat') this.#heard(id, peer, frame)
    else if (frame.type === 'link') this.onLink(id, frame.payload)
    else if (frame.type === 'ask' || frame.type === 'told') this.inquiries.receive(id, frame)
    else if (frame.type === 'signed') this.#statement(frame)
    else if (frame.type === 'records') {
      if (!this.#replication.gossiped(frame.records, id)) this.counters.droppedWork++
    } else {
      // It compares: not both have to begin.
      if (frame.type === 'summary') peer.comparedAt = peer.heardAt
      if (!this.#replication.receive(id, frame)) this.counters.droppedWork++
    }
  }

  gossip(bytes: Uint8Array): GossipVerdict {
    const frame = bytes.length > MAX_GOSSIP_BYTES ? undefined : decodeFrame(bytes)
    if (frame?.type === 'signed') {
      const peer = this.#peers.get(frame.author)
      if (peer) peer.gossipAt = this.#init.now()
      return this.#statement(frame)
    }
    if (frame?.type === 'records') {
      if (this.#replication.gossiped(frame.records, undefined)) return 'accept'
      this.counters.droppedWork++
      return 'ignore'
    }
    if (frame?.type === 'foreign') {
      // Nobody can tell here who said it: those that know may pass it on.
      this.counters.unknownFrames++
      return 'ignore'
    }
    this.counters.badFrames++
    return 'reject'
  }

  // --- What the controller asks for

  /** False when there is no channel to the peer. */
  sendLink(peer: ControllerId, payload: Uint8Array): boolean {
    return this.#send(peer, { type: 'link', payload })
  }

  /** Asks another controller to end the session of a client. */
  kick(controller: ControllerId, client: ClientId): void {
    const at = this.#init.now()
    this.#fanOut.publish(this.#statements.sign({ type: 'kick', controller, client, at }))
  }

  /** How many other controllers have a write on their disks, once all that are connected do or `timeout` resolves. */
  stored(receipt: Pick<Receipt, 'sequence'>, timeout: Promise<void>): Promise<number> {
    return this.#replication.stored(receipt.sequence, timeout)
  }

  isConnected(peer: ControllerId): boolean {
    return this.#peers.has(peer)
  }

  /** Admitted controllers but this one. */
  peers(): PeerState[] {
    const { id: self, views, replica } = this.#init
    return views.controllers().flatMap(({ id }) => {
      if (id === self) return []
      const peer = this.#peers.get(id)
      const known = this.#replication.of(id)
      const facts = this.presence.isLiving(id) ? this.presence.of(id)?.facts : undefined
      const stateHash = known?.behind === 0 ? replica.hash() : (facts?.stateHash ?? known?.stateHash ?? '')
      return {
        id,
        connected: peer !== undefined,
        protocol: peer?.protocol ?? 0,
        rttMs: peer?.rtt ?? 0,
        stateHash,
        records: known?.records || (facts?.records ?? 0),
        behind:
          known?.behind ??
          this.#replication.behindOf(id) ??
          (facts?.stateHash === replica.hash() ? 0 : Math.max(1, replica.count - (facts?.records ?? 0))),
      }
    })
  }

  // --- Time

  /** Runs what is due; when to call again, ms since 1970. */
  poll(): number {
    const now = this.#init.now()
    const lapse = now - this.#polledAt
    this.#polledAt = now
    if (lapse < 0 || lapse > this.#timing.silence / 2) this.#clockSet(now)
    if (now >= this.#nextHeartbeat) {
      this.#nextHeartbeat = now + heartbeatInterval(this.#timing, this.#peers.size)
      for (const [id, peer] of [...this.#peers]) this.#watch(id, peer, now)
      const isUnequal = (id: ControllerId) => (this.#replication.of(id)?.behind ?? 0) > 0
      for (const id of unequalPeers(this.#peers, isUnequal, now - this.#timing.unequal))
        this.#compare(id, now)
    }
    if (now >= this.#nextAntiEntropy) {
      this.#nextAntiEntropy = now + this.#timing.antiEntropy
      const peer = anyPeer(this.#peers, this.#init.random)
      if (peer) this.#compare(peer, now)
    }
    if (now >= this.#nextPresence) {
      this.#nextPresence = now + presenceInterval(this.#timing, this.#peers.size)
      this.#exchange.refresh()
    }
    if (now >= this.#exchange.at) this.#exchange.tell()
    if (now >= this.#nextReplica && !this.#replicaBusy) this.#pollReplica()
    return Math.min(
      this.#nextHeartbeat,
      this.#nextAntiEntropy,
      this.#nextPresence,
      this.#exchange.at,
      this.#replicaBusy ? Number.POSITIVE_INFINITY : this.#nextReplica,
    )
  }

  /**
   * The clock was set, or this process stood still: how long peers have been silent cannot be told, and nothing is to wait
   * for a time that is far off now.
   */
  #clockSet(now: number): void {
    for (const peer of this.#peers.values()) peer.clockSet(now)
    this.#nextHeartbeat = now
    this.#nextAntiEntropy = now
    this.#nextPresence = now
    this.#nextReplica = now
    this.#exchange.clockSet()
  }

  #watch(id: ControllerId, peer: ChannelState, now: number): void {
    const { transport } = this.#init
    if (peer.isToGo(now)) {
      transport.disconnect(id, 'it was removed from the mesh')
      return
    }
    const reason = peer.silence(now, this.#timing)
    if (reason !== undefined) {
      this.onEvent({ type: 'watchdog', peer: id, reason })
      transport.disconnect(id, reason)
      return
    }
    this.#heartbeat(id, now)
  }

  #compare(id: ControllerId, now: number): void {
    this.#peers.get(id)!.comparedAt = now
    this.#replication.compare(id, true)
  }

  #pollReplica(): void {
    const { replica, now } = this.#init
    this.#replicaBusy = true
    replica
      .poll()
      .then(
        next => {
          this.#nextReplica = next
        },
        error => {
          this.#nextReplica = now() + 60_000
          if (!this.#closed) this.onFailure(error)
        },
      )
      .finally(() => {
        this.#replicaBusy = false
        if (!this.#closed) this.onDeadline()
      })
  }

  // --- Heartbeats and statements

  #heartbeat(id: ControllerId, now: number): void {
    const { boot, version } = this.presence.own
    this.#send(id, { type: 'heartbeat', sent: now, ...this.#peers.get(id)!.echo(now), boot, version })
  }

  #heard(id: ControllerId, peer: ChannelState, frame: Frame & { type: 'heartbeat' }): void {
    peer.heartbeat(frame, this.#init.now())
    this.#exchange.heard(id, frame.boot, frame.version)
  }

  #statement(frame: SignedFrame): GossipVerdict {
    const checked = this.#statements.check(frame)
    switch (checked.is) {
      case 'good':
        this.#believe(frame.author, checked.statement)
        return 'accept'
      case 'own':
        return 'ignore'
      case 'unknown':
        this.counters.unknownSenders++
        return 'ignore'
      case 'foreign':
        // Others may know what to make of it.
        this.counters.unknownFrames++
        return 'accept'
      case 'bad': {
        this.counters.badSignatures++
        const reason = 'a statement that is not its own, or malformed'
        this.onEvent({ type: 'refused', peer: frame.author, reason })
        return 'reject'
      }
    }
  }

  #believe(author: ControllerId, statement: Statement): void {
    const { id, now } = this.#init
    switch (statement.type) {
      case 'presence':
        this.#exchange.told(author, statement.update)
        this.#replication.told(author, this.presence.of(author)?.facts.stateHash ?? '')
        return
      case 'want':
        this.#exchange.wanted(author, statement.controller)
        return
      case 'kick':
        if (statement.controller !== id || Math.abs(now() - statement.at) > REQUEST_LIFE) return
        this.onKick(statement.client)
    }
  }

  /** Who is out is told so, and then cut off. */
  #controllersChanged(): void {
    const { views, replica, now } = this.#init
    for (const [id, peer] of this.#peers) {
      if (views.isAdmitted(id) || !peer.remove(now())) continue
      const removal = replica.record('controller', id)
      if (removal) this.#send(id, { type: 'records', records: [encodeRecord(removal)] })
    }
    this.presence.reconsider()
  }

  // --- To the transport

  #others(): ControllerId[] {
    const { id: self, views } = this.#init
    return views.controllers().flatMap(({ id }) => (id === self ? [] : [id]))
  }

  #send(peer: ControllerId, frame: Frame): boolean {
    return this.#peers.has(peer) && this.#init.transport.send(peer, encodeFrame(frame))
  }
}
