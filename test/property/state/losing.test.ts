// What was deleted stays so, whichever of the controllers lose the end of their log, and whenever.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { MemoryStore } from '../../../state/memory-store.ts'
import {
  type Bench,
  collect,
  controllerOp,
  exchange,
  openReplica,
  pull,
  settingOp,
  twoHalves,
} from '../../unit/state/samples.ts'

type Step =
  | { do: 'write' | 'delete'; at: number; id: number }
  | { do: 'meet'; at: number; with: number }
  /** `part`: bytes of the exchange after which it is killed. */
  | { do: 'part'; at: number; with: number; part: number }
  | { do: 'copy' | 'lose'; at: number }
  | { do: 'collect' }

const at = fc.nat(2)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('write', 'delete'), at, id: fc.nat(7) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('meet'), at, with: at }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('part'), at, with: at, part: fc.integer({ min: 1, max: 900 }) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('copy', 'lose'), at }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('collect') }) },
) as fc.Arbitrary<Step>

test('what all had heard to be deleted stays so, and what one had heard of stays', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async steps => {
      const { a, b } = await twoHalves()
      const c = await openReplica(2)
      await pull(c.replica, a.replica)
      await c.replica.write([controllerOp(2)])
      const benches = [a, b, c]
      await collect(...benches)
      const copies = benches.map(({ store }) => (store as MemoryStore).copy())
      const mesh: Mesh = { benches, copies, expected: new Map(), behind: new Set() }
      for (const step of steps) await take(step, mesh)
      for (let round = 0; round < 2; round++)
        for (const one of benches)
          for (const other of benches) {
            if (one === other) continue
            await exchange(one.replica, other.replica)
            await one.replica.repair(other.replica.differing(one.replica.buckets()))
          }
      for (const { replica } of benches) {
        assert.equal(replica.hash(), benches[0].replica.hash())
        assert.equal(replica.unconfirmed, 0)
        for (const [id, isThere] of mesh.expected) assert.equal(replica.has('setting', id), isThere, id)
      }
    }),
    { numRuns: 60 },
  )
})

interface Mesh {
  readonly benches: Bench[]
  readonly copies: MemoryStore[]
  /** Whether a setting is to be there in the end. */
  readonly expected: Map<string, boolean>
  /** Those that lost something, and have not met who did not. */
  readonly behind: Set<number>
}

async function take(step: Step, { benches, copies, expected, behind }: Mesh): Promise<void> {
  switch (step.do) {
    case 'collect':
      behind.clear()
      return collect(...benches)
    case 'write':
    case 'delete': {
      const id = `s${step.id}`
      // Each is written once and deleted once.
      if (expected.get(id) !== (step.do === 'write' ? undefined : true)) return
      const bench = benches[step.at]
      for (const other of benches) if (other !== bench) await exchange(bench.replica, other.replica)
      bench.time += 10
      if (step.do === 'write') await bench.replica.write([settingOp(id, 1)])
      else await bench.replica.write([{ kind: 'setting', id, value: null }])
      expected.set(id, step.do === 'write')
      behind.clear()
      for (const other of benches) if (other !== bench) await exchange(bench.replica, other.replica)
      return
    }
    case 'copy':
      copies[step.at] = (benches[step.at].store as MemoryStore).copy()
      return
    case 'lose': {
      // What all lose at once is lost.
      if ([...behind].some(other => other !== step.at)) return
      behind.add(step.at)
      const { store, time } = benches[step.at]
      benches[step.at] = await openReplica(step.at, (store as MemoryStore).truncated(copies[step.at]), time)
      return
    }
    case 'part': {
      const bench = benches[step.at]
      const { replica } = benches[step.with]
      if (replica === bench.replica) return
      await bench.replica.absorb(replica.missingFor(bench.replica.vector(), step.part)!)
      benches[step.at] = await openReplica(step.at, bench.store, bench.time)
      return
    }
    case 'meet':
      if (step.at === step.with) return
      await exchange(benches[step.at].replica, benches[step.with].replica)
      for (const one of [step.at, step.with]) behind.delete(one)
  }
}
