// Random lives of whole meshes: what must hold once the network is well again, whatever happened before.
import assert from 'node:assert/strict'
import { availableParallelism } from 'node:os'
import { test } from 'node:test'
import { controllerValue } from '../unit/state/samples.ts'
import { areConnected } from './mesh-checks.ts'
import { MeshLife } from './mesh-life.ts'
import { MeshWorld } from './mesh-world.ts'
import { liveSeeds } from './pool.ts'

const FIRST_SEED = Number(process.env.OVERMESH_SEED ?? 1)
const SEEDS = Number(process.env.OVERMESH_SEEDS ?? (process.env.OVERMESH_SEED === undefined ? 500 : 1))

test(`${SEEDS} random lives of a mesh end well`, { timeout: 1_000_000 }, async () => {
  let failed: string | undefined
  await liveSeeds(FIRST_SEED, SEEDS, availableParallelism(), ({ seed, failure }) => {
    if (failure === undefined) return true
    failed ??= `seed ${seed} failed, \`npm run simulate -- --seed ${seed}\` repeats it: ${failure}`
    return false
  })
  assert.equal(failed, undefined)
})

test('a seed always leads the same life', { timeout: 60_000 }, async () => {
  for (const seed of [FIRST_SEED, FIRST_SEED + 1, FIRST_SEED + 2]) {
    assert.deepEqual(await new MeshLife(seed).run(), await new MeshLife(seed).run())
  }
})

test('a mesh at rest stays connected, also when a clock is set', { timeout: 60_000 }, async () => {
  const world = new MeshWorld(1)
  const { clockwork } = world
  await world.found(4, () => 0)
  const { members } = world
  assert.notEqual(await clockwork.until(() => areConnected(members), 10_000), undefined)
  for (const skew of [0, -3_600_000, 3_600_000, 0]) {
    world.controllers[1].skew = skew
    await clockwork.advance(30_000)
    for (const { process } of members) assert.deepEqual(process!.events, [])
    assert.ok(areConnected(members))
  }
})

test('halves that removed each other are one where a controller hears both; a removed one is not heard', {
  timeout: 60_000,
}, async () => {
  const lives = async (halves: [number[], number[]]) => {
    const world = new MeshWorld(1)
    const { clockwork, network, controllers } = world
    await world.found(halves.flat().length, () => 0)
    assert.notEqual(await clockwork.until(() => areConnected(world.members), 10_000), undefined)
    for (const one of halves[0])
      for (const other of halves[1]) {
        network.cut(controllers[one].id, controllers[other].id)
        network.cut(controllers[other].id, controllers[one].id)
      }
    for (const [by, target] of [
      [0, 1],
      [1, 0],
    ]) {
      const value = controllerValue(target, { removedAt: clockwork.time })
      const { replica } = controllers[by].process!
      await world.within(replica.write([{ kind: 'controller', id: controllers[target].id, value }]))
      await clockwork.advance(10_000)
    }
    network.mend()
    await clockwork.advance(60_000)
    return controllers.map(({ process }) =>
      controllers.filter(({ id }) => process!.views.isAdmitted(id)).map(({ index }) => index),
    )
  }
  assert.deepEqual(
    await lives([
      [0, 3],
      [1, 2],
    ]),
    [
      [0, 2, 3],
      [0, 2, 3],
      [0, 2, 3],
      [0, 2, 3],
    ],
  )
  assert.deepEqual(await lives([[0], [1, 2]]), [
    [0, 2],
    [1, 2],
    [1, 2],
  ])
})
