// The mesh over real libp2p on loopback.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { clientId, settingOp } from '../state/samples.ts'
import { Stopwatch } from '../stopwatch.ts'
import {
  areConnected,
  areEqual,
  type NodeOptions,
  type RealNode,
  startMesh,
  startNode,
  until,
} from './world.ts'

async function withMesh(
  count: number,
  work: (nodes: RealNode[]) => Promise<void>,
  options: NodeOptions = {},
): Promise<void> {
  const nodes = await startMesh(count, options)
  try {
    // Twelve take some ten seconds of CPU time for it, in one thread.
    await until('all are connected', () => areConnected(nodes), 90_000)
    await until('all are equal', () => areEqual(nodes))
    await work(nodes)
  } finally {
    await Promise.all(nodes.map(node => node.stop()))
  }
}

test('three controllers find each other, and what one writes is everywhere at once', () =>
  withMesh(3, async nodes => {
    for (const node of nodes) {
      const receipt = await node.replica.write([settingOp(`s${node.index}`, node.index)])
      const never = new Promise<void>(() => {})
      const watch = new Stopwatch()
      assert.equal(await node.core.stored(receipt, never), 2)
      assert.ok(watch.own < 2000, `${watch.elapsed} ms, of which ${watch.waited} waited`)
      assert.ok(areEqual(nodes))
    }
  }))

test('sessions are known everywhere, and go with their controller', () =>
  withMesh(3, async nodes => {
    const [a, b, c] = nodes
    a.core.presence.sessionUp(clientId(1), '192.0.2.1:1000')
    await until('all know', () => nodes.every(n => n.core.presence.where(clientId(1))?.controller === a.id))
    b.core.presence.sessionUp(clientId(1), '192.0.2.1:1001')
    await until('it moved', () => nodes.every(n => n.core.presence.where(clientId(1))?.controller === b.id))
    await b.stop()
    await until('b is gone', () => !c.core.isConnected(b.id) && !a.core.isConnected(b.id))
    assert.notEqual(c.core.presence.where(clientId(1))?.controller, b.id)
  }))

/** Nobody compares what it has with others once they are connected: what comes comes by gossip. */
const GOSSIP_ALONE = { timing: { antiEntropy: 600_000, unequal: 600_000 }, few: 0 }

test('twelve controllers on one address all gossip', { timeout: 240_000 }, () =>
  withMesh(
    12,
    async nodes => {
      for (const node of nodes) {
        await node.replica.write([settingOp(`s${node.index}`, 1)])
        await until(`the write of ${node.index} is everywhere`, () => areEqual(nodes), 10_000)
      }
    },
    GOSSIP_ALONE,
  ),
)

test('a controller of another mesh, a stranger and a removed one are turned away', async () => {
  await withMesh(3, async nodes => {
    const [a, b, c] = nodes
    const stranger = await startNode(9)
    try {
      await stranger.replica.absorb(a.replica.missingFor(stranger.replica.vector())!)
      await until('the stranger is refused', () => a.refused.some(text => text.startsWith(stranger.id)))
      assert.equal(stranger.core.isConnected(a.id), false)
    } finally {
      await stranger.stop()
    }
    const value = a.replica.get('controller', c.id)!
    await a.replica.write([{ kind: 'controller', id: c.id, value: { ...value, removedAt: Date.now() } }])
    await until('c knows', () => c.replica.get('controller', c.id)?.removedAt !== undefined)
    await until('c is cut off', () => !a.core.isConnected(c.id) && !b.core.isConnected(c.id))
    await until('c is told so when it comes again', () => c.farewells.length > 0)
    await b.replica.write([settingOp('after', 1)])
    await until('a has it', () => a.replica.get('setting', 'after') !== undefined)
    await new Promise(resolve => setTimeout(resolve, 300))
    assert.equal(c.replica.get('setting', 'after'), undefined)
  })
})
