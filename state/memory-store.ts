// A store without a disk: for simulation, with the crashes a disk would see.
import { StateError } from './errors.ts'
import { type Damage, type RecordStore, type StoreBatch, type StoreContents, seal, unseal } from './store.ts'

/** Where a commit breaks off: before anything was written, or after all was and before anyone heard of it. */
export type CommitFailure = 'before' | 'after'

/** Keeps sealed bytes like a disk does; `crash` makes the next commit fail, `copy` is a backup. */
export class MemoryStore implements RecordStore {
  readonly #records: Map<string, Uint8Array>
  readonly #notes: Map<string, Uint8Array>
  readonly #aside: Damage[]
  #witnessed: number
  #failure: CommitFailure | undefined

  constructor(from?: MemoryStore) {
    this.#records = new Map(from === undefined ? [] : from.#records)
    this.#notes = new Map(from === undefined ? [] : from.#notes)
    this.#aside = from === undefined ? [] : [...from.#aside]
    this.#witnessed = from === undefined ? 0 : from.#witnessed
  }

  /** A backup as of now. */
  copy(): MemoryStore {
    return new MemoryStore(this)
  }

  /** What is left when the log loses everything since that copy was made: the witness lies beside it. */
  truncated(copy: MemoryStore): MemoryStore {
    const left = copy.copy()
    left.#witnessed = this.#witnessed
    return left
  }

  /** The next commit fails at the given point. */
  crash(failure: CommitFailure): void {
    this.#failure = failure
  }

  /** The bytes at rest, seal included, to be damaged in place. */
  get raw(): Map<string, Uint8Array> {
    return this.#records
  }

  async scan(): Promise<StoreContents> {
    const damaged: Damage[] = []
    return {
      records: open(this.#records, damaged),
      notes: open(this.#notes, damaged),
      damaged,
      setAside: this.#aside.length,
      witnessed: this.#witnessed,
    }
  }

  async commit(batch: StoreBatch): Promise<void> {
    const failure = this.#failure
    this.#failure = undefined
    if (failure === 'before') throw new StateError('STORE_FAILED', 'the store crashed before the batch')
    for (const damage of batch.setAside) {
      this.#aside.push(damage)
      this.#records.delete(damage.key)
      this.#notes.delete(damage.key)
    }
    for (const key of batch.remove) this.#records.delete(key)
    for (const name of batch.dropNotes) this.#notes.delete(name)
    for (const [key, bytes] of batch.put) this.#records.set(key, seal(key, bytes))
    for (const [key, bytes] of batch.notes) this.#notes.set(key, seal(key, bytes))
    this.#witnessed = batch.number
    if (failure === 'after') throw new StateError('STORE_FAILED', 'the store crashed after the batch')
  }

  async close(): Promise<void> {}
}

function open(sealed: Map<string, Uint8Array>, damaged: Damage[]): Map<string, Uint8Array> {
  const opened = new Map<string, Uint8Array>()
  for (const [key, bytes] of sealed) {
    const plain = unseal(key, bytes)
    if (plain === undefined) damaged.push({ key, bytes, reason: 'checksum does not fit' })
    else opened.set(key, plain)
  }
  return opened
}
