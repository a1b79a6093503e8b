import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ViaWatch } from '../../../node/via-watch.ts'

test('a client that is silent for three seconds is passed over, and used again when it was heard for three', () => {
  const watch = new ViaWatch()
  const seen: string[] = []
  let heardAt = 1_000_000
  for (let ms = 0; ms <= 20_000; ms += 500) {
    const now = 1_000_000 + ms
    // A packet a second, with two breaks: one of 5 s, and one of 2 s soon after.
    const isBreak = (ms > 5000 && ms < 10_000) || (ms > 11_000 && ms < 13_000)
    if (ms % 1000 === 0 && !isBreak) heardAt = now
    if (watch.look(now, [{ id: 'a', heardAt }])) seen.push(`${ms} ${watch.failing.join()}`)
  }
  assert.deepEqual(seen, ['8000 a', '12500 '])
})

test('what is no via here any more is forgotten', () => {
  const watch = new ViaWatch()
  assert.equal(watch.look(5000, [{ id: 'a', heardAt: 0 }]), true)
  assert.equal(watch.look(5500, []), true)
  assert.deepEqual(watch.failing, [])
})
