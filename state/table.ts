// The records of one replica in memory, and the ways in which they are looked up.
import type { ControllerId, Kind } from './kinds.ts'
import { isKind, KINDS } from './kinds.ts'
import {
  encodeRecord,
  isForeign,
  isTombstone,
  type Origin,
  originOf,
  type RecordOf,
  recordKey,
  type StateRecord,
} from './record.ts'
import { RecordHash } from './record-hash.ts'

/** A record as held: with the SHA-256 (hex) of its bytes. */
export interface Held {
  readonly record: StateRecord
  readonly digest: string
}

const SUM_MODULUS = 2 ** 48

export class RecordTable {
  /** Of newer versions, too. */
  readonly #kinds = new Map<string, Map<string, Held>>(KINDS.map(kind => [kind, new Map()]))
  readonly #origins = new Map<Origin, Map<number, Held>>()
  readonly #tombstones = new Map<string, StateRecord>()
  readonly #foreign = new Map<string, Held>()
  readonly #foreignBytes = new Map<ControllerId, number>()
  readonly #hash = new RecordHash()
  #size = 0
  #sum = 0

  /** Records held, tombstones included. */
  get size(): number {
    return this.#size
  }

  /** Records that are not tombstones. */
  get live(): number {
    return this.#size - this.#tombstones.size
  }

  /** Sum over all digests modulo 2^48: with `size`, tells at start whether the store came back whole. */
  get sum(): number {
    return this.#sum
  }

  get tombstones(): Iterable<StateRecord> {
    return this.#tombstones.values()
  }

  /** Records of which nothing is understood here. */
  get foreign(): Iterable<Held> {
    return this.#foreign.values()
  }

  /** Bytes of those by one author. */
  foreignBytes(author: ControllerId): number {
    return this.#foreignBytes.get(author) ?? 0
  }

  get origins(): Iterable<Origin> {
    return this.#origins.keys()
  }

  get<K extends Kind>(kind: K, id: string): (Held & { record: RecordOf<K> }) | undefined {
    return this.#kinds.get(kind)?.get(id) as (Held & { record: RecordOf<K> }) | undefined
  }

  /** All of a kind, tombstones included, in no order. */
  all(kind: Kind): Iterable<Held> {
    return this.#kinds.get(kind)?.values() ?? []
  }

  /** How many there are of a kind, tombstones included. */
  countOf(kind: Kind): number {
    return this.#kinds.get(kind)?.size ?? 0
  }

  *everything(): Iterable<Held> {
    for (const kind of this.#kinds.values()) yield* kind.values()
  }

  /** Records of one origin by sequence number. */
  ofOrigin(origin: Origin): ReadonlyMap<number, Held> {
    return this.#origins.get(origin) ?? new Map()
  }

  *ofAuthor(author: ControllerId): Iterable<StateRecord> {
    for (const [origin, bySequence] of this.#origins) {
      if (origin.startsWith(author)) for (const { record } of bySequence.values()) yield record
    }
  }

  put(held: Held): void {
    const { record, digest } = held
    this.delete(record.kind, record.id)
    let kind = this.#kinds.get(record.kind)
    if (kind === undefined) {
      kind = new Map()
      this.#kinds.set(record.kind, kind)
    }
    kind.set(record.id, held)
    const origin = originOf(record)
    let bySequence = this.#origins.get(origin)
    if (bySequence === undefined) {
      bySequence = new Map()
      this.#origins.set(origin, bySequence)
    }
    bySequence.set(record.sequence, held)
    const key = recordKey(record.kind, record.id)
    if (isTombstone(record)) this.#tombstones.set(key, record)
    else this.#hash.set(key, digest)
    if (isForeign(record)) {
      this.#foreign.set(key, held)
      this.#countForeign(record, 1)
    }
    this.#size++
    this.#sum = addDigest(this.#sum, digest, undefined)
  }

  delete(kind: Kind, id: string): void {
    const held = this.get(kind, id)
    if (held === undefined) return
    const { record, digest } = held as Held
    const ofKind = this.#kinds.get(kind)!
    ofKind.delete(id)
    if (ofKind.size === 0 && !isKind(kind)) this.#kinds.delete(kind)
    const origin = originOf(record)
    const bySequence = this.#origins.get(origin)!
    if (bySequence.get(record.sequence) === held) bySequence.delete(record.sequence)
    if (bySequence.size === 0) this.#origins.delete(origin)
    const key = recordKey(kind, id)
    this.#tombstones.delete(key)
    this.#hash.delete(key)
    if (this.#foreign.delete(key)) this.#countForeign(record, -1)
    this.#size--
    this.#sum = addDigest(this.#sum, undefined, digest)
  }

  /**
   * Equal for two replicas exactly when their records are. A tombstone is the absence of a record: whether it was
   * collected already makes no difference.
   */
  hash(): string {
    return this.#hash.value()
  }

  /** The hashes that `hash` is made of, for finding where two replicas differ. */
  bucketHashes(): string[] {
    return this.#hash.buckets()
  }

  #countForeign(record: StateRecord, sign: 1 | -1): void {
    const bytes = this.foreignBytes(record.author) + sign * encodeRecord(record).length
    if (bytes > 0) this.#foreignBytes.set(record.author, bytes)
    else this.#foreignBytes.delete(record.author)
  }
}

/** The sum of digests with one more and one fewer in it. */
export function addDigest(sum: number, added: string | undefined, removed: string | undefined): number {
  return (sum + shortDigest(added) - shortDigest(removed) + SUM_MODULUS) % SUM_MODULUS
}

function shortDigest(digest: string | undefined): number {
  return digest === undefined ? 0 : Number.parseInt(digest.slice(0, 12), 16)
}
