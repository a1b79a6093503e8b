// How a controller goes on in a new incarnation: after its store lost something, was set back to an old copy, or was outlived.
import type { KeyObject } from 'node:crypto'
import type { Batch } from './batch.ts'
import { newIncarnation } from './incarnation.ts'
import type { ControllerId } from './kinds.ts'
import { authorOf, livesEach } from './lives.ts'
import { type Incarnation, type Origin, parseOrigin, type StateRecord } from './record.ts'
import type { RecordTable } from './table.ts'
import type { Unconfirmed } from './unconfirmed.ts'
import type { Knowledge } from './vector.ts'
import { issue } from './writing.ts'

/** How far a controller is in its present incarnation. */
export interface Life {
  readonly incarnation: Incarnation
  /** Of its last record; 0 before the first. */
  readonly sequence: number
}

export interface OwnLivesInit {
  readonly id: ControllerId
  /** Ed25519 */
  readonly privateKey: KeyObject
  readonly table: RecordTable
  readonly knowledge: Knowledge
  readonly unconfirmed: Unconfirmed | undefined
  /** Wall clock, ms since 1970. */
  readonly now: () => number
  readonly random: (size: number) => Uint8Array
}

/** Writes into batches what a new life, or many earlier ones, make necessary; whoever commits them lives it from then on. */
export class OwnLives {
  readonly #init: OwnLivesInit

  constructor(init: OwnLivesInit) {
    this.#init = init
  }

  /**
   * A new incarnation upon what is left of the store. Its records stay as they were written: what of them was deleted
   * since is told by peers, and would live on for good if it was issued again.
   * @param forgotten origins whose records are asked for again
   */
  begin(batch: Batch, life: Life, forgotten: Iterable<Origin>): Life {
    for (const origin of forgotten) batch.forgetOrigin(origin)
    return { incarnation: this.#after(life.incarnation), sequence: 0 }
  }

  /**
   * A new incarnation. Records of the old ones are issued again, same value and stamp, since others may know their numbers
   * as other records; and everything that the last one wrote is asked for again.
   */
  renew(batch: Batch, life: Life): Life {
    const { id, knowledge, table, unconfirmed } = this.#init
    let latest = life.incarnation
    for (const origin of knowledge.keys()) {
      const { author, incarnation } = parseOrigin(origin)!
      if (author === id && incarnation > latest) latest = incarnation
    }
    const old = this.#origin(life)
    if (knowledge.has(old)) batch.forgetOrigin(old)
    // What is not confirmed was written in an earlier life, and may be deleted since.
    const own = [...table.ofAuthor(id)].filter(record => !unconfirmed?.has(record))
    return this.#issueAgain(batch, own, { incarnation: this.#after(latest), sequence: 0 })
  }

  /**
   * Issues again in this life what was written in earlier ones, before those are so many that the oldest are not accounted
   * for any more. Undefined while they are few.
   */
  gather(batch: Batch, life: Life): Life | undefined {
    const { id, table, unconfirmed } = this.#init
    const present = this.#origin(life)
    const earlier = [...table.origins].filter(origin => authorOf(origin) === id && origin < present)
    const controllers = table.countOf('controller')
    // What a peer may know to be deleted must not be issued again; nobody else may be there to say so.
    const isConfirmed = (unconfirmed?.size ?? 0) === 0 || controllers <= 1
    if (!isConfirmed || earlier.length <= livesEach(controllers) / 2) return undefined
    const records = earlier.flatMap(origin => [...table.ofOrigin(origin).values()].map(each => each.record))
    return this.#issueAgain(batch, records, life)
  }

  /** Whether others account for so many later lives of this controller that this one is not among them. */
  isOutlived(batch: Batch, life: Life): boolean {
    const origin = this.#origin(life)
    return life.sequence > 0 && !this.#init.knowledge.has(origin) && batch.floors().isBelow(origin)
  }

  #origin({ incarnation }: Life): Origin {
    return `${this.#init.id}/${incarnation}`
  }

  #after(incarnation: Incarnation): Incarnation {
    return newIncarnation(this.#init.now(), this.#init.random, incarnation)
  }

  /** Same values and stamps under new numbers, which follow those of `life`. */
  #issueAgain(batch: Batch, records: Iterable<StateRecord>, { incarnation, sequence: from }: Life): Life {
    let sequence = from
    for (const record of [...records].sort((a, b) => (a.stamp < b.stamp ? -1 : 1))) {
      const again = issue({ ...record, incarnation, sequence: ++sequence }, this.#init.privateKey)
      batch.merge(again.record, again.bytes)
      batch.know(again.record)
    }
    return { incarnation, sequence }
  }
}
