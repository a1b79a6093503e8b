import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allocateCounters, COUNTER, counterCells, readCounters } from '../../../node/switch/counters.ts'

test('every counter has a cell of its own and is read under its name', () => {
  const names = Object.keys(COUNTER) as (keyof typeof COUNTER)[]
  assert.deepEqual(
    Object.values(COUNTER),
    names.map((_, i) => i),
  )
  const memory = allocateCounters()
  const cells = counterCells(memory)
  assert.equal(cells.length, names.length)
  assert.ok(Object.values(readCounters([memory])).every(value => value === 0))
  for (const name of names) cells[COUNTER[name]] += COUNTER[name] + 2 ** 40
  const counters = readCounters([memory])
  for (const name of names) assert.equal(counters[name], COUNTER[name] + 2 ** 40)
})
