// Attachments whose controller dies, whose IKE daemon dies, and whose mesh is split.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { Ping } from './ping.ts'
import { Site } from './site.ts'
import { useLab } from './suite.ts'

const OVERLAY = '10.77.0.0/16'

describe('attachments fail over', () => {
  let mesh: Mesh
  let near: MeshClient
  let far: MeshClient
  let paris: Site
  let berlin: Site

  useLab('ipsec-failover', async lab => {
    mesh = await Mesh.start(lab, ['alpha', 'beta', 'gamma'])
    paris = await Site.create(lab, 'paris', '192.168.20.0/24')
    berlin = await Site.create(lab, 'berlin', '192.168.30.0/24')
    await paris.attach(mesh.get('alpha'), [OVERLAY])
    await berlin.attach(mesh.get('alpha'), [OVERLAY], '--initiate', '--controllers', 'beta,alpha')
    near = await mesh.connect('near', ['alpha'])
    far = await mesh.connect('far', ['gamma'])
    await paris.start(mesh.get('alpha'))
    await berlin.start(mesh.get('alpha'))
    await paris.isUp(mesh.get('gamma'))
    await berlin.isUp(mesh.get('gamma'), 15, 'beta')
  })

  const hasSas = (site: Site, count: number) =>
    until(
      `${site.name} has ${count} child SAs`,
      async () => {
        const sas = await site.strongswan!.swanctl('--list-sas')
        return (sas.match(/INSTALLED/g) ?? []).length === count
      },
      20,
    )

  const longestGap = async (site: Site, work: () => Promise<unknown>, watcher = far): Promise<number> => {
    const ping = await Ping.start(watcher.host, site.address, { interval: 0.05 })
    await ping.answered()
    await work()
    await ping.answered(15)
    return (await ping.stop()).longestGap
  }

  test('a site that keeps several controllers connected settles: one carries it, the others stand by', async () => {
    // It dials all three at once. Each that is not chosen ends it once at most, has it back as the newest, and so may carry it once more.
    const most = 2 + (mesh.controllers.length - 1)
    const began = Date.now()
    const moves = await paris.settled(mesh.controllers)
    const carriers = moves.map(each => each.at(-1)!.controller)
    assert.equal(new Set(carriers).size, 1, carriers.join())
    for (const each of moves) {
      const took = each.at(-1)!.at - began
      assert.ok(
        took <= 5000 && each.length - 1 <= most,
        `${each.length - 1} moves, the last after ${took} ms`,
      )
    }
  })

  test('kill -9 of the IKE daemon alone: it is up again within 5 s', async () => {
    const beta = mesh.get('beta')
    const [pid] = /\d+/.exec(readFileSync(join(beta.dataDir, 'run', 'ipsec', 'charon.pid'), 'utf8'))!
    const gap = await longestGap(berlin, async () => void process.kill(Number(pid), 'SIGKILL'))
    assert.ok(gap <= 5, `${gap} s`)
    assert.equal(await berlin.isUp(mesh.get('gamma')), 'beta')
  })

  test('kill -9 of the controller that dials: the next one does, and traffic is back within 10 s', async () => {
    const gap = await longestGap(berlin, () => mesh.get('beta').process.stop('SIGKILL'))
    assert.ok(gap <= 10, `${gap} s`)
    assert.equal(await berlin.isUp(mesh.get('gamma'), 15, 'alpha'), 'alpha')
  })

  test('the killed one returns: nothing flaps, and nothing moves before a quiet minute', async () => {
    // The site, too, has given up the SA with the dead one.
    await hasSas(berlin, 1)
    const ping = await Ping.start(far.host, berlin.address, { interval: 0.05 })
    await ping.answered()
    await mesh.get('beta').up()
    await mesh.whole()
    const { lost } = await ping.stop()
    assert.equal(lost, 0)
    assert.equal(await berlin.isUp(mesh.get('gamma')), 'alpha')
  })

  test('kill -9 of the controller that carries the site that dials: traffic is back within 10 s', async () => {
    const victim = await paris.isUp(mesh.get('gamma'))
    // The one who watches is connected to another.
    const watcher = victim === 'gamma' ? near : far
    const gap = await longestGap(paris, () => mesh.get(victim).process.stop('SIGKILL'), watcher)
    assert.ok(gap <= 10, `${gap} s from ${victim}`)
    await mesh.get(victim).up()
    await mesh.whole()
  })

  test('up on both sides of a split mesh, it ends on one within 5 s of healing, the same one seen from everywhere', async () => {
    const [, beta, gamma] = mesh.controllers
    const others = mesh.controllers.filter(({ name }) => name !== 'beta')
    await berlin.isUp(gamma)
    await mesh.split([beta], others)
    // Beta dials, being the best that it knows; the others have it already.
    await berlin.isUp(beta, 30, 'beta')
    await berlin.isUp(gamma, 15)
    await mesh.heal()
    const seconds = await until(
      'all see one carrier, and only that one has it up',
      async () => {
        const seen = await Promise.all(mesh.controllers.map(each => each.status()))
        const carriers = seen.map(
          status => status.attachments.find(({ name }) => name === 'berlin')?.controller,
        )
        return carriers.every(each => each === carriers[0] && each !== null)
      },
      10,
    )
    assert.ok(seconds <= 5, `${seconds} s`)
    await hasSas(berlin, 1)
    const ping = await Ping.start(far.host, berlin.address, { count: 5, interval: 0.2 })
    assert.equal((await ping.finish()).lost, 0)
  })

  test('a site that dials another controller is taken there with the same key, and routes follow within a second of its SA', async () => {
    const { strongswan } = paris
    const connection = (name: string) => ['--ike', `overmesh-paris-${name}`]
    const dial = (name: string) => strongswan!.swanctl('--initiate', ...connection(name), '--child', 'net-1')
    const leave = (name: string) => strongswan!.swanctl('--terminate', ...connection(name))
    for (const { name } of mesh.controllers) await leave(name).catch(() => undefined)
    await dial('alpha')
    await paris.isUp(mesh.get('gamma'), 5, 'alpha')
    const ping = await Ping.start(far.host, paris.address, { interval: 0.02 })
    await ping.answered()
    await leave('alpha')
    const mark = strongswan!.process.mark()
    const established = strongswan!.said(/CHILD_SA .* established/, 10, mark).then(() => Date.now())
    await dial('beta')
    await ping.answered()
    const ms = Date.now() - (await established)
    assert.ok(ms <= 1000, `${ms} ms`)
    await ping.stop()
    assert.equal(await paris.isUp(mesh.get('gamma'), 5, 'beta'), 'beta')
  })
})
