import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ViaWatch, type WatchedVia } from '../../../node/via-watch.ts'

const START = 1_000_000

/** What was seen of a client that is heard once a second but for its breaks, and answers after so many ms or does not. */
function follow(
  roundTripMs: number | undefined,
  isBreak: (ms: number) => boolean,
): { seen: string[]; asked: number } {
  const watch = new ViaWatch()
  const seen: string[] = []
  const answers: number[] = []
  let heardAt = START
  let asked = 0
  for (let ms = 0; ms <= 20_000; ms += 100) {
    const now = START + ms
    if (ms % 1000 === 0 && !isBreak(ms)) heardAt = now
    for (const answer of answers.splice(0, answers.findLastIndex(at => at <= now) + 1)) heardAt = answer
    const ask = () => {
      asked++
      if (roundTripMs !== undefined && !isBreak(ms)) answers.push(now + roundTripMs)
    }
    if (watch.look(now, [{ id: 'a', heardAt, roundTripMs }], ask)) seen.push(`${ms} ${watch.failing.join()}`)
  }
  return { seen, asked }
}

test('a client that answers no questions is passed over after three silent seconds, and used again when it was heard for three', () => {
  // Two breaks: one of 5 s, and one of 2 s soon after.
  const { seen } = follow(undefined, ms => (ms > 5000 && ms < 10_000) || (ms > 11_000 && ms < 13_000))
  assert.deepEqual(seen, ['8000 a', '12900 '])
})

test('one that does is passed over well within a second, whenever it falls silent', () => {
  for (let begin = 5050; begin < 6000; begin += 100) {
    const { seen } = follow(20, ms => ms > begin && ms < begin + 5000)
    const [gone, back] = seen.map(line => Number.parseInt(line, 10))
    assert.ok(gone > begin && gone <= begin + 800, `${begin}: ${gone}`)
    assert.ok(back >= begin + 5000 + 2900, `${begin}: ${back}`)
    assert.equal(seen.length, 2)
  }
})

test('one that is late for a moment is not, and one that is heard and known to answer is not asked', () => {
  assert.deepEqual(follow(20, ms => ms > 5000 && ms < 5400).seen, [])
  const watch = new ViaWatch()
  for (let now = START; now < START + 5000; now += 100)
    watch.look(now, [{ id: 'a', heardAt: now, roundTripMs: 20 }], () => assert.fail('asked'))
})

test('one that is far away has the time that its answers take', () => {
  const far = 700
  assert.deepEqual(follow(far, () => false).seen, [])
  const [gone] = follow(far, ms => ms > 5000 && ms < 10_000).seen.map(line => Number.parseInt(line, 10))
  assert.ok(gone > 5000 + 2 * far && gone <= 5000 + far + 2 * far + 300, `${gone}`)
})

test('whether one answers is found out while it is heard, soon after it came, and then with one question a second', () => {
  const watch = new ViaWatch()
  let asked = 0
  const follow = (from: number, to: number, roundTripMs?: number): number => {
    asked = 0
    for (let ms = from; ms < to; ms += 100)
      watch.look(START + ms, [{ id: 'a', heardAt: START + ms, roundTripMs }], () => {
        asked++
      })
    return asked
  }
  assert.equal(follow(0, 2000), 10)
  assert.equal(follow(2000, 10_000), 8)
  // It answers, and begins anew.
  assert.equal(follow(10_000, 11_000, 20), 0)
  assert.equal(follow(11_000, 13_000), 10)
})

test('one that is killed a moment after it came is passed over as soon as any other', () => {
  const watch = new ViaWatch()
  let gone = 0
  // Its interface is up after 300 ms, it answers within 20, and is killed after 700.
  let roundTripMs: number | undefined
  let heardAt = START
  for (let ms = 0; ms < 5000 && gone === 0; ms += 100) {
    const ask = (): void => {
      if (ms < 300 || ms >= 700) return
      roundTripMs = 20
      heardAt = START + ms + 20
    }
    if (watch.look(START + ms, [{ id: 'a', heardAt, roundTripMs }], ask)) gone = ms
  }
  assert.ok(gone > 700 && gone <= 1500, `${gone}`)
})

test('a pause of the whole process is no silence', () => {
  const watch = new ViaWatch()
  const vias: WatchedVia[] = [{ id: 'a', heardAt: START, roundTripMs: 20 }]
  watch.look(START, vias, () => {})
  assert.equal(
    watch.look(START + 2000, vias, () => {}),
    false,
  )
})

test('what is no via here any more is forgotten', () => {
  const watch = new ViaWatch()
  const vias = [{ id: 'a', heardAt: 0, roundTripMs: undefined }]
  assert.equal(
    watch.look(5000, vias, () => {}),
    true,
  )
  assert.equal(
    watch.look(5500, [], () => {}),
    true,
  )
  assert.deepEqual(watch.failing, [])
})
