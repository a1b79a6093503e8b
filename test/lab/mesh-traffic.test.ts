// Three controllers and a stock client on each: everyone reaches everyone, by the shortest way, whoever asks.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { PcapngReader } from '../../node/capture/pcapng-reader.ts'
import { iperf, iperfServer } from './iperf.ts'
import { until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { Ping, reaches } from './ping.ts'
import { useLab } from './suite.ts'

describe('three controllers, a client on each', () => {
  let mesh: Mesh
  const clients: MeshClient[] = []

  useLab('mesh', async lab => {
    mesh = await Mesh.start(lab, ['alpha', 'beta', 'gamma'])
    for (const [index, { name }] of mesh.controllers.entries())
      clients.push(await mesh.connect(`c${index}`, [name], { by: mesh.controllers[(index + 1) % 3] }))
  })

  test('every controller says who is where', async () => {
    for (const asked of mesh.controllers) {
      await until(`${asked.name} sees all sessions`, async () => (await asked.api.sessions()).length === 3, 3)
      const where = new Map((await asked.sessions()).map(each => [each.client, each.controller]))
      for (const [index, { name }] of mesh.controllers.entries()) assert.equal(where.get(`c${index}`), name)
    }
  })

  test('clients ping each other, the gateway and every controller, and lose nothing', async () => {
    const own = await Promise.all(
      mesh.controllers.map(async each => (await each.status()).controller.address),
    )
    const pings: Promise<Ping>[] = []
    for (const { host, address } of clients)
      for (const target of ['10.77.0.1', ...own, ...clients.map(each => each.address)])
        if (target !== address) pings.push(Ping.start(host, target, { interval: 0.05, count: 60 }))
    for (const ping of await Promise.all(pings)) {
      const { received, duplicates } = await (await ping).finish()
      assert.deepEqual({ received, duplicates }, { received: 60, duplicates: 0 })
    }
  })

  test('a packet goes from controller to controller in one hop', async () => {
    const [first, second] = clients
    const answer = await first.host.exec('ping', '-c', '1', '-W', '2', second.address)
    // Two routers on the way back: the controller of each client.
    assert.match(answer, / ttl=62 /)
  })

  for (const [from, to] of [
    [0, 1],
    [1, 2],
  ]) {
    test(`TCP and UDP pass between c${from} and c${to}, both ways`, async () => {
      const server = await iperfServer(clients[to].host)
      try {
        for (const reverse of [false, true]) {
          const tcp = await iperf(clients[from].host, clients[to].address, { reverse })
          assert.ok(tcp.bitsPerSecond > 20e6, `TCP ${tcp.bitsPerSecond / 1e6} Mbit/s`)
          const udp = { bitsPerSecond: 5e6, bytes: 1300 }
          const report = await iperf(clients[from].host, clients[to].address, { udp, reverse })
          assert.ok(report.delivered > 0.99 * report.packets, `${report.delivered} of ${report.packets}`)
        }
      } finally {
        await server.stop()
      }
    })
  }

  test('the machines of the controllers reach clients elsewhere', async () => {
    for (const { host } of mesh.controllers)
      for (const { address } of clients) await host.exec('ping', '-c', '2', '-i', '0.1', '-W', '2', address)
  })

  test('a capture shows what passes the link to a controller, and the TUN', async () => {
    const [alpha, beta] = mesh.controllers
    const capture = (...args: string[]) =>
      alpha.json<{ ports: unknown }>('capture', '--proto', 'icmp', '--seconds', '20', ...args)
    const { address } = clients[1]
    const file = join(alpha.dataDir, 'link.pcapng')
    const link = capture('--controller', beta.name, '--host', address, '--packets', '4', '--out', file)
    const tun = capture('--controller', alpha.name, '--host', address, '--packets', '4')
    // For as long as it takes both commands to start.
    const pings = [clients[0].host, alpha.host].map(host => Ping.start(host, address, { interval: 0.05 }))
    const [linkFigures, tunFigures] = await Promise.all([link, tun])
    for (const ping of await Promise.all(pings)) await ping.stop()
    assert.deepEqual(linkFigures.ports, { [`link ${beta.name}`]: 4 })
    assert.deepEqual(tunFigures.ports, { tun: 4 })
    const blocks = new PcapngReader().push(await readFile(file))
    const packets = blocks.filter(block => block.type === 'packet')
    assert.equal(packets.length, 4)
    assert.deepEqual(new Set(packets.map(({ direction }) => direction)), new Set([1, 2]))
    for (const { packet } of packets) assert.equal(packet.length, 28, 'headers only')
  })

  test('a client with subnets behind it is reached there from another controller', async () => {
    const [alpha, beta] = mesh.controllers
    const site = await mesh.lab.host('site')
    const pack = await alpha.addClient('site', '--subnet', '192.168.5.0/24')
    await mesh.connectWith('site', site, mesh.orderPack(pack, [beta.name]))
    await site.ip('address', 'add', '192.168.5.1/32', 'dev', 'lo')
    const [{ host }] = clients
    await host.ip('route', 'replace', '192.168.5.0/24', 'dev', 'tun0')
    await until('word of it is there', () => reaches(host, '192.168.5.1'), 5)
  })

  test('a client kicked from a controller it is not on comes back', async () => {
    const [alpha] = mesh.controllers
    const { openvpn, name } = clients[2]
    const mark = openvpn.mark()
    await alpha.cli('client', 'kick', name)
    await openvpn.connected(10, mark)
  })

  test('a new credential made here connects there within a second, and ends there within a second', async () => {
    const [alpha, , gamma] = mesh.controllers
    const host = await mesh.lab.host('late')
    for (let round = 0; round < 5; round++) {
      const name = `late${round}`
      const pack = mesh.orderPack(await alpha.addClient(name), [gamma.name])
      const { openvpn } = await mesh.connectWith(name, host, pack)
      assert.equal(openvpn.connections, 1)
      const mark = openvpn.mark()
      const revoked = performance.now()
      await alpha.cli('client', 'revoke', name)
      const done = performance.now()
      await openvpn.says(/AUTH_FAILED/, 3, mark)
      assert.ok(performance.now() - done < 1000, `told after ${performance.now() - revoked} ms`)
      await until('gone', async () => !(await gamma.api.sessions()).some(each => each.client === name), 1)
      await openvpn.stop()
    }
  })

  test('writes say on how many controllers they are', async () => {
    const [alpha] = mesh.controllers
    const result = await alpha.attempt(['client', 'disable', 'c0', '--json'])
    assert.equal(result.code, 0, result.stderr)
    assert.deepEqual(JSON.parse(result.stdout).storedOn, { controllers: 3, of: 3 })
    await alpha.cli('client', 'enable', 'c0')
  })

  test('records are equal everywhere, and verified', async () => {
    await mesh.whole(5)
    for (const controller of mesh.controllers) {
      // What the others have is known from what they told of themselves last.
      await until(`${controller.name} has heard that all are equal`, async () => {
        const verified = JSON.parse(await controller.cli('state', 'verify', '--json'))
        assert.equal(verified.ok, true)
        assert.equal(verified.peers.length, 2)
        return verified.peers.every((peer: { equal: boolean }) => peer.equal)
      })
    }
  })
})
