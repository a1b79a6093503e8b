// The mesh's core among others of its kind, on a simulated network.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { comparisons } from '../../../mesh/comparing.ts'
import { heartbeatInterval, MESH_TIMING, presenceInterval } from '../../../mesh/core-types.ts'
import { encodeFrame, encodeStatement } from '../../../mesh/messages.ts'
import { Statements } from '../../../mesh/statements.ts'
import type { ClientId } from '../../../state/kinds.ts'
import { areConnected, areEqual } from '../../simulation/mesh-checks.ts'
import { MeshWorld } from '../../simulation/mesh-world.ts'
import type { SimController } from '../../simulation/sim-controller.ts'
import { clientId, clientOp, identity, leaseOp, settingOp } from '../state/samples.ts'

const WEB = clientId(1)

/** So many controllers, connected and equal. */
async function mesh(count: number, seed = 7): Promise<MeshWorld> {
  const world = new MeshWorld(seed)
  await world.found(count, () => 0)
  const isWell = () => areConnected(world.members) && areEqual(world.members)
  assert.notEqual(await world.clockwork.until(isWell, 20_000), undefined)
  await world.clockwork.advance(4000)
  for (const { process } of world.members) process!.events.length = 0
  return world
}

const core = ({ process }: SimController) => process!.core

test('a peer that falls silent is cut off in three seconds, dialled anew, and heard again', async () => {
  const world = await mesh(3)
  const [a, b] = world.controllers
  world.network.cut(b.id, a.id)
  const ms = await world.clockwork.until(() => !core(a).isConnected(b.id), 10_000)
  assert.ok(ms !== undefined && ms >= 1900 && ms <= 3100, `${ms}`)
  assert.ok(a.process!.events.some(each => each.type === 'watchdog' && each.reason === 'it fell silent'))
  world.network.mend()
  assert.notEqual(await world.clockwork.until(() => areConnected(world.members), 10_000), undefined)
})

test('a peer whose gossip stops while its channel lives is cut off, dialled anew, and its gossip heard again', async () => {
  const world = await mesh(2)
  const [a, b] = world.controllers
  a.process!.port.mute(b.id)
  const isOver = () => b.process!.events.some(each => each.type === 'watchdog')
  const ms = await world.clockwork.until(isOver, 20_000)
  assert.ok(ms !== undefined && ms >= 12_000 && ms <= 16_000, `${ms}`)
  await world.clockwork.until(() => areConnected(world.members), 10_000)
  await world.clockwork.advance(60_000)
  assert.equal(b.process!.events.length, 1)
})

test('a dead controller takes its presence with it; started again, it is believed', async () => {
  const world = await mesh(3)
  const [a, b, c] = world.controllers
  core(a).presence.sessionUp(WEB, 'x')
  await world.clockwork.advance(200)
  assert.equal(core(b).presence.where(WEB)?.controller, a.id)
  world.crash(a, true, true)
  const ms = await world.clockwork.until(() => core(b).presence.where(WEB) === undefined, 10_000)
  assert.ok(ms !== undefined && ms <= 3100, `${ms}`)
  await world.within(a.start())
  await world.clockwork.until(() => areConnected(world.members), 10_000)
  core(a).presence.sessionUp(WEB, 'y')
  await world.clockwork.advance(1000)
  for (const each of [b, c]) assert.equal(core(each).presence.where(WEB)?.session.remote, 'y')
})

test('who is removed hears of it, is cut off everywhere, and its presence is void', async () => {
  const world = await mesh(3)
  const [a, b, c] = world.controllers
  core(c).presence.sessionUp(WEB, 'x')
  await world.clockwork.advance(200)
  await world.within(world.remove(a, c))
  await world.clockwork.advance(1500)
  assert.notEqual(c.process!.replica.get('controller', c.id)?.removedAt, undefined)
  for (const each of [a, b]) {
    assert.equal(core(each).isConnected(c.id), false)
    assert.equal(core(each).presence.where(WEB), undefined)
  }
  await world.clockwork.advance(10_000)
  for (const each of [a, b]) assert.equal(core(each).isConnected(c.id), false)
})

test('who was removed while nobody could reach it hears of it when it comes back', async () => {
  const world = await mesh(3)
  const [a, b, c] = world.controllers
  for (const each of [a, b]) {
    world.network.cut(each.id, c.id)
    world.network.cut(c.id, each.id)
  }
  await world.clockwork.advance(4000)
  await world.within(world.remove(a, c))
  await world.clockwork.advance(4000)
  assert.equal(c.process!.replica.get('controller', c.id)?.removedAt, undefined)
  world.network.mend()
  const isTold = () => c.process!.replica.get('controller', c.id)?.removedAt !== undefined
  assert.notEqual(await world.clockwork.until(isTold, 10_000), undefined)
})

test('a kick reaches the controller it is for, once, and no other', async () => {
  const world = await mesh(3)
  const kicked: [number, ClientId][] = []
  for (const each of world.controllers) core(each).onKick = client => kicked.push([each.index, client])
  const [a, , c] = world.controllers
  core(a).kick(c.id, WEB)
  await world.clockwork.advance(1000)
  assert.deepEqual(kicked, [[2, WEB]])
})

test('a kick of long ago, and one that nobody admitted asks for, is no kick', async () => {
  const world = await mesh(2)
  const [a, b] = world.controllers
  const kicked: ClientId[] = []
  core(b).onKick = client => kicked.push(client)
  const kick = (index: number, age: number) => {
    const { id, privateKey } = identity(index)
    const statements = new Statements({
      id,
      privateKey,
      isAdmitted: () => true,
      publicKeyOf: () => undefined,
    })
    const at = b.now - age
    return encodeFrame(statements.sign({ type: 'kick', controller: b.id, client: WEB, at }))
  }
  assert.equal(core(b).gossip(kick(a.index, 61_000)), 'accept')
  assert.equal(core(b).gossip(kick(50, 0)), 'ignore')
  assert.equal(core(b).counters.unknownSenders, 1)
  assert.deepEqual(kicked, [])
  assert.equal(core(b).gossip(kick(a.index, 1000)), 'accept')
  assert.deepEqual(kicked, [WEB])
})

test('a statement under the signature of another is refused, counted and told', async () => {
  const world = await mesh(3)
  const [a, b, c] = world.controllers
  const statements = new Statements({
    id: a.id,
    privateKey: c.identity.privateKey,
    isAdmitted: () => true,
    publicKeyOf: () => undefined,
  })
  const forged = encodeFrame(statements.sign({ type: 'kick', controller: b.id, client: WEB, at: b.now }))
  assert.equal(core(b).gossip(forged), 'reject')
  assert.equal(core(b).counters.badSignatures, 1)
  assert.deepEqual(
    b.process!.events.map(each => [each.type, each.peer]),
    [['refused', a.id]],
  )
  const body = encodeStatement({ type: 'kick', controller: b.id, client: WEB, at: b.now })
  assert.equal(
    core(b).gossip(encodeFrame({ type: 'signed', author: a.id, signature: new Uint8Array(64), body })),
    'reject',
  )
  core(b).frame(a.id, Uint8Array.of(1, 2, 3))
  assert.equal(core(b).counters.badFrames, 1)
  assert.ok(core(b).isConnected(a.id))
})

test('a write says on how many others it is stored: all that are connected, or those that were in time', async () => {
  const world = await mesh(4)
  const [a, , , d] = world.controllers
  const write = async (value: number) => {
    const receipt = await world.within(a.process!.replica.write([settingOp('s', value)]))
    const start = world.clockwork.time
    const stored = await world.within(core(a).stored(receipt, world.clockwork.sleep(500)))
    return { stored, ms: world.clockwork.time - start }
  }
  const all = await write(1)
  assert.equal(all.stored, 3)
  assert.ok(all.ms < 300, `${all.ms}`)
  world.network.cut(a.id, d.id)
  world.network.cut(d.id, a.id)
  const late = await write(2)
  // It comes by the others, but its word that it did does not.
  assert.equal(late.stored, 2)
  assert.ok(late.ms >= 500 && late.ms < 600, `${late.ms}`)
  await world.clockwork.advance(5000)
  const without = await write(3)
  assert.equal(without.stored, 2)
  assert.ok(without.ms < 300, `${without.ms}`)
})

test('among few that all hear each other what is new goes straight to each, a burst of it too', async () => {
  const world = await mesh(4)
  const [a, b, c, d] = world.controllers
  world.network.loss = 1000
  const burst = Array.from({ length: 60 }, (_, i) => world.write(a, [settingOp(`s${i}`, i)]))
  core(a).presence.sessionUp(WEB, 'x')
  // A disk takes one write after the other.
  await world.within(Promise.all(burst))
  await world.clockwork.advance(250)
  for (const each of [b, c, d]) {
    assert.ok(each.process!.replica.get('setting', 's59'))
    assert.equal(core(each).presence.where(WEB)?.controller, a.id)
    assert.equal(core(each).counters.droppedWork, 0)
  }
  assert.equal(core(b).counters.refusedRecords + core(b).counters.badFrames, 0)
})

test('to whom is out of hearing what is new goes by others', async () => {
  const world = await mesh(4)
  const [a, b] = world.controllers
  world.network.cut(a.id, b.id)
  world.network.cut(b.id, a.id)
  await world.clockwork.until(() => !core(a).isConnected(b.id) && !core(b).isConnected(a.id), 5000)
  core(a).presence.sessionUp(WEB, 'x')
  await world.within(world.write(a, [settingOp('s', 1)]))
  await world.clockwork.advance(500)
  const { replica } = b.process!
  assert.ok(replica.get('setting', 's'))
  // Nobody has a channel to it; where it is was told all the same.
  assert.ok([...core(b).presence.of(a.id)!.sessions.keys()].includes(WEB))
})

test('a peer that is not heard any more is gone round before its channel is given up', async () => {
  const world = await mesh(3)
  const [a, b] = world.controllers
  world.network.cut(a.id, b.id)
  world.network.cut(b.id, a.id)
  await world.clockwork.advance(1700)
  assert.ok(core(a).isConnected(b.id))
  await world.within(world.write(a, [settingOp('s', 1)]))
  await world.clockwork.advance(400)
  assert.ok(b.process!.replica.get('setting', 's'))
})

test('where there are many, everyone says less to each', () => {
  const timing = MESH_TIMING
  assert.deepEqual(
    [4, 20, 100].map(peers => [
      heartbeatInterval(timing, peers),
      presenceInterval(timing, peers),
      comparisons(peers),
    ]),
    [
      [500, 2000, 4],
      [500, 4000, 1],
      [1000, 7000, 1],
    ],
  )
  // One heartbeat, or one telling, may be lost.
  assert.ok(2 * heartbeatInterval(timing, 1000) < timing.silence)
  assert.ok(2 * presenceInterval(timing, 1000) < timing.gossipSilence)
})

test('what is too long for gossip arrives all the same', async () => {
  const world = await mesh(3)
  const [a] = world.controllers
  const long = Array.from({ length: 40 }, (_, i) => settingOp(`long-${i}`, 'x'.repeat(4000)))
  await world.within(a.process!.replica.write(long))
  assert.notEqual(await world.clockwork.until(() => areEqual(world.members), 1500), undefined)
  const many = Array.from({ length: 200 }, (_, i) => settingOp(`many-${i}`, 'y'.repeat(4000)))
  await world.within(a.process!.replica.write(many))
  assert.notEqual(await world.clockwork.until(() => areEqual(world.members), 3000), undefined)
})

test('peers are told with how far they are behind', async () => {
  const world = await mesh(3)
  const [a, b, c] = world.controllers
  assert.deepEqual(
    core(a)
      .peers()
      .map(({ connected, behind, records }) => [connected, behind, records]),
    [
      [true, 0, 4],
      [true, 0, 4],
    ],
  )
  assert.ok(
    core(a)
      .peers()
      .every(({ rttMs }) => rttMs > 0 && rttMs < 500),
  )
  for (const each of [a, b]) {
    world.network.cut(each.id, c.id)
    world.network.cut(c.id, each.id)
  }
  await world.clockwork.advance(4000)
  await world.within(a.process!.replica.write([clientOp(1), leaseOp('10.77.0.1', 1)]))
  await world.clockwork.advance(4000)
  const told = new Map(
    core(a)
      .peers()
      .map(each => [each.id, each]),
  )
  assert.equal(told.get(b.id)?.behind, 0)
  assert.equal(told.get(c.id)?.connected, false)
  assert.equal(told.get(c.id)?.behind, 2)
})

test('a clock that is set back or forward stops nothing', async () => {
  const world = await mesh(3)
  const [a, b, c] = world.controllers
  for (const skew of [-3_600_000, 1_800_000, 0]) {
    a.skew = skew
    await world.clockwork.advance(1000)
    core(a).presence.sessionUp(WEB, `${skew}`)
    await world.clockwork.advance(500)
    for (const each of [b, c]) assert.equal(core(each).presence.where(WEB)?.session.remote, `${skew}`)
    await world.clockwork.advance(20_000)
    for (const each of [a, b, c]) assert.deepEqual(each.process!.events, [])
    assert.ok(areConnected(world.members))
  }
})
