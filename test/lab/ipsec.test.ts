// Sites that are attached by IPsec, as their routers and the mesh's hosts live it: one that dials, one that is dialled.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { AttachmentDetail } from '../../node/service-ipsec.ts'
import { sleep, until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { Ping } from './ping.ts'
import { Site } from './site.ts'
import { useLab } from './suite.ts'

const OVERLAY = '10.77.0.0/16'
const PARIS = '192.168.20.0/24'
const BERLIN = '192.168.30.0/24'
const ROME = '192.168.40.0/24'

describe('attachments', () => {
  let mesh: Mesh
  let near: MeshClient
  let far: MeshClient
  let paris: Site
  let berlin: Site
  let rome: Site

  useLab('ipsec', async lab => {
    mesh = await Mesh.start(lab, ['alpha', 'beta', 'gamma'])
    paris = await Site.create(lab, 'paris', PARIS)
    berlin = await Site.create(lab, 'berlin', BERLIN)
    rome = await Site.create(lab, 'rome', ROME)
    await paris.attach(mesh.get('alpha'), [OVERLAY, BERLIN], '--remote', 'any')
    const rekeys = ['--lifetime', '30', '--ike-lifetime', '60']
    await berlin.attach(
      mesh.get('beta'),
      [OVERLAY, PARIS],
      '--initiate',
      '--controllers',
      'beta,gamma',
      ...rekeys,
    )
    near = await mesh.connect('near', ['alpha'])
    far = await mesh.connect('far', ['gamma'])
  })

  const pings = async (from: MeshClient['host'], address: string) => {
    const ping = await Ping.start(from, address, { count: 5, interval: 0.2 })
    const { sent, lost } = await ping.finish()
    assert.deepEqual({ sent, lost }, { sent: 5, lost: 0 }, `${from.name} pings ${address}`)
  }

  test('come up, dialled by their sites, with a key or a certificate, or by the preferred controller, and are seen from everywhere', async () => {
    await paris.start(mesh.get('gamma'))
    await berlin.start(mesh.get('alpha'))
    await rome.startWithCertificate(mesh.get('beta'))
    for (const controller of mesh.controllers) {
      await paris.isUp(controller)
      await rome.isUp(controller)
      assert.equal(await berlin.isUp(controller, 15, 'beta'), 'beta')
    }
  })

  test('everyone reaches everyone, site to site through the mesh included', async () => {
    await until('the clients know the way to the sites', async () => {
      const routes = await Promise.all([near, far].map(({ host }) => host.exec('ip', 'route')))
      return routes.every(each => [PARIS, BERLIN, ROME].every(network => each.includes(network)))
    })
    for (const { host } of [near, far]) {
      await pings(host, paris.address)
      await pings(host, berlin.address)
      await pings(host, rome.address)
    }
    for (const site of [paris, berlin]) {
      for (const { address } of [near, far]) await pings(site.inner, address)
      for (const controller of mesh.controllers)
        await pings(site.inner, (await controller.status()).controller.address)
    }
    await pings(paris.inner, berlin.address)
  })

  test('what is shown tells of SAs, networks and packets', async () => {
    const shown = await mesh.get('beta').json<AttachmentDetail>('ipsec', 'show', 'berlin')
    assert.equal(shown.state, 'up')
    const [sa] = shown.sas
    assert.equal(sa.state, 'ESTABLISHED')
    assert.equal(sa.initiator, true)
    assert.ok(sa.remoteHost.startsWith(berlin.router.ip4))
    const [child] = sa.children
    assert.deepEqual(child.remoteSubnets, [BERLIN])
    assert.deepEqual([...child.localSubnets].sort(), [OVERLAY, PARIS].sort())
    assert.ok(child.packetsIn > 0 && child.packetsOut > 0)
  })

  test('rekeys of IKE and ESP lose no ping', async () => {
    const ping = await Ping.start(near.host, berlin.address, { interval: 0.05 })
    await ping.answered()
    await mesh.get('alpha').cli('ipsec', 'set', 'berlin', '--controllers', 'gamma,beta')
    await sleep(57_000)
    const { lost, duplicates } = await ping.stop()
    assert.deepEqual({ lost, duplicates }, { lost: 0, duplicates: 0 })
  })

  test('nor does the move to a better controller, after a minute that was quiet', async () => {
    assert.equal(await berlin.isUp(mesh.get('alpha')), 'beta', 'the minute is not over')
    // The answer of the site is lost once: it has its new SA for a second, and uses it, before the controller that dials it has.
    await mesh.get('gamma').host.exec('nft', loseOne(berlin.router.ip4))
    const ping = await Ping.start(near.host, berlin.address, { interval: 0.05 })
    await berlin.isUp(mesh.get('alpha'), 15, 'gamma')
    // The other one ends it a moment later.
    await sleep(2000)
    const { lost, duplicates } = await ping.stop()
    assert.deepEqual({ lost, duplicates }, { lost: 0, duplicates: 0 })
    const dropped = await mesh.get('gamma').host.exec('nft', 'list', 'counter', 'inet', 'lab', 'lost')
    assert.match(dropped, /packets 1 /)
    const events = await mesh.get('alpha').cli('events')
    assert.match(events, /attachment-up +attachment=berlin .*controller=beta/)
    assert.match(events, /attachment-moved +attachment=berlin .*controller=gamma +from=beta/)
  })
})

/** The first message of IKE_AUTH (exchange type 35 of RFC 7296 section 3.1, behind the marker of RFC 3948) from an address. */
const loseOne = (from: string): string => `add table inet lab
  add counter inet lab lost
  add chain inet lab input { type filter hook input priority filter; }
  add rule inet lab input ip saddr ${from} udp dport 4500 @th,64,32 0 @th,240,8 35 limit rate 1/day burst 1 packets counter name lost drop`
