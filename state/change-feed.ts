// Whoever wants to know is told of every batch that changed something.
import type { Change } from './batch.ts'

export interface ChangeSet {
  readonly changes: readonly Change[]
  /** `written`: by this replica, and to be told to others. */
  readonly cause: 'written' | 'received'
}

export class ChangeFeed {
  readonly #listeners = new Set<(set: ChangeSet) => void>()
  #version = 0

  /** Rises with every change: for caches. */
  get version(): number {
    return this.#version
  }

  /** Calls back from now on. Returns how to stop that. */
  follow(listener: (set: ChangeSet) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  tell(set: ChangeSet): void {
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
}
