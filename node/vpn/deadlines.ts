// When each of many things wants to be looked at again: a binary heap that knows where everything stands in it.

interface Entry<T> {
  readonly item: T
  at: number
  /** Where it stands in the heap. */
  index: number
}

export class Deadlines<T> {
  readonly #heap: Entry<T>[] = []
  readonly #entries = new Map<T, Entry<T>>()

  get size(): number {
    return this.#heap.length
  }

  /** The earliest; Infinity when there is none. */
  get next(): number {
    return this.#heap.length > 0 ? this.#heap[0].at : Number.POSITIVE_INFINITY
  }

  /** Sets or moves an item's deadline; Infinity takes it out. */
  set(item: T, at: number): void {
    const entry = this.#entries.get(item)
    if (at === Number.POSITIVE_INFINITY) {
      this.delete(item)
    } else if (entry === undefined) {
      const added = { item, at, index: this.#heap.length }
      this.#entries.set(item, added)
      this.#heap.push(added)
      this.#rise(added)
    } else {
      const before = entry.at
      entry.at = at
      if (at < before) this.#rise(entry)
      else if (at > before) this.#sink(entry)
    }
  }

  delete(item: T): void {
    const entry = this.#entries.get(item)
    if (entry === undefined) return
    this.#entries.delete(item)
    const last = this.#heap.pop()!
    if (last === entry) return
    this.#put(entry.index, last)
    this.#rise(last)
    this.#sink(last)
  }

  /** Takes out the earliest item if its time has come. */
  take(now: number): T | undefined {
    if (this.next > now) return undefined
    const { item } = this.#heap[0]
    this.delete(item)
    return item
  }

  #rise(entry: Entry<T>): void {
    let at = entry.index
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#heap[parent].at <= entry.at) break
      this.#put(at, this.#heap[parent])
      at = parent
    }
    this.#put(at, entry)
  }

  #sink(entry: Entry<T>): void {
    const heap = this.#heap
    let at = entry.index
    for (let child = 2 * at + 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && heap[child + 1].at < heap[child].at) child++
      if (heap[child].at >= entry.at) break
      this.#put(at, heap[child])
      at = child
    }
    this.#put(at, entry)
  }

  #put(at: number, entry: Entry<T>): void {
    this.#heap[at] = entry
    entry.index = at
  }
}
