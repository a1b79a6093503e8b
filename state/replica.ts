// One controller's copy of all records: what it writes, what it takes from others, and what it has to offer them.
import type { KeyObject } from 'node:crypto'
import { Authority, type MeshTrust, type SignatureCheck } from './authority.ts'
import { Batch } from './batch.ts'
import { ChangeFeed, type ChangeSet } from './change-feed.ts'
import { HybridClock } from './clock.ts'
import { StateError } from './errors.ts'
import { Holders } from './holders.ts'
import { Intake, type Outcome } from './intake.ts'
import type { ControllerId, Kind, Values } from './kinds.ts'
import { isRemoval } from './merge.ts'
import { encodeNote, knownNote, NOTE_LOST, standingNotes } from './notes.ts'
import { type Delta, differing, offer } from './offer.ts'
import { type Life, OwnLives } from './own-lives.ts'
import { type Incarnation, isTombstone, type Origin, type RecordOf, type StateRecord } from './record.ts'
import { type Problem, type Recovered, recover } from './recovery.ts'
import { SelfWatch } from './self-watch.ts'
import { SequenceSet } from './sequence-set.ts'
import { StepQueue } from './step-queue.ts'
import type { Damage, RecordStore } from './store.ts'
import type { RecordTable } from './table.ts'
import { collectable, TOMBSTONE_ROUND_MS } from './tombstones.ts'
import { Unconfirmed } from './unconfirmed.ts'
import { type Knowledge, parseVector, toVector, type Vector } from './vector.ts'
import { type Verification, verifyStore } from './verification.ts'
import { draftRecords, issue, type Op } from './writing.ts'

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
  /** Checks signatures beside other work, when many come; one after the other without it. */
  readonly isSigned?: SignatureCheck
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

/** Bytes of records in one delta, unless asked otherwise. */
export const DELTA_BYTES = 2 ** 20

/** All records as they were at one moment. */
export interface Snapshot {
  readonly records: readonly StateRecord[]
  readonly incarnation: Incarnation
}

export class Replica {
  readonly id: ControllerId
  /** Something came up since the start that a person should hear of. */
  onProblem: (problem: Problem) => void = () => {}
  /** When the copy was made that this replica was restored from, ms since 1970; undefined when it was not. */
  readonly restoredFrom: number | undefined
  /** When it was noticed that something of the store was lost, ms since 1970; undefined when nothing was. */
  readonly lostAt: number | undefined
  readonly #store: RecordStore
  readonly #privateKey: KeyObject
  readonly #now: () => number
  readonly #authority: Authority
  readonly #isSigned: SignatureCheck | undefined
  readonly #clock: HybridClock
  readonly #table: RecordTable
  readonly #knowledge: Knowledge
  readonly #intake: Intake
  readonly #queue = new StepQueue()
  #verifying: Promise<Verification> | undefined
  readonly #holders = new Holders()
  readonly #feed = new ChangeFeed()
  readonly #problems: Problem[]
  readonly #unconfirmed: Unconfirmed | undefined
  readonly #watch: SelfWatch
  readonly #lives: OwnLives
  #life: Life
  #batch: number
  #collectedAt: number
  /** `vector()` until what is accounted for changes, and the same as sets. */
  #vector: Vector | undefined
  #accounted: Knowledge | undefined

  private constructor(init: ReplicaInit, recovered: Recovered) {
    this.id = init.identity.id
    this.#store = init.store
    this.#privateKey = init.identity.privateKey
    this.#now = init.now
    this.#authority = new Authority(init.trust)
    this.#isSigned = init.isSigned
    this.#clock = new HybridClock(init.now, recovered.last)
    this.#table = recovered.table
    this.#knowledge = recovered.knowledge
    this.#intake = new Intake({
      self: this.id,
      authority: this.#authority,
      knowledge: this.#knowledge,
      now: init.now,
    })
    this.#problems = [...recovered.problems]
    this.restoredFrom = recovered.restoredFrom
    this.lostAt = recovered.lostAt
    if (recovered.restoredFrom !== undefined || recovered.lostAt !== undefined)
      this.#unconfirmed = new Unconfirmed(recovered.table, recovered.knowledge)
    this.#watch = new SelfWatch(this.id, init.now())
    this.#lives = new OwnLives({
      ...init.identity,
      table: recovered.table,
      knowledge: recovered.knowledge,
      unconfirmed: this.#unconfirmed,
      now: init.now,
      random: init.random,
    })
    this.#life = { incarnation: recovered.incarnation, sequence: recovered.sequence }
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
    if (recovered.needsIncarnation) await replica.#begin(recovered)
    else await replica.#bound()
    return replica
  }

  /** What a person should hear of, since the start. */
  get problems(): readonly Problem[] {
    return this.#problems
  }

  get incarnation(): Incarnation {
    return this.#life.incarnation
  }

  /** Sequence number of this replica's last record in this incarnation. */
  get sequence(): number {
    return this.#life.sequence
  }

  /** Records, tombstones not counted. */
  get count(): number {
    return this.#table.live
  }

  /** Records from a copy, or of a store that lost others, that no peer has confirmed yet: deleted since, perhaps. */
  get unconfirmed(): number {
    return this.#unconfirmed?.size ?? 0
  }

  /** For a copy to keep elsewhere; see restoring.ts. */
  snapshot(): Promise<Snapshot> {
    return this.#queue.run(async () => ({
      records: Array.from(this.#table.everything(), ({ record }) => record),
      incarnation: this.#life.incarnation,
    }))
  }

  /** Rises with every change: for caches. */
  get version(): number {
    return this.#feed.version
  }

  /** Records held back until they can be judged. */
  get held(): number {
    return this.#intake.held
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

  /** Whether there is such a record, understood or not. */
  has(kind: Kind, id: string): boolean {
    const held = this.#table.get(kind, id)
    return held !== undefined && !isTombstone(held.record)
  }

  /** Ids of all records of a kind, understood or not. */
  *ids(kind: Kind): Iterable<string> {
    for (const { record } of this.#table.all(kind)) if (!isTombstone(record)) yield record.id
  }

  /** Records of which this version understands nothing, in no order: they are kept and passed on, and not acted on. */
  *foreign(): Generator<StateRecord> {
    for (const { record } of this.#table.foreign) yield record
  }

  /** Calls back after every batch that changed something, when it is on disk. Returns how to stop that. */
  onChange(listener: (set: ChangeSet) => void): () => void {
    return this.#feed.follow(listener)
  }

  /**
   * Writes a batch: all of it or nothing. Given a function, that is called when the batch's turn has come, so that
   * what it reads from the replica is still so when it is written.
   * @throws StateError INVALID, ADDRESS_TAKEN, FORBIDDEN, NOT_ADMITTED, REMOVED, BUSY, STORE_FAILED, CLOSED, and what
   * the function throws
   */
  write(ops: readonly Op[] | (() => readonly Op[] | Promise<readonly Op[]>)): Promise<Receipt> {
    return this.#queue.run(async () => {
      const batch = this.#newBatch()
      const list = typeof ops === 'function' ? await ops() : ops
      const drafts = draftRecords(list, batch, { id: this.id, authority: this.#authority })
      const incarnation = this.#life.incarnation
      let sequence = this.#life.sequence
      for (const draft of drafts) {
        const { record, bytes } = issue(
          { ...draft, stamp: this.#clock.next(), incarnation, sequence: ++sequence },
          this.#privateKey,
        )
        batch.merge(record, bytes)
        batch.know(record)
      }
      if (drafts.length > 0) await this.#commit(batch, 'written', { sequence })
      return { incarnation, sequence, written: drafts.length, peers: this.holders(sequence) }
    })
  }

  /** How many other controllers said they have this replica's record of this sequence number. */
  holders(sequence: number): number {
    return this.#holders.count(this.id, this.#life.incarnation, sequence)
  }

  /**
   * Takes note that a peer has these records of this replica on its disk: for receipts, which need not wait for its
   * whole vector. False for malformed ranges.
   */
  confirm(peer: ControllerId, incarnation: Incarnation, ranges: readonly number[]): boolean {
    const set = SequenceSet.from(ranges)
    if (set === undefined) return false
    if (peer !== this.id && this.get('controller', peer)) this.#holders.acknowledge(peer, incarnation, set)
    return true
  }

  /** The sequence numbers of one origin that are accounted for here, as ranges. */
  accounted(author: ControllerId, incarnation: Incarnation): number[] {
    return this.#knowledge.get(`${author}/${incarnation}`)?.ranges() ?? []
  }

  /**
   * Takes records that came from anywhere, and says for each what became of it. Resolves when those that stand are on
   * disk.
   * @param check is called when the records' turn has come, so that what it reads from the replica is still so when they are
   * taken; none is when it throws
   * @throws StateError BUSY, STORE_FAILED, CLOSED, and what the check throws; never because of the records
   */
  receive(records: readonly Uint8Array[], check?: () => void): Promise<Outcome[]> {
    if (this.#isMany(records)) return this.#prove(records).then(() => this.#receive(records, check))
    return this.#receive(records, check)
  }

  #receive(records: readonly Uint8Array[], check: (() => void) | undefined): Promise<Outcome[]> {
    return this.#queue.run(async () => {
      check?.()
      return this.#take(records, undefined)
    })
  }

  /** Takes a peer's answer to `vector()`. */
  absorb(delta: Delta): Promise<Outcome[]> {
    if (this.#isMany(delta.records)) return this.#prove(delta.records).then(() => this.#absorb(delta))
    return this.#absorb(delta)
  }

  #absorb(delta: Delta): Promise<Outcome[]> {
    const claims = parseVector(delta.known)
    const base = parseVector(delta.base ?? {})
    return this.#queue.run(() => this.#take(delta.records, base && claims, base))
  }

  /** What this replica has accounted for; the same object for as long as that is so. */
  vector(): Vector {
    this.#vector ??= toVector(this.#knowledge)
    return this.#vector
  }

  /**
   * The records that a replica with this vector lacks, and what it may then take as known. Undefined for a malformed
   * vector. A newcomer gets what is told by repair otherwise, too.
   */
  missingFor(vector: Vector, maxBytes = DELTA_BYTES, toNewcomer = false): Delta | undefined {
    const theirs = parseVector(vector)
    if (theirs === undefined) return undefined
    return offer(this.#table, this.#knowledge, theirs, maxBytes, toNewcomer)
  }

  /**
   * Takes note of what a peer has accounted for: for receipts, for collecting tombstones, and because a peer that knows
   * later writes of this replica than it does itself means that its disk was set back. Then it takes a new incarnation.
   * Returns false for a malformed vector.
   */
  async hear(peer: ControllerId, vector: Vector): Promise<boolean> {
    const knowledge = vector === this.#vector ? this.#ownAccount() : parseVector(vector)
    if (knowledge === undefined) return false
    if (peer !== this.id && this.get('controller', peer) !== undefined) this.#holders.account(peer, knowledge)
    if ((knowledge.get(this.#origin)?.highest ?? 0) > this.#life.sequence)
      await this.#queue.run(() => this.#noticeAmnesia())
    return true
  }

  /**
   * Hashes of the 256 parts of this replica. For two replicas with equal vectors and unequal hashes, which only a disk
   * set back to an old copy can bring about, or a removal after which all is asked for anew: they tell each other these, and then send what `differing` yields.
   */
  buckets(): string[] {
    return this.#table.bucketHashes()
  }

  /** The records in those parts that are not the same there; call again while hashes differ. */
  differing(buckets: readonly string[], maxBytes = DELTA_BYTES): Uint8Array[] {
    return differing(this.#table, buckets, maxBytes)
  }

  /**
   * Takes records from a peer's `differing`, even those accounted for before. So a record that was deleted and forgotten
   * may come back with an old copy that still had it: no record that anyone holds is ever lost to a repair.
   */
  repair(records: readonly Uint8Array[]): Promise<Outcome[]> {
    return this.#queue.run(() => this.#take(records, undefined, undefined, true))
  }

  /**
   * Looks again at records that were held back, and collects tombstones. Returns when to call again, ms since 1970.
   * Calling late delays only that.
   */
  async poll(): Promise<number> {
    await this.#queue.run(async () => {
      const batch = this.#newBatch()
      this.#intake.retry(batch)
      const isRound = Math.abs(this.#now() - this.#collectedAt) >= TOMBSTONE_ROUND_MS
      if (isRound) this.#collect(batch)
      await this.#commit(batch, 'received')
      if (isRound) await this.#gather()
    })
    const next = this.#collectedAt + TOMBSTONE_ROUND_MS
    return Math.min(next, this.#intake.deadline() ?? next)
  }

  /**
   * Reads the store again and compares: checksums, signatures, and that disk and memory say the same. It takes seconds and a copy of
   * all records, so whoever asks meanwhile has what comes of the one that is under way.
   */
  verify(): Promise<Verification> {
    this.#verifying ??= this.#verify().finally(() => {
      this.#verifying = undefined
    })
    return this.#verifying
  }

  async #verify(): Promise<Verification> {
    const check = await this.#queue.run(() => verifyStore(this.#store, this.#table))
    const controllers = (id: string) => this.#table.get('controller', id)?.record
    return check((record, bytes) => this.#authority.hasGoodSignature(record, bytes, controllers))
  }

  /** Waits for what was begun and closes the store. */
  async close(): Promise<void> {
    this.#queue.stop(new StateError('CLOSED', 'the state was closed; start the controller again'))
    await this.#queue.idle()
    await this.#store.close()
  }

  /** This replica's own vector as sets that stay as they are: of many peers that have just this, one is kept. */
  #ownAccount(): Knowledge {
    this.#accounted ??= parseVector(this.#vector)!
    return this.#accounted
  }

  #newBatch(): Batch {
    return new Batch(this.#table, this.#knowledge)
  }

  /** Worth checking their signatures side by side, before their turn comes. */
  #isMany(records: readonly Uint8Array[]): boolean {
    return this.#isSigned !== undefined && records.length >= PROVEN_AHEAD
  }

  async #prove(records: readonly Uint8Array[]): Promise<void> {
    const controllers = (id: string) => this.#table.get('controller', id)?.record
    await this.#authority.prove(records, controllers, this.#isSigned!)
  }

  get #origin(): Origin {
    return `${this.id}/${this.#life.incarnation}`
  }

  async #take(
    records: readonly Uint8Array[],
    claims: Knowledge | undefined,
    base: Knowledge = new Map(),
    again = false,
  ): Promise<Outcome[]> {
    const batch = this.#newBatch()
    const own = { origin: this.#origin, sequence: this.#life.sequence }
    const { outcomes, highest } = this.#intake.take(batch, records, { claims, base, own, again })
    this.#unconfirmed?.settle(batch, records)
    await this.#commit(batch, 'received')
    this.#noticeClone(outcomes)
    if ((highest.get(own.origin) ?? 0) > own.sequence) await this.#noticeAmnesia()
    else if (this.#lives.isOutlived(this.#newBatch(), this.#life)) await this.#renewOutlived()
    return outcomes
  }

  #collect(batch: Batch): void {
    this.#collectedAt = this.#now()
    const peers: (Knowledge | undefined)[] = []
    for (const record of this.all('controller')) {
      const id = record.id as ControllerId
      if (isRemoval(record)) this.#holders.forget(id)
      else if (id !== this.id) peers.push(this.#holders.accountOf(id))
    }
    const found = collectable(this.#table.tombstones, { ours: this.#knowledge, peers, now: this.#now() })
    for (const record of found) batch.drop(record.kind, record.id)
  }

  async #noticeAmnesia(): Promise<void> {
    const problem = this.#watch.amnesia(this.#now())
    if (problem === undefined) return
    this.#report(problem)
    await this.#renew()
  }

  async #renewOutlived(): Promise<void> {
    const problem = this.#watch.outlived(this.#now())
    if (problem === undefined) return
    this.#report(problem)
    await this.#renew()
  }

  #noticeClone(outcomes: readonly Outcome[]): void {
    if (this.#problems.some(({ code }) => code === 'cloned')) return
    const problem = this.#watch.clone(outcomes, this.#life.incarnation)
    if (problem !== undefined) this.#report(problem)
  }

  #report(problem: Problem): void {
    this.#problems.push(problem)
    if (this.#problems.length > MAX_PROBLEMS) this.#problems.shift()
    this.onProblem(problem)
  }

  /** A store of an earlier version may account for more than fits into a vector. */
  async #bound(): Promise<void> {
    const batch = this.#newBatch()
    batch.bound(true)
    await this.#commit(batch, 'received')
  }

  /** Goes on in a new incarnation upon what is left of the store. */
  async #begin({ forgotten, lostAt, damaged }: Recovered): Promise<void> {
    const batch = this.#newBatch()
    await this.#commit(
      batch,
      'written',
      { ...this.#lives.begin(batch, this.#life, forgotten), lostAt },
      damaged,
    )
  }

  async #renew(): Promise<void> {
    const batch = this.#newBatch()
    await this.#commit(batch, 'written', this.#lives.renew(batch, this.#life))
  }

  async #gather(): Promise<void> {
    const batch = this.#newBatch()
    const life = this.#lives.gather(batch, this.#life)
    if (life !== undefined) await this.#commit(batch, 'written', life)
  }

  async #commit(
    batch: Batch,
    cause: ChangeSet['cause'],
    own?: { incarnation?: Incarnation; sequence: number; lostAt?: number },
    setAside: readonly Damage[] = [],
  ): Promise<void> {
    batch.bound()
    if (batch.isEmpty && own === undefined && setAside.length === 0) return
    const incarnation = own?.incarnation ?? this.#life.incarnation
    const sequence = own?.sequence ?? this.#life.sequence
    const number = this.#batch + 1
    const notes = standingNotes({ id: this.id, incarnation, sequence }, { batch: number, ...batch.totals() })
    if (own?.lostAt !== undefined) notes.set(NOTE_LOST, encodeNote({ noticedAt: own.lostAt }))
    const dropNotes = new Set<string>()
    for (const [origin, set] of batch.known) {
      if (set.size > 0) notes.set(knownNote(origin), encodeNote(set.ranges()))
      else dropNotes.add(knownNote(origin))
    }
    try {
      await this.#store.commit({ number, put: batch.put, remove: batch.remove, notes, dropNotes, setAside })
    } catch (error) {
      const isExplained = error instanceof StateError
      const failure = isExplained ? error : new StateError('STORE_FAILED', STORE_FAILED_MESSAGE, error)
      this.#report({ code: 'store-failed', message: `${failure.message}; ${UNTIL_THEN}` })
      throw this.#queue.stop(failure)
    }
    this.#batch = number
    this.#life = { incarnation, sequence }
    if (batch.highest !== undefined) this.#clock.witness(batch.highest)
    const changes = batch.apply()
    if (batch.known.size > 0) this.#vector = this.#accounted = undefined
    if (changes.length > 0) this.#feed.tell({ changes, cause })
  }
}

/** So many records and more have their signatures checked side by side. */
const PROVEN_AHEAD = 16
const MAX_PROBLEMS = 1000
const UNTIL_THEN =
  'until then it takes no change, neither here nor from other controllers, revocations among them'
const STORE_FAILED_MESSAGE =
  'the state could not be written to disk; look at the disk, then start the controller again'
