import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { steadyNow } from '../../../node/steady-clock.ts'
import { Gathered, Turns } from '../../../node/turns.ts'

function clockOf(context: TestContext) {
  context.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 })
  const { now } = Date
  context.mock.method(performance, 'now', () => now() - performance.timeOrigin)
  return context.mock.timers
}

describe('turns', () => {
  test('come when they are due, and within the longest pause', context => {
    const clock = clockOf(context)
    const at: number[] = []
    const due = [1_000_300]
    const turns = new Turns(() => {
      at.push(Date.now())
      return due.shift() ?? Number.POSITIVE_INFINITY
    }, 1000)
    turns.soon()
    for (let ms = 0; ms < 2500; ms++) clock.tick(1)
    turns.stop()
    assert.deepEqual(at.slice(1), [1_000_300, 1_001_300, 1_002_300])
  })

  test('come at once when something has happened, once for many', context => {
    const clock = clockOf(context)
    let turnsTaken = 0
    const turns = new Turns(() => {
      turnsTaken++
      return Number.POSITIVE_INFINITY
    }, 1000)
    turns.soon()
    turns.soon()
    clock.tick(1)
    assert.equal(turnsTaken, 1)
    turns.soon()
    clock.tick(1)
    assert.equal(turnsTaken, 2)
    turns.stop()
    turns.soon()
    clock.tick(5000)
    assert.equal(turnsTaken, 2)
  })

  for (const [how, ms] of [
    ['back', -3_600_000],
    ['ahead', 3_600_000],
  ] as const)
    test(`come as they would have when the clock is set ${how}`, context => {
      const clock = clockOf(context)
      const begun = steadyNow()
      const at: number[] = []
      const turns = new Turns(() => {
        at.push(steadyNow() - begun)
        return steadyNow() + 300
      }, 1000)
      turns.soon()
      clock.tick(1)
      const { now } = Date
      context.mock.method(Date, 'now', () => now() + ms)
      for (let passed = 1; passed < 150; passed++) clock.tick(1)
      turns.soon()
      for (let passed = 150; passed < 700; passed++) clock.tick(1)
      turns.stop()
      assert.deepEqual(at, [1, 151, 451])
    })
})

test('what is gathered is done at once, then once for all that ask within a moment', context => {
  const clock = clockOf(context)
  const at: number[] = []
  const gathered = new Gathered(() => at.push(Date.now() - 1_000_000), 20, 500)
  gathered.ask()
  clock.tick(1)
  assert.equal(at.length, 1)
  for (let i = 0; i < 100; i++) gathered.ask()
  clock.tick(10)
  assert.equal(at.length, 1)
  clock.tick(20)
  assert.equal(at.length, 2)
  gathered.ask()
  gathered.stop()
  gathered.ask()
  clock.tick(100)
  assert.equal(at.length, 2)
})

describe('what is gathered and takes long', () => {
  /** Asks all the time; when the work was begun, ms. */
  function begun(context: TestContext, takes: number, until: number): number[] {
    const clock = clockOf(context)
    const at: number[] = []
    const gathered = new Gathered(
      () => {
        at.push(Date.now() - 1_000_000)
        clock.setTime(Date.now() + takes)
      },
      20,
      500,
    )
    while (Date.now() < 1_000_000 + until) {
      gathered.ask()
      clock.tick(1)
    }
    gathered.stop()
    return at
  }

  test('takes a tenth of the time', context => {
    const at = begun(context, 12, 1000)
    assert.ok(at.length >= 7 && at.length <= 9, `${at}`)
  })

  test('is not put off for longer than it may be', context => {
    assert.ok(begun(context, 400, 5000).length >= 5)
  })

  test('is done soon also when the clock was set back', context => {
    const clock = clockOf(context)
    let times = 0
    const gathered = new Gathered(() => times++, 20, 500)
    gathered.ask()
    clock.tick(1)
    clock.setTime(0)
    gathered.ask()
    clock.tick(500)
    assert.equal(times, 2)
    gathered.stop()
  })
})
