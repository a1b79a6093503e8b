import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Backoff } from '../../../node/ipsec/strongswan/backoff.ts'
import { Dialer } from '../../../node/ipsec/strongswan/dialer.ts'

const idle = (): boolean => false

/** Times at which a tunnel is dialled that never comes up, looked at every 100 ms. */
function attempts(dialer: Dialer, untilMs: number, from = 0): number[] {
  const times: number[] = []
  for (let now = from; now <= untilMs; now += 100) if (dialer.due(now, idle).length > 0) times.push(now)
  return times
}

test('dials at once, then ever more rarely, and for good', () => {
  const dialer = new Dialer(() => 0.5)
  dialer.set(['a'], 0)
  const times = attempts(dialer, 10 * 60_000)
  assert.deepEqual(times.slice(0, 6), [0, 1000, 3000, 7000, 15_000, 30_000])
  const gaps = times.slice(6).map((time, index) => time - times[index + 5])
  assert.ok(gaps.every(gap => gap === 15_000))
  assert.ok(dialer.isWaiting)
})

test('chance moves each by a fifth', () => {
  for (const [random, second] of [
    [0, 800],
    [0.999, 1200],
  ] as const) {
    const dialer = new Dialer(() => random)
    dialer.set(['a'], 0)
    assert.equal(attempts(dialer, 2000)[1], second)
  }
})

test('does not dial what is up, under way or not wanted any more', () => {
  const dialer = new Dialer(() => 0.5)
  dialer.set(['a', 'b'], 0)
  assert.deepEqual(
    dialer.due(0, id => id === 'a'),
    ['b'],
  )
  assert.deepEqual(dialer.due(10, idle), ['a'])
  dialer.up('a', 20)
  dialer.set(['a'], 30)
  assert.deepEqual(dialer.due(60_000, idle), [])
  assert.equal(dialer.isWaiting, false)
})

test('one that was steady is dialled at once when it is lost; one that is thrown out each time is not', () => {
  const dialer = new Dialer(() => 0.5)
  dialer.set(['a'], 0)
  dialer.due(0, idle)
  dialer.up('a', 100)
  dialer.down('a', 20_000)
  assert.deepEqual(dialer.due(20_000, idle), ['a'])
  dialer.up('a', 20_100)
  dialer.down('a', 20_200)
  assert.deepEqual(dialer.due(20_300, idle), [])
  assert.deepEqual(dialer.due(21_000, idle), ['a'])
  dialer.hurry('a', 21_100)
  assert.deepEqual(dialer.due(21_100, idle), ['a'])
})

test('a daemon that dies once is back at once, one that does so again and again is not', () => {
  const backoff = new Backoff()
  assert.equal(backoff.next(3_600_000), 0)
  assert.deepEqual(
    Array.from({ length: 7 }, () => backoff.next(100)),
    [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000],
  )
  assert.equal(backoff.next(60_000), 0)
})
