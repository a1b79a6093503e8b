import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_PACKET_ID, ReplayWindows } from '../../../node/switch/replay.ts'

test('an id is accepted once, and checking alone changes nothing', () => {
  const windows = new ReplayWindows(1)
  assert.ok(windows.check(0, 1))
  assert.ok(windows.check(0, 1))
  windows.mark(0, 1)
  assert.ok(!windows.check(0, 1))
  assert.equal(windows.highest(0), 1)
})

test('id 0, and what is no id, is never accepted', () => {
  const windows = new ReplayWindows(1)
  for (const id of [0, -1, Number.NaN, MAX_PACKET_ID + 1, Number.POSITIVE_INFINITY]) {
    assert.ok(!windows.check(0, id))
    windows.mark(0, id)
    assert.equal(windows.highest(0), 0)
  }
})

test('the oldest id of the window is accepted, the one before it is not', () => {
  const windows = new ReplayWindows(1, 2048)
  assert.equal(windows.window, 2016)
  windows.mark(0, 10_000)
  assert.ok(windows.check(0, 10_000 - 2015))
  assert.ok(!windows.check(0, 10_000 - 2016))
  windows.mark(0, 10_000 - 2016)
  assert.ok(windows.check(0, 10_001), 'marking what is refused leaves no trace')
})

test('the whole range of both id formats works, over a jump beyond 2^32 too', () => {
  const windows = new ReplayWindows(1)
  for (const id of [1, 2 ** 31, 0xffffffff, 2 ** 32 + 5, 2 ** 40, MAX_PACKET_ID]) {
    assert.ok(windows.check(0, id))
    windows.mark(0, id)
    assert.ok(!windows.check(0, id))
    assert.ok(windows.check(0, id - 1) || id === 1)
  }
})

test('slots do not touch each other, and a reset slot is like new', () => {
  const windows = new ReplayWindows(3, 64)
  for (let id = 1; id <= 500; id++) windows.mark(1, id)
  for (const slot of [0, 2]) for (let id = 1; id <= 500; id++) assert.ok(windows.check(slot, id))
  windows.reset(1)
  for (let id = 1; id <= 500; id++) assert.ok(windows.check(1, id))
})

test('sizes that cannot be are refused', () => {
  for (const [slots, bits] of [
    [0, 2048],
    [1.5, 2048],
    [1, 32],
    [1, 100],
    [1, 2 ** 21],
  ]) {
    assert.throws(() => new ReplayWindows(slots, bits), RangeError)
  }
})
