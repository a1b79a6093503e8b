// Which controllers run an IKE daemon, sites whose controller drains, sites whose networks overlap, and sites that lie about where
// they are.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { Controller } from './controller.ts'
import type { Host } from './host.ts'
import { sleep, until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { Ping } from './ping.ts'
import { Site } from './site.ts'
import { useLab } from './suite.ts'

const OVERLAY = '10.77.0.0/16'
const PARIS = '192.168.20.0/24'
const BERLIN = '192.168.30.0/24'

describe('where attachments are carried', () => {
  let mesh: Mesh
  let near: MeshClient
  let paris: Site
  let berlin: Site

  let rome: Site

  useLab('ipsec-carrying', async lab => {
    mesh = await Mesh.start(lab, ['alpha', 'beta', 'gamma'])
    paris = await Site.create(lab, 'paris', PARIS)
    berlin = await Site.create(lab, 'berlin', BERLIN)
    rome = await Site.create(lab, 'rome', '192.168.77.0/24')
    near = await mesh.connect('near', ['alpha'])
  })

  const hasDaemon = ({ dataDir }: Controller): boolean =>
    existsSync(join(dataDir, 'run', 'ipsec', 'charon.pid'))
  const daemonsRun = (...names: string[]) =>
    until(`IKE daemons run on ${names.join(', ') || 'none'}`, async () =>
      mesh.controllers.every(each => hasDaemon(each) === names.includes(each.name)),
    )
  /** Counts what a host receives, whatever comes of it, or forwards, that is of these addresses; the function tells how many so far. */
  const counting = async (host: Host, hook: 'input' | 'prerouting' | 'forward', match: string) => {
    await host.exec(
      'nft',
      `add table ip seen
      add counter ip seen ${hook}
      add chain ip seen ${hook} { type filter hook ${hook} priority -10; }
      add rule ip seen ${hook} ${match} counter name ${hook}`,
    )
    return async () =>
      Number(/packets (\d+)/.exec(await host.exec('nft', 'list', 'counter', 'ip', 'seen', hook))![1])
  }
  const pings = async (from: Host, address: string) => {
    const { sent, lost } = await (await Ping.start(from, address, { count: 5, interval: 0.2 })).finish()
    assert.deepEqual({ sent, lost }, { sent: 5, lost: 0 }, `${from.name} pings ${address}`)
  }

  test('the IKE daemon runs only where an attachment may be carried, and elsewhere it is said why not', async () => {
    const [alpha, , gamma] = mesh.controllers
    await daemonsRun()
    await berlin.attach(alpha, [OVERLAY], '--initiate', '--controllers', 'beta,alpha')
    await daemonsRun('alpha', 'beta')
    assert.match(
      await gamma.cli('ipsec', 'list'),
      /no IKE daemon here: it is not needed: other controllers are to dial berlin/,
    )
    assert.match(await gamma.cli('doctor'), /ok +IKE daemon: does not run: it is not needed/)
    assert.doesNotMatch(await alpha.cli('ipsec', 'list'), /no IKE daemon/)
    assert.doesNotMatch(await gamma.cli('status'), /carries no attachments/)
    assert.doesNotMatch(await gamma.cli('metrics'), /^overmesh_ipsec_daemon_up/m)
    // One that dials may come to anybody.
    await paris.attach(alpha, [OVERLAY], '--remote', 'any')
    await daemonsRun('alpha', 'beta', 'gamma')
    await paris.start(alpha)
    await paris.isUp(gamma)
    await gamma.cli('ipsec', 'down', 'paris')
    await daemonsRun('alpha', 'beta')
    await alpha.cli('ipsec', 'down', 'berlin')
    await daemonsRun()
    assert.match(await alpha.cli('ipsec', 'list'), /no attachment is enabled/)
    // It is called back by a daemon that is started for it.
    await gamma.cli('ipsec', 'up', 'paris')
    await daemonsRun('alpha', 'beta', 'gamma')
    await paris.isUp(alpha, 30)
  })

  test('a controller that drains hands over a site that dials, and nothing is lost; it comes back to one that serves again', async () => {
    await until('the site has every controller', async () => {
      const sas = await paris.strongswan!.swanctl('--list-sas')
      // One that was called back may have two with that controller.
      const isThere = ({ name }: Controller) => sas.includes(`overmesh-paris-${name}:`)
      return mesh.controllers.every(isThere) && (sas.match(/INSTALLED/g) ?? []).length >= 3
    })
    await paris.settled(mesh.controllers)
    for (const round of [1, 2]) {
      const carrier = await paris.isUp(mesh.get('alpha'))
      const draining = mesh.get(carrier)
      const watcher = await mesh.connect(`watcher-${round}`, [carrier === 'gamma' ? 'beta' : 'gamma'])
      const ping = await Ping.start(watcher.host, paris.address, { interval: 0.02 })
      await ping.answered()
      await draining.cli('drain')
      const others = mesh.controllers.filter(each => each !== draining)
      for (const each of others) assert.notEqual(await paris.isUp(each), carrier)
      await sleep(500)
      const { lost, longestGap } = await ping.stop()
      assert.equal(lost, 0, `${lost} lost, ${longestGap} s without an answer, from ${carrier}`)
      await draining.cli('drain', '--undo')
      await mesh.whole()
    }
  })

  test('of two sites whose networks overlap the longer prefix wins, also while its site is down; one prefix has one site', async () => {
    const [alpha] = mesh.controllers
    const words =
      /192\.168\.0\.0\/16 overlaps .*192\.168\.30\.0\/24 of berlin.*the longer prefix wins, also while its site is down/
    await berlin.start(alpha)
    await alpha.cli('ipsec', 'up', 'berlin')
    await berlin.isUp(alpha, 30, 'beta')
    const wide = ['--remote-ts', '192.168.0.0/16', '--initiate', '--controllers', 'beta']
    assert.match(await rome.attach(alpha, [OVERLAY], ...wide), words)
    await rome.start(alpha)
    await rome.isUp(alpha, 30, 'beta')
    for (const name of ['rome', 'berlin'])
      assert.match(await mesh.get('gamma').cli('ipsec', 'show', name), /overlaps .*the longer prefix wins/)
    const refused = await alpha.attempt([
      ...[
        'ipsec',
        'add',
        'oslo',
        '--remote',
        '192.0.2.200',
        '--psk-file',
        rome.pskFile,
        '--remote-ts',
        BERLIN,
      ],
    ])
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /192\.168\.30\.0\/24 is at the site of attachment berlin already/)

    await until('the client knows the ways', async () => {
      const routes = await near.host.exec('ip', 'route')
      return [BERLIN, '192.168.0.0/16'].every(network => routes.includes(network))
    })
    const strays = await counting(rome.router, 'prerouting', `ip daddr { ${PARIS}, ${BERLIN} }`)
    for (const site of [paris, berlin, rome]) {
      await pings(near.host, site.address)
      await pings(site.inner, near.address)
    }
    await alpha.cli('ipsec', 'down', 'berlin')
    await until('it is down', async () => (await berlin.strongswan!.swanctl('--list-sas')) === '')
    const probe = await near.host.attempt(['ping', '-c', '3', '-i', '0.2', '-W', '1', berlin.address])
    assert.notEqual(probe.code, 0)
    await pings(near.host, rome.address)
    assert.equal(await strays(), 0)
    // It keeps its networks, so that no client has to connect anew for it.
    assert.match(await near.host.exec('ip', 'route'), new RegExp(BERLIN))
    assert.deepEqual(
      (await alpha.sessions()).filter(each => each.client === 'near' && each.routesBehind),
      [],
    )
  })

  test('what a site sends under addresses that are not its own is dropped and counted, and reaches nobody', async () => {
    const [alpha, beta] = mesh.controllers
    const far = await mesh.connect('far', ['gamma'])
    const exported = await alpha.cli('ipsec', 'export', 'berlin', '--psk-file', berlin.pskFile)
    // A policy for all sources that sends by the association of the honest one: strongSwan tells them by `reqid`.
    const lie = `reqid = 77 }
      lie { local_ts = 0.0.0.0/0
        remote_ts = ${OVERLAY}
        start_action = trap
        reqid = 77`
    await berlin.strongswan!.load(exported.replace(/(start_action = none)/, `$1\n${lie}`))
    await alpha.cli('ipsec', 'up', 'berlin')
    await berlin.isUp(alpha, 30, 'beta')
    await pings(berlin.inner, near.address)

    const foreign = ['10.9.9.9', '192.168.20.9', far.address]
    const seen = await counting(near.host, 'input', `ip saddr { ${foreign.join(', ')} }`)
    const sent = await counting(berlin.router, 'forward', `ip saddr { ${foreign.join(', ')} }`)
    const refused = async (): Promise<number> =>
      Number(/^overmesh_ipsec_refused_packets_total (\d+)/m.exec(await beta.cli('metrics'))![1])
    const before = await refused()
    for (const address of foreign) {
      await berlin.inner.ip('address', 'add', `${address}/32`, 'dev', 'eth1')
      const probe = ['ping', '-c', '4', '-i', '0.2', '-W', '1', '-I', address, near.address]
      assert.notEqual((await berlin.inner.attempt(probe)).code, 0)
      await berlin.inner.ip('address', 'delete', `${address}/32`, 'dev', 'eth1')
    }
    assert.equal(await sent(), 12)
    assert.equal(await refused(), before + 12)
    assert.equal(await seen(), 0)
    await pings(berlin.inner, near.address)
  })
})
