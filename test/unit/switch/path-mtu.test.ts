// The search for a path's MTU against paths of the test's, on a clock of the test's.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { EPOCH_OVERHEAD } from '../../../node/switch/epoch-key.ts'
import { AEAD_OVERHEAD } from '../../../node/switch/keys.ts'
import { BASE_MTU, BASE_SIZE, PathMtu } from '../../../node/switch/path-mtu.ts'

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

/** What is to be sent at a time, of a link with a round trip of `rtt` that was heard of at `heardAt`. */
function asked(path: PathMtu, now: number, rtt = 0, heardAt = now): number[] {
  return [...path.sizes.subarray(0, path.tick(now, rtt, heardAt))]
}

/** Runs over a path of `mtu`: when each size was asked for, and answered or not. */
function times(path: PathMtu, from: number, until: number, mtu: number): Map<number, number[]> {
  const times = new Map<number, number[]>()
  for (let now = from; now < until; now += TICK) {
    for (const size of asked(path, now)) {
      times.set(size, [...(times.get(size) ?? []), now])
      if (size <= mtu) path.answered(size, path.sequence)
    }
  }
  return times
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
  for (let now = 10_000; now < 30_000; now += TICK) {
    const sizes = asked(path, now, 30, 10_000)
    assert.ok(sizes.length === 0 || sizes.includes(LIMIT), 'it is asked again and again')
  }
  assert.deepEqual([path.searching, path.size], [true, LIMIT])
  run(path, 1000, { mtu: () => 1400 }, 30_000)
  assert.deepEqual([path.searching, path.size], [false, 1400])
})

test('answers to other searches, and of sizes never asked, are not taken', () => {
  const path = fitted()
  path.tick(0, 30, 0)
  assert.equal(path.answered(1460, path.sequence + 1), false)
  for (const size of [0, 1279, 1280, 1461, 1480, 1500, 65_535]) path.answered(size, path.sequence)
  assert.equal(path.size, BASE_SIZE)
  assert.equal(path.answered(1460, path.sequence), true)
  for (const size of [1400, 1460]) assert.equal(path.answered(size, path.sequence), false)
  assert.equal(path.size, 1460)
  const before = path.sequence
  path.search()
  assert.equal(path.answered(LIMIT, before), false)
  // It goes around.
  path.sequence = 0xffffffff
  path.search()
  assert.equal(path.sequence, 0)
})

test('a search asks three times for what was not answered yet, in ascending order: equal sizes would be merged into one segmented send', () => {
  const path = fitted(1600)
  assert.deepEqual(asked(path, 0), [1300, 1340, 1360, 1380, 1400, 1420, 1460, 1472, 1480, 1492, 1500, 1600])
  path.answered(1480, path.sequence)
  path.answered(1420, path.sequence)
  assert.deepEqual(asked(path, 200), [1492, 1500, 1600])
  assert.deepEqual(asked(path, 400), [1492, 1500, 1600])
  assert.equal(path.searching, true)
  assert.deepEqual(asked(path, 600), [1480], 'what was found is confirmed at once')
  assert.deepEqual([path.searching, path.size], [false, 1480])
})

test('for the last answers of a search it is waited as long as two round trips take, and 180 ms at the least', () => {
  for (const [rtt, patience] of [
    [0, 180],
    [90, 180],
    [150, 300],
  ]) {
    const path = fitted()
    for (const now of [0, 200, 400, 400 + patience - 1]) {
      asked(path, now, rtt, 1)
      assert.equal(path.searching, true)
    }
    asked(path, 400 + patience, rtt, 1)
    assert.equal(path.searching, false, `${rtt}`)
  }
})

test('the size in use is asked for each 600 ms; what no answer comes to, of its size or a larger one, is searched anew', () => {
  const path = fitted()
  assert.deepEqual(times(path, 0, 4000, 1500).get(LIMIT)!.slice(0, 5), [0, 600, 1200, 1800, 2400])
  assert.equal(path.searching, false)
  assert.deepEqual(asked(path, 4200), [LIMIT])
  path.answered(1300, path.sequence)
  asked(path, 4200 + 179)
  assert.equal(path.searching, false)
  asked(path, 4200 + 180)
  assert.equal(path.searching, true)
})

test('larger sizes are tried again after 1, 2, 4 and 8 seconds, then each 9.5, as part of what is asked anyway', () => {
  const path = fitted()
  for (const from of [0, 60_000]) {
    const tried = times(path, from, from + 40_000, 1300).get(LIMIT)!
    const seconds = tried.map(now => (now - from) / 1000)
    assert.deepEqual(seconds, [0, 0.2, 0.4, 1.8, 4.2, 8.4, 16.8, 26.4, 36])
    path.search()
  }
})

test('where nothing is found nothing is confirmed, and the search is over', () => {
  const path = fitted()
  run(path, 5000, { mtu: () => 1500 })
  const asked = times(path, 5000, 8000, BASE_SIZE)
  assert.equal(path.size, BASE_SIZE)
  const { sequence } = path
  for (const [size, tried] of times(path, 8000, 40_000, BASE_SIZE)) {
    assert.ok(size > BASE_SIZE && tried.length <= 6, `${size}: ${tried}`)
    assert.ok(asked.has(size))
  }
  assert.equal(path.sequence, sequence)
})

test('another limit begins a search, and a lower one counts at once; the same one changes nothing', () => {
  const path = new PathMtu()
  for (const limit of [BASE_SIZE, 1000]) {
    path.fit(limit)
    assert.deepEqual([asked(path, 1000), path.searching], [[], false])
  }
  path.fit(LIMIT)
  times(path, 0, 2000, 1500)
  const { sequence } = path
  path.fit(LIMIT)
  assert.deepEqual([path.searching, path.sequence, path.size], [false, sequence, LIMIT])
  path.fit(1400)
  assert.deepEqual([path.searching, path.size], [true, 1400])
  path.fit(1000)
  assert.deepEqual([path.size, asked(path, 2000)], [BASE_SIZE, []])
})

test('what every path takes leaves room for the longest headers around an overlay packet', () => {
  const [ipv6, udp] = [40, 8]
  assert.ok(BASE_MTU + ipv6 + udp + Math.max(AEAD_OVERHEAD, EPOCH_OVERHEAD) <= BASE_SIZE)
})
