// A disk that takes its time, and that power may leave: what it did not acknowledge may be there afterwards or not.
import { MemoryStore } from '../../state/memory-store.ts'
import type { RecordStore, StoreBatch, StoreContents } from '../../state/store.ts'
import type { Clockwork } from './clockwork.ts'

/** ms that a commit takes at least and at most. */
const FASTEST = 1
const SLOWEST = 12

export class SimDisk implements RecordStore {
  /** What is there after a crash. */
  readonly platter: MemoryStore
  readonly #clockwork: Clockwork
  #unwritten: StoreBatch | undefined
  #isOff = false

  constructor(clockwork: Clockwork, platter = new MemoryStore()) {
    this.#clockwork = clockwork
    this.platter = platter
  }

  scan(): Promise<StoreContents> {
    return this.platter.scan()
  }

  async commit(batch: StoreBatch): Promise<void> {
    this.#unwritten = batch
    await this.#clockwork.sleep(this.#clockwork.between(FASTEST, SLOWEST))
    // Nobody is there any more to hear of it.
    if (this.#isOff) await new Promise(() => {})
    this.#unwritten = undefined
    await this.platter.commit(batch)
  }

  /** Whether something is on its way to the disk, of which nobody has heard that it is there. */
  get isWriting(): boolean {
    return this.#unwritten !== undefined
  }

  /** Power goes. @param keeps whether the batch that was on its way got there */
  async crash(keeps: boolean): Promise<void> {
    this.#isOff = true
    if (keeps && this.#unwritten) await this.platter.commit(this.#unwritten)
    this.#unwritten = undefined
  }

  async close(): Promise<void> {}
}
