// From a property to the ids that have it: nearly always one, sometimes two after a partition.

const NONE: readonly never[] = []

export class Index<Id extends string> {
  readonly #ids = new Map<string, Id[]>()
  readonly #shared = new Set<string>()

  get(key: string): readonly Id[] {
    return this.#ids.get(key) ?? NONE
  }

  /** Keys with more than one id. */
  shared(): Iterable<string> {
    return this.#shared
  }

  add(key: string, id: Id): void {
    const ids = this.#ids.get(key)
    if (ids === undefined) this.#ids.set(key, [id])
    else if (!ids.includes(id)) ids.push(id)
    this.#note(key)
  }

  remove(key: string, id: Id): void {
    const left = this.get(key).filter(other => other !== id)
    if (left.length === 0) this.#ids.delete(key)
    else this.#ids.set(key, left)
    this.#note(key)
  }

  #note(key: string): void {
    if (this.get(key).length > 1) this.#shared.add(key)
    else this.#shared.delete(key)
  }
}
