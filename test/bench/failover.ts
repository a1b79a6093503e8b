// How long a stock client is without traffic when its server is killed: three controllers, and a pair of stock servers.
import { readFileSync } from 'node:fs'
import { type Lab, sleep } from '../lab/lab.ts'
import { Mesh } from '../lab/mesh.ts'
import { OpenvpnClient, writePack } from '../lab/openvpn-client.ts'
import { Ping } from '../lab/ping.ts'
import { StockServer } from '../lab/stock-server.ts'
import { withLab } from './with-lab.ts'

/** Longest that an answer is waited for, seconds. */
const LONGEST = 60

/** Seconds without traffic at each kill -9 of the controller in use, seen by a client on a third one. */
export function measureFailover(kills: number): Promise<number[]> {
  return withLab('bench-failover', async lab => {
    const mesh = await Mesh.start(lab, ['alpha', 'beta', 'gamma'])
    const moving = await mesh.connect('moving', ['beta', 'gamma'])
    const steady = await mesh.connect('steady', ['alpha'])
    const gaps: number[] = []
    for (let kill = 0; kill < kills; kill++) {
      const victim = mesh.get((await mesh.whereIs('moving'))!)
      const ping = await Ping.start(steady.host, moving.address)
      await ping.answered()
      // At any time within the timers' whole seconds.
      await sleep(Math.random() * 1000)
      await victim.process.kill()
      await sleep(300)
      await ping.answered(LONGEST)
      gaps.push((await ping.stop()).longestGap)
      await victim.up()
      await mesh.whole(30)
    }
    return gaps
  })
}

/** Seconds without traffic at each drain of the controller in use. */
export function measureDrain(drains: number): Promise<number[]> {
  return withLab('bench-drain', async lab => {
    const mesh = await Mesh.start(lab, ['alpha', 'beta', 'gamma'])
    const moving = await mesh.connect('moving', ['beta', 'gamma'])
    const steady = await mesh.connect('steady', ['alpha'])
    const gaps: number[] = []
    for (let drain = 0; drain < drains; drain++) {
      const used = mesh.get((await mesh.whereIs('moving'))!)
      const ping = await Ping.start(steady.host, moving.address)
      await ping.answered()
      await used.cli('drain')
      await sleep(1500)
      gaps.push((await ping.stop()).longestGap)
      await used.cli('drain', '--undo')
    }
    return gaps
  })
}

/** The same of two servers of Debian's openvpn with the shortest timers that its manual advises. */
export function measureStockFailover(kills: number): Promise<number[]> {
  return withLab('bench-stock-pair', async (lab: Lab) => {
    const options = ['duplicate-cn', 'keepalive 1 5']
    const first = await StockServer.start(await lab.host('first'), { options })
    const second = await StockServer.start(await lab.host('second'), { options, like: first })
    const profile = readFileSync(await first.addClient('client'), 'utf8').replace(
      /^remote .*$/m,
      `remote ${first.host.ip4} 1194\nremote ${second.host.ip4} 1194\nconnect-retry 1 1\nserver-poll-timeout 3`,
    )
    const host = await lab.host('moving')
    await OpenvpnClient.connect(host, writePack(first.host, 'pair.ovpn', profile))
    const gaps: number[] = []
    for (let kill = 0; kill < kills; kill++) {
      const victim = kill % 2 === 0 ? first : second
      const ping = await Ping.start(host, first.address)
      await ping.answered()
      await sleep(Math.random() * 1000)
      await victim.process.kill()
      await sleep(300)
      await ping.answered(LONGEST)
      gaps.push((await ping.stop()).longestGap)
      await victim.restart()
    }
    return gaps
  })
}
