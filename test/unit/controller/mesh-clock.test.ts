// What a controller does about its links while its clock stands an hour behind: it is set back once they are there.
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { BackboneLink } from '../../../mesh/backbone/link.ts'
import type { LinkPath, LinkPlane } from '../../../mesh/backbone/link-plane.ts'
import { EventLog } from '../../../node/events.ts'
import type { Home } from '../../../node/home.ts'
import { MeshRuntime } from '../../../node/mesh-runtime.ts'
import type { Switch } from '../../../node/switch/switch.ts'
import { encodeRecord } from '../../../state/record.ts'
import { Views } from '../../../state/views.ts'
import { controllerOp, identity, MESH_ID, twoHalves } from '../state/samples.ts'

const HOUR_MS = 3_600_000

/** One that notes where links are moved to. */
class FakeNetwork extends EventEmitter implements LinkPlane {
  readonly addresses = [{ host: '127.0.0.1', port: 1194 }]
  openLink(): void {}
  setKey(): void {}
  useKey(): void {}
  dropKey(): void {}
  moveLink(_peerId: number, { remote }: LinkPath): void {
    this.emit('moved', remote)
  }
  closeLink(): void {}
  linkStats() {
    return undefined
  }
}

async function start(t: TestContext, network: FakeNetwork) {
  const benches = await twoHalves()
  const [a, b] = [identity(0), identity(1)]
  // Of two ends the one with the lower id offers keys, here the other.
  const [self, peer, index] = a.id > b.id ? [a, b, 1] : [b, a, 0]
  const own = self === a ? benches.a.replica : benches.b.replica
  const others = self === a ? benches.b.replica : benches.a.replica
  const publicEndpoints = ['192.0.2.1:1194', '192.0.2.2:1194']
  await others.write([controllerOp(index, { publicEndpoints, meshEndpoints: [] })])
  await own.receive([encodeRecord(others.record('controller', peer.id)!)])
  const home = {
    ...{ id: self.id, identityKey: self.privateKey, replica: own, views: new Views(own) },
    config: { lifetimes: { sessionKeys: 3600 }, meshListen: '127.0.0.1:0' },
    directory: { rootKey: '/nonexistent' },
    mesh: { id: MESH_ID },
    get controller() {
      return own.get('controller', self.id)
    },
  }
  const runtime = await MeshRuntime.start({
    home: home as unknown as Home,
    network: network as unknown as Switch,
    events: new EventLog({ now: Date.now }),
    logger: pino({ level: 'silent' }),
    startedAt: Date.now(),
    boot: 1,
    isDraining: () => false,
    reach: () => ({
      ...{ gateway: false, gateway6: false, exit4: false, exit6: false },
      ...{ failing: [], ipsec: false, attachments: [] },
    }),
  })
  t.after(() => runtime.stop())
  /** The peer's end, which is not heard any more once it has offered keys. */
  const offer = (): void => {
    const link = new BackboneLink({
      ...{ id: peer.id, peer: self.id, port: 0xf00001, mtu: 1400, plane: network },
      endpoints: () => [],
      random: Math.random,
      send: payload => {
        runtime.backbone.receive(peer.id, payload)
        return true
      },
      told: () => {},
    })
    link.connected(Date.now())
  }
  return { runtime, offer }
}

test('a controller whose clock was set back looks for ways to its peers, and tells of its links', async t => {
  const network = new FakeNetwork()
  const { runtime, offer } = await start(t, network)
  const { presence } = runtime.core
  const told = new EventEmitter()
  const setLinks = presence.setLinks.bind(presence)
  presence.setLinks = links => {
    setLinks(links)
    told.emit('links')
  }
  offer()
  await once(network, 'moved')
  await once(told, 'links')
  const { now } = Date
  t.mock.method(Date, 'now', () => now() - HOUR_MS)
  const links = once(told, 'links')
  const remotes = new Set<string>()
  while (remotes.size < 2) remotes.add((await once(network, 'moved'))[0])
  assert.deepEqual([...remotes].sort(), ['192.0.2.1', '192.0.2.2'])
  await links
})
