// One controller's part in the mesh, without a network, a clock or a disk of its own: what it tells the others, what it
// believes of what they tell, and when.
import { type KeyObject, sign, verify } from 'node:crypto'
import type { ClientId, ControllerId } from '../state/kinds.ts'
import { encodeRecord, publicKeyFromRaw } from '../state/record.ts'
import type { Receipt, Replica } from '../state/replica.ts'
import type { Views } from '../state/views.ts'
import {
  decodeFrame,
  decodeStatement,
  encodeFrame,
  encodeStatement,
  type Frame,
  type Statement,
} from './messages.ts'
import { Presence } from './presence.ts'
import type { PresentFacts } from './presence-types.ts'
import { Replication } from './replication.ts'
import { type GossipVerdict, MAX_GOSSIP_BYTES, type Transport, type TransportHandler } from './transport.ts'

/** All in ms. */
export interface MeshTiming {
  /** Between two heartbeats to each peer. */
  readonly heartbeat: number
  /** Without a frame from a peer, after which its channel is closed and dialled anew. */
  readonly silence: number
  /** Without gossip from a peer whose channel lives, likewise. */
  readonly gossipSilence: number
  /** Between two comparisons with a peer chosen at random. */
  readonly antiEntropy: number
  /** Between two comparisons with a peer that is known to differ. */
  readonly unequal: number
  /** Between two tellings of one's facts and links. */
  readonly presence: number
}

export const MESH_TIMING: MeshTiming = {
  heartbeat: 500,
  silence: 2500,
  gossipSilence: 15_000,
  antiEntropy: 3000,
  unequal: 1000,
  presence: 2000,
}

export interface MeshCoreInit {
  readonly id: ControllerId
  /** Ed25519, the controller's identity. */
  readonly privateKey: KeyObject
  readonly replica: Replica
  readonly views: Views
  readonly transport: Transport
  /** ms since 1970 */
  readonly now: () => number
  readonly random: (size: number) => Uint8Array
  /** When this process started, ms since 1970: presence told by an earlier one is void. */
  readonly boot: number
  readonly facts: () => PresentFacts
  /** Whether the backbone leads to a controller, beside the channels that the core knows of itself. */
  readonly reaches: (id: ControllerId) => boolean
  readonly timing?: Partial<MeshTiming>
}

/** One admitted controller as this one sees it. */
export interface PeerState {
  readonly id: ControllerId
  readonly connected: boolean
  /** Round trip of the last heartbeat, ms. */
  readonly rttMs: number
  readonly stateHash: string
  readonly records: number
  /** Records of this replica that the peer is not known to have. */
  readonly behind: number
}

export type MeshEvent =
  | { type: 'refused'; peer: ControllerId | undefined; reason: string }
  | { type: 'held'; peer: ControllerId | undefined; reason: string }
  | { type: 'watchdog'; peer: ControllerId; reason: string }

export interface MeshCounters {
  badFrames: number
  badSignatures: number
  refusedRecords: number
  heldRecords: number
  droppedWork: number
  unknownSenders: number
}

interface Peer {
  readonly since: number
  heardAt: number
  gossipAt: number
  comparedAt: number
  /** Of its last heartbeat: what it said its clock was, and when it came. */
  sent: number
  sentAt: number
  rtt: number
  removeAt: number
}

/** ms for which changes of presence gather before they are told. */
const PRESENCE_DELAY = 10
/** ms between two answers to a want, and two wants, of one controller. */
const WANT_INTERVAL = 1000
/** ms for which an operator's request is good. */
const REQUEST_LIFE = 60_000
/** ms that a removed controller is given to hear of it. */
const FAREWELL = 500
const MAX_KEYS = 4096
/** What peers wanted answered lately, and were asked for. */
const MAX_WANTS = 4096

export class MeshCore implements TransportHandler {
  readonly presence: Presence
  readonly counters: MeshCounters = {
    badFrames: 0,
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
  readonly #peers = new Map<ControllerId, Peer>()
  readonly #keys = new Map<ControllerId, KeyObject>()
  /** When a controller was last asked for its presence, and when its asking was last answered. */
  readonly #asked = new Map<ControllerId, number>()
  readonly #answered = new Map<ControllerId, number>()
  readonly #stop: () => void
  #nextHeartbeat: number
  #nextAntiEntropy: number
  #nextPresence: number
  #presenceAt = Number.POSITIVE_INFINITY
  #nextReplica: number
  #replicaBusy = false
  #closed = false

  constructor(init: MeshCoreInit) {
    this.#init = init
    this.#timing = { ...MESH_TIMING, ...init.timing }
    const now = init.now()
    this.#nextHeartbeat = now
    this.#nextAntiEntropy = now + this.#timing.antiEntropy
    this.#nextPresence = now
    this.#nextReplica = now
    this.presence = new Presence({
      id: init.id,
      boot: init.boot,
      now: init.now,
      facts: init.facts,
      isAdmitted: id => init.views.isAdmitted(id),
      isReachable: id => this.#peers.has(id) || init.reaches(id),
    })
    this.presence.onPending = () => {
      if (this.#presenceAt !== Number.POSITIVE_INFINITY) return
      this.#presenceAt = init.now() + PRESENCE_DELAY
      this.onDeadline()
    }
    this.#replication = new Replication({
      replica: init.replica,
      isAdmitted: id => init.views.isAdmitted(id),
      peers: () => this.#peers.keys(),
      send: (peer, frame) => this.#send(peer, frame),
      publish: frame => this.#publish(frame),
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
  }

  // --- From the transport

  connected(id: ControllerId): void {
    const now = this.#init.now()
    this.#peers.set(id, {
      since: now,
      heardAt: now,
      gossipAt: now,
      comparedAt: now,
      sent: 0,
      sentAt: now,
      rtt: 0,
      removeAt: Number.POSITIVE_INFINITY,
    })
    this.#heartbeat(id, now)
    this.#replication.connected(id)
    for (const update of this.presence.snapshot()) this.#send(id, this.#signed({ type: 'presence', update }))
    this.presence.reconsider()
    this.onPeer(id, true)
  }

  disconnected(id: ControllerId): void {
    if (!this.#peers.delete(id)) return
    this.#replication.disconnected(id)
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
    if (frame.type === 'heartbeat') this.#heard(id, peer, frame)
    else if (frame.type === 'link') this.onLink(id, frame.payload)
    else if (frame.type === 'signed') this.#statement(frame)
    else if (!this.#replication.receive(id, frame)) this.counters.droppedWork++
  }

  gossip(bytes: Uint8Array): GossipVerdict {
    const frame = bytes.length > MAX_GOSSIP_BYTES ? undefined : decodeFrame(bytes)
    if (frame?.type === 'signed') {
      const peer = this.#peers.get(frame.author)
      if (peer) peer.gossipAt = this.#init.now()
      return this.#statement(frame)
    }
    if (frame?.type === 'records') {
      if (this.#replication.gossiped(frame.records)) return 'accept'
      this.counters.droppedWork++
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
    this.#publish(this.#signed({ type: 'kick', controller, client, at }))
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
        rttMs: peer?.rtt ?? 0,
        stateHash,
        records: known?.records || (facts?.records ?? 0),
        behind:
          known?.behind ??
          (facts?.stateHash === replica.hash() ? 0 : Math.max(1, replica.count - (facts?.records ?? 0))),
      }
    })
  }

  // --- Time

  /** Runs what is due; when to call again, ms since 1970. */
  poll(): number {
    const now = this.#init.now()
    if (now >= this.#nextHeartbeat) {
      this.#nextHeartbeat = now + this.#timing.heartbeat
      for (const [id, peer] of [...this.#peers]) this.#watch(id, peer, now)
    }
    if (now >= this.#nextAntiEntropy) {
      this.#nextAntiEntropy = now + this.#timing.antiEntropy
      this.#compareWithSomeone(now)
    }
    if (now >= this.#nextPresence) {
      this.#nextPresence = now + this.#timing.presence
      this.presence.refresh()
    }
    if (now >= this.#presenceAt) this.#tellPresence(now)
    if (now >= this.#nextReplica && !this.#replicaBusy) this.#pollReplica()
    return Math.min(
      this.#nextHeartbeat,
      this.#nextAntiEntropy,
      this.#nextPresence,
      this.#presenceAt,
      this.#replicaBusy ? Number.POSITIVE_INFINITY : this.#nextReplica,
    )
  }

  #watch(id: ControllerId, peer: Peer, now: number): void {
    const { silence, gossipSilence, unequal } = this.#timing
    const { transport } = this.#init
    if (now >= peer.removeAt) {
      transport.disconnect(id, 'it was removed from the mesh')
      return
    }
    const quiet = now - peer.heardAt > silence
    if (quiet || now - peer.gossipAt > gossipSilence) {
      const reason = quiet ? 'it fell silent' : 'its gossip stopped'
      this.onEvent({ type: 'watchdog', peer: id, reason })
      transport.disconnect(id, reason)
      return
    }
    this.#heartbeat(id, now)
    const differs = (this.#replication.of(id)?.behind ?? 0) > 0
    if (differs && now - peer.comparedAt >= unequal) this.#compare(id, peer, now)
  }

  #compareWithSomeone(now: number): void {
    const ids = [...this.#peers.keys()]
    if (ids.length === 0) return
    const [high, low] = this.#init.random(2)
    const id = ids[((high << 8) | low) % ids.length]
    this.#compare(id, this.#peers.get(id)!, now)
  }

  #compare(id: ControllerId, peer: Peer, now: number): void {
    peer.comparedAt = now
    this.#replication.compare(id, true)
  }

  #tellPresence(now: number): void {
    this.#presenceAt = Number.POSITIVE_INFINITY
    for (const update of this.presence.take()) this.#publish(this.#signed({ type: 'presence', update }))
    for (const controller of this.presence.takeWanted()) {
      if (!this.#mayAgain(this.#asked, controller, now)) continue
      const want = this.#signed({ type: 'want', controller, at: now })
      if (!this.#send(controller, want)) this.#publish(want)
    }
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
    const peer = this.#peers.get(id)!
    const { boot, version } = this.presence.own
    const held = Math.max(0, now - peer.sentAt)
    this.#send(id, { type: 'heartbeat', sent: now, echo: peer.sent, held, boot, version })
  }

  #heard(id: ControllerId, peer: Peer, frame: Frame & { type: 'heartbeat' }): void {
    const now = this.#init.now()
    peer.sent = frame.sent
    peer.sentAt = now
    if (frame.echo > 0) peer.rtt = Math.max(0, now - frame.echo - frame.held)
    this.presence.heard(id, frame.boot, frame.version)
    this.#askSoon()
  }

  /** What is missing is asked for when presence is told next. */
  #askSoon(): void {
    if (this.presence.wants) this.presence.onPending()
  }

  #signed(statement: Statement): Frame {
    const body = encodeStatement(statement)
    const signature = sign(null, body, this.#init.privateKey)
    return { type: 'signed', author: this.#init.id, signature, body }
  }

  #statement({ author, signature, body }: Frame & { type: 'signed' }): GossipVerdict {
    if (author === this.#init.id) return 'ignore'
    if (!this.#init.views.isAdmitted(author)) {
      this.counters.unknownSenders++
      return 'ignore'
    }
    const key = this.#keyOf(author)
    const statement = key && verify(null, body, key, signature) ? decodeStatement(body) : undefined
    if (statement === undefined) {
      this.counters.badSignatures++
      this.onEvent({ type: 'refused', peer: author, reason: 'a statement that is not its own, or malformed' })
      return 'reject'
    }
    this.#believe(author, statement)
    return 'accept'
  }

  #believe(author: ControllerId, statement: Statement): void {
    const { id, now } = this.#init
    switch (statement.type) {
      case 'presence':
        this.presence.receive(author, statement.update)
        this.#askSoon()
        return
      case 'want': {
        if (statement.controller !== id || !this.#mayAgain(this.#answered, author, now())) return
        for (const update of this.presence.snapshot()) {
          const frame = this.#signed({ type: 'presence', update })
          if (!this.#send(author, frame)) this.#publish(frame)
        }
        return
      }
      case 'kick':
        if (statement.controller !== id || Math.abs(now() - statement.at) > REQUEST_LIFE) return
        this.onKick(statement.client)
    }
  }

  #mayAgain(last: Map<ControllerId, number>, id: ControllerId, now: number): boolean {
    if (now - (last.get(id) ?? Number.NEGATIVE_INFINITY) < WANT_INTERVAL) return false
    if (last.size >= MAX_WANTS) last.clear()
    last.set(id, now)
    return true
  }

  #keyOf(id: ControllerId): KeyObject | undefined {
    const known = this.#keys.get(id)
    if (known) return known
    const controller = this.#init.replica.get('controller', id)
    if (controller === undefined) return undefined
    const key = publicKeyFromRaw(Buffer.from(controller.publicKey, 'hex'))
    if (this.#keys.size < MAX_KEYS) this.#keys.set(id, key)
    return key
  }

  /** Who is out is told so, and then cut off. */
  #controllersChanged(): void {
    const { views, replica, now } = this.#init
    for (const [id, peer] of this.#peers) {
      if (views.isAdmitted(id) || peer.removeAt !== Number.POSITIVE_INFINITY) continue
      peer.removeAt = now() + FAREWELL
      const removal = replica.record('controller', id)
      if (removal) this.#send(id, { type: 'records', records: [encodeRecord(removal)] })
    }
    this.presence.reconsider()
  }

  // --- To the transport

  #send(peer: ControllerId, frame: Frame): boolean {
    return this.#peers.has(peer) && this.#init.transport.send(peer, encodeFrame(frame))
  }

  #publish(frame: Frame): void {
    const bytes = encodeFrame(frame)
    if (bytes.length <= MAX_GOSSIP_BYTES) this.#init.transport.publish(bytes)
    else for (const peer of this.#peers.keys()) this.#init.transport.send(peer, bytes)
  }
}
