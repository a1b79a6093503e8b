// Clients here through which a prefix is reached that others lead to as well: one that falls silent is asked whether it is there, and
// passed over long before its session ends; one that is heard again is not used again at once.

/** A via of this controller, as the switch sees it. */
export interface WatchedVia {
  /** Of the route. */
  readonly id: string
  /** When its client was heard last, by the steady clock, or its session was opened. */
  readonly heardAt: number
  /** How long its client took to answer when it was asked; undefined as long as it has not in this session. */
  readonly roundTripMs: number | undefined
}

/** ms of silence after which a client is asked. */
const ASK_MS = 200
/** ms between two questions whether a client answers any; while it is new, it may answer as soon as its interface is up. */
const TRY_MS = 1000
const FIRST_TRIES = 10
const FIRST_TRY_MS = 200
/** ms of silence, at least, and questions without an answer, after which one that otherwise answers is gone. */
const GONE_MS = 600
const MISSES = 3
/** Round trips that an answer may take. */
const PATIENCE = 2
/** ms between two packets of a client that has nothing to say are two seconds at most: stock clients count in whole ones. */
const SILENT_MS = 3000
/** ms that it has to be heard without a break to be used again. */
const HOLD_MS = 3000

/** The questions of a silence. */
interface Asked {
  readonly heardAt: number
  readonly times: number
  /** When the latest was asked. */
  readonly at: number
}

export class ViaWatch {
  /** When each that fell silent may be used again. */
  readonly #until = new Map<string, number>()
  readonly #asked = new Map<string, Asked>()
  /** How often each was asked that has not answered in its session. */
  readonly #tries = new Map<string, number>()
  #failing: readonly string[] = []

  /** Ids of routes whose client is silent. */
  get failing(): readonly string[] {
    return this.#failing
  }

  /** Looks at all there are now; true when `failing` is another than before. @param now by the steady clock @param ask whether a client is there */
  look<V extends WatchedVia>(now: number, vias: readonly V[], ask: (via: V) => void): boolean {
    const known = new Set(vias.map(({ id }) => id))
    for (const map of [this.#until, this.#asked, this.#tries])
      for (const id of map.keys()) if (!known.has(id)) map.delete(id)
    for (const via of vias) {
      const { id, heardAt, roundTripMs } = via
      const answers = roundTripMs !== undefined
      const silence = now - heardAt
      const before = this.#asked.get(id)
      const times = before?.heardAt === heardAt ? before.times : 0
      const patience = answers ? Math.max(GONE_MS, ASK_MS + PATIENCE * roundTripMs) : SILENT_MS
      const isGone = silence >= patience && times >= MISSES
      if (isGone || silence >= SILENT_MS) this.#until.set(id, now + HOLD_MS)
      else if ((this.#until.get(id) ?? now) <= now) this.#until.delete(id)
      const tries = answers ? 0 : (this.#tries.get(id) ?? 0)
      const wait = tries < FIRST_TRIES ? FIRST_TRY_MS : TRY_MS
      const isToAsk = answers ? silence >= ASK_MS && !isGone : now - (before?.at ?? 0) >= wait
      if (answers) this.#tries.delete(id)
      if (!isToAsk || silence >= SILENT_MS) continue
      ask(via)
      if (!answers) this.#tries.set(id, tries + 1)
      this.#asked.set(id, { heardAt, times: times + 1, at: now })
    }
    const failing = [...this.#until.keys()].sort()
    const isOther = failing.join() !== this.#failing.join()
    this.#failing = failing
    return isOther
  }
}
