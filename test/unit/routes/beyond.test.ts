// A client through which a prefix is reached that others lead to as well, at a controller whose clock is set.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { Beyond, type BeyondInit } from '../../../node/beyond.ts'
import { steadyNow } from '../../../node/steady-clock.ts'

const HOUR_MS = 3_600_000

/** A client that answers no questions. */
async function start(t: TestContext) {
  let passed = performance.now()
  let set = 0
  const { timeOrigin } = performance
  t.mock.method(performance, 'now', () => passed)
  t.mock.method(Date, 'now', () => timeOrigin + passed + set)
  let heardAt = steadyNow()
  const parts = {
    home: { directory: { readIfThere: async () => undefined, remove: async () => {} }, id: 'alpha' },
    network: { tun: null, sendEcho: () => true, heardAt: () => heardAt },
    routes: { contested: () => [{ id: 'route', port: 1, address: 1 }], probes: () => [] },
    logger: pino({ level: 'silent' }),
    device: () => undefined,
  }
  const beyond = await Beyond.start(parts as unknown as BeyondInit)
  t.after(() => beyond.stop())
  return {
    failing: () => beyond.reach.failing,
    /** The system's clock is set. */
    set(ms: number): void {
      set += ms
    },
    /** Time passes in which it is heard, or not; ms until `failing` changed. */
    run(ms: number, isHeard: boolean): number | undefined {
      let changed: number | undefined
      const before = beyond.reach.failing.length
      for (let at = 100; at <= ms; at += 100) {
        passed += 100
        if (isHeard) heardAt = steadyNow()
        beyond.poll()
        if (beyond.reach.failing.length !== before) changed ??= at
      }
      return changed
    },
  }
}

for (const [how, ms] of [
  ['back', -HOUR_MS],
  ['ahead', HOUR_MS],
] as const) {
  test(`a client that falls silent is passed over as soon, and used again, when the clock was set ${how}`, async t => {
    const client = await start(t)
    assert.equal(client.run(5000, true), undefined)
    const gone = client.run(5000, false)
    const back = client.run(10_000, true)
    assert.ok(gone !== undefined && back !== undefined)
    client.set(ms)
    assert.equal(client.run(5000, true), undefined, 'one that is heard is not passed over')
    assert.equal(client.run(5000, false), gone)
    assert.deepEqual(client.failing(), ['route'])
    client.set(ms)
    assert.equal(client.run(10_000, true), back)
    assert.deepEqual(client.failing(), [])
  })
}
