// Clients here through which a prefix is reached that others lead to as well: one that falls silent is passed over long before its
// session ends, and one that is heard again is not used again at once.

/** A via of this controller, as the switch sees it. */
export interface WatchedVia {
  /** Of the route's record. */
  readonly id: string
  /** When its client was heard last, ms since 1970. */
  readonly heardAt: number
}

/** ms between two packets of a client that has nothing to say are two seconds at most: stock clients count in whole ones. */
const SILENT_MS = 3000
/** ms that it has to be heard without a break to be used again. */
const HOLD_MS = 3000
export class ViaWatch {
  /** When each that fell silent may be used again, ms since 1970. */
  readonly #until = new Map<string, number>()
  #failing: readonly string[] = []

  /** Ids of routes whose client is silent. */
  get failing(): readonly string[] {
    return this.#failing
  }

  /** Looks at all there are now; true when `failing` is another than before. */
  look(now: number, vias: readonly WatchedVia[]): boolean {
    const known = new Set(vias.map(({ id }) => id))
    for (const id of this.#until.keys()) if (!known.has(id)) this.#until.delete(id)
    for (const { id, heardAt } of vias) {
      if (now - heardAt >= SILENT_MS) this.#until.set(id, now + HOLD_MS)
      else if ((this.#until.get(id) ?? now) <= now) this.#until.delete(id)
    }
    const failing = [...this.#until.keys()].sort()
    const isOther = failing.join() !== this.#failing.join()
    this.#failing = failing
    return isOther
  }
}
