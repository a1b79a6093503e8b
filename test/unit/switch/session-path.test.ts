import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BASE_SIZE } from '../../../node/switch/path-mtu.ts'
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
  const look = new SessionPath(FULL)
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
      const look = new SessionPath(FULL)
      live(look, { mtu, rtt }, 50_000, 50_000 + (rtt === 1 ? 1500 : 5000))
      assert.equal(look.known, true)
      assert.deepEqual([look.done, look.size], [false, size], `${mtu} ${rtt}`)
      live(look, { mtu, rtt }, 58_000, 110_000)
      assert.deepEqual([look.done, look.size], [false, size], `${mtu} ${rtt}, later`)
    }
  }
})

test('of a client that answers nothing, nothing is said, and it is left in peace', () => {
  const look = new SessionPath(FULL)
  assert.ok(live(look, { mtu: 0 }, 0, 60_000) < 5000)
  assert.deepEqual([look.done, look.size], [true, FULL])
})

test('a silent client is sent few probes, and one long one', () => {
  const look = new SessionPath(FULL)
  let [short, long] = [0, 0]
  for (let now = 0; now < 60_000 && !look.done; now += TICK) {
    const count = look.tick(now)
    if (count >= 0) short++
    if (count > 0) long += count
    if (count > 0) assert.equal(look.sizes[0], FULL)
  }
  assert.deepEqual([short, long], [5, 1])
})

test('a client whose interface comes up late is measured as soon as it answers', () => {
  for (const [mtu, done, size] of [
    [1500, true, FULL],
    [1400, false, 1400],
  ] as const) {
    const look = new SessionPath(FULL)
    live(look, { mtu: 0 }, 0, 2000)
    live(look, { mtu }, 2000, 5000)
    assert.deepEqual([look.known, look.done, look.size], [true, done, size])
  }
})

test('a loss of one packet in four does not make a path narrow', () => {
  let count = 0
  const look = new SessionPath(FULL)
  live(look, { mtu: 1500, lost: () => count++ % 4 !== 3 }, 0, 60_000)
  assert.deepEqual([look.done, look.size], [true, FULL])
})

test('before it is known how narrow a path is, nothing is said of it', () => {
  const look = new SessionPath(FULL)
  live(look, { mtu: 1400 }, 0, 1000)
  assert.deepEqual([look.known, look.size], [false, FULL])
})

test('an answer to the full size that is late is one', () => {
  const look = new SessionPath(FULL)
  look.tick(0)
  look.answered(0, 0, 200)
  assert.ok(look.tick(TICK) > 1)
  look.answered(FULL, 0, 300)
  assert.deepEqual([look.done, look.size], [true, FULL])
})

test('a narrow path that becomes narrower, and wide again, is followed', () => {
  const look = new SessionPath(FULL)
  live(look, { mtu: 1400 }, 0, 200_000)
  live(look, { mtu: 1300 }, 200_000, 222_000)
  assert.equal(look.size, 1300)
  const wide = live(look, { mtu: 1500 }, 222_000, 272_000)
  assert.ok(wide < 244_000, `${wide}`)
  assert.deepEqual([look.done, look.size], [true, FULL])
})

test('answers to what was not asked change nothing', () => {
  const look = new SessionPath(FULL)
  look.tick(0)
  for (const size of [1, 1471, 1473, 65535]) look.answered(size, 0, 10)
  look.answered(FULL, 7, 10)
  assert.equal(look.done, false)
  live(look, { mtu: 1400 }, 250, 6000)
  for (const size of [1401, 1471, 1473, 65535]) look.answered(size, look.sequence, 6000)
  look.answered(FULL, look.sequence + 1, 6000)
  // Nor do those to the first question, once all is known.
  look.answered(FULL, 0, 6000)
  assert.deepEqual([look.done, look.size], [false, 1400])
})

test('nothing is asked of a path whose full size every path takes', () => {
  for (const full of [1252, BASE_SIZE]) {
    const look = new SessionPath(full)
    live(look, { mtu: 1000 }, 0, 60_000)
    assert.deepEqual([look.done, look.size], [true, full])
  }
})

/** How often it asks a client that answers nothing from one time to another, each time with a small probe. */
function questions(look: SessionPath, from: number, until: number): number {
  let count = 0
  for (let now = from; now < until; now += TICK) if (look.tick(now) >= 0) count++
  return count
}

test('a narrow path is looked at each ten seconds', () => {
  const look = new SessionPath(FULL)
  live(look, { mtu: 1400 }, 0, 5000)
  let looks = 0
  for (let now = 5000; now < 65_000; now += TICK) {
    const count = look.tick(now)
    if (count < 0) continue
    looks++
    for (const size of [0, ...look.sizes.subarray(0, count)])
      if (size <= 1400) look.answered(size, look.sequence, now)
  }
  assert.equal(looks, 6)
  assert.equal(look.size, 1400)
})

test('a client that has answered and then falls silent is asked no more than that, and keeps what was found', () => {
  for (const [heard, known] of [
    [500, false],
    [5000, true],
  ] as const) {
    const look = new SessionPath(FULL)
    live(look, { mtu: 1400 }, 0, heard)
    assert.equal(look.known, known)
    questions(look, heard, 60_000)
    assert.ok(questions(look, 60_000, 160_000) <= 10)
    assert.deepEqual([look.done, look.known, look.size], [false, known, known ? 1400 : FULL])
    live(look, { mtu: 1300 }, 160_000, 200_000)
    assert.deepEqual([look.known, look.size], [true, 1300], 'and it is found anew once it answers')
  }
})

test('a client is given twice the time that it takes to answer', () => {
  const look = new SessionPath(FULL)
  const known: boolean[] = []
  for (let now = 0; now <= 1250; now += TICK) {
    look.tick(now)
    known.push(look.known)
    look.answered(0, look.sequence, now + 240)
  }
  assert.deepEqual(known, [false, false, false, false, false, true])
})
