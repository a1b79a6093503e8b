// TCP beyond the overlay, to a network behind a controller and to the Internet by it, up and down, where only one part of the way is
// narrow: the client's, or the one between two controllers. Nothing stalls, and little is lost of the speed of a wide way.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Host } from './host.ts'
import { iperf, iperfServer } from './iperf.ts'
import { until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { NarrowRouter } from './narrow-router.ts'
import { remoteNetwork } from './remote-network.ts'
import { useLab } from './suite.ts'

const WEB = '198.51.100.80'
const LAN = '192.168.12'
const SECONDS = 2
/** The share of the speed at 1500 bytes that is left at the least, and half seconds in which nothing may pass. */
const SHARE = 1 / 3
const STALL = 1
/** A machine that does other things is measured again. */
const ATTEMPTS = 3
const NARROW = [1400, 1280]

describe('a gateway and the Internet behind a controller', () => {
  let mesh: Mesh
  let web: Host
  let router: NarrowRouter
  /** At the gateway's own controller, and at the other. */
  let near: MeshClient
  let far: MeshClient
  const targets = [
    ['the gateway', `${LAN}.10`],
    ['the Internet', WEB],
  ] as const
  /** Mbit/s at 1500 bytes. */
  const wide = new Map<string, number>()

  useLab('mtubeyond', async lab => {
    mesh = await Mesh.start(lab, ['alpha', 'beta'])
    const [alpha, beta] = mesh.controllers
    web = await lab.host('web')
    await web.ip('address', 'add', `${WEB}/32`, 'dev', 'lo')
    await beta.host.ip('route', 'add', WEB, 'via', web.ip4)
    const { server } = await remoteNetwork(lab, 'net', LAN, [beta.host])
    for (const host of [web, server]) await iperfServer(host)
    await alpha.cli('route', 'add', `${LAN}.0/24`, '--via', 'controller:beta')
    await alpha.cli('route', 'add', `${WEB}/32`, '--via', 'internet:beta')
    near = await mesh.connect('near', ['beta'])
    far = await mesh.connect('far', ['alpha'])
    router = await NarrowRouter.make(lab)
  })

  /** Mbit/s both ways to both; throws where it stands still. */
  async function speeds({ name, host }: MeshClient): Promise<Map<string, number>> {
    const all = new Map<string, number>()
    for (const [target, address] of targets)
      for (const reverse of [false, true]) {
        const { bitsPerSecond, stalledSeconds } = await iperf(host, address, { seconds: SECONDS, reverse })
        const what = `${name}, ${reverse ? 'from' : 'to'} ${target}`
        assert.ok(stalledSeconds <= STALL, `${what}: nothing for ${stalledSeconds} s`)
        all.set(what, bitsPerSecond / 1e6)
      }
    return all
  }

  async function isAsFast(client: MeshClient): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const now = await speeds(client)
      const slow = [...now].filter(([what, speed]) => speed < SHARE * wide.get(what)!)
      if (slow.length === 0) return
      const words = slow.map(([what, speed]) => `${what}: ${speed} of ${wide.get(what)} Mbit/s`)
      assert.ok(attempt < ATTEMPTS, words.join('; '))
    }
  }

  /** Connects a client anew, as soon as its network is as it is to be. */
  async function anew(client: MeshClient, controller: string): Promise<MeshClient> {
    await client.openvpn.stop()
    const pack = `${mesh.lab.directory}/${client.name}-${controller}.ovpn`
    return mesh.connectWith(client.name, client.host, pack)
  }

  test('at 1500 bytes', async () => {
    for (const client of [near, far])
      for (const [what, speed] of await speeds(client)) {
        assert.ok(speed > 20, `${what}: ${speed} Mbit/s`)
        wide.set(what, speed)
      }
  })

  for (const bytes of NARROW) {
    test(`a client that gets and sends ${bytes} bytes at most, which nobody says`, async () => {
      await near.host.setMtu(bytes)
      near = await anew(near, 'beta')
      await isAsFast(near)
      await near.host.setMtu(1500)
    })

    for (const saying of ['and does not say so', 'and says so'])
      test(`a router between two controllers takes ${bytes} bytes at most ${saying}`, async () => {
        const [alpha, beta] = mesh.controllers
        await router.between([alpha.host, beta.host], bytes, saying !== 'and says so')
        const mtu = async () =>
          (await alpha.status()).controllers.find(({ name }) => name === 'beta')?.link.mtu
        await until('the link is known to be narrow', async () => (await mtu())! <= bytes - 52, 15)
        await isAsFast(far)
        await router.remove([alpha.host, beta.host])
        await until('the link is wide again', async () => (await mtu()) === 1420, 30)
      })
  }
})
