// A controller's clock that is set while clients are connected.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openEndpoint } from '../../../node/client-endpoint.ts'
import type { ClientSessions } from '../../../node/client-sessions.ts'
import type { Home } from '../../../node/home.ts'
import { pushOptions } from '../../../node/push.ts'
import type { Switch } from '../../../node/switch/switch.ts'
import type { DataPlane } from '../../../node/vpn/data-plane.ts'
import { newTlsServer } from '../../../node/vpn/tls-server.ts'
import { SimulatedNetwork } from './simulated-network.ts'
import { GATEWAY, SUBNET, World } from './world.ts'

const HOUR_MS = 3_600_000

/** Its endpoint is opened as a controller opens it. */
class ControllerWorld extends World {
  override endpoint(plane: DataPlane) {
    const log: string[] = []
    const home = {
      tlsCryptKey: this.serverKey,
      config: { lifetimes: { sessionKeys: 3600 } },
    } as unknown as Home
    const clients: Pick<ClientSessions, 'admit' | 'push' | 'opened' | 'ended' | 'refused'> = {
      admit: applicant => this.admit(applicant),
      push: ({ address }) => pushOptions({ address, subnet: SUBNET, gateway: GATEWAY, routes: [] }),
      opened: session => session.reachable(),
      ended: (_session, reason) => void log.push(reason),
      refused: (_session, reason) => void log.push(reason),
    }
    const tls = newTlsServer(this.credentials)
    return { endpoint: openEndpoint(home, plane as Switch, tls, clients as ClientSessions), log }
  }
}

for (const [how, ms] of [
  ['back', -2 * HOUR_MS],
  ['ahead', 2 * HOUR_MS],
] as const) {
  test(`a clock that is set ${how} neither keeps a client from new keys nor makes them due`, async t => {
    const { now } = Date
    let set = 0
    t.mock.method(Date, 'now', () => now() + set)
    const network = new SimulatedNetwork(new ControllerWorld())
    const one = network.client('one')
    assert.ok(await network.run(60, () => one.connection !== undefined))
    const [session] = network.endpoint.sessions()
    assert.ok(Math.abs(session.openedAt - now()) < HOUR_MS)
    // There is a second between two wishes for new keys at the least, here by the client's clock and by ours.
    await network.run(2)
    await sleep(1100)
    set = ms
    await network.run(2)
    assert.equal(one.vpn.renegotiations, 0)
    one.vpn.renegotiate()
    assert.ok(await network.run(60, () => one.vpn.renegotiations === 1))
    assert.equal(network.endpoint.counters.renegotiationTooSoon, 0)
    const two = network.client('two', {}, { at: now() })
    assert.ok(await network.run(60, () => two.connection !== undefined))
    const [, later] = network.endpoint.sessions()
    assert.ok(Math.abs(later.openedAt - Date.now()) < HOUR_MS, 'what people see is by the clock as it is')
    assert.deepEqual(network.log, [])
    network.endpoint.close()
  })
}
