// How long a stock client is without traffic when its server is killed: three controllers, and a pair of stock servers.
import { readFileSync } from 'node:fs'
import type { Controller } from '../lab/controller.ts'
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
  return measureMoves('bench-failover', kills, async (mesh, victim, ping) => {
    // At any time within the timers' whole seconds.
    await sleep(Math.random() * 1000)
    await victim.process.kill()
    const gap = await gapOf(ping)
    await victim.up()
    await mesh.whole(30)
    return gap
  })
}

/** Seconds without traffic at each drain of the controller in use. */
export function measureDrain(drains: number): Promise<number[]> {
  return measureMoves('bench-drain', drains, async (_mesh, used, ping) => {
    await used.cli('drain')
    await sleep(1500)
    const { longestGap } = await ping.stop()
    await used.cli('drain', '--undo')
    return longestGap
  })
}

/** Of three controllers the one in use is left, again and again, while a client on another pings the one that moves. */
function measureMoves(
  name: string,
  moves: number,
  leave: (mesh: Mesh, used: Controller, ping: Ping) => Promise<number>,
): Promise<number[]> {
  return withLab(name, async lab => {
    const mesh = await Mesh.start(lab, ['alpha', 'beta', 'gamma'])
    const moving = await mesh.connect('moving', ['beta', 'gamma'])
    const steady = await mesh.connect('steady', ['alpha'])
    const gaps: number[] = []
    while (gaps.length < moves) {
      const used = mesh.get((await mesh.whereIs('moving'))!)
      const ping = await Ping.start(steady.host, moving.address)
      await ping.answered()
      gaps.push(await leave(mesh, used, ping))
    }
    return gaps
  })
}

/** Seconds without an answer, once there are answers again. */
async function gapOf(ping: Ping): Promise<number> {
  await sleep(300)
  await ping.answered(LONGEST)
  return (await ping.stop()).longestGap
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
      gaps.push(await gapOf(ping))
      await victim.restart()
    }
    return gaps
  })
}
