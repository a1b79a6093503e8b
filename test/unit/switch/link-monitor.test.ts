// A link's state from its probes alone, on a clock of the test's.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DOWN_AFTER, LinkMonitor, PROBE_INTERVAL } from '../../../node/switch/link-monitor.ts'

/** Probes by the interval; `answer` says after how many milliseconds each is answered, undefined for never. */
function play(probes: number, answer: (i: number) => number | undefined, monitor = new LinkMonitor()) {
  const pending: { at: number; sequence: number }[] = []
  const changes: { at: number; up: boolean }[] = []
  let up = monitor.up
  const note = (at: number): void => {
    if (monitor.up !== up) changes.push({ at, up: monitor.up })
    up = monitor.up
  }
  for (let now = 0; now < probes * PROBE_INTERVAL; now++) {
    if (now % PROBE_INTERVAL === 0) {
      const after = answer(now / PROBE_INTERVAL)
      const sequence = monitor.sent(now)
      if (after !== undefined) pending.push({ at: now + after, sequence })
    }
    for (const { sequence } of pending.filter(({ at }) => at === now)) monitor.answered(sequence, now)
    note(now)
    monitor.expire(now)
    note(now)
  }
  return { monitor, changes }
}

test('two answers in a row bring it up; every second one does not', () => {
  assert.deepEqual(play(5, () => 10).changes, [{ at: 210, up: true }])
  assert.deepEqual(play(50, i => (i % 2 === 0 ? 10 : undefined)).changes, [])
})

test('it is down when nothing was answered for so long, and stays up with every third answer', () => {
  const { changes } = play(30, i => (i < 10 ? 10 : undefined))
  assert.deepEqual(changes.at(-1), { at: 9 * PROBE_INTERVAL + 10 + DOWN_AFTER, up: false })
  assert.equal(play(60, i => (i < 2 || i % 3 === 0 ? 10 : undefined)).monitor.up, true)
})

test('a long way is no reason to be down', () => {
  const { monitor, changes } = play(50, () => 1500)
  assert.deepEqual(changes, [{ at: 1700, up: true }])
  assert.equal(monitor.rtt, 1500)
  assert.equal(monitor.loss(), 0)
})

test('answers to what was sent before it went down do not bring it up', () => {
  const monitor = new LinkMonitor()
  const sequences = [0, 200, 400, 600].map(at => monitor.sent(at))
  monitor.answered(sequences[0], 10)
  monitor.answered(sequences[1], 210)
  assert.ok(monitor.expire(910))
  monitor.answered(sequences[2], 920)
  monitor.answered(sequences[3], 920)
  assert.equal(monitor.up, false)
})

test('loss is that of the last 50 whose answers could be here', () => {
  assert.equal(play(200, i => (i % 5 === 0 ? undefined : 20)).monitor.loss(), 20)
  assert.equal(play(200, i => (i < 100 ? undefined : 20)).monitor.loss(), 0)
  assert.equal(play(3, () => 20).monitor.loss(), 0)
})

test('the round trip is smoothed, and starts anew on a new path', () => {
  const monitor = new LinkMonitor()
  monitor.answered(monitor.sent(0), 80)
  monitor.answered(monitor.sent(200), 200)
  assert.deepEqual([monitor.rtt, monitor.lastRtt], [70, 0])
  monitor.moved()
  monitor.answered(monitor.sent(400), 405)
  assert.equal(monitor.rtt, 5)
})

test('what nobody looked for is no silence', () => {
  const { monitor } = play(5, () => 10)
  // The thread stood still for three seconds; the answers are not yet read.
  monitor.excuse(3000, 4000)
  assert.equal(monitor.expire(4000), false)
  assert.ok(monitor.downAt <= 4000 + DOWN_AFTER, 'no longer than if the answer had come now')
})

test('answers twice, from the future, from long ago, or to nothing at all change nothing', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(0xffffffff), { maxLength: 30 }), fc.nat(300), (sequences, sent) => {
      const monitor = new LinkMonitor()
      for (let i = 0; i < sent; i++) monitor.sent(i * PROBE_INTERVAL)
      const now = sent * PROBE_INTERVAL
      for (const [index, sequence] of sequences.entries()) {
        const valid = sequence < sent && sequence >= sent - 64
        assert.equal(monitor.answered(sequence, now), valid && sequences.indexOf(sequence) === index)
        assert.equal(monitor.answered(sequence, now), false)
      }
    }),
  )
})
