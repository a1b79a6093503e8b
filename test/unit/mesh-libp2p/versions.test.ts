// Controllers that speak different versions of the protocol over real libp2p.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { VersionRange } from '../../../mesh/versions.ts'
import { settingOp } from '../state/samples.ts'
import { areEqual, type RealNode, startMesh, until } from './world.ts'

interface Build {
  software: string
  versions: VersionRange
}

async function withPair(builds: readonly [Build, Build], work: (a: RealNode, b: RealNode) => Promise<void>) {
  const [a, b] = await startMesh(2, {}, builds)
  try {
    await work(a, b)
  } finally {
    await Promise.all([a.stop(), b.stop()])
  }
}

const build = (software: string, lowest: number, highest: number): Build => ({
  software,
  versions: { lowest, highest },
})

test('the highest version that both speak is spoken', () =>
  withPair([build('1.0.0', 1, 2), build('1.1.0', 2, 5)], async (a, b) => {
    await until('they are connected', () => a.core.isConnected(b.id) && b.core.isConnected(a.id))
    assert.equal(a.core.peers()[0].protocol, 2)
    assert.equal(b.core.peers()[0].protocol, 2)
    await a.replica.write([settingOp('x', 1)])
    await until('records are exchanged', () => areEqual([a, b]))
  }))

test('two that share none say which is to be upgraded, both of them', () =>
  withPair([build('1.0.0', 1, 2), build('9.0.0', 3, 4)], async (a, b) => {
    await until('both are told', () => a.incompatible.length > 0 && b.incompatible.length > 0)
    assert.equal(a.core.isConnected(b.id), false)
    assert.equal(a.core.peers()[0].protocol, 0)
    const between = 'through the versions between where there are any'
    assert.equal(
      a.incompatible[0],
      `${b.id} it (Overmesh 9.0.0) speaks versions 3 to 4 of the mesh's protocol and this controller versions 1 to 2; upgrade this controller, ${between}`,
    )
    assert.equal(
      b.incompatible[0],
      `${a.id} it (Overmesh 1.0.0) speaks versions 1 to 2 of the mesh's protocol and this controller versions 3 to 4; upgrade that controller, ${between}`,
    )
    assert.ok(
      a.refused.some(text => text.includes('Overmesh 9.0.0')),
      'events and log hear of it',
    )
  }))
