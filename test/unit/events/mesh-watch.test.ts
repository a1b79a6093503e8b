import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EventLog } from '../../../node/events.ts'
import { MeshWatch, tells } from '../../../node/mesh-watch.ts'
import type { Conflict } from '../../../node/service.ts'
import type { ControllerId } from '../../../state/kinds.ts'

/** Controllers a, b and c as c sees them. */
class World {
  now = 0
  version = 0
  names = ['a', 'b', 'c']
  living = new Set(['a', 'b', 'c'])
  conflicts: Conflict[] = []
  lines: string[] = []
  log = this.#open()
  watch = this.#start()

  #open(): EventLog {
    const store = { lines: () => [...this.lines], append: (line: string) => void this.lines.push(line) }
    return new EventLog({ store, now: () => this.now })
  }

  #start(): MeshWatch {
    const home = {
      id: 'c',
      views: { controllers: () => this.names.map(name => ({ id: name, value: { name } })) },
      replica: this.#replica(),
    }
    return new MeshWatch({
      home: home as never,
      events: this.log,
      isLiving: id => this.living.has(id),
      conflicts: () => this.conflicts,
      now: () => this.now,
    })
  }

  #replica() {
    const version = () => this.version
    return {
      get version() {
        return version()
      },
    }
  }

  restart(): void {
    this.log = this.#open()
    this.watch = this.#start()
  }

  /** What was told within that time. */
  pass(ms: number): string[] {
    const before = this.log.recent().at(-1)?.seq ?? 0
    for (const end = this.now + ms; this.now < end; this.now += 500) this.watch.look()
    return this.log.recent(1000, before).map(each => {
      const { type, controller, id, teller } = each as { type: string } & Record<string, string>
      return `${type} ${controller ?? id} ${teller}`
    })
  }

  conflict(id: string): void {
    this.conflicts.push({ kind: 'name', id, winner: id, loser: `${id}~1`, message: `two are named ${id}` })
    this.version++
  }
}

test('a controller out of reach is down, and up once it is back; the first in reach tells of it', () => {
  const world = new World()
  world.log.append({ type: 'controller-started' })
  assert.deepEqual(world.pass(5000), [])
  world.living.delete('a')
  assert.deepEqual(world.pass(5000), ['controller-down a b'])
  world.living.add('a')
  assert.deepEqual(world.pass(5000), ['controller-up a b'], 'whoever told of the one tells of the other')
  world.living.delete('b')
  assert.deepEqual(world.pass(5000), ['controller-down b a'])
  world.names = ['a', 'c']
  assert.deepEqual(world.pass(5000), [], 'one that was removed is not down')
})

test('a short silence is none, and after the start the others are waited for', () => {
  const world = new World()
  world.living = new Set(['c'])
  assert.deepEqual(world.pass(14_000), [])
  world.living.add('a')
  assert.deepEqual(world.pass(3000), ['controller-down b a'])
  world.living.delete('a')
  assert.deepEqual(world.pass(500), [])
  world.living.add('a')
  assert.deepEqual(world.pass(5000), [])
})

test('a restarted controller tells nothing twice, and the end of what it told before', () => {
  const world = new World()
  world.log.append({ type: 'controller-started' })
  world.pass(1000)
  world.living.delete('a')
  world.conflict('web')
  assert.equal(world.pass(3000).length, 2)
  world.restart()
  assert.deepEqual(world.pass(30_000), [])
  world.living.add('a')
  world.conflicts = []
  world.version++
  world.restart()
  assert.deepEqual(world.pass(3000), ['controller-up a b', 'conflict-resolved web b'])
})

test('conflicts are told when they appear and when they end; not those that a new controller finds', () => {
  const world = new World()
  world.conflict('old')
  assert.deepEqual(world.pass(1000), [])
  world.conflict('web')
  assert.deepEqual(world.pass(1000), ['conflict-found web a'])
  assert.deepEqual(world.pass(1000), [])
  world.conflicts = world.conflicts.slice(1)
  world.version++
  assert.deepEqual(world.pass(1000), ['conflict-resolved old a'])
})

test('of very many conflicts some are told at a time, and all in the end', () => {
  const world = new World()
  world.pass(1000)
  for (let i = 0; i < 250; i++) world.conflict(`c${i}`)
  assert.equal(world.pass(500).length, 100)
  assert.equal(world.pass(1000).length, 150)
  assert.deepEqual(world.pass(1000), [])
})

test('one controller of those that notice passes it on', () => {
  assert.ok(tells({ type: 'controller-down', teller: 'a' }, 'a'))
  assert.ok(!tells({ type: 'controller-down', teller: 'a' }, 'b'))
  assert.ok(tells({ type: 'session-up' }, 'b'))
  const world = new World()
  assert.equal(world.watch.teller('a' as ControllerId), 'b')
})
