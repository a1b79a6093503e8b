import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_SKEW_MS } from '../../../state/clock.ts'
import { Holding, MAX_HELD_BYTES, MAX_HELD_MS, MAX_HELD_RECORDS } from '../../../state/holding.ts'
import { identity, record, START } from './samples.ts'

const late = (sequence: number, time = START) =>
  record({ kind: 'setting', id: 'x', value: null, author: 1, sequence, time })

test('what is held is bounded in number and in bytes', () => {
  const base = late(1)
  const byNumber = new Holding()
  for (let i = 1; i <= MAX_HELD_RECORDS; i++) {
    assert.equal(byNumber.hold({ ...base, sequence: i }, new Uint8Array(10), START), true)
  }
  assert.equal(byNumber.hold({ ...base, sequence: MAX_HELD_RECORDS + 1 }, new Uint8Array(10), START), false)
  assert.equal(
    byNumber.hold({ ...base, sequence: 1 }, new Uint8Array(10), START),
    true,
    'it is there already',
  )
  assert.equal(byNumber.size, MAX_HELD_RECORDS)
  const byBytes = new Holding()
  const large = new Uint8Array(65_536)
  for (let i = 1; i <= MAX_HELD_BYTES / large.length; i++)
    byBytes.hold({ ...base, sequence: i }, large, START)
  assert.equal(byBytes.hold({ ...base, sequence: 999_999 }, large, START), false)
  assert.equal(byBytes.bytes, MAX_HELD_BYTES)
})

test('a record comes out with its author, when its time has come, or is let go', () => {
  const holding = new Holding()
  holding.hold(late(1), new Uint8Array(1), START)
  holding.hold(late(2, START + MAX_SKEW_MS + 1000), new Uint8Array(1), START)
  assert.equal(holding.deadline(), START + 1000)
  assert.equal(holding.take(START + 999).length, 0)
  assert.deepEqual(
    holding.take(START + 1000).map(({ record }) => record.sequence),
    [2],
  )
  assert.deepEqual(
    holding.take(START + 1000, new Set([identity(1).id])).map(({ record }) => record.sequence),
    [1],
  )
  assert.equal(holding.deadline(), undefined)
  holding.hold(late(3), new Uint8Array(1), START)
  assert.equal(holding.take(START + MAX_HELD_MS + 1).length, 0)
  assert.equal(holding.size, 0)
  assert.equal(holding.bytes, 0)
})
