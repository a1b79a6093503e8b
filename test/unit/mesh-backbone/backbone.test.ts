// The links of one controller to all others: where they lead, and whom they go round.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { newEphemeral } from '../../../mesh/backbone/agreement.ts'
import { Backbone } from '../../../mesh/backbone/backbone.ts'
import { encodeLinkMessage } from '../../../mesh/backbone/link-message.ts'
import { LINK_IDS, type LinkPath, type LinkSpec } from '../../../mesh/backbone/link-plane.ts'
import type { PresentLink } from '../../../mesh/presence-types.ts'
import type { ControllerId } from '../../../state/kinds.ts'

const [LOW, SELF, THIRD] = ['1', '5', '9'].map(digit => digit.repeat(20) as ControllerId)

class World {
  now = 1_000_000
  peers = [
    { id: LOW, endpoints: ['low.example:1194'] },
    { id: THIRD, endpoints: ['third.example:1194'] },
  ]
  paths = async (endpoint: string): Promise<LinkPath[]> => {
    this.resolved.push(endpoint)
    return [{ socket: 0, remote: endpoint.split(':')[0], port: 1194, local: '', ifindex: 0 }]
  }
  readonly resolved: string[] = []
  readonly told = new Map<ControllerId, PresentLink[]>()
  readonly open = new Map<number, LinkSpec & { remote: string }>()
  readonly backbone: Backbone
  #port = LINK_IDS.first

  constructor() {
    const nothing = () => {}
    this.backbone = new Backbone({
      id: SELF,
      mtu: 1420,
      plane: {
        openLink: spec => this.open.set(spec.peerId, { ...spec, remote: spec.path.remote }),
        closeLink: port => this.open.delete(port),
        moveLink: (port, { remote }) => {
          this.open.get(port)!.remote = remote
        },
        ...{ setKey: nothing, useKey: nothing, dropKey: nothing },
        linkStats: port =>
          this.open.has(port)
            ? { up: true, rttMs: 10, lossPercent: 0, mtu: 1420, rxBytes: 0, txBytes: 0 }
            : undefined,
      },
      peers: () => this.peers,
      endpoints: () => [],
      paths: endpoint => this.paths(endpoint),
      send: () => true,
      told: () => this.told,
      newPort: () => this.#port++,
      now: () => this.now,
      random: () => 0.5,
    })
  }

  /** The peer of the lower id offers keys. */
  offer(endpoints: string[], port = LINK_IDS.last): void {
    const { publicKey } = newEphemeral()
    const words = { generation: this.now, publicKey, port, keyId: 0, endpoints }
    this.backbone.receive(LOW, encodeLinkMessage({ type: 'offer', ...words }))
  }

  async pass(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      this.now += 1000
      this.backbone.poll()
      await turn()
    }
  }
}

test('endpoints of a peer are resolved one time after the other, whatever it says and how long that takes', async () => {
  const world = new World()
  const waiting: ((paths: LinkPath[]) => void)[] = []
  world.paths = endpoint => {
    world.resolved.push(endpoint)
    return new Promise(resolve => waiting.push(resolve))
  }
  world.offer(['a.example:1194'])
  const { length } = world.resolved
  await world.pass(600)
  for (let count = 0; count < 100; count++) world.offer([`${count}.example:1194`])
  assert.equal(world.resolved.length, length)
  world.paths = async endpoint => {
    world.resolved.push(endpoint)
    return [{ socket: 0, remote: endpoint, port: 1194, local: '', ifindex: 0 }]
  }
  for (const answer of waiting) answer([])
  await turn()
  // What it said last.
  assert.ok(world.resolved.includes('99.example:1194'))
  assert.ok(world.resolved.length <= length + 4, world.resolved.join(' '))
})

test('a link that is down tries where its record and the peer itself say, which may be elsewhere by now', async () => {
  const world = new World()
  world.offer(['told.example:1194'])
  const port = world.backbone.portTo(LOW)!
  const tried = new Set<string>()
  const watch = async () => {
    tried.clear()
    for (let second = 0; second < 15; second++) {
      await world.pass(1)
      tried.add(world.open.get(port)!.remote)
    }
  }
  await watch()
  assert.ok(tried.has('low.example') && tried.has('told.example'))
  world.peers[0].endpoints = ['moved.example:1194']
  await watch()
  assert.ok(tried.has('moved.example'))
})

test('who is removed has no link any more, and nobody goes by it', async () => {
  const world = new World()
  world.offer([])
  const port = world.backbone.portTo(LOW)!
  world.backbone.linkChanged(port, true)
  const link = (peer: ControllerId) => [{ peer, up: true, rtt: 10, loss: 0 }]
  world.told.set(LOW, link(THIRD))
  world.told.set(THIRD, link(LOW))
  world.backbone.topologyChanged()
  assert.deepEqual(world.backbone.nextHop(THIRD), { peer: LOW, port, hops: 2, cost: 4 })
  world.peers = world.peers.slice(1)
  world.backbone.peersChanged()
  assert.equal(world.open.size, 0)
  assert.equal(world.backbone.owns(port), false)
  assert.equal(world.backbone.nextHop(THIRD), undefined)
  // What it still says is nobody's.
  const { badMessages } = world.backbone
  world.offer([])
  assert.equal(world.backbone.badMessages, badMessages + 1)
})

test('a link that goes down is gone round at once, and looked for elsewhere', async () => {
  const world = new World()
  world.offer([])
  const port = world.backbone.portTo(LOW)!
  const seen: boolean[] = []
  world.backbone.onLink = (_peer, up) => seen.push(up)
  world.backbone.linkChanged(port, true)
  await turn()
  assert.equal(world.backbone.reaches(LOW), true)
  const { length } = world.resolved
  await world.pass(30)
  assert.equal(world.resolved.length, length)
  world.backbone.linkChanged(port, false)
  assert.equal(world.backbone.reaches(LOW), false)
  await world.pass(11)
  assert.ok(world.resolved.length > length)
  assert.deepEqual(seen, [true, false])
})
