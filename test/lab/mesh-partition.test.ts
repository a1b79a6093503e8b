// A mesh that is cut: both halves go on and take changes; healed, they agree. And cuts that leave a way round.
import assert from 'node:assert/strict'
import { cpSync, rmSync } from 'node:fs'
import { afterEach, describe, test } from 'node:test'
import type { Controller } from './controller.ts'
import { sleep, until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { Ping, reaches } from './ping.ts'
import { useLab } from './suite.ts'

describe('a mesh that is cut', () => {
  let mesh: Mesh
  let alpha: Controller
  let beta: Controller
  let gamma: Controller
  const clients: MeshClient[] = []

  useLab('partition', async lab => {
    mesh = await Mesh.start(lab, ['alpha', 'beta', 'gamma'])
    ;[alpha, beta, gamma] = mesh.controllers
    for (const { name } of mesh.controllers) clients.push(await mesh.connect(`on-${name}`, [name]))
  })

  afterEach(() => mesh.heal())

  test('both halves serve, take changes, and agree soon after healing', async () => {
    await mesh.split([alpha, beta], [gamma])
    const isCut = async (asked: Controller, other: string): Promise<boolean> =>
      (await asked.api.status()).controllers.find(each => each.name === other)?.link.up === false
    await until('alpha misses gamma', () => isCut(alpha, 'gamma'), 5)
    await until('gamma misses alpha', () => isCut(gamma, 'alpha'), 5)
    const [onAlpha, onBeta] = clients
    await onAlpha.host.exec('ping', '-c', '2', '-i', '0.2', '-W', '2', onBeta.address)

    const addresses = new Set<string>()
    for (const half of [alpha, gamma])
      for (let i = 0; i < 5; i++) {
        await half.addClient(`${half.name}-${i}`)
        addresses.add((await half.client(`${half.name}-${i}`)).address)
      }
    assert.equal(addresses.size, 10, 'addresses are disjoint')
    await alpha.addClient('clash-a', '--ip', '10.77.0.200')
    await sleep(50)
    await gamma.addClient('clash-g', '--ip', '10.77.0.200')
    for (const half of [alpha, gamma]) await half.cli('client', 'add', 'twin')
    await gamma.cli('client', 'revoke', 'gamma-4')
    await alpha.cli('client', 'disable', 'alpha-3')
    await alpha.cli('route', 'add', '172.20.0.0/16', '--via', 'client:on-alpha')
    await gamma.cli('route', 'add', '172.21.0.0/16', '--via', 'client:on-gamma', '--metric', '5')

    const healed = performance.now()
    await mesh.heal()
    await until(
      'all hashes are equal',
      async () =>
        new Set(await Promise.all(mesh.controllers.map(async each => (await each.api.status()).stateHash)))
          .size === 1,
      10,
      0.05,
    )
    const seconds = (performance.now() - healed) / 1000
    assert.ok(seconds < 6, `equal after ${seconds} s`)
    await mesh.whole(10)

    const conflicts = await Promise.all(mesh.controllers.map(async each => (await each.status()).conflicts))
    assert.ok(conflicts[0].some(each => each.kind === 'address' && each.id === '10.77.0.200'))
    assert.ok(conflicts[0].some(each => each.kind === 'name' && each.id === 'twin'))
    for (const each of conflicts) assert.deepEqual(each, conflicts[0])
    for (const each of mesh.controllers) {
      assert.equal((await each.client('gamma-4')).revoked, true)
      assert.equal((await each.client('alpha-3')).enabled, false)
      const routes = await each.json<{ cidr: string }[]>('routes')
      for (const cidr of ['172.20.0.0/16', '172.21.0.0/16'])
        assert.ok(routes.some(route => route.cidr === cidr))
    }
    // Stock clients connect anew for the routes, and the next test is not to begin in the midst of it.
    await until(
      'all clients know the routes',
      async () => {
        const sessions = await gamma.api.sessions()
        return sessions.length === clients.length && sessions.every(each => each.routesBehind !== true)
      },
      60,
    )
    for (const { host } of clients)
      for (const { address } of clients) await until('it is back', () => reaches(host, address))
  })

  test('a client that moved during the cut is where it is now, for everyone, at once after healing', async () => {
    const mover = await mesh.connect('mover', ['gamma', 'alpha'])
    await mesh.split([alpha, beta], [gamma])
    await mover.host.refuseFrom(gamma.host)
    await until('alpha has it', async () => (await mesh.whereIs('mover', alpha)) === 'alpha', 15)
    const ping = await Ping.start(clients[1].host, mover.address)
    await ping.answered()
    await mesh.heal()
    await mesh.whole(15)
    await until(
      'gamma knows',
      async () => (await gamma.api.client('mover')).session?.controller === 'alpha',
      1,
    )
    assert.equal((await ping.stop()).lost, 0)
  })

  for (const { cut, name } of [
    { name: 'nothing from alpha reaches beta', cut: () => beta.host.refuseFrom(alpha.host) },
    { name: 'alpha and beta do not reach each other', cut: () => mesh.split([alpha], [beta]) },
  ]) {
    test(`${name}: traffic goes on through gamma`, async () => {
      const [onAlpha, onBeta] = clients
      const ping = await Ping.start(onAlpha.host, onBeta.address)
      await ping.answered()
      await cut()
      await sleep(100)
      await ping.answered(10)
      await sleep(5000)
      const { longestGap } = await ping.stop()
      assert.ok(longestGap < 4, `${longestGap} s without traffic`)
      // A credential made on one end of the cut is known at the other.
      const name = `cut-${alpha.name}-${Date.now() % 1e6}`
      await alpha.addClient(name)
      await until('beta knows it', async () => (await beta.api.clients()).some(each => each.name === name), 3)
      await mesh.heal()
      await mesh.whole(15)
      const again = await onAlpha.host.exec('ping', '-c', '1', '-W', '2', onBeta.address)
      assert.match(again, / ttl=62 /, 'the direct way again')
    })
  }

  test('a controller whose disk is set back to an older copy gets back what it had told', async () => {
    const backup = `${beta.dataDir}.backup`
    await beta.process.stop('SIGTERM')
    cpSync(beta.dataDir, backup, { recursive: true })
    await beta.up()
    await mesh.whole(15)
    await beta.addClient('after-the-copy')
    await beta.cli('client', 'revoke', 'alpha-1')
    await until('alpha has it', async () => (await alpha.api.client('alpha-1')).revoked, 3)
    await beta.process.kill()
    rmSync(beta.dataDir, { recursive: true })
    cpSync(backup, beta.dataDir, { recursive: true })
    await beta.up()
    await mesh.whole(20)
    assert.equal((await beta.client('alpha-1')).revoked, true)
    assert.equal((await beta.client('after-the-copy')).issuer, 'beta')
    // What it writes from now on is new to everyone, although it counts from where the copy ended.
    await beta.addClient('after-the-return')
    for (const each of [alpha, gamma]) {
      const knows = async () => (await each.api.clients()).some(({ name }) => name === 'after-the-return')
      await until(`${each.name} has it`, knows, 3)
    }
    await mesh.whole(10)
    for (const each of mesh.controllers)
      assert.equal((await each.json<{ ok: boolean }>('state', 'verify')).ok, true)
  })
})
