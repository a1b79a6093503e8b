// What other controllers said they have: how many hold a record, for receipts, and what all have seen, for tombstones.
import type { ControllerId } from './kinds.ts'
import type { Incarnation } from './record.ts'
import type { SequenceSet } from './sequence-set.ts'
import type { Knowledge } from './vector.ts'

/** Bounded by who tells: only admitted controllers may be taken note of. */
export class Holders {
  /** What each peer said it has accounted for, of all origins. */
  readonly #accounts = new Map<ControllerId, Knowledge>()
  /** What each peer said it has of this replica's own records, since. */
  readonly #acknowledged = new Map<ControllerId, { incarnation: Incarnation; set: SequenceSet }>()

  account(peer: ControllerId, knowledge: Knowledge): void {
    this.#accounts.set(peer, knowledge)
  }

  /** A peer has these of the own records on its disk, of this incarnation. */
  acknowledge(peer: ControllerId, incarnation: Incarnation, set: SequenceSet): void {
    this.#acknowledged.set(peer, { incarnation, set })
  }

  /** What the peer said it has accounted for; undefined if it has said nothing. */
  accountOf(peer: ControllerId): Knowledge | undefined {
    return this.#accounts.get(peer)
  }

  /** How many hold the own record of this sequence number. */
  count(self: ControllerId, incarnation: Incarnation, sequence: number): number {
    if (sequence === 0) return 0
    const holders = new Set<ControllerId>()
    for (const [peer, knowledge] of this.#accounts) {
      if (knowledge.get(`${self}/${incarnation}`)?.has(sequence)) holders.add(peer)
    }
    for (const [peer, told] of this.#acknowledged) {
      if (told.incarnation === incarnation && told.set.has(sequence)) holders.add(peer)
    }
    return holders.size
  }

  forget(peer: ControllerId): void {
    this.#accounts.delete(peer)
    this.#acknowledged.delete(peer)
  }
}
