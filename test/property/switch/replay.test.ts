import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MAX_PACKET_ID, ReplayWindows } from '../../../node/switch/replay.ts'

/** What a window must do, said as plainly as possible. */
class Model {
  highest = 0
  readonly seen = new Set<number>()
  readonly window: number
  constructor(window: number) {
    this.window = window
  }
  check(id: number): boolean {
    return id >= 1 && id <= MAX_PACKET_ID && id > this.highest - this.window && !this.seen.has(id)
  }
  mark(id: number): void {
    if (!this.check(id)) return
    this.seen.add(id)
    this.highest = Math.max(this.highest, id)
  }
}

// Steps relative to the highest id seen: mostly within a few windows of it, now and then far ahead.
const step = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: -140, max: 80 }) },
  { weight: 2, arbitrary: fc.integer({ min: -2200, max: 2200 }) },
  { weight: 1, arbitrary: fc.constantFrom(2 ** 31, 2 ** 32, 2 ** 40, -(2 ** 33)) },
)
const operation = fc.record({
  slot: fc.nat(2),
  step,
  kind: fc.constantFrom('mark', 'mark', 'mark', 'mark', 'check', 'check', 'reset'),
})

for (const bits of [64, 128, 2048]) {
  test(`windows of ${bits} bits accept exactly what a set of all ids would`, () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 300, size: 'max' }), operations => {
        const windows = new ReplayWindows(3, bits)
        const models = [0, 1, 2].map(() => new Model(windows.window))
        for (const { slot, step, kind } of operations) {
          const id = models[slot].highest + step
          assert.equal(windows.check(slot, id), models[slot].check(id), `slot ${slot}, id ${id}`)
          if (kind === 'reset') {
            windows.reset(slot)
            models[slot] = new Model(windows.window)
          } else if (kind === 'mark') {
            windows.mark(slot, id)
            models[slot].mark(id)
          }
          for (const [i, model] of models.entries()) assert.equal(windows.highest(i), model.highest)
        }
      }),
      { numRuns: 300 },
    )
  })
}

test('no id is accepted twice, in whatever order ids arrive', () => {
  const ids = fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 600, size: 'max' })
  fc.assert(
    fc.property(ids, order => {
      const windows = new ReplayWindows(1)
      const accepted = new Set<number>()
      for (const id of order) {
        if (!windows.check(0, id)) continue
        assert.ok(!accepted.has(id), `id ${id} came through twice`)
        accepted.add(id)
        windows.mark(0, id)
      }
    }),
  )
})
