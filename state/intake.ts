// What becomes of records that come from others: bounds, then the clock, then authority, then merge.
import { type Authority, isVoidAfter } from './authority.ts'
import type { Batch } from './batch.ts'
import { isAhead } from './clock.ts'
import { Holding } from './holding.ts'
import { beginningOf } from './incarnation.ts'
import type { ControllerId } from './kinds.ts'
import {
  decodeRecord,
  type Origin,
  originOf,
  parseOrigin,
  type RecordOf,
  type StateRecord,
} from './record.ts'
import type { Knowledge } from './vector.ts'

export type Outcome =
  /** Stands now. */
  | { outcome: 'merged'; record: StateRecord }
  /** Accounted for before. */
  | { outcome: 'known' }
  /** Good, but what is here stands over it. */
  | { outcome: 'stale' }
  /** Written by a controller after its removal. */
  | { outcome: 'void' }
  /** Cannot be judged yet. `kept` is false when there was no room. */
  | { outcome: 'held'; why: 'ahead' | 'unknown-author'; kept: boolean }
  /** Counts nowhere. */
  | { outcome: 'refused'; reason: string }

export interface IntakeInit {
  /** Whose replica it is. */
  readonly self: ControllerId
  readonly authority: Authority
  readonly knowledge: Knowledge
  /** Wall clock, ms since 1970. */
  readonly now: () => number
}

export interface Delivery {
  /** What the sender says is accounted for once the records are taken; undefined for nothing. */
  readonly claims: Knowledge | undefined
  /** What of those origins must be accounted for here for that to hold: what was when the sender was asked. */
  readonly base: Knowledge
  /** This replica's origin and last sequence number: nobody is believed beyond that. */
  readonly own: { readonly origin: Origin; readonly sequence: number }
  /** Also looks at records accounted for before. */
  readonly again: boolean
}

export interface Taken {
  readonly outcomes: Outcome[]
  /** Highest sequence number of each origin among the records that were accounted for. */
  readonly highest: ReadonlyMap<Origin, number>
}

export class Intake {
  readonly #self: ControllerId
  readonly #authority: Authority
  readonly #knowledge: Knowledge
  readonly #now: () => number
  readonly #holding = new Holding()

  constructor(init: IntakeInit) {
    this.#self = init.self
    this.#authority = init.authority
    this.#knowledge = init.knowledge
    this.#now = init.now
  }

  /** Records held back until they can be judged. */
  get held(): number {
    return this.#holding.size
  }

  /** When `retry` next has something to do, ms since 1970; undefined when nothing is held. */
  deadline(): number | undefined {
    return this.#holding.deadline()
  }

  /** Works records into a batch. */
  take(batch: Batch, records: readonly Uint8Array[], delivery: Delivery): Taken {
    const { claims, base, own, again } = delivery
    const unaccounted = new Map<Origin, Set<number>>()
    const highest = new Map<Origin, number>()
    let isWhole = true
    const outcomes = records.map((bytes): Outcome => {
      const proven = this.#authority.proven(bytes)
      const decoded = proven ? ({ ok: true, record: proven } as const) : decodeRecord(bytes)
      if (!decoded.ok) {
        // Which number it had cannot be told, so nothing that came with it may be taken as known.
        isWhole = false
        return { outcome: 'refused', reason: decoded.reason }
      }
      const { record } = decoded
      const origin = originOf(record)
      const outcome = this.#takeOne(batch, record, bytes, again)
      // At the sender it may have superseded records of any origin, which still stand here.
      if (outcome.outcome === 'held') isWhole = false
      if (outcome.outcome === 'held' || outcome.outcome === 'refused') {
        unaccounted.set(origin, (unaccounted.get(origin) ?? new Set()).add(record.sequence))
      } else highest.set(origin, Math.max(highest.get(origin) ?? 0, record.sequence))
      return outcome
    })
    this.#settle(batch)
    if (claims !== undefined && isWhole && !batch.forgets)
      this.#believe(batch, { claims, base, own }, unaccounted)
    return { outcomes, highest }
  }

  /** Judges again what was held back and is due, or waited for one of these authors. */
  retry(batch: Batch, authors: ReadonlySet<ControllerId> = new Set()): void {
    const asked = new Set(authors)
    let waiting = authors
    do {
      const taken = this.#holding.take(this.#now(), waiting)
      for (const { record, bytes } of taken) this.#takeOne(batch, record, bytes)
      // Each author's turn comes once: what is held again for another reason would come round for ever.
      waiting = new Set([...batch.controllers()].filter(id => !asked.has(id)))
      for (const id of waiting) asked.add(id)
    } while (waiting.size > 0)
    this.#voidRemoved(batch)
  }

  #takeOne(batch: Batch, record: StateRecord, bytes: Uint8Array, again = false): Outcome {
    if (!again && batch.isKnown(originOf(record), record.sequence)) return { outcome: 'known' }
    const now = this.#now()
    const isEarly = isAhead(record.stamp, now)
    // A revocation needs no clock.
    if (isEarly && record.kind !== 'revocation') {
      return { outcome: 'held', why: 'ahead', kept: this.#holding.hold(record, bytes, now) }
    }
    const verdict = this.#authority.judge(record, bytes, id => batch.get('controller', id))
    switch (verdict.verdict) {
      case 'refused':
        return { outcome: 'refused', reason: verdict.reason }
      case 'unknown-author':
        // What is known of its records is wrong when its own is not among them: that was replaced by one that came too early
        // to be taken, and was lost since.
        if (record.author !== this.#self) batch.forgetAuthor(record.author)
        return { outcome: 'held', why: 'unknown-author', kept: this.#holding.hold(record, bytes, now) }
      case 'void':
        batch.know(record)
        return { outcome: 'void' }
      case 'good':
        if (!batch.hasRoomFor(record, bytes)) return { outcome: 'refused', reason: NO_ROOM }
        batch.know(record)
        if (!isEarly) batch.witness(record.stamp)
        return batch.merge(record, bytes) ? { outcome: 'merged', record } : { outcome: 'stale' }
    }
  }

  /** Follows up what the batch changed about controllers. */
  #settle(batch: Batch): void {
    const changed = new Set(batch.controllers())
    if (changed.size > 0) this.retry(batch, changed)
  }

  /** Takes out what controllers wrote after a removal that this batch brings. */
  #voidRemoved(batch: Batch): void {
    for (const removal of [...batch.removals()]) voidAfter(batch, removal)
  }

  /**
   * Takes a peer's word for what is superseded, except for what it sent and this replica could not take. It is void where
   * this replica asks for more by now than it did then, as after a removal.
   */
  #believe(
    batch: Batch,
    { claims, base, own }: { claims: Knowledge; base: Knowledge; own: Delivery['own'] },
    unaccounted: ReadonlyMap<Origin, ReadonlySet<number>>,
  ): void {
    for (const [origin, set] of claims) {
      if (origin === own.origin && set.highest > own.sequence) continue
      if (batch.hasForgotten(origin)) continue
      const known = this.#knowledge.get(origin)
      if (known === undefined ? !this.#isCredible(batch, origin) : known.includes(set)) continue
      const before = base.get(origin)
      if (before !== undefined && before.size > 0 && !known?.includes(before)) continue
      batch.knownOf(origin).addAll(set, unaccounted.get(origin))
    }
  }
  /**
   * Whether there may be such a life of which nothing was taken here yet. Nobody signs for that, so at least its author must
   * be one of the mesh, and it must not begin in the future: it would stand above all that its author can begin.
   */
  #isCredible(batch: Batch, origin: Origin): boolean {
    const { author, incarnation } = parseOrigin(origin)!
    return batch.get('controller', author) !== undefined && !isAhead(beginningOf(incarnation), this.#now())
  }
}

const NO_ROOM =
  'it wrote more than is kept here of what only newer versions understand; upgrade this controller'

function voidAfter(batch: Batch, removal: RecordOf<'controller'>): void {
  const voided = [...batch.ofAuthor(removal.id as ControllerId)].filter(record =>
    isVoidAfter(record, removal),
  )
  for (const record of voided) batch.drop(record.kind, record.id)
  // What those records had replaced is gone here; whoever did not take them still has it.
  if (voided.length > 0) batch.forget()
}
