import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RouteUpdates, type UpdatedSession } from '../../../node/route-updates.ts'
import type { ClientId } from '../../../state/kinds.ts'

class FakeSession implements UpdatedSession {
  readonly client: string
  readonly #takesUpdates: boolean
  known = ''
  readonly log: string[] = []

  constructor(client: string, takesUpdates = false) {
    this.client = client
    this.#takesUpdates = takesUpdates
  }

  isBehind = (options: readonly string[]) => !this.log.includes('restart') && options.join() !== this.known
  canUpdate = () => this.#takesUpdates
  update(options: readonly string[]) {
    this.known = options.join()
    this.log.push(`update ${this.known}`)
  }
  end() {
    this.log.push('restart')
  }
}

function bench(over: number | undefined, sessions: FakeSession[]) {
  const world = { now: 1_000_000, over, routes: '' }
  const updates = new RouteUpdates<FakeSession>({
    sessions: () => sessions,
    push: () => (world.routes === '' ? [] : [world.routes]),
    over: () => world.over,
    now: () => world.now,
    random: () => 0.5,
  })
  const pass = (ms: number) => {
    for (const end = world.now + ms; world.now < end; world.now += 50) updates.poll()
  }
  return { world, updates, pass }
}

test('a burst of changes makes one update, a second after the first', () => {
  const modern = new FakeSession('a', true)
  const { world, updates, pass } = bench(10, [modern])
  for (const routes of ['1', '2', '3']) {
    world.routes = routes
    updates.changed()
    pass(300)
  }
  assert.deepEqual(modern.log, [])
  pass(200)
  assert.deepEqual(modern.log, ['update 3'])
})

test('who must connect anew does so within the time that is set, and only if it still has to', () => {
  const [one, two] = [new FakeSession('a'), new FakeSession('b')]
  const { world, updates, pass } = bench(10, [one, two])
  world.routes = '1'
  updates.changed()
  pass(5000)
  assert.deepEqual(one.log, [])
  assert.equal(updates.isBehind(one), true)
  two.known = '1'
  pass(2000)
  assert.deepEqual([one.log, two.log], [['restart'], []])
})

test('a change that is taken back disturbs nobody', () => {
  const session = new FakeSession('a')
  const { world, updates, pass } = bench(10, [session])
  world.routes = '1'
  updates.changed()
  pass(2000)
  world.routes = ''
  updates.changed()
  pass(20_000)
  assert.deepEqual(session.log, [])
})

test('changes that go on do not put it off', () => {
  const session = new FakeSession('a')
  const { world, updates, pass } = bench(10, [session])
  for (let i = 0; i < 8; i++) {
    world.routes = String(i + 1)
    updates.changed()
    pass(1000)
  }
  assert.deepEqual(session.log, ['restart'])
})

test('later means later, until it is asked for, for those who are named', () => {
  const [one, two, modern] = [new FakeSession('a'), new FakeSession('b'), new FakeSession('c', true)]
  const { world, updates, pass } = bench(undefined, [one, two, modern])
  world.routes = '1'
  updates.changed()
  pass(60_000)
  assert.deepEqual([one.log, two.log, modern.log], [[], [], []])
  updates.refresh({ over: 4, clients: new Set(['a', 'c'].map(each => each as ClientId)) })
  // What else happens meanwhile does not undo it.
  updates.changed()
  pass(3000)
  assert.deepEqual([one.log, two.log, modern.log], [['restart'], [], ['update 1']])
  updates.refresh({ over: 0, clients: undefined })
  pass(100)
  assert.deepEqual(two.log, ['restart'])
})

test('setting it to later calls off those that wait', () => {
  const session = new FakeSession('a')
  const { world, updates, pass } = bench(100, [session])
  world.routes = '1'
  updates.changed()
  pass(2000)
  world.over = undefined
  updates.changed()
  pass(200_000)
  assert.deepEqual(session.log, [])
})

test('very many are not disturbed in one turn', () => {
  const sessions = Array.from({ length: 1000 }, (_, i) => new FakeSession(String(i)))
  const { world, updates } = bench(0, sessions)
  world.routes = '1'
  updates.changed()
  world.now += 1000
  const counts = Array.from({ length: 6 }, () => {
    updates.poll()
    return sessions.filter(each => each.log.length > 0).length
  })
  assert.deepEqual(counts, [200, 400, 600, 800, 1000, 1000])
})
