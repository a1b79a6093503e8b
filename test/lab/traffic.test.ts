// Three stock clients join one controller, each with the one file it was given, and reach each other and the controller.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Controller } from './controller.ts'
import type { Host } from './host.ts'
import { iperf, iperfServer } from './iperf.ts'
import { until } from './lab.ts'
import { OpenvpnClient } from './openvpn-client.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

const NAMES = ['web', 'db', 'laptop'] as const
const OVERLAY_MTU = 1420
/** IPv4 and ICMP headers of a ping. */
const PING_HEADERS = 28

describe('three stock clients of one controller', () => {
  let controller: Controller
  const hosts: Host[] = []
  const clients: OpenvpnClient[] = []
  const addresses: string[] = []

  useLab('traffic', async lab => {
    controller = await Controller.start(await lab.host('hub'))
    for (const name of NAMES) {
      const host = await lab.host(name)
      hosts.push(host)
      clients.push(await OpenvpnClient.connect(host, await controller.addClient(name)))
    }
    for (const client of clients) addresses.push(await client.address())
  })

  test('have the addresses their credentials name', async () => {
    const listed = await controller.clients()
    for (const [index, name] of NAMES.entries()) {
      const client = listed.find(each => each.name === name)
      assert.equal(client?.address, addresses[index])
      assert.equal(client?.session?.address, addresses[index])
      assert.ok(client?.session?.remote.startsWith(`${hosts[index].ip4}:`), client?.session?.remote)
    }
    assert.equal(new Set(addresses).size, NAMES.length)
  })

  test('ping each other, the gateway and the controller, and lose nothing', async () => {
    const { gateway, address } = (await controller.status()).controller
    assert.equal(gateway, '10.77.0.1')
    const pings: Promise<Ping>[] = []
    for (const [index, host] of hosts.entries())
      for (const target of [...addresses.filter((_, other) => other !== index), gateway, address])
        pings.push(Ping.start(host, target, { interval: 0.02, count: 100 }))
    for (const ping of await Promise.all(pings)) {
      const report = await (await ping).finish()
      assert.equal(report.received, 100)
      assert.equal(report.lost, 0)
      assert.equal(report.duplicates, 0)
    }
  })

  test('are pinged by the machine of the controller', async () => {
    const hub = controller.host
    for (const address of addresses) await hub.exec('ping', '-c', '2', '-i', '0.1', '-W', '2', address)
  })

  for (const [from, to] of [
    [0, 1],
    [1, 0],
    [2, 0],
  ]) {
    test(`TCP and UDP pass from ${NAMES[from]} to ${NAMES[to]}, both ways`, async () => {
      const server = await iperfServer(hosts[to])
      try {
        for (const reverse of [false, true]) {
          const tcp = await iperf(hosts[from], addresses[to], { reverse })
          assert.ok(tcp.bitsPerSecond > 20e6, `TCP ${tcp.bitsPerSecond / 1e6} Mbit/s`)
          const udp = { bitsPerSecond: 10e6, bytes: 1300 }
          const report = await iperf(hosts[from], addresses[to], { udp, reverse })
          assert.ok(report.delivered > 0.99 * report.packets, `${report.delivered} of ${report.packets}`)
        }
      } finally {
        await server.stop()
      }
    })
  }

  test('TCP and UDP pass between a client and the overlay address of the controller, both ways', async () => {
    const { address } = (await controller.status()).controller
    const server = await iperfServer(controller.host)
    try {
      for (const reverse of [false, true]) {
        assert.ok((await iperf(hosts[0], address, { reverse })).bitsPerSecond > 20e6)
        const udp = { bitsPerSecond: 10e6, bytes: 1300 }
        const report = await iperf(hosts[0], address, { udp, reverse })
        assert.ok(report.delivered > 0.99 * report.packets, `${report.delivered} of ${report.packets}`)
      }
    } finally {
      await server.stop()
    }
  })

  test('the kernel of the controller takes and gives TCP in super-packets', async () => {
    const { address } = (await controller.status()).controller
    const server = await iperfServer(controller.host)
    try {
      const packetsByCall = async (reverse: boolean): Promise<number> => {
        const before = (await controller.status()).counters
        await iperf(hosts[0], address, { reverse })
        const { counters } = await controller.status()
        const grown = (name: string): number => counters[name] - before[name]
        return reverse
          ? grown('tunRxPackets') / grown('tunReads')
          : grown('tunTxPackets') / grown('tunWrites')
      }
      for (const reverse of [false, true]) {
        const packets = await packetsByCall(reverse)
        assert.ok(packets > 4, `${packets} packets a system call`)
      }
    } finally {
      await server.stop()
    }
  })

  test('packets as large as the overlay allows pass whole, larger ones in fragments', async () => {
    const largest = String(OVERLAY_MTU - PING_HEADERS)
    await hosts[0].exec('ping', '-c', '3', '-i', '0.1', '-W', '2', '-M', 'do', '-s', largest, addresses[1])
    await hosts[0].exec('ping', '-c', '3', '-i', '0.1', '-W', '2', '-M', 'dont', '-s', '4000', addresses[1])
    const { stdout } = await hosts[0].attempt([
      ...['ping', '-c', '1', '-W', '1', '-M', 'do', '-s', String(OVERLAY_MTU - PING_HEADERS + 1)],
      addresses[1],
    ])
    assert.match(stdout, /0 received/)
  })

  test('the controller is a hop of the way, and tells what it cannot deliver', async () => {
    const reply = await hosts[0].exec('ping', '-c', '1', '-W', '2', addresses[1])
    assert.match(reply, /ttl=63/)
    const expired = await hosts[0].attempt(['ping', '-c', '1', '-W', '2', '-t', '1', addresses[1]])
    assert.match(expired.stdout, /From 10\.77\.0\.\d+ .*Time to live exceeded/)
    const nobody = await hosts[0].attempt(['ping', '-c', '1', '-W', '2', '10.77.0.250'])
    assert.match(nobody.stdout, /From 10\.77\.0\.\d+ .*Destination (Host|Net) Unreachable/)
  })

  test('what passed is counted', async () => {
    const before = (await controller.client(NAMES[0])).session!
    await hosts[0].exec('ping', '-c', '20', '-i', '0.01', '-s', '1000', '-W', '2', addresses[1])
    await until('twenty packets of a kilobyte are counted in both directions', async () => {
      const session = (await controller.client(NAMES[0])).session!
      return session.rxBytes - before.rxBytes >= 20_000 && session.txBytes - before.txBytes >= 20_000
    })
  })

  test('nobody had to connect twice', () => {
    for (const client of clients) assert.equal(client.connections, 1)
  })

  test('a client that leaves is gone at once', async () => {
    await clients[2].stop()
    const seconds = await until(
      'the session has ended',
      async () => !(await controller.sessions()).some(session => session.client === NAMES[2]),
      6,
    )
    assert.ok(seconds < 6)
    const gone = await hosts[0].attempt(['ping', '-c', '1', '-W', '2', addresses[2]])
    assert.match(gone.stdout, /Destination (Host|Net) Unreachable/)
  })
})
