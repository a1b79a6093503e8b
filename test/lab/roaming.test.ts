// A laptop changes networks: its packets come from another address all at once, and the session goes on.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Controller } from './controller.ts'
import { sleep, until } from './lab.ts'
import { OpenvpnClient } from './openvpn-client.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

describe('a client that roams', () => {
  let controller: Controller
  let laptop: OpenvpnClient
  let server: OpenvpnClient

  useLab('roaming', async lab => {
    controller = await Controller.start(await lab.host('hub'))
    laptop = await OpenvpnClient.connect(await lab.host('laptop'), await controller.addClient('laptop'))
    server = await OpenvpnClient.connect(await lab.host('server'), await controller.addClient('server'))
  })

  test('keeps its session and its traffic, in both directions', async () => {
    const [laptopAddress, serverAddress] = [await laptop.address(), await server.address()]
    const out = await Ping.start(laptop.host, serverAddress, { interval: 0.02 })
    const back = await Ping.start(server.host, laptopAddress, { interval: 0.02 })
    await Promise.all([out.answered(), back.answered()])

    for (const ip4 of ['192.0.2.201', '192.0.2.202', '192.0.2.203']) {
      await laptop.host.moveTo(ip4)
      const seconds = await until(
        `the session comes from ${ip4}`,
        async () => (await controller.client('laptop')).session?.remote.startsWith(`${ip4}:`),
        5,
      )
      assert.ok(seconds < 5)
      await Promise.all([out.answered(2), back.answered(2)])
      await sleep(500)
    }

    for (const report of [await out.stop(), await back.stop()]) {
      // What was on its way to the old address is gone; everything else arrives.
      assert.ok(report.longestGap < 1, `a gap of ${report.longestGap} s`)
      assert.ok(report.lost <= 30, `${report.lost} lost of ${report.sent}`)
    }
    assert.equal(laptop.connections, 1)
    assert.equal(laptop.handshakes, 1)
  })

  test('renegotiates from the new address', async () => {
    const renegotiating = await OpenvpnClient.connect(
      await laptop.host.lab.host('tablet'),
      await controller.addClient('tablet'),
      { args: ['--reneg-sec', '4'] },
    )
    await renegotiating.host.moveTo('192.0.2.210')
    const ping = await Ping.start(renegotiating.host, await server.address(), { interval: 0.05 })
    await ping.answered()
    const before = renegotiating.handshakes
    await until('two renegotiations', () => renegotiating.handshakes >= before + 2, 20)
    assert.equal((await ping.stop()).lost, 0)
    assert.equal(renegotiating.connections, 1)
  })
})
