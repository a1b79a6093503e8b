// When packets are let gather, and when not.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_DELAY, Moderation } from '../../../node/switch/moderation.ts'

/** The delay after a while of so many packets a second, told turn by turn. */
function settled(packetsPerSecond: number, turnsPerSecond: number): number {
  const moderation = new Moderation()
  let delay = 0
  for (let turn = 1; turn <= turnsPerSecond / 10; turn++) {
    delay = moderation.after(packetsPerSecond / turnsPerSecond, (turn / turnsPerSecond) * 1000)
  }
  return delay
}

test('quiet traffic is never delayed', () => {
  for (const rate of [1, 100, 1000, 10_000, 15_000]) assert.equal(settled(rate, rate), 0)
})

test('busy traffic waits at most half a millisecond', () => {
  for (const rate of [20_000, 30_000, 60_000]) assert.equal(settled(rate, 6000), MAX_DELAY)
  assert.equal(MAX_DELAY, 500_000)
})

test('at very high rates a batch is full sooner, and the wait is shorter', () => {
  assert.ok(settled(600_000, 10_000) < MAX_DELAY / 2)
})

test('the delay ends when the traffic does', () => {
  const moderation = new Moderation()
  const turn = (packets: number, number: number): number => moderation.after(packets, number * 0.15)
  for (let i = 1; i <= 100; i++) turn(20, i)
  assert.ok(turn(20, 101) > 0)
  // Nothing comes, turn after turn of the delay's length: within a few windows it is over.
  assert.ok(Array.from({ length: 100 }, (_, i) => turn(0, 102 + i)).includes(0))
})
