// The lab itself: what the other tests stand on must notice what it claims to notice.
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { describe, test } from 'node:test'
import { iperf, iperfServer } from './iperf.ts'
import { Lab } from './lab.ts'
import { OpenvpnClient } from './openvpn-client.ts'
import { Ping, readPing } from './ping.ts'
import { StockServer } from './stock-server.ts'
import { useLab } from './suite.ts'

describe('hosts of the lab', () => {
  const use = useLab('hosts')

  test('reach each other over IPv4 and IPv6, and notice a pulled cable and a cut of one direction', async () => {
    const [a, b] = [await use.lab.host('a'), await use.lab.host('b')]
    await a.exec('ping', '-c', '1', '-W', '2', b.ip4)
    await a.exec('ping', '-c', '1', '-W', '2', b.ip6)

    const ping = await Ping.start(a, b.ip4, { interval: 0.02 })
    await ping.answered()
    await b.cable('out')
    await new Promise(resolve => setTimeout(resolve, 500))
    await b.cable('in')
    await ping.answered()
    const report = await ping.stop()
    assert.ok(report.lost >= 10, `noticed ${report.lost} lost`)
    assert.ok(report.longestGap > 0.4, `noticed a gap of ${report.longestGap} s`)

    await b.refuseFrom(a)
    await assert.rejects(a.exec('ping', '-c', '1', '-W', '1', b.ip4))
    await b.acceptAll()
    await b.moveTo('192.0.2.99')
    await a.exec('ping', '-c', '1', '-W', '2', '192.0.2.99')
    await assert.rejects(a.exec('ping', '-c', '1', '-W', '1', '192.0.2.11'))
  })

  test('leave nothing behind', async () => {
    const lab = await Lab.create('brief')
    const host = await lab.host('only')
    const sleeper = await host.spawn('sleeper', ['sleep', '600'])
    await lab.close()
    assert.equal(sleeper.running, false)
    assert.equal(existsSync(lab.directory), false)
    assert.deepEqual(
      readdirSync('/run/netns').filter(name => name.includes(`${process.pid}-brief`)),
      [],
    )
  })
})

describe('stock openvpn as a hub', () => {
  const use = useLab('stock')

  test('carries pings, TCP and UDP between two stock clients', async () => {
    const { lab } = use
    const [hub, a, b] = [await lab.host('hub'), await lab.host('a'), await lab.host('b')]
    const server = await StockServer.start(hub)
    await OpenvpnClient.connect(a, await server.addClient('a'))
    const second = await OpenvpnClient.connect(b, await server.addClient('b'))
    const address = await second.address()

    const ping = await Ping.start(a, address, { count: 20 })
    const report = await ping.finish()
    assert.equal(report.received, 20)
    assert.equal(report.lost, 0)

    await iperfServer(b)
    assert.ok((await iperf(a, address, { seconds: 1 })).bytes > 1e6)
    const udp = await iperf(a, address, { seconds: 1, udp: { bitsPerSecond: 8e6, bytes: 1000 } })
    assert.ok(udp.delivered > 900, `${udp.delivered} of ${udp.packets}`)
    assert.ok(server.process.cpuSeconds() > 0 && server.process.residentBytes() > 1e6)
  })
})

test('the account of a ping counts losses, duplicates and gaps', () => {
  const line = (at: number, sequence: number, rest = ''): string =>
    `[${at}] 64 bytes from 10.0.0.1: icmp_seq=${sequence} ttl=64 time=0.50 ms${rest}`
  const lines = [
    line(1, 1),
    line(1.1, 2),
    '[1.3] no answer yet for icmp_seq=3',
    line(1.4, 5),
    line(1.41, 5, ' (DUP!)'),
  ]
  const report = readPing(lines.join('\n'), 2)
  assert.equal(report.sent, 5)
  assert.equal(report.lost, 2)
  assert.equal(report.duplicates, 1)
  assert.ok(Math.abs(report.longestGap - 0.3) < 1e-9 && Math.abs(report.silence - 0.6) < 1e-9)
})
