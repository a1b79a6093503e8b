// When packets are let gather, and when not.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_DELAY, Moderation } from '../../../node/switch/moderation.ts'

const BULK = 1000
const SMALL = 100

/** The delay after a while of so many packets a second, told turn by turn. */
function settled(packetsPerSecond: number, turnsPerSecond: number, size = BULK): number {
  const time = { now: 0 }
  const moderation = new Moderation(time)
  const packets = packetsPerSecond / turnsPerSecond
  let delay = 0
  for (let turn = 1; turn <= turnsPerSecond / 10; turn++) {
    time.now = (turn / turnsPerSecond) * 1000
    delay = moderation.after(packets, packets * size)
  }
  return delay
}

test('quiet traffic is never delayed', () => {
  for (const rate of [1, 100, 1000, 5000]) assert.equal(settled(rate, rate), 0)
  for (const rate of [1, 100, 1000, 10_000, 20_000]) assert.equal(settled(rate, rate, SMALL), 0)
})

test('a bulk transfer waits a millisecond at most, small packets less than a third of that', () => {
  for (const rate of [10_000, 30_000]) assert.equal(settled(rate, 3000), MAX_DELAY.bulk)
  for (const rate of [30_000, 60_000]) assert.equal(settled(rate, 3000, SMALL), MAX_DELAY.small)
  assert.deepEqual(MAX_DELAY, { bulk: 1_000_000, small: 300_000, control: 2_000_000 })
})

test('at very high rates a batch is full sooner, and the wait is shorter', () => {
  assert.ok(settled(600_000, 10_000) < MAX_DELAY.bulk / 10)
  assert.ok(settled(600_000, 10_000, SMALL) < MAX_DELAY.small / 2)
})

test('the delay ends when the traffic does', () => {
  const time = { now: 0 }
  const moderation = new Moderation(time)
  const turn = (packets: number, number: number): number => {
    time.now = number * 0.15
    return moderation.after(packets, packets * BULK)
  }
  for (let i = 1; i <= 100; i++) turn(20, i)
  assert.ok(turn(20, 101) > 0)
  // Nothing comes, turn after turn of the delay's length: within a few windows it is over.
  assert.ok(Array.from({ length: 100 }, (_, i) => turn(0, 102 + i)).includes(0))
})

test('control packets gather while the main thread is behind, and only then', () => {
  const time = { now: 0 }
  const moderation = new Moderation(time)
  const after = (behind: boolean): number => {
    time.now += 0.5
    return moderation.after(1, 0, behind)
  }
  assert.deepEqual([after(false), after(true), after(false)], [0, MAX_DELAY.control, 0])
  // What is switched is never held up by them.
  for (let i = 0; i < 100; i++) {
    time.now += 0.15
    moderation.after(20, 20 * BULK)
  }
  const delay = moderation.after(20, 20 * BULK, true)
  assert.ok(delay > 0 && delay <= MAX_DELAY.bulk)
})
