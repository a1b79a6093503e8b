// What two halves of a mesh may go through: changes on either, and meetings, after which both know the same.
import fc from 'fast-check'
import { StateError } from '../../../state/errors.ts'
import type { Op } from '../../../state/writing.ts'
import { exchange, type twoHalves } from '../../unit/state/samples.ts'

export interface Step {
  /** Which half the changes are made on. */
  readonly half: boolean
  readonly ops: readonly Op[]
  /** Whether the halves meet afterwards. */
  readonly meet: boolean
}

export function lives(change: fc.Arbitrary<Op>): fc.Arbitrary<Step[]> {
  const ops = fc.array(change, { minLength: 1, maxLength: 3 })
  return fc.array(fc.record({ half: fc.boolean(), ops, meet: fc.boolean() }), { minLength: 1, maxLength: 12 })
}

/** Ends with a meeting. What a half refuses by itself, such as to give away an address that another has, is left out. */
export async function live(
  halves: Awaited<ReturnType<typeof twoHalves>>,
  steps: readonly Step[],
): Promise<void> {
  const { a, b } = halves
  for (const { half, ops, meet } of steps) {
    const side = half ? a : b
    side.time += 10
    // Of several about one record only the last would count.
    const written = [...new Map(ops.map(op => [`${op.kind} ${op.id}`, op])).values()]
    await side.replica.write(written).catch(error => {
      if (!(error instanceof StateError) || error.code === 'INVALID') throw error
    })
    if (meet) await exchange(a.replica, b.replica)
  }
  await exchange(a.replica, b.replica)
}
