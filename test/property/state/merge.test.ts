import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compareRecords, isRemoval, mergeRecords } from '../../../state/merge.ts'
import type { StateRecord } from '../../../state/record.ts'
import {
  clientId,
  controllerValue,
  identity,
  type RecordSpec,
  record,
  START,
  serial,
  settingOp,
} from '../../unit/state/samples.ts'

const common = {
  author: fc.integer({ min: 0, max: 3 }),
  time: fc.integer({ min: START, max: START + 5 }),
  count: fc.integer({ min: 0, max: 2 }),
  sequence: fc.integer({ min: 1, max: 4 }),
  incarnation: fc.constantFrom('0'.repeat(16), '1'.repeat(16)),
}

const setting: fc.Arbitrary<StateRecord> = fc
  .record({ ...common, value: fc.option(fc.integer({ min: 0, max: 3 })) })
  .map(({ value, ...rest }) => {
    const content = value === null ? null : (settingOp('x', value) as { value: { value: number } }).value
    return record({ ...rest, kind: 'setting', id: 'x', value: content })
  })

const revocation: fc.Arbitrary<StateRecord> = fc
  .record({ ...common, reason: fc.constantFrom('a', 'b') })
  .map(({ reason, ...rest }) =>
    record({ ...rest, kind: 'revocation', id: serial(1), value: { client: clientId(1), reason, at: START } }),
  )

const lease: fc.Arbitrary<StateRecord> = fc
  .record({
    ...common,
    term: fc.integer({ min: 0, max: 2 }),
    holder: fc.option(fc.integer({ min: 1, max: 3 })),
  })
  .map(({ holder, ...rest }) => {
    const value = holder === null ? null : ({ holder: clientId(holder), holderKind: 'client' } as const)
    return record({ ...rest, kind: 'lease', id: '10.77.0.9', value })
  })

const controller: fc.Arbitrary<StateRecord> = fc
  .record({ ...common, isRemoved: fc.boolean(), name: fc.constantFrom('a', 'b') })
  .map(({ isRemoved, name, ...rest }) => {
    // A controller's own record is written by it, a removal by anyone.
    const author = isRemoved ? rest.author : 1
    const value = controllerValue(1, isRemoved ? { name, removedAt: START } : { name })
    return record({
      ...rest,
      author,
      kind: 'controller',
      id: identity(1).id,
      value,
    } as RecordSpec<'controller'>)
  })

const merge = (records: readonly StateRecord[]) => records.reduce(mergeRecords)
const wins = (a: StateRecord, b: StateRecord) => compareRecords(a, b) > 0

for (const [name, one] of Object.entries({ setting, revocation, lease, controller })) {
  test(`merging ${name} records: order, grouping and repetition make no difference`, () => {
    fc.assert(
      fc.property(one, one, one, (a, b, c) => {
        assert.deepEqual(mergeRecords(a, b), mergeRecords(b, a))
        assert.deepEqual(mergeRecords(mergeRecords(a, b), c), mergeRecords(a, mergeRecords(b, c)))
        assert.deepEqual(mergeRecords(a, a), a)
        assert.equal(Math.sign(compareRecords(a, b)) + Math.sign(compareRecords(b, a)), 0)
      }),
    )
  })

  test(`merging ${name} records: all deliveries end in the same place`, () => {
    const deliveries = fc
      .array(one, { minLength: 1, maxLength: 6 })
      .chain(records =>
        fc.tuple(fc.constant(records), fc.shuffledSubarray([...records, ...records], { minLength: 0 })),
      )
    fc.assert(
      fc.property(deliveries, ([records, some]) =>
        assert.deepEqual(merge([...some, ...records]), merge(records)),
      ),
    )
  })
}

test('by default the last writer wins, and of equal stamps the higher author', () => {
  fc.assert(
    fc.property(setting, setting, (a, b) => {
      if (a.stamp !== b.stamp) assert.equal(wins(a, b), a.stamp > b.stamp)
      else if (a.author !== b.author) assert.equal(wins(a, b), a.author > b.author)
    }),
  )
})

test('which of two revocations stays does not depend on clocks', () => {
  fc.assert(
    fc.property(revocation, revocation, fc.integer({ min: 1, max: 1e6 }), (a, b, shift) => {
      if (a.author === b.author) return
      const later = record({
        kind: 'revocation',
        id: a.id,
        value: a.value as never,
        author: [0, 1, 2, 3].find(i => identity(i).id === a.author)!,
        time: START + shift,
      })
      assert.equal(wins(a, b), wins(later, b))
    }),
  )
})

test('within a term the first lease wins and a release ends it', () => {
  fc.assert(
    fc.property(lease, lease, (a, b) => {
      if (a.term !== b.term) assert.equal(wins(a, b), a.term > b.term)
      else if ((a.value === null) !== (b.value === null)) assert.equal(wins(a, b), a.value === null)
      else if (a.value !== null && a.stamp !== b.stamp) assert.equal(wins(a, b), a.stamp < b.stamp)
    }),
  )
})

test('a late release of an earlier term does not take the address from the next holder', () => {
  const at = (change: Partial<RecordSpec<'lease'>>) =>
    record({ kind: 'lease', id: '10.77.0.9', value: null, author: 0, ...change } as RecordSpec<'lease'>)
  const first = at({ value: { holder: clientId(1), holderKind: 'client' }, time: START })
  const release = at({ time: START + 20 })
  const next = at({ value: { holder: clientId(2), holderKind: 'client' }, time: START + 22, term: 1 })
  const lateRelease = at({ time: START + 25, author: 1 })
  fc.assert(
    fc.property(fc.shuffledSubarray([first, release, next, lateRelease], { minLength: 4 }), records => {
      assert.equal(merge(records), next)
    }),
  )
})

test('a removal stands over everything the controller says of itself, and the first removal stands', () => {
  fc.assert(
    fc.property(controller, controller, (a, b) => {
      if (isRemoval(a) !== isRemoval(b)) assert.equal(wins(a, b), isRemoval(a))
      else if (isRemoval(a) && a.stamp !== b.stamp) assert.equal(wins(a, b), a.stamp < b.stamp)
      else if (!isRemoval(a) && a.stamp !== b.stamp) assert.equal(wins(a, b), a.stamp > b.stamp)
    }),
  )
})

test('what was issued again in a later incarnation stands over its first form', () => {
  fc.assert(
    fc.property(fc.oneof(setting, lease, revocation), value => {
      const again = { ...value, incarnation: '2'.repeat(16) } as unknown as StateRecord
      assert.equal(mergeRecords(value, again), again)
    }),
  )
})
