import assert from 'node:assert/strict'
import { test } from 'node:test'
import { IcmpLimiter } from '../../../node/switch/icmp-limiter.ts'

/** Tokens that can be taken at one moment. */
function taken(limiter: IcmpLimiter, address: number, now: number): number {
  let count = 0
  while (count < 10_000 && limiter.take(address, now)) count++
  return count
}

test('a source gets its burst, then its rate', () => {
  const limiter = new IcmpLimiter({ perSecond: 1e6, burst: 1e6, perSourcePerSecond: 10, perSourceBurst: 5 })
  const now = 1_700_000_000_000
  assert.equal(taken(limiter, 1, now), 5)
  assert.equal(taken(limiter, 1, now + 99), 0)
  assert.equal(taken(limiter, 1, now + 100), 1)
  assert.equal(taken(limiter, 1, now + 400), 3)
  assert.equal(taken(limiter, 1, now + 60_000), 5, 'no more than the burst, however long the rest')
})

test('one source does not take the tokens of the others', () => {
  const limiter = new IcmpLimiter({ perSecond: 100, burst: 40, perSourcePerSecond: 10, perSourceBurst: 5 })
  assert.equal(taken(limiter, 0x0a4d0001, 0), 5)
  for (let i = 0; i < 1000; i++) assert.equal(limiter.take(0x0a4d0001, 0), false)
  assert.equal(taken(limiter, 0x0a4d0002, 0), 5)
})

test('all sources together get no more than the common burst and rate', () => {
  const limiter = new IcmpLimiter({ perSecond: 100, burst: 40, perSourcePerSecond: 10, perSourceBurst: 5 })
  const all = (now: number) => {
    let count = 0
    for (let i = 0; i < 5000; i++) if (limiter.take(0x0a4d0000 + i, now)) count++
    return count
  }
  assert.equal(all(1000), 40)
  assert.equal(all(1100), 10)
  assert.equal(all(1100), 0)
  assert.equal(all(9000), 40)
})

test('a clock that is set back does not silence the limiter', () => {
  const limiter = new IcmpLimiter({ perSecond: 100, burst: 10, perSourcePerSecond: 100, perSourceBurst: 10 })
  taken(limiter, 1, 1_000_000)
  assert.equal(taken(limiter, 1, 5000), 10)
  assert.equal(taken(limiter, 1, 5000), 0)
})

test('addresses with the top bit set are sources like any other', () => {
  const limiter = new IcmpLimiter({ perSourceBurst: 3, perSourcePerSecond: 1 })
  assert.equal(taken(limiter, 0xc0a80001, 0), 3)
  assert.equal(taken(limiter, 0xffffffff, 0), 3)
})
