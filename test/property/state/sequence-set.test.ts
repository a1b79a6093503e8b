import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MAX_RANGES, SequenceSet } from '../../../state/sequence-set.ts'
import { covers, MAX_ORIGINS, parseVector, toVector } from '../../../state/vector.ts'

const numbers = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 30 })

function setOf(list: readonly number[]): SequenceSet {
  const set = new SequenceSet()
  for (const n of list) set.add(n)
  return set
}

test('a sequence set is a set of numbers', () => {
  fc.assert(
    fc.property(numbers, numbers, numbers, (first, second, holes) => {
      const model = new Set(first)
      const set = setOf(first)
      for (let n = 1; n <= 41; n++) assert.equal(set.has(n), model.has(n))
      assert.equal(set.size, model.size)
      assert.equal(set.highest, Math.max(0, ...model))
      assert.equal(
        set.includes(setOf(second)),
        second.every(n => model.has(n)),
      )
      set.addAll(setOf(second), new Set(holes))
      for (const n of second) if (!holes.includes(n)) model.add(n)
      for (let n = 1; n <= 41; n++) assert.equal(set.has(n), model.has(n), String(n))
      for (let n = 1; n <= 41; n++) assert.equal(set.upTo(20).has(n), model.has(n) && n <= 20)
    }),
  )
})

test('the flat form is canonical and survives', () => {
  fc.assert(
    fc.property(numbers, list => {
      const flat = setOf(list).ranges()
      assert.deepEqual(SequenceSet.from(flat)!.ranges(), flat)
      assert.deepEqual(setOf([...list].reverse()).ranges(), flat)
    }),
  )
})

test('malformed flat forms are refused', () => {
  const bad = [
    null,
    'x',
    [1],
    [0, 4],
    [4, 1],
    [1, 4, 5, 9],
    [1, 4, 3, 9],
    [1.5, 2],
    [1, 2 ** 60],
    new Array(2 * MAX_RANGES + 2),
  ]
  for (const flat of bad) assert.equal(SequenceSet.from(flat), undefined, JSON.stringify(flat))
  fc.assert(fc.property(fc.anything(), value => void parseVector(value)))
})

test('ranges are bounded, and what is forgotten is the highest', () => {
  const set = new SequenceSet()
  for (let n = 1; n < 1000; n += 2) set.add(n)
  assert.equal(set.ranges().length, 2 * MAX_RANGES)
  assert.equal(set.has(1), true)
  assert.equal(set.has(999), false)
})

test('vectors are bounded, checked and ordered', () => {
  const origin = (n: number) => `${n.toString(16).padStart(20, '0')}/${'0'.repeat(16)}` as const
  assert.equal(parseVector({ 'no origin': [1, 2] }), undefined)
  assert.equal(parseVector([]), undefined)
  const many = Object.fromEntries(Array.from({ length: MAX_ORIGINS + 1 }, (_, n) => [origin(n), [1, 1]]))
  assert.equal(parseVector(many), undefined)
  const some = parseVector({ [origin(2)]: [1, 5], [origin(1)]: [2, 3] })!
  assert.deepEqual(Object.keys(toVector(some)), [origin(1), origin(2)])
  assert.equal(covers(some, parseVector({ [origin(2)]: [2, 4] })!), true)
  assert.equal(covers(some, parseVector({ [origin(2)]: [2, 6] })!), false)
})
