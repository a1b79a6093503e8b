// How long flows stand still when the way that they take is lost, in each of the ways that it can be.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Route } from '../../node/service.ts'
import { until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { Ping } from './ping.ts'
import { type RemoteNetwork, remoteNetwork } from './remote-network.ts'
import { useLab } from './suite.ts'

const TIMES = 3
/** Seconds without an answer: the median, for a way that is gone and for one that only its probe shows to be cut off. */
const GONE = 1
const CUT_OFF = 2

const CLIENTS = ['client:site', 'client:second'] as const
const CONTROLLERS = ['controller:alpha', 'controller:beta'] as const

interface Loss {
  lan: RemoteNetwork
  vias: readonly [best: string, next: string]
  lose: () => Promise<unknown>
  undo: () => Promise<unknown>
}

const prefixOf = (lan: RemoteNetwork): string => lan.address.replace(/\d+$/, '0/24')

describe('networks behind two clients, and two controllers', () => {
  let mesh: Mesh
  let behindClients: RemoteNetwork
  let probedBehindClients: RemoteNetwork
  let behindControllers: RemoteNetwork
  let probedBehindControllers: RemoteNetwork
  let site: MeshClient
  let road: MeshClient

  const use = useLab('vialoss', async lab => {
    mesh = await Mesh.start(lab, ['alpha', 'beta'])
    const [alpha, beta] = mesh.controllers
    site = await mesh.connect('site', ['alpha'])
    const second = await mesh.connect('second', ['beta'])
    const clients = [site.host, second.host]
    const controllers = [alpha.host, beta.host]
    const add = async (lan: RemoteNetwork, [best, next]: Loss['vias'], ...options: string[]) => {
      await beta.cli('route', 'add', prefixOf(lan), '--via', best, ...options)
      await beta.cli('route', 'add', prefixOf(lan), '--via', next, '--metric', '10', ...options)
    }
    await beta.cli('route', 'updates', 'later')
    behindClients = await remoteNetwork(lab, 'lana', '192.168.5', clients)
    probedBehindClients = await remoteNetwork(lab, 'lanb', '192.168.6', clients)
    behindControllers = await remoteNetwork(lab, 'lanc', '192.168.7', controllers)
    probedBehindControllers = await remoteNetwork(lab, 'land', '192.168.8', controllers)
    await add(behindClients, CLIENTS)
    await add(probedBehindClients, CLIENTS, '--probe', probedBehindClients.address)
    await add(behindControllers, CONTROLLERS, '--nat')
    await add(probedBehindControllers, CONTROLLERS, '--nat', '--probe', probedBehindControllers.address)
    for (const host of clients) {
      await host.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1')
      await host.exec('nft', 'add table ip lan')
      await host.exec('nft', 'add chain ip lan out { type nat hook postrouting priority srcnat; }')
      await host.exec('nft', 'add rule ip lan out ip saddr 10.77.0.0/16 oifname "lan*" masquerade')
    }
    road = await mesh.connect('road', ['beta'])
  })

  async function movesWithin(limit: number, { lan, vias: [best, next], lose, undo }: Loss): Promise<void> {
    const stateIn = (routes: readonly Route[], via: string) =>
      routes.find(each => each.cidr === prefixOf(lan) && each.via === via)?.state
    const beta = mesh.get('beta')
    const stateOf = async (via: string) => stateIn(await beta.json<Route[]>('routes'), via)
    const gaps: number[] = []
    // Where the first is within the limit, that is it; a machine that does other things is given the median of a few.
    while (gaps.length < TIMES && !(gaps.length === 1 && gaps[0] < limit)) {
      await until(`${best} is in use`, async () => (await stateOf(best)) === 'active', 30)
      await until(`${next} is there`, async () => (await stateOf(next)) === 'standby', 30)
      const ping = await Ping.start(road.host, lan.address, { interval: 0.02 })
      await ping.answered()
      await lose()
      // Not by a command, which would take a whole core of what is timed.
      const isInUse = async () => stateIn(await beta.api.routes(), next) === 'active'
      await until(`${next} is in use`, isInUse, 10)
      await ping.answered()
      gaps.push((await ping.stop()).longestGap)
      await undo()
    }
    gaps.sort((a, b) => a - b)
    const text = `${gaps.map(each => each.toFixed(2)).join(', ')} s without an answer`
    process.stdout.write(`${text}\n`)
    assert.ok(gaps[gaps.length >> 1] < limit, text)
    // Even on a machine that does other things as well.
    assert.ok(gaps.at(-1)! < 2 * limit, text)
  }

  const alpha = () => mesh.get('alpha')
  const reconnect = async () => {
    site = await mesh.connectWith('site', site.host, `${use.lab.directory}/site-alpha.ovpn`)
  }

  test('the client is killed', () =>
    movesWithin(GONE, {
      ...{ lan: behindClients, vias: CLIENTS },
      lose: () => site.openvpn.process.kill(),
      undo: reconnect,
    }))

  test("the client's cable is pulled", () =>
    movesWithin(GONE, {
      ...{ lan: behindClients, vias: CLIENTS },
      lose: () => site.host.cable('out'),
      undo: () => site.host.cable('in'),
    }))

  test("the client's controller is killed", () =>
    movesWithin(GONE, {
      ...{ lan: behindClients, vias: CLIENTS },
      lose: () => alpha().process.kill(),
      undo: () => alpha().up(),
    }))

  test('the network behind the client is unplugged, and only the probe shows it', () =>
    movesWithin(CUT_OFF, {
      ...{ lan: probedBehindClients, vias: CLIENTS },
      lose: () => probedBehindClients.cable(site.host, 'out'),
      undo: () => probedBehindClients.cable(site.host, 'in'),
    }))

  test('the controller is killed', () =>
    movesWithin(GONE, {
      ...{ lan: behindControllers, vias: CONTROLLERS },
      lose: () => alpha().process.kill(),
      undo: () => alpha().up(),
    }))

  test("the controller's cable is pulled", () =>
    movesWithin(GONE, {
      ...{ lan: behindControllers, vias: CONTROLLERS },
      lose: () => alpha().host.cable('out'),
      undo: () => alpha().host.cable('in'),
    }))

  test('the network behind the controller is unplugged, and only the probe shows it', () =>
    movesWithin(CUT_OFF, {
      ...{ lan: probedBehindControllers, vias: CONTROLLERS },
      lose: () => probedBehindControllers.cable(alpha().host, 'out'),
      undo: () => probedBehindControllers.cable(alpha().host, 'in'),
    }))
})
