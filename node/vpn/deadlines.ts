// When each of many things wants to be looked at again: a binary heap that knows where everything stands in it.

export class Deadlines<T> {
  readonly #heap: { item: T; at: number }[] = []
  readonly #index = new Map<T, number>()

  get size(): number {
    return this.#heap.length
  }

  /** The earliest; Infinity when there is none. */
  get next(): number {
    return this.#heap.length > 0 ? this.#heap[0].at : Number.POSITIVE_INFINITY
  }

  /** Sets or moves an item's deadline; Infinity takes it out. */
  set(item: T, at: number): void {
    const index = this.#index.get(item)
    if (at === Number.POSITIVE_INFINITY) {
      this.delete(item)
    } else if (index === undefined) {
      this.#heap.push({ item, at })
      this.#rise(this.#heap.length - 1)
    } else {
      const before = this.#heap[index].at
      this.#heap[index].at = at
      if (at < before) this.#rise(index)
      else this.#sink(index)
    }
  }

  delete(item: T): void {
    const index = this.#index.get(item)
    if (index === undefined) return
    this.#index.delete(item)
    const last = this.#heap.pop()!
    if (last.item === item) return
    this.#put(index, last)
    this.#rise(index)
    this.#sink(this.#index.get(last.item)!)
  }

  /** Takes out the earliest item if its time has come. */
  take(now: number): T | undefined {
    if (this.next > now) return undefined
    const { item } = this.#heap[0]
    this.delete(item)
    return item
  }

  #rise(from: number): void {
    const entry = this.#heap[from]
    let at = from
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#heap[parent].at <= entry.at) break
      this.#put(at, this.#heap[parent])
      at = parent
    }
    this.#put(at, entry)
  }

  #sink(from: number): void {
    const heap = this.#heap
    const entry = heap[from]
    let at = from
    for (let child = 2 * at + 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && heap[child + 1].at < heap[child].at) child++
      if (heap[child].at >= entry.at) break
      this.#put(at, heap[child])
      at = child
    }
    this.#put(at, entry)
  }

  #put(at: number, entry: { item: T; at: number }): void {
    this.#heap[at] = entry
    this.#index.set(entry.item, at)
  }
}
