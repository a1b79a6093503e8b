// Overmesh's own client and a controller, both without root and without a TUN interface.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Controller, OVERMESH, WITHOUT_ROOT } from './controller.ts'
import { OpenvpnClient } from './openvpn-client.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

describe('probe', () => {
  let controller: Controller
  const use = useLab('probe', async lab => {
    controller = await Controller.start(await lab.host('hub'))
  })

  test('connects without root, pings through the controller and says what it saw', async () => {
    const host = await use.lab.host('visitor')
    const pack = await controller.addClient('visitor')
    const stock = await OpenvpnClient.connect(
      await use.lab.host('stock'),
      await controller.addClient('stock'),
    )
    const argv = [
      ...WITHOUT_ROOT,
      ...OVERMESH,
      'probe',
      pack,
      '--ping',
      await stock.address(),
      '--count',
      '10',
    ]
    const { code, stdout, stderr } = await host.attempt(argv)
    assert.equal(code, 0, stderr)
    assert.match(stdout, /10 sent, 10 answered, 0 % lost/)
    const json = JSON.parse((await host.attempt([...argv, '--json'])).stdout)
    assert.equal(json.connected, true)
    assert.equal(json.address, (await controller.client('visitor')).address)
    assert.deepEqual([json.ping.sent, json.ping.received, json.losses], [10, 10, 0])
  })

  test('answers the pings of a stock client', async () => {
    const host = await use.lab.host('echo')
    const pack = await controller.addClient('echo')
    const { address } = await controller.client('echo')
    const probe = await host.spawn('probe', [...WITHOUT_ROOT, ...OVERMESH, 'probe', pack, '--seconds', '20'])
    await probe.waitFor(new RegExp(address.replaceAll('.', '\\.')))
    const report = await (
      await Ping.start(use.lab.hosts.get('stock')!, address, { interval: 0.05, count: 40 })
    ).finish()
    assert.deepEqual([report.received, report.lost], [40, 0])
    await probe.stop('SIGINT')
  })

  test('fails, and says why, when it is refused or nobody answers', async () => {
    const host = use.lab.hosts.get('visitor')!
    const pack = await controller.addClient('unwanted')
    await controller.cli('client', 'disable', 'unwanted')
    const refused = await host.attempt([...OVERMESH, 'probe', pack, '--ping', '10.77.0.1', '--count', '1'])
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /^overmesh: .*disabled/m)
    const nobody = [...OVERMESH, 'probe', pack, '--remote', '192.0.2.250:1194', '--seconds', '3']
    const silent = await host.attempt(nobody, { timeout: 90_000 })
    assert.equal(silent.code, 1)
    assert.match(silent.stderr, /^overmesh: /m)
  })
})

describe('a controller without root', () => {
  let controller: Controller
  const use = useLab('rootless', async lab => {
    controller = await Controller.init(await lab.host('hub'))
    await controller.up(90, WITHOUT_ROOT)
  })

  test('switches between stock clients, and answers pings itself', async () => {
    const { lab } = use
    const a = await OpenvpnClient.connect(await lab.host('a'), await controller.addClient('a'))
    const b = await OpenvpnClient.connect(await lab.host('b'), await controller.addClient('b'))
    const { controller: self } = await controller.status()
    assert.equal(self.tun, null)
    for (const target of [await b.address(), self.gateway, self.address]) {
      const report = await (await Ping.start(a.host, target, { interval: 0.02, count: 50 })).finish()
      assert.deepEqual([report.received, report.lost], [50, 0])
    }
  })
})
