import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SessionPath } from '../../../node/switch/session-path.ts'

const FULL = 1472
const TICK = 250

/** A client's path: the longest packet it takes (0: the client answers nothing), its round trip, and what is lost. */
interface Path {
  mtu: number
  rtt?: number
  lost?: () => boolean
}

/** Runs a look until it is over or so many milliseconds have passed; returns when it ended. */
function live(look: SessionPath, path: Path, from: number, until: number): number {
  const answers: { at: number; size: number; sequence: number }[] = []
  for (let now = from; now < until; now += TICK) {
    for (const { size, sequence } of answers.filter(each => each.at <= now && each.at > now - TICK))
      look.answered(size, sequence, now)
    if (look.done) return now
    const count = look.tick(now)
    assert.ok(count <= look.sizes.length)
    if (count < 0) continue
    for (const size of [0, ...look.sizes.subarray(0, count)]) {
      if (size > path.mtu || path.mtu === 0 || path.lost?.()) continue
      answers.push({ at: now + (path.rtt ?? 30), size, sequence: look.sequence })
    }
  }
  return until
}

test('a path that takes the full size is known with the first answer', () => {
  const look = new SessionPath(FULL, 1000)
  assert.ok(live(look, { mtu: 1500 }, 1000, 60_000) <= 1000 + 2 * TICK)
  assert.deepEqual([look.done, look.size], [true, FULL])
})

test('a narrow path is known within a second and a half, on slow ways later, and stays under observation', () => {
  for (const [mtu, size] of [
    [1471, 1460],
    [1400, 1400],
    [1399, 1380],
    [1280, 1280],
    [576, 1280],
  ]) {
    for (const rtt of [1, 600]) {
      const look = new SessionPath(FULL, 0)
      live(look, { mtu, rtt }, 0, rtt === 1 ? 1500 : 5000)
      assert.equal(look.known, true)
      assert.deepEqual([look.done, look.size], [false, size], `${mtu} ${rtt}`)
      live(look, { mtu, rtt }, 8000, 60_000)
      assert.deepEqual([look.done, look.size], [false, size], `${mtu} ${rtt}, later`)
    }
  }
})

test('of a client that answers nothing, nothing is said, and it is left in peace', () => {
  const look = new SessionPath(FULL, 0)
  assert.ok(live(look, { mtu: 0 }, 0, 60_000) < 5000)
  assert.deepEqual([look.done, look.size], [true, FULL])
})

test('a silent client is sent few probes, and one long one', () => {
  const look = new SessionPath(FULL, 0)
  let [short, long] = [0, 0]
  for (let now = 0; now < 60_000 && !look.done; now += TICK) {
    const count = look.tick(now)
    if (count >= 0) short++
    if (count > 0) long += count
  }
  assert.deepEqual([short, long], [5, 1])
})

test('a client whose interface comes up late is measured as soon as it answers', () => {
  for (const [mtu, done, size] of [
    [1500, true, FULL],
    [1400, false, 1400],
  ] as const) {
    const look = new SessionPath(FULL, 0)
    live(look, { mtu: 0 }, 0, 2000)
    live(look, { mtu }, 2000, 5000)
    assert.deepEqual([look.known, look.done, look.size], [true, done, size])
  }
})

test('a loss of one packet in four does not make a path narrow', () => {
  let count = 0
  const look = new SessionPath(FULL, 0)
  live(look, { mtu: 1500, lost: () => count++ % 4 !== 3 }, 0, 60_000)
  assert.deepEqual([look.done, look.size], [true, FULL])
})

test('before it is known how narrow a path is, nothing is said of it', () => {
  const look = new SessionPath(FULL, 0)
  live(look, { mtu: 1400 }, 0, 1000)
  assert.deepEqual([look.known, look.size], [false, FULL])
})

test('an answer to the full size that is late is one', () => {
  const look = new SessionPath(FULL, 0)
  look.tick(0)
  look.answered(0, 0, 200)
  assert.ok(look.tick(TICK) > 1)
  look.answered(FULL, 0, 300)
  assert.deepEqual([look.done, look.size], [true, FULL])
})

test('a narrow path that becomes narrower, and wide again, is followed', () => {
  const look = new SessionPath(FULL, 0)
  live(look, { mtu: 1400 }, 0, 5000)
  live(look, { mtu: 1300 }, 5000, 40_000)
  assert.equal(look.size, 1300)
  const wide = live(look, { mtu: 1500 }, 40_000, 90_000)
  assert.ok(wide < 62_000, `${wide}`)
  assert.deepEqual([look.done, look.size], [true, FULL])
})

test('answers to what was not asked change nothing', () => {
  const look = new SessionPath(FULL, 0)
  look.tick(0)
  for (const size of [1, 1471, 1473, 65535]) look.answered(size, 0, 10)
  look.answered(FULL, 7, 10)
  assert.equal(look.done, false)
  live(look, { mtu: 1400 }, 250, 6000)
  for (const size of [1401, 1471, 1473, 65535]) look.answered(size, look.sequence, 6000)
  look.answered(FULL, look.sequence + 1, 6000)
  assert.deepEqual([look.done, look.size], [false, 1400])
})

test('nothing is asked of a path whose full size every path takes', () => {
  const look = new SessionPath(1252, 0)
  live(look, { mtu: 1000 }, 0, 60_000)
  assert.deepEqual([look.done, look.size], [true, 1252])
})
