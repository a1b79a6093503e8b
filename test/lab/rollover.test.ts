// Keys roll over a thousand times under traffic: every renegotiation is a new TLS handshake beside the old keys, and while
// old and new are both in use, nothing may get lost.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Controller } from './controller.ts'
import { until } from './lab.ts'
import { OpenvpnClient } from './openvpn-client.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

const CLIENTS = 48
/** Clients that are made at once. */
const AT_ONCE = 4
/** Seconds between renegotiations of one client; shorter, stock clients start over while the last one is under way. */
const RENEGOTIATE_SECONDS = 4
const ROLLOVERS = 1000
/** Half as much again as it takes when each renegotiates in time. */
const MAX_SECONDS = (1.5 * ROLLOVERS * RENEGOTIATE_SECONDS) / CLIENTS + 20

describe('a thousand renegotiations', () => {
  let controller: Controller
  const clients: OpenvpnClient[] = []
  const use = useLab('rollover', async lab => {
    controller = await Controller.start(await lab.host('hub'), {
      upArgs: ['--log-level', 'warn'],
      sessionKeySeconds: RENEGOTIATE_SECONDS,
    })
    const start = async (i: number): Promise<OpenvpnClient> => {
      const host = await lab.host(`c${i}`)
      const pack = await controller.addClient(`c${i}`)
      // Every other one leaves it to the controller; with the others, both sides start, sometimes at once.
      const args = ['--reneg-sec', i % 2 === 0 ? '0' : String(RENEGOTIATE_SECONDS)]
      return OpenvpnClient.start(host, pack, { args })
    }
    while (clients.length < CLIENTS) {
      const batch = Array.from({ length: AT_ONCE }, (_, i) => start(clients.length + i))
      clients.push(...(await Promise.all(batch)))
    }
    await Promise.all(clients.map(client => client.connected()))
  })

  test('lose no ping, between clients that all renegotiate', { timeout: 600_000 }, async () => {
    const addresses = await Promise.all(clients.map(client => client.address()))
    const pings = await Promise.all(
      clients.map((client, index) =>
        Ping.start(client.host, addresses[(index + 1) % CLIENTS], { interval: 0.1 }),
      ),
    )
    const rollovers = (): number => clients.reduce((sum, client) => sum + client.handshakes - 1, 0)
    await until(`${ROLLOVERS} renegotiations`, () => rollovers() >= ROLLOVERS, MAX_SECONDS, 0.5)
    const reports = await Promise.all(pings.map(ping => ping.stop()))

    const sent = reports.reduce((sum, report) => sum + report.sent, 0)
    const lost = reports.reduce((sum, report) => sum + report.lost, 0)
    assert.ok(sent > CLIENTS * 500, `${sent} pings`)
    assert.equal(lost, 0, `${lost} of ${sent} pings lost over ${rollovers()} renegotiations`)
    for (const [index, report] of reports.entries()) {
      assert.equal(report.duplicates, 0)
      assert.ok(report.silence < 1, `c${index} was silent for ${report.silence} s at the end`)
    }
    for (const client of clients)
      assert.equal(client.connections, 1, `${client.process.name} connected again`)
    assert.equal((await controller.sessions()).length, use.lab.hosts.size - 1)
  })
})
