// Whether a controller takes clients: each reason not to, what ends it, and that none of them ends another.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import { Availability } from '../../../node/availability.ts'
import type { EventLog } from '../../../node/events.ts'
import type { Home } from '../../../node/home.ts'
import type { VpnEndpoint } from '../../../node/vpn/endpoint.ts'
import { Warnings } from '../../../node/warnings.ts'

function controller({ unconfirmed = 0 } = {}) {
  const events: string[] = []
  const warnings = new Warnings()
  const listeners = new Set<() => void>()
  const replica = {
    unconfirmed,
    removed: false,
    record: () => ({ author: 'another', value: replica.removed ? { removedAt: 0 } : {} }),
    get: () => ({ name: 'beta' }),
    onChange(listener: () => void) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
  const endpoint = {
    serves: true,
    left: 0,
    drain: () => {
      endpoint.serves = false
    },
    serve: () => {
      endpoint.serves = true
    },
    sessions: () => Array.from({ length: endpoint.left })[Symbol.iterator](),
  }
  let told = 0
  const directory = {
    readIfThere: async () => (unconfirmed > 0 ? 'restored' : undefined),
    remove: async () => undefined,
  }
  const availability = new Availability({
    home: {
      id: 'this',
      replica,
      directory,
      config: { controller: 'alpha' },
      views: { controllers: () => [] },
    } as unknown as Home,
    events: { append: ({ type }: { type: string }) => events.push(type) } as unknown as EventLog,
    logger: pino({ level: 'silent' }),
    warnings,
    endpoint: () => endpoint as unknown as VpnEndpoint,
    isHandingOver: () => false,
    changed: () => told++,
  })
  const confirm = (): void => {
    replica.unconfirmed = 0
    for (const listener of listeners) listener()
  }
  const remove = (): void => {
    replica.removed = true
    availability.noticeRemoval()
  }
  return { availability, endpoint, events, warnings, confirm, remove, told: () => told }
}

test('a drained controller takes clients again when that is asked for, and tells the mesh of both', async () => {
  const { availability, endpoint, events, warnings, told } = controller()
  assert.deepEqual(availability.obstacles(), [])
  await availability.drain()
  assert.equal(availability.isDraining, true)
  assert.equal(endpoint.serves, false)
  assert.match(availability.obstacles()[0], /drained/)
  assert.match(warnings.all()[0], /drain --undo/)
  assert.equal(told(), 1)
  availability.serve()
  availability.serve()
  assert.equal(endpoint.serves, true)
  assert.deepEqual(availability.obstacles(), [])
  assert.deepEqual(warnings.all(), [])
  assert.equal(told(), 2)
  assert.deepEqual(events, ['controller-draining', 'controller-serving'])
})

test('a drain ends when the last session is gone, and does not wait for ever, whatever the clock says', async t => {
  const { availability, endpoint } = controller()
  endpoint.left = 1
  let isOver = false
  const drained = availability.drain().then(() => {
    isOver = true
  })
  await new Promise(resolve => setTimeout(resolve, 400))
  assert.equal(isOver, false)
  endpoint.left = 0
  await drained
  endpoint.left = 1
  const again = availability.drain()
  const { now } = Date
  t.mock.method(Date, 'now', () => now() - 3_600_000)
  await again
})

test('after a restore clients are taken once others have confirmed what is known', async () => {
  const { availability, endpoint, confirm } = controller({ unconfirmed: 3 })
  const settled = availability.settle()
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(endpoint.serves, false)
  assert.match(availability.obstacles()[0], /restored from a backup/)
  confirm()
  await settled
  assert.equal(endpoint.serves, true)
  assert.deepEqual(availability.obstacles(), [])
})

test('the end of a drain does not end the wait after a restore, nor the other way round', async () => {
  const { availability, endpoint, confirm } = controller({ unconfirmed: 3 })
  const settled = availability.settle()
  await availability.drain()
  availability.serve()
  assert.equal(endpoint.serves, false)
  assert.match(availability.obstacles()[0], /restored from a backup/)
  await availability.drain()
  confirm()
  await settled
  assert.equal(endpoint.serves, false)
  availability.serve()
  assert.equal(endpoint.serves, true)
})

test('what was removed from the mesh does not serve again, and says it once', () => {
  const { availability, endpoint, events, warnings, remove } = controller()
  assert.equal(availability.isMember, true)
  availability.noticeRemoval()
  assert.deepEqual(events, [])
  remove()
  remove()
  availability.serve()
  assert.equal(endpoint.serves, false)
  assert.equal(availability.isMember, false)
  assert.equal(availability.isDraining, true)
  assert.match(warnings.all()[0], /removed from the mesh by beta/)
  assert.deepEqual(events, ['controller-removed'])
})

test('a switch that is gone, and a stop, keep clients out', () => {
  const { availability } = controller()
  availability.switchIsGone()
  assert.deepEqual(availability.obstacles(), ['its switch is gone'])
  availability.stop()
  assert.deepEqual(availability.obstacles(), ['it stops'])
  assert.equal(availability.isMember, false)
})
