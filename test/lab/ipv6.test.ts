// The underlay may be IPv6, or both: the overlay does not notice.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Controller } from './controller.ts'
import { iperf, iperfServer } from './iperf.ts'
import { OpenvpnClient } from './openvpn-client.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

describe('clients over IPv6', () => {
  let controller: Controller
  let six: OpenvpnClient
  let four: OpenvpnClient

  useLab('ipv6', async lab => {
    const hub = await lab.host('hub')
    controller = await Controller.start(hub, {
      listen: ['0.0.0.0:1194', '[::]:1194'],
      public: [`[${hub.ip6}]:1194`, hub.ip4],
    })
    const connect = async (name: string, remote: string[]): Promise<OpenvpnClient> => {
      const pack = await controller.addClient(name)
      return OpenvpnClient.connect(await lab.host(name), pack, { args: remote })
    }
    six = await connect('six', [])
    four = await connect('four', ['--proto', 'udp4'])
  })

  test('have sessions from IPv6 addresses, by the pack as it is', async () => {
    const { session } = await controller.client('six')
    assert.ok(session?.remote.startsWith(`[${six.host.ip6}]:`), session?.remote)
  })

  test('reach clients over IPv4, and lose no ping', async () => {
    const ping = await Ping.start(six.host, await four.address(), { interval: 0.02, count: 100 })
    const report = await ping.finish()
    assert.deepEqual([report.received, report.lost, report.duplicates], [100, 0, 0])
  })

  test('carry TCP both ways', async () => {
    await iperfServer(four.host)
    for (const reverse of [false, true]) {
      const { bitsPerSecond } = await iperf(six.host, await four.address(), { reverse })
      assert.ok(bitsPerSecond > 20e6, `${bitsPerSecond / 1e6} Mbit/s`)
    }
    assert.equal(six.connections, 1)
  })
})
