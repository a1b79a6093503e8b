// The prober under a simulated clock: how soon it notices, and that it does not flap.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type EchoRequest,
  HOLD_MS,
  MAX_HOLD_MS,
  MAX_TARGETS,
  RouteProber,
  STEADY_MS,
} from '../../../node/gateway/prober.ts'

/** A network of which the test says what it answers, and when. */
class World {
  now = 1000
  seed = 1
  /** ms for an answer; undefined: none comes. */
  answer: (request: EchoRequest) => number | undefined = () => 20
  able = true
  readonly asked: { at: number; request: EchoRequest }[] = []
  readonly changes: { at: number; failing: string[] }[] = []
  readonly prober: RouteProber
  #coming: { at: number; request: EchoRequest }[] = []

  constructor() {
    this.prober = new RouteProber({
      now: () => this.now,
      random: () => {
        this.seed = (this.seed * 48271) % 2147483647
        return this.seed / 2147483647
      },
      ping: request => {
        if (!this.able) return false
        this.asked.push({ at: this.now, request })
        const delay = this.answer(request)
        if (delay !== undefined) this.#coming.push({ at: this.now + delay, request })
        return true
      },
    })
    this.prober.onChange = () => {
      this.changes.push({ at: this.now, failing: [...this.prober.failing()].sort() })
    }
  }

  run(ms: number): void {
    const end = this.now + ms
    while (this.now < end) {
      const due = this.#coming.filter(({ at }) => at <= this.now)
      this.#coming = this.#coming.filter(({ at }) => at > this.now)
      for (const { request } of due) this.prober.answered(request.target, request.sequence)
      const next = this.prober.poll()
      const first = Math.min(next, ...this.#coming.map(({ at }) => at), end)
      this.now = Math.max(first, this.now + 1)
    }
  }

  /** ms until the failing set changes next. */
  untilChange(limit: number): number {
    const from = this.now
    const count = this.changes.length
    while (this.changes.length === count && this.now - from < limit) this.run(5)
    assert.ok(this.changes.length > count, `no change within ${limit} ms`)
    return this.now - from
  }
}

const route = (id: string, address = 1, port?: number) => ({
  id,
  address,
  from: port === undefined ? ('kernel' as const) : { port },
})

test('asks about three times a second, and all is well while answers come', () => {
  const world = new World()
  world.prober.set([route('a')])
  world.run(60_000)
  assert.ok(world.asked.length > 190 && world.asked.length < 210, `${world.asked.length}`)
  const gaps = world.asked.slice(1).map(({ at }, i) => at - world.asked[i].at)
  assert.ok(Math.min(...gaps) >= 270 && Math.max(...gaps) <= 331)
  assert.ok(new Set(gaps.map(Math.round)).size > 10, 'jittered')
  assert.equal(world.changes.length, 0)
})

test('three misses in a row: it fails, within 1.4 s; two do not', () => {
  for (let seed = 1; seed < 50; seed++) {
    const world = new World()
    world.seed = seed * 7919
    world.prober.set([route('a')])
    world.run(3000 + seed * 13)
    let lost = 0
    world.answer = () => (lost++ < 2 ? undefined : 20)
    world.run(5000)
    assert.equal(world.changes.length, 0)
    world.answer = () => undefined
    const took = world.untilChange(5000)
    assert.ok(took > 700 && took < 1400, `${took} ms`)
    assert.deepEqual(world.changes[0].failing, ['a'])
  }
})

test('a new route to nowhere is found out as soon, and a slow one is none', () => {
  const world = new World()
  world.answer = () => undefined
  world.prober.set([route('a')])
  assert.ok(world.untilChange(2000) < 1400)
  const slow = new World()
  slow.answer = () => 700
  slow.prober.set([route('a')])
  slow.run(30_000)
  assert.equal(slow.changes.length, 0)
})

test('good again only after answers without a miss over five seconds', () => {
  const world = new World()
  world.prober.set([route('a')])
  world.answer = () => undefined
  world.untilChange(2000)
  world.answer = ({ sequence }) => (sequence % 9 === 0 ? undefined : 20)
  world.run(60_000)
  assert.equal(world.changes.length, 1, 'one of nine lost is not good')
  world.answer = () => undefined
  world.run(2000)
  world.answer = () => 20
  const took = world.untilChange(20_000)
  assert.ok(took >= HOLD_MS && took < HOLD_MS + 4000, `${took} ms`)
  assert.deepEqual(world.changes[1].failing, [])
})

test('one that flaps is held down longer each time, up to a minute, and forgiven when it was steady', () => {
  const world = new World()
  world.prober.set([route('a')])
  const held: number[] = []
  for (let i = 0; i < 7; i++) {
    world.answer = () => undefined
    world.untilChange(2000)
    world.answer = () => 20
    held.push(world.untilChange(2 * MAX_HOLD_MS))
    world.run(1000)
  }
  const expected = [1, 2, 4, 8, 12, 12, 12].map(times => times * HOLD_MS)
  held.forEach((ms, i) => {
    assert.ok(ms >= expected[i] && ms < expected[i] + 3000, `${ms} ms, not ${expected[i]}`)
  })
  world.run(STEADY_MS)
  world.answer = () => undefined
  world.untilChange(2000)
  world.answer = () => 20
  assert.ok(world.untilChange(MAX_HOLD_MS) < HOLD_MS + 3000)
})

test('routes share the requests to one address by one way; others fail alone', () => {
  const world = new World()
  world.answer = ({ address, from }) => (address === 1 && from !== 'kernel' ? undefined : 20)
  world.prober.set([route('a', 1, 7), route('b', 1, 7), route('c', 1), route('d', 2, 7)])
  world.run(3000)
  assert.deepEqual(world.changes.at(-1)?.failing, ['a', 'b'])
  assert.equal(new Set(world.asked.map(({ request }) => request.target)).size, 3)
  world.prober.set([route('b', 1, 7), route('e', 1, 7), route('d', 2, 7)])
  assert.deepEqual([...world.prober.failing()].sort(), ['b', 'e'], 'what is known of an address stays known')
  world.prober.set([])
  assert.deepEqual([...world.prober.failing()], [])
  assert.equal(world.prober.poll(), Number.POSITIVE_INFINITY)
})

test('what cannot be asked from here says nothing about a route', () => {
  const world = new World()
  world.able = false
  world.prober.set([route('a')])
  world.run(20_000)
  assert.equal(world.changes.length, 0)
  world.able = true
  world.answer = () => undefined
  assert.ok(world.untilChange(5000) < 2500)
})

test('a pause of the whole process is not a miss', () => {
  const world = new World()
  world.prober.set([route('a')])
  world.run(2000)
  world.now += 60_000
  world.run(5000)
  assert.equal(world.changes.length, 0)
})

test('answers that nobody asked for change nothing', () => {
  const world = new World()
  world.prober.set([route('a')])
  world.answer = () => undefined
  world.untilChange(2000)
  const { request } = world.asked.at(-1)!
  for (let i = 0; i < 200; i++) {
    world.run(50)
    for (const sequence of [0, -1, 1, 1.5, Number.NaN, 1e9]) world.prober.answered(request.target, sequence)
    world.prober.answered(request.target + 1, 1)
    // The same answer again and again is one answer.
    world.prober.answered(request.target, request.sequence)
  }
  assert.equal(world.changes.length, 1)
})

test('probes no more addresses than it can, and says how many it leaves out', () => {
  const world = new World()
  world.answer = () => undefined
  world.prober.set(Array.from({ length: MAX_TARGETS + 9 }, (_, i) => route(`${i}`, i)))
  assert.equal(world.prober.unprobed, 9)
  world.run(3000)
  assert.equal(world.prober.failing().size, MAX_TARGETS)
  assert.equal(world.changes.at(-1)?.failing.includes(`${MAX_TARGETS}`), false)
  world.prober.set([route('a')])
  assert.equal(world.prober.unprobed, 0)
})
