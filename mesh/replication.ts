// Keeps replicas equal: new records go out by gossip at once; anti-entropy repairs what gossip lost. Two peers first
// compare two hashes, then, only if they differ, what each has accounted for, and then send each other just that.
import { createHash } from 'node:crypto'
import { encode } from '@ipld/dag-cbor'
import type { ChangeSet } from '../state/change-feed.ts'
import type { Outcome } from '../state/intake.ts'
import type { ControllerId } from '../state/kinds.ts'
import { encodeRecord, originOf, parseOrigin } from '../state/record.ts'
import type { Replica } from '../state/replica.ts'
import type { Vector } from '../state/vector.ts'
import type { Frame } from './messages.ts'

export interface ReplicationInit {
  readonly replica: Replica
  readonly isAdmitted: (id: ControllerId) => boolean
  readonly peers: () => Iterable<ControllerId>
  readonly send: (peer: ControllerId, frame: Frame) => boolean
  readonly publish: (frame: Frame) => void
  /** Records that count nowhere, or came too early; told for every one. */
  readonly onRefused: (from: ControllerId | undefined, reason: string) => void
  readonly onHeld: (from: ControllerId | undefined, why: 'ahead' | 'unknown-author') => void
  /** The disk failed, or the like: nothing more will be taken. */
  readonly onFailure: (error: unknown) => void
}

/** What is known of a peer's replica. */
export interface PeerReplica {
  stateHash: string
  records: number
  /** Records of this replica that the peer is not known to have; 0 once the two were found equal. */
  behind: number
}

/** Bytes of records in one gossiped frame, and records that are gossiped at all: more go by anti-entropy. */
const GOSSIP_BYTES = 48_000
const GOSSIP_BATCH_BYTES = 512_000
/** Bytes of records in one delta: what is signed anew takes about a tenth of a second to check. */
const DELTA_BYTES = 2 ** 19
/** Frames of one peer, and gossiped ones, that are worked on at once. */
const MAX_PEER_WORK = 32
const MAX_GOSSIP_WORK = 1000
/** Bytes of memory that those of one peer may take, and gossiped ones, and each record beside its own bytes. */
const MAX_PEER_BYTES = 2 ** 24
const MAX_GOSSIP_BYTES = 2 ** 26
const RECORD_BYTES = 256

export class Replication {
  readonly #init: ReplicationInit
  readonly #peers = new Map<ControllerId, PeerReplica & { work: number; bytes: number }>()
  /** How far those that were connected once were behind when last heard, and are since. */
  readonly #behind = new Map<ControllerId, number>()
  #gossipWork = 0
  #gossipBytes = 0
  /** Of the vector it was made of. */
  #vectorHash: { vector: Vector; hash: string } | undefined
  /** Calls of `stored` that wait. */
  readonly #waiting = new Set<() => void>()
  readonly #stop: () => void

  constructor(init: ReplicationInit) {
    this.#init = init
    this.#stop = init.replica.onChange(set => this.#changed(set))
  }

  close(): void {
    this.#stop()
    for (const wake of [...this.#waiting]) wake()
  }

  connected(peer: ControllerId): void {
    const behind = this.#behind.get(peer) ?? this.#init.replica.count
    this.#behind.delete(peer)
    this.#peers.set(peer, { stateHash: '', records: 0, behind, work: 0, bytes: 0 })
    this.compare(peer, true)
  }

  disconnected(peer: ControllerId): void {
    const behind = this.#peers.get(peer)?.behind
    if (behind !== undefined && this.#init.isAdmitted(peer)) this.#behind.set(peer, behind)
    this.#peers.delete(peer)
    for (const wake of [...this.#waiting]) wake()
  }

  /** What is known of the replica of a connected peer. */
  of(peer: ControllerId): PeerReplica | undefined {
    return this.#peers.get(peer)
  }

  /** Records of this replica that a peer which is not connected is not known to have; undefined when it never was. */
  behindOf(peer: ControllerId): number | undefined {
    return this.#behind.get(peer)
  }

  /** A peer has told the hash of its records. */
  told(peer: ControllerId, stateHash: string): void {
    const state = this.#peers.get(peer)
    if (state === undefined || stateHash !== this.#init.replica.hash()) return
    state.stateHash = stateHash
    state.behind = 0
  }

  /** Tells a peer the two hashes. @param answer asks for the peer's */
  compare(peer: ControllerId, answer: boolean): void {
    const { replica, send } = this.#init
    const summary = { vectorHash: this.#hashOfVector(), stateHash: replica.hash(), records: replica.count }
    send(peer, { type: 'summary', ...summary, answer })
  }

  /** Takes a frame of anti-entropy from a peer; false when there is too much to do for it already. */
  receive(peer: ControllerId, frame: Frame): boolean {
    const state = this.#peers.get(peer)
    if (state === undefined) return true
    const bytes = 'records' in frame && typeof frame.records !== 'number' ? memoryOf(frame.records) : 0
    if (state.work >= MAX_PEER_WORK || isTooMuch(state.bytes, bytes, MAX_PEER_BYTES)) return false
    state.work++
    state.bytes += bytes
    this.#answer(peer, state, frame)
      .catch(error => this.#init.onFailure(error))
      .finally(() => {
        state.work--
        state.bytes -= bytes
      })
    return true
  }

  /** Takes records that are new, gossiped or straight from a peer; false when there is too much to do already. */
  gossiped(records: readonly Uint8Array[], from: ControllerId | undefined): boolean {
    const bytes = memoryOf(records)
    if (this.#gossipWork >= MAX_GOSSIP_WORK || isTooMuch(this.#gossipBytes, bytes, MAX_GOSSIP_BYTES))
      return false
    this.#gossipWork++
    this.#gossipBytes += bytes
    this.#take(from, () => this.#init.replica.receive(records))
      .catch(error => this.#init.onFailure(error))
      .finally(() => {
        this.#gossipWork--
        this.#gossipBytes -= bytes
      })
    return true
  }

  /**
   * Waits until every connected peer has said that it has this replica's record of that sequence number, or until
   * `timeout` resolves; how many other controllers have said so.
   */
  async stored(sequence: number, timeout: Promise<void>): Promise<number> {
    const { replica } = this.#init
    let timedOut = false
    const late = timeout.then(() => {
      timedOut = true
    })
    while (!timedOut && replica.holders(sequence) < this.#peers.size) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.add(resolve)
      await Promise.race([promise, late])
      this.#waiting.delete(resolve)
    }
    return replica.holders(sequence)
  }

  async #answer(peer: ControllerId, state: PeerReplica, frame: Frame): Promise<void> {
    const { replica, send } = this.#init
    switch (frame.type) {
      case 'summary': {
        Object.assign(state, { stateHash: frame.stateHash, records: frame.records })
        const sameVector = frame.vectorHash === this.#hashOfVector()
        if (sameVector && frame.stateHash === replica.hash()) {
          state.behind = 0
          await replica.hear(peer, replica.vector())
          this.#wake()
          if (frame.answer) this.compare(peer, false)
        } else if (sameVector) {
          send(peer, { type: 'buckets', hashes: replica.buckets(), answer: true })
        } else {
          this.#tellVector(peer, true)
        }
        return
      }
      case 'vector': {
        await replica.hear(peer, frame.vector)
        this.#wake()
        const delta = replica.missingFor(frame.vector, DELTA_BYTES)!
        state.stateHash = frame.stateHash
        state.behind = delta.records.length
        if (delta.records.length > 0 || Object.keys(delta.known).length > 0) {
          send(peer, { type: 'delta', base: {}, ...delta, records: [...delta.records] })
        }
        // So that the peer sends what this replica lacks.
        if (frame.answer) this.#tellVector(peer, false)
        return
      }
      case 'delta': {
        const before = this.#hashOfVector()
        await this.#take(peer, () => replica.absorb(frame))
        // What is held back would be sent again and again: that is for the next round.
        if (before === this.#hashOfVector()) return
        if (frame.more) this.#tellVector(peer, false)
        else this.compare(peer, true)
        return
      }
      case 'buckets': {
        const records = replica.differing(frame.hashes, DELTA_BYTES)
        if (records.length > 0) send(peer, { type: 'repair', records })
        if (frame.answer) send(peer, { type: 'buckets', hashes: replica.buckets(), answer: false })
        return
      }
      case 'repair':
        await this.#take(peer, () => replica.repair(frame.records))
        return
      case 'stored':
        replica.confirm(peer, frame.incarnation, frame.ranges)
        this.#wake()
    }
  }

  /** Takes records in, tells their authors that they are on disk here, and reports what was not taken. */
  async #take(from: ControllerId | undefined, take: () => Promise<Outcome[]>): Promise<void> {
    const authors = new Set<string>()
    for (const outcome of await take()) {
      if (outcome.outcome === 'merged') authors.add(originOf(outcome.record))
      else if (outcome.outcome === 'refused') this.#init.onRefused(from, outcome.reason)
      else if (outcome.outcome === 'held') this.#init.onHeld(from, outcome.why)
    }
    for (const origin of authors) {
      const { author, incarnation } = parseOrigin(origin)!
      if (!this.#peers.has(author)) continue
      const ranges = this.#init.replica.accounted(author, incarnation)
      this.#init.send(author, { type: 'stored', incarnation, ranges })
    }
  }

  #tellVector(peer: ControllerId, answer: boolean): void {
    const { replica, send } = this.#init
    send(peer, { type: 'vector', vector: replica.vector(), stateHash: replica.hash(), answer })
  }

  #changed({ changes, cause }: ChangeSet): void {
    for (const state of this.#peers.values()) state.behind += changes.length
    for (const [peer, behind] of this.#behind) this.#behind.set(peer, behind + changes.length)
    if (cause !== 'written') return
    const records = changes.flatMap(({ after }) => (after === undefined ? [] : [encodeRecord(after)]))
    const bytes = records.reduce((sum, record) => sum + record.length, 0)
    if (bytes > GOSSIP_BATCH_BYTES) {
      for (const peer of this.#init.peers()) this.compare(peer, true)
      return
    }
    let batch: Uint8Array[] = []
    let size = 0
    const flush = () => {
      if (batch.length > 0) this.#init.publish({ type: 'records', records: batch })
      batch = []
      size = 0
    }
    for (const record of records) {
      if (size + record.length > GOSSIP_BYTES) flush()
      batch.push(record)
      size += record.length
    }
    flush()
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }

  #hashOfVector(): string {
    const vector = this.#init.replica.vector()
    if (this.#vectorHash?.vector !== vector) {
      const hash = createHash('sha256').update(encode(vector)).digest('hex')
      this.#vectorHash = { vector, hash }
    }
    return this.#vectorHash.hash
  }
}

function memoryOf(records: readonly Uint8Array[]): number {
  return records.reduce((sum, { length }) => sum + length + RECORD_BYTES, 0)
}

/** Whether work of so many bytes has to wait: one piece is always taken. */
function isTooMuch(waiting: number, bytes: number, most: number): boolean {
  return waiting > 0 && waiting + bytes > most
}
