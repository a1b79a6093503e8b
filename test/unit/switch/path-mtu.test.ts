// The search for a path's MTU against paths of the test's, on a clock of the test's.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BASE_SIZE, PathMtu } from '../../../node/switch/path-mtu.ts'

const TICK = 200
const LIMIT = 1472

interface Network {
  /** The longest packet that passes at a time. */
  mtu: (now: number) => number
  /** Whether a packet that fits passes. */
  lucky?: () => boolean
  rtt?: number
}

/** Runs a search for so long; what the size in use was after each tick, and how many bytes were sent. */
function run(path: PathMtu, milliseconds: number, { mtu, lucky = () => true, rtt = 30 }: Network, start = 0) {
  const sizes: number[] = []
  const answers: { at: number; size: number; sequence: number }[] = []
  let bytes = 0
  for (let now = start; now < start + milliseconds; now += 10) {
    while (answers.length > 0 && answers[0].at <= now) {
      const { size, sequence } = answers.shift()!
      path.answered(size, sequence)
    }
    if (now % TICK !== 0) continue
    const count = path.tick(now, rtt, now - 50)
    for (let i = 0; i < count; i++) {
      const size = path.sizes[i]
      bytes += size
      if (size <= mtu(now) && lucky()) answers.push({ at: now + rtt, size, sequence: path.sequence })
    }
    sizes.push(path.size)
  }
  return { sizes, bytes }
}

function fitted(limit = LIMIT): PathMtu {
  const path = new PathMtu()
  path.fit(limit)
  return path
}

test('the largest usual size that passes is found within two ticks', () => {
  for (const [mtu, found] of [
    [1500, LIMIT],
    [1472, LIMIT],
    [1471, 1460],
    [1400, 1400],
    [1399, 1380],
    [1281, BASE_SIZE],
    [1000, BASE_SIZE],
  ]) {
    const path = fitted()
    assert.equal(run(path, 500, { mtu: () => mtu }).sizes.at(-1), found, `path of ${mtu}`)
  }
})

test('a path that becomes narrower is noticed within two seconds, one that widens within eleven', () => {
  const path = fitted()
  run(path, 60_000, { mtu: () => 1500 })
  let now = 60_000
  for (const wait of [0, 10, 150, 210, 390, 550]) {
    const { sizes } = run(path, 2000 + wait, { mtu: at => (at < now + wait ? 1500 : 1380) }, now)
    assert.equal(sizes.at(-1), 1380, `cut ${wait} ms later`)
    run(path, 30_000 - wait, { mtu: () => 1500 }, now + 2000 + wait)
    assert.equal(path.size, LIMIT)
    now += 32_000
  }
  run(path, 60_000, { mtu: () => 1300 }, now)
  assert.equal(path.size, 1300)
  run(path, 11_000, { mtu: () => 1500 }, now + 60_000)
  assert.equal(path.size, LIMIT)
})

test('never larger than the path for longer than two seconds, whatever the path does', () => {
  const steps = fc.array(fc.tuple(fc.integer({ min: 1280, max: 1500 }), fc.integer({ min: 10, max: 60 })), {
    minLength: 1,
    maxLength: 8,
  })
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 150 }), (steps, rtt) => {
      const path = fitted()
      let now = 0
      for (const [mtu, ticks] of steps) {
        const { sizes } = run(path, ticks * TICK, { mtu: () => mtu, rtt }, now)
        for (const size of sizes.slice(10)) assert.ok(size <= mtu, `${size} on a path of ${mtu}`)
        now += ticks * TICK
      }
    }),
  )
})

test('a path with a tenth of loss keeps its size nearly all the time', () => {
  let state = 1
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  const { sizes } = run(fitted(), 600_000, { mtu: () => 1500, lucky: () => random() > 0.1 })
  const kept = sizes.filter(size => size === LIMIT).length / sizes.length
  assert.ok(kept > 0.99, `${kept}`)
})

test('little is sent when nothing changes', () => {
  const path = fitted()
  run(path, 10_000, { mtu: () => 1500 })
  const wide = run(path, 60_000, { mtu: () => 1500 }, 10_000).bytes / 60
  assert.ok(wide < 3000, `${wide} bytes a second on a wide path`)
  const narrow = fitted()
  run(narrow, 30_000, { mtu: () => 1300 })
  const searching = run(narrow, 60_000, { mtu: () => 1300 }, 30_000).bytes / 60
  assert.ok(searching < 8000, `${searching} bytes a second where larger sizes are tried`)
})

test('while the link is silent, silence says nothing of sizes', () => {
  const path = fitted()
  run(path, 10_000, { mtu: () => 1500 })
  path.search()
  for (let now = 10_000; now < 30_000; now += TICK) path.tick(now, 30, 9_900)
  assert.equal(path.size, LIMIT)
})

test('answers to other searches, and of sizes never asked, are not taken', () => {
  const path = fitted()
  path.tick(0, 30, 0)
  assert.equal(path.answered(1460, path.sequence + 1), false)
  for (const size of [0, 1279, 1280, 1461, 1480, 1500, 65_535]) path.answered(size, path.sequence)
  assert.equal(path.size, BASE_SIZE)
  assert.equal(path.answered(1460, path.sequence), true)
  assert.equal(path.answered(1400, path.sequence), false)
  assert.equal(path.size, 1460)
})

test('sizes go out in ascending order, so that they are never merged into one segmented send', () => {
  const path = fitted(1500)
  const count = path.tick(0, 0, 0)
  const sizes = [...path.sizes.subarray(0, count)]
  assert.deepEqual(
    sizes,
    [...new Set(sizes)].sort((a, b) => a - b),
  )
  assert.equal(sizes.at(-1), 1500)
})
