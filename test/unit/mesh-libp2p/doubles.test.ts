import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Doubles } from '../../../mesh/libp2p/doubles.ts'
import { identity } from '../state/samples.ts'

const [a, b] = [identity(0).id, identity(1).id]

test('a peer that comes back is one; a second connection again and again is two', () => {
  const doubles = new Doubles()
  for (let second = 0; second < 4; second++) assert.equal(doubles.second(a, second * 1000), false)
  assert.equal(doubles.second(b, 4000), false, 'each is counted for itself')
  assert.equal(doubles.second(a, 4000), true)
  assert.equal(doubles.second(a, 5000), true, 'as long as it goes on')
  assert.equal(doubles.second(a, 60_000), false, 'and not after it ended')
})

test('restarts far apart, and a clock that is set back, are none', () => {
  const doubles = new Doubles()
  for (let turn = 0; turn < 20; turn++) assert.equal(doubles.second(a, turn * 10_000), false)
  for (let turn = 0; turn < 20; turn++) assert.equal(doubles.second(b, -turn * 1000), false)
})
