// Random lives of whole meshes: what must hold once the network is well again, whatever happened before.
import assert from 'node:assert/strict'
import { availableParallelism } from 'node:os'
import { test } from 'node:test'
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
