// Controllers that know each other by IPv6 alone.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Controller } from './controller.ts'
import type { Host } from './host.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

describe('two controllers over IPv6', () => {
  let mesh: Mesh
  const clients: MeshClient[] = []

  useLab('mesh-ipv6', async lab => {
    const six = (host: Host) => ({
      listen: ['[::]:1194'],
      public: [`[${host.ip6}]:1194`],
      meshListen: '[::]:4001',
    })
    const [one, two] = [await lab.host('one'), await lab.host('two')]
    const first = await Controller.start(one, six(one))
    const second = await Controller.join(two, await first.invite(), six(two))
    await second.up()
    mesh = Mesh.of(lab, [first, second])
    await mesh.whole(20)
    for (const [index, prefer] of ['one', 'two'].entries()) {
      const name = `c${index}`
      const pack = await first.addClient(name, '--prefer', prefer)
      clients.push(await mesh.connectWith(name, await lab.host(name), pack))
    }
  })

  test('the client of one reaches that of the other, in one hop', async () => {
    const [near, far] = clients
    assert.equal(await mesh.whereIs('c0'), 'one')
    assert.equal(await mesh.whereIs('c1'), 'two')
    const ping = await Ping.start(near.host, far.address, { interval: 0.02, count: 100 })
    const { received, lost } = await ping.finish()
    assert.deepEqual([received, lost], [100, 0])
    assert.match(await near.host.exec('ping', '-c', '1', '-W', '2', far.address), / ttl=62 /)
  })

  test('full packets pass the link in one piece', async () => {
    const [near, far] = clients
    await near.host.exec(
      'ping',
      '-c',
      '3',
      '-i',
      '0.2',
      '-M',
      'do',
      '-s',
      String(1420 - 28),
      '-W',
      '2',
      far.address,
    )
  })
})
