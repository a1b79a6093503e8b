// Asynchronous steps one after the other, a bounded number of them waiting.
import { StateError } from './errors.ts'

/** Writes and deliveries that wait for the disk at once. */
export const MAX_WAITING = 1024

export class StepQueue {
  #tail: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #end: StateError | undefined

  /** Runs the step when all before it are done. @throws StateError BUSY, and the one given to `stop` */
  run<T>(step: () => Promise<T>): Promise<T> {
    if (this.#end !== undefined) return Promise.reject(this.#end)
    if (this.#waiting >= MAX_WAITING) {
      return Promise.reject(
        new StateError('BUSY', `${MAX_WAITING} writes are waiting for the disk; try again soon`),
      )
    }
    this.#waiting++
    const result = this.#tail.then(() => {
      if (this.#end !== undefined) throw this.#end
      return step()
    })
    const done = () => {
      this.#waiting--
    }
    this.#tail = result.then(done, done)
    return result
  }

  /** Every step that has not begun fails with this, now and later. The first reason stays. */
  stop(reason: StateError): StateError {
    this.#end ??= reason
    return this.#end
  }

  /** Resolves when no step is running. */
  async idle(): Promise<void> {
    await this.#tail
  }
}
