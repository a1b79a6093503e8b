// One controller's copy of all records: what it writes, what it takes from others, and what it has to offer them.
import type { KeyObject } from 'node:crypto'
import { Authority, isVoidAfter, type MeshTrust } from './authority.ts'
import { Batch, type Change } from './batch.ts'
import { HybridClock, isAhead, makeStamp } from './clock.ts'
import { StateError } from './errors.ts'
import { Holding } from './holding.ts'
import type { ControllerId, Kind, Values } from './kinds.ts'
import { isRemoval } from './merge.ts'
import { encodeNote, knownNote, NOTE_FORMAT, NOTE_HEAD, NOTE_SELF, STORE_FORMAT } from './notes.ts'
import {
  decodeRecord,
  encodeRecord,
  type Incarnation,
  type Origin,
  originOf,
  type RecordOf,
  type StateRecord,
  signRecord,
} from './record.ts'
import { type Problem, type Recovered, recover } from './recovery.ts'
import type { Damage, RecordStore } from './store.ts'
import type { RecordTable } from './table.ts'
import { collectable, TOMBSTONE_ROUND_MS } from './tombstones.ts'
import { type Knowledge, MAX_ORIGINS, parseVector, toVector, type Vector } from './vector.ts'
import { type Verification, verifyStore } from './verification.ts'
import { draftRecords, type Op } from './writing.ts'

export interface ReplicaInit {
  readonly store: RecordStore
  readonly identity: {
    readonly id: ControllerId
    /** Ed25519 */
    readonly privateKey: KeyObject
  }
  readonly trust: MeshTrust
  /** Wall clock, ms since 1970. */
  readonly now: () => number
  readonly random: (size: number) => Uint8Array
}

export type LiveRecord<K extends Kind> = RecordOf<K> & { readonly value: Values[K] }

/** What a write comes back with, once it would survive a loss of power here. */
export interface Receipt {
  readonly incarnation: Incarnation
  /** Sequence number of the last record of the batch. */
  readonly sequence: number
  /** Records written; 0 when everything was so already. */
  readonly written: number
  /** Other controllers that are known to hold it. */
  readonly peers: number
}

export type Outcome =
  /** Stands now. */
  | { outcome: 'merged'; record: StateRecord }
  /** Accounted for before. */
  | { outcome: 'known' }
  /** Good, but what is here stands over it. */
  | { outcome: 'stale' }
  /** Written by a controller after its removal. */
  | { outcome: 'void' }
  /** Cannot be judged yet. `kept` is false when there was no room. */
  | { outcome: 'held'; why: 'ahead' | 'unknown-author'; kept: boolean }
  /** Counts nowhere. */
  | { outcome: 'refused'; reason: string }

/** An answer to a vector. Plain data. */
export interface Delta {
  readonly records: readonly Uint8Array[]
  /** What the receiver has accounted for once it took the records; covers what was superseded and never comes. */
  readonly known: Vector
  /** More is to be had by asking again with the new vector. */
  readonly more: boolean
}

export interface ChangeSet {
  readonly changes: readonly Change[]
  /** `written`: by this replica, and to be told to others. */
  readonly cause: 'written' | 'received'
}

/** Writes and deliveries that wait for the disk at once. */
export const MAX_WAITING = 1024
/** Bytes of records in one delta, unless asked otherwise. */
export const DELTA_BYTES = 2 ** 20
/** A peer that says it knows later writes of this replica is believed at most this often. */
const RENEWAL_INTERVAL_MS = 60_000

export class Replica {
  readonly id: ControllerId
  readonly #store: RecordStore
  readonly #privateKey: KeyObject
  readonly #now: () => number
  readonly #random: (size: number) => Uint8Array
  readonly #authority: Authority
  readonly #clock: HybridClock
  readonly #table: RecordTable
  readonly #knowledge: Knowledge
  readonly #holding = new Holding()
  /** What each peer said it has accounted for. Bounded by the admitted controllers. */
  readonly #confirmed = new Map<ControllerId, Knowledge>()
  readonly #listeners = new Set<(set: ChangeSet) => void>()
  readonly #problems: Problem[]
  #incarnation: Incarnation
  #sequence: number
  #batch: number
  #renewedAt = Number.NEGATIVE_INFINITY
  #collectedAt: number
  #tail: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #version = 0
  #failure: StateError | undefined

  private constructor(init: ReplicaInit, recovered: Recovered) {
    this.id = init.identity.id
    this.#store = init.store
    this.#privateKey = init.identity.privateKey
    this.#now = init.now
    this.#random = init.random
    this.#authority = new Authority(init.trust)
    this.#clock = new HybridClock(init.now, recovered.last)
    this.#table = recovered.table
    this.#knowledge = recovered.knowledge
    this.#problems = [...recovered.problems]
    this.#incarnation = recovered.self?.incarnation ?? this.#newIncarnation()
    this.#sequence = recovered.self?.sequence ?? 0
    this.#batch = recovered.batch
    this.#collectedAt = init.now()
  }

  /**
   * Reads the store and carries on where it ended. Damage is set aside, listed in `problems`, and stops nothing.
   * @throws StateError STORE_FORMAT, STORE_FOREIGN, STORE_FAILED
   */
  static async open(init: ReplicaInit): Promise<Replica> {
    const recovered = await recover(init.store, init.identity.id, init.now())
    const replica = new Replica(init, recovered)
    if (recovered.self === undefined) await replica.#renew(recovered.damaged)
    return replica
  }

  /** What a person should hear of, since the start. */
  get problems(): readonly Problem[] {
    return this.#problems
  }

  get incarnation(): Incarnation {
    return this.#incarnation
  }

  /** Sequence number of this replica's last record in this incarnation. */
  get sequence(): number {
    return this.#sequence
  }

  /** Records, tombstones not counted. */
  get count(): number {
    return this.#table.live
  }

  /** Rises with every change: for caches. */
  get version(): number {
    return this.#version
  }

  /** Records held back until they can be judged. */
  get held(): number {
    return this.#holding.size
  }

  /** Equal on two replicas exactly when their records are. SHA-256, hex. */
  hash(): string {
    return this.#table.hash()
  }

  get<K extends Kind>(kind: K, id: string): Values[K] | undefined {
    return this.#table.get(kind, id)?.record.value ?? undefined
  }

  /** The whole record, with who wrote it and when. */
  record<K extends Kind>(kind: K, id: string): LiveRecord<K> | undefined {
    const record = this.#table.get(kind, id)?.record
    return record === undefined || record.value === null ? undefined : (record as LiveRecord<K>)
  }

  /** All records of a kind, in no order. */
  *all<K extends Kind>(kind: K): Iterable<LiveRecord<K>> {
    for (const { record } of this.#table.all(kind)) if (record.value !== null) yield record as LiveRecord<K>
  }

  /** Calls back after every batch that changed something, when it is on disk. Returns how to stop that. */
  onChange(listener: (set: ChangeSet) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Writes a batch: all of it or nothing. Given a function, that is called when the batch's turn has come, so that
   * what it reads from the replica is still so when it is written.
   * @throws StateError INVALID, ADDRESS_TAKEN, FORBIDDEN, NOT_ADMITTED, REMOVED, BUSY, STORE_FAILED, CLOSED, and what
   * the function throws
   */
  write(ops: readonly Op[] | (() => readonly Op[])): Promise<Receipt> {
    return this.#enqueue(async () => {
      const batch = new Batch(this.#table, this.#knowledge)
      const list = typeof ops === 'function' ? ops() : ops
      const drafts = draftRecords(list, batch, { id: this.id, authority: this.#authority })
      let sequence = this.#sequence
      for (const draft of drafts) {
        const signed = this.#sign({ ...draft, stamp: this.#clock.next(), sequence: ++sequence })
        batch.merge(signed)
        batch.know(signed)
      }
      if (drafts.length > 0) await this.#commit(batch, 'written', { sequence })
      return {
        incarnation: this.#incarnation,
        sequence,
        written: drafts.length,
        peers: this.holders(sequence),
      }
    })
  }

  /** How many other controllers said they have this replica's record of this sequence number. */
  holders(sequence: number): number {
    let holders = 0
    for (const knowledge of this.#confirmed.values()) {
      if (sequence > 0 && knowledge.get(this.#origin)?.has(sequence)) holders++
    }
    return holders
  }

  /**
   * Takes records that came from anywhere, and says for each what became of it. Resolves when those that stand are on
   * disk.
   * @throws StateError BUSY, STORE_FAILED, CLOSED; never because of the records
   */
  receive(records: readonly Uint8Array[]): Promise<Outcome[]> {
    return this.#enqueue(() => this.#take(records, undefined))
  }

  /** Takes a peer's answer to `vector()`. */
  absorb(delta: Delta): Promise<Outcome[]> {
    return this.#enqueue(() => this.#take(delta.records, parseVector(delta.known)))
  }

  /** What this replica has accounted for. */
  vector(): Vector {
    return toVector(this.#knowledge)
  }

  /**
   * The records that a replica with this vector lacks, and what it may then take as known. Undefined for a malformed
   * vector.
   */
  missingFor(vector: Vector, maxBytes = DELTA_BYTES): Delta | undefined {
    const theirs = parseVector(vector)
    if (theirs === undefined) return undefined
    const records: Uint8Array[] = []
    const known: Knowledge = new Map()
    let bytes = 0
    const origins = new Set([...this.#table.origins, ...this.#knowledge.keys()])
    for (const origin of [...origins].sort()) {
      const known_ = theirs.get(origin)
      const ours = this.#knowledge.get(origin)
      const missing = [...this.#table.ofOrigin(origin)].filter(([sequence]) => !known_?.has(sequence))
      missing.sort(([a], [b]) => a - b)
      for (const [sequence, { record }] of missing) {
        const encoded = encodeRecord(record)
        if (bytes > 0 && bytes + encoded.length > maxBytes) {
          if (ours !== undefined) known.set(origin, ours.upTo(sequence - 1))
          return { records, known: toVector(known), more: true }
        }
        bytes += encoded.length
        records.push(encoded)
      }
      if (ours !== undefined && !known_?.includes(ours)) known.set(origin, ours)
    }
    return { records, known: toVector(known), more: false }
  }

  /**
   * Takes note of what a peer has accounted for: for receipts, for collecting tombstones, and because a peer that knows
   * later writes of this replica than it does itself means that its disk was set back. Then it takes a new incarnation.
   * Returns false for a malformed vector.
   */
  async hear(peer: ControllerId, vector: Vector): Promise<boolean> {
    const knowledge = parseVector(vector)
    if (knowledge === undefined) return false
    if (peer !== this.id && this.get('controller', peer) !== undefined) this.#confirmed.set(peer, knowledge)
    if ((knowledge.get(this.#origin)?.highest ?? 0) > this.#sequence) await this.#noticeAmnesia()
    return true
  }

  /**
   * Lets nothing count as known any more, so that peers send everything again. For two replicas with equal vectors and
   * unequal hashes, which only damage can bring about. Loses no record.
   */
  forget(): Promise<void> {
    return this.#enqueue(async () => {
      const batch = new Batch(this.#table, this.#knowledge)
      batch.forget()
      await this.#commit(batch, 'received')
    })
  }

  /**
   * Looks again at records that were held back, and collects tombstones. Returns when to call again, ms since 1970.
   * Calling late delays only that.
   */
  async poll(): Promise<number> {
    await this.#enqueue(async () => {
      const batch = new Batch(this.#table, this.#knowledge)
      this.#judgeHeld(batch, new Set())
      if (this.#now() - this.#collectedAt >= TOMBSTONE_ROUND_MS) this.#collect(batch)
      await this.#commit(batch, 'received')
    })
    const next = this.#collectedAt + TOMBSTONE_ROUND_MS
    return Math.min(next, this.#holding.deadline() ?? next)
  }

  /** Reads the store again and compares: checksums, signatures, and that disk and memory say the same. */
  async verify(): Promise<Verification> {
    const check = await this.#enqueue(() => verifyStore(this.#store, this.#table))
    return check(record =>
      this.#authority.hasGoodSignature(record, id => this.#table.get('controller', id)?.record),
    )
  }

  /** Waits for what was begun and closes the store. */
  async close(): Promise<void> {
    this.#failure ??= new StateError('CLOSED', 'the state was closed; start the controller again')
    await this.#tail.catch(() => {})
    await this.#store.close()
  }

  get #origin(): Origin {
    return `${this.id}/${this.#incarnation}`
  }

  async #take(records: readonly Uint8Array[], known: Knowledge | undefined): Promise<Outcome[]> {
    const batch = new Batch(this.#table, this.#knowledge)
    const unaccounted = new Map<Origin, Set<number>>()
    let claims = known
    let amnesia = false
    const outcomes = records.map(bytes => {
      const decoded = decodeRecord(bytes)
      if (!decoded.ok) {
        // Which number it had cannot be told, so nothing that came with it may be taken as known.
        claims = undefined
        return { outcome: 'refused', reason: decoded.reason } as const
      }
      const { record } = decoded
      const origin = originOf(record)
      const outcome = this.#takeOne(batch, record, bytes)
      if (outcome.outcome === 'held' || outcome.outcome === 'refused') {
        unaccounted.set(origin, (unaccounted.get(origin) ?? new Set()).add(record.sequence))
      } else if (origin === this.#origin && record.sequence > this.#sequence) amnesia = true
      return outcome
    })
    if (claims !== undefined) this.#believe(batch, claims, unaccounted)
    this.#settle(batch)
    await this.#commit(batch, 'received')
    if (amnesia) await this.#noticeAmnesiaNow()
    return outcomes
  }

  #takeOne(batch: Batch, record: StateRecord, bytes: Uint8Array): Outcome {
    if (batch.isKnown(originOf(record), record.sequence)) return { outcome: 'known' }
    // A revocation needs no clock.
    if (record.kind !== 'revocation' && isAhead(record.stamp, this.#now())) {
      return { outcome: 'held', why: 'ahead', kept: this.#holding.hold(record, bytes, this.#now()) }
    }
    const verdict = this.#authority.judge(record, id => batch.get('controller', id))
    switch (verdict.verdict) {
      case 'refused':
        return { outcome: 'refused', reason: verdict.reason }
      case 'unknown-author':
        return {
          outcome: 'held',
          why: 'unknown-author',
          kept: this.#holding.hold(record, bytes, this.#now()),
        }
      case 'void':
        batch.know(record)
        return { outcome: 'void' }
      case 'good': {
        batch.know(record)
        if (!isAhead(record.stamp, this.#now())) batch.witness(record.stamp)
        return batch.merge(record, bytes) ? { outcome: 'merged', record } : { outcome: 'stale' }
      }
    }
  }

  /** Takes a peer's word for what is superseded, except for what it sent and this replica could not take. */
  #believe(batch: Batch, claims: Knowledge, unaccounted: Map<Origin, Set<number>>): void {
    for (const [origin, set] of claims) {
      if (origin === this.#origin && set.highest > this.#sequence) continue
      if (!this.#knowledge.has(origin) && this.#knowledge.size >= MAX_ORIGINS) continue
      if (this.#knowledge.get(origin)?.includes(set)) continue
      batch.knownOf(origin).addAll(set, unaccounted.get(origin))
    }
  }

  /** Follows up what the batch changed about controllers: records that can be judged now, records that count no more. */
  #settle(batch: Batch): void {
    const changed = new Set(batch.controllers())
    if (changed.size > 0) this.#judgeHeld(batch, changed)
    for (const removal of [...batch.removals()]) {
      const before = this.#table.get('controller', removal.id)?.record
      if (before !== undefined && isRemoval(before) && before.stamp <= removal.stamp) continue
      const voided = [...batch.ofAuthor(removal.id as ControllerId)].filter(record =>
        isVoidAfter(record, removal),
      )
      for (const record of voided) batch.drop(record.kind, record.id)
      // What those records had replaced is gone here; whoever did not take them still has it.
      if (voided.length > 0) batch.forget()
    }
  }

  #judgeHeld(batch: Batch, authors: ReadonlySet<ControllerId>): void {
    let waiting = authors
    for (;;) {
      const taken = this.#holding.take(this.#now(), waiting)
      for (const { record, bytes } of taken) this.#takeOne(batch, record, bytes)
      const next = new Set([...batch.controllers()].filter(id => !waiting.has(id)))
      if (taken.length === 0 || next.size === 0) return
      waiting = next
    }
  }

  #collect(batch: Batch): void {
    this.#collectedAt = this.#now()
    const admitted: ControllerId[] = []
    for (const record of this.all('controller')) {
      if (!isRemoval(record) && record.id !== this.id) admitted.push(record.id as ControllerId)
    }
    for (const peer of this.#confirmed.keys()) if (!admitted.includes(peer)) this.#confirmed.delete(peer)
    const peers = admitted.map(id => this.#confirmed.get(id))
    for (const record of collectable(this.#table.tombstones, peers, this.#now()))
      batch.drop(record.kind, record.id)
  }

  #noticeAmnesia(): Promise<void> {
    return this.#enqueue(() => this.#noticeAmnesiaNow())
  }

  async #noticeAmnesiaNow(): Promise<void> {
    if (this.#now() - this.#renewedAt < RENEWAL_INTERVAL_MS) return
    this.#renewedAt = this.#now()
    const message =
      'another controller knows later writes of this one than its own disk, which was set back to an older copy; ' +
      'its records are issued again and the lost ones fetched'
    this.#problems.push({ code: 'amnesia', message })
    if (this.#problems.length > MAX_PROBLEMS) this.#problems.shift()
    await this.#renew([])
  }

  /**
   * Starts a new incarnation. Records of the old one are issued again, same value and stamp, since others may know its
   * numbers as other records; and everything the old one wrote is asked for again.
   */
  async #renew(damaged: readonly Damage[]): Promise<void> {
    const batch = new Batch(this.#table, this.#knowledge)
    const own = [...this.#table.ofAuthor(this.id)].sort((a, b) => (a.stamp < b.stamp ? -1 : 1))
    const old = this.#origin
    const incarnation = this.#newIncarnation(this.#incarnation)
    let sequence = 0
    if (this.#knowledge.has(old)) batch.forgetOrigin(old)
    for (const record of own) {
      const again = this.#sign({ ...record, incarnation, sequence: ++sequence })
      batch.merge(again)
      batch.know(again)
    }
    await this.#commit(batch, 'written', { incarnation, sequence }, damaged)
  }

  /** Later incarnations sort above earlier ones. */
  #newIncarnation(previous?: Incarnation): Incarnation {
    const time = makeStamp(this.#now(), 0).slice(0, 12)
    const random = Buffer.from(this.#random(2)).toString('hex')
    const fresh = `${time}${random}` as Incarnation
    if (previous === undefined || fresh > previous) return fresh
    return (BigInt(`0x${previous}`) + 1n).toString(16).padStart(16, '0') as Incarnation
  }

  #sign(draft: Record<string, unknown>): StateRecord {
    return signRecord({ incarnation: this.#incarnation, ...draft } as never, this.#privateKey)
  }

  async #commit(
    batch: Batch,
    cause: ChangeSet['cause'],
    own?: { incarnation?: Incarnation; sequence: number },
    setAside: readonly Damage[] = [],
  ): Promise<void> {
    if (batch.isEmpty && own === undefined && setAside.length === 0) return
    const incarnation = own?.incarnation ?? this.#incarnation
    const sequence = own?.sequence ?? this.#sequence
    const number = this.#batch + 1
    const notes = new Map<string, Uint8Array>([
      [NOTE_FORMAT, encodeNote(STORE_FORMAT)],
      [NOTE_SELF, encodeNote({ id: this.id, incarnation, sequence })],
      [NOTE_HEAD, encodeNote({ batch: number, ...batch.totals() })],
    ])
    for (const [origin, set] of batch.known) notes.set(knownNote(origin), encodeNote(set.ranges()))
    try {
      await this.#store.commit({ number, put: batch.put, remove: batch.remove, notes, setAside })
    } catch (error) {
      this.#failure ??=
        error instanceof StateError ? error : new StateError('STORE_FAILED', STORE_FAILED_MESSAGE, error)
      throw this.#failure
    }
    this.#batch = number
    this.#incarnation = incarnation
    this.#sequence = sequence
    if (batch.highest !== undefined) this.#clock.witness(batch.highest)
    const changes = batch.apply()
    if (changes.length > 0) this.#tell({ changes, cause })
  }

  #tell(set: ChangeSet): void {
    this.#version++
    for (const listener of this.#listeners) {
      try {
        listener(set)
      } catch (error) {
        // The batch is on disk: a listener's mistake is its own and must not look like a failed write.
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }

  /** Steps run one after the other: each sees the table as the last one left it. */
  #enqueue<T>(step: () => Promise<T>): Promise<T> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (this.#waiting >= MAX_WAITING) {
      return Promise.reject(
        new StateError('BUSY', `${MAX_WAITING} writes are waiting for the disk; try again soon`),
      )
    }
    this.#waiting++
    const result = this.#tail.then(() => {
      if (this.#failure !== undefined) throw this.#failure
      return step()
    })
    this.#tail = result.then(
      () => this.#waiting--,
      () => this.#waiting--,
    )
    return result
  }
}

const MAX_PROBLEMS = 1000
const STORE_FAILED_MESSAGE =
  'the state could not be written to disk; look at the disk, then start the controller again'
