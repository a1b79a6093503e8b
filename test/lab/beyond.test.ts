// Beyond the overlay: networks behind two controllers and a client, one network behind both controllers, and the Internet.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Host } from './host.ts'
import { sleep, until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { Ping } from './ping.ts'
import { type RemoteNetwork, remoteNetwork } from './remote-network.ts'
import { useLab } from './suite.ts'

const WEB = '198.51.100.80'
const SHARED = '192.168.14.0/24'

describe('two remote networks behind two controllers, one behind a client, and the Internet', () => {
  let mesh: Mesh
  let site: MeshClient
  let road: MeshClient
  let web: Host
  let behindAlpha: RemoteNetwork
  let behindBeta: RemoteNetwork
  let behindSite: RemoteNetwork
  let shared: RemoteNetwork

  useLab('beyond', async lab => {
    mesh = await Mesh.start(lab, ['alpha', 'beta'])
    const [alpha, beta] = mesh.controllers
    web = await lab.host('web')
    await web.ip('address', 'add', `${WEB}/32`, 'dev', 'lo')
    await web.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1')
    for (const { host } of [alpha, beta]) await host.ip('route', 'add', WEB, 'via', web.ip4)
    await alpha.cli('route', 'updates', 'now')
    site = await mesh.connect('site', ['alpha', 'beta'])
    await site.host.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1')
    road = await mesh.connect('road', ['beta', 'alpha'])
    // The way to the controllers is by a router, as it is for most.
    await road.host.ip('route', 'add', 'default', 'via', web.ip4)
    behindAlpha = await remoteNetwork(lab, 'neta', '192.168.11', [alpha.host])
    behindBeta = await remoteNetwork(lab, 'netb', '192.168.12', [beta.host])
    behindSite = await remoteNetwork(lab, 'netc', '192.168.13', [site.host])
    shared = await remoteNetwork(lab, 'both', '192.168.14', [alpha.host, beta.host])
  })

  const add = (...args: string[]) => mesh.controllers[0].cli('route', 'add', ...args)
  /** Not by a command, which would take a whole core of what is timed. */
  const active = async (cidr: string, of = mesh.controllers[1]) =>
    (await of.api.routes()).find(each => each.cidr === cidr && each.state === 'active')
  const knowsWay = (host: Host, address: string) =>
    until(
      `${host.name} knows the way to ${address}`,
      async () => /dev tun0/.test((await host.attempt(['ip', 'route', 'get', address])).stdout),
      15,
    )
  /** What a server in the Internet takes for the client's address. */
  async function seenAs(client: Host): Promise<string> {
    const serve = "require('net').createServer(s => s.end(s.remoteAddress)).listen(8000)"
    const server = await web.spawn('web server', [process.execPath, '-e', serve])
    try {
      let seen = ''
      const ask = `require('net').connect(8000, '${WEB}').setTimeout(1000, () => process.exit(1)).pipe(process.stdout)`
      await until('the web server answers', async () => {
        const { code, stdout } = await client.attempt([process.execPath, '-e', ask])
        seen = stdout.replace('::ffff:', '')
        return code === 0 && seen !== ''
      })
      return seen
    } finally {
      await server.stop()
    }
  }

  test('every host reaches every other, with its own address', async () => {
    await add('192.168.11.0/24', '--via', 'controller:alpha')
    await add('192.168.12.0/24', '--via', 'controller:beta')
    await add('192.168.13.0/24', '--via', 'client:site')
    for (const cidr of ['192.168.11.0/24', '192.168.12.0/24', '192.168.13.0/24'])
      await until(`${cidr} is reached`, async () => (await active(cidr)) !== undefined, 10)
    await knowsWay(road.host, behindSite.address)
    await knowsWay(site.host, behindBeta.address)
    const ends = [behindAlpha, behindBeta, behindSite, { server: road.host, address: road.address }]
    for (const from of ends)
      for (const to of ends)
        if (from !== to) await from.server.exec('ping', '-c', '2', '-i', '0.2', '-W', '3', to.address)
    const server = await behindBeta.server.spawn('who asks', [
      process.execPath,
      '-e',
      "require('net').createServer(s => s.end(s.remoteAddress)).listen(9000, () => console.log('listening'))",
    ])
    await server.waitFor(/listening/)
    const ask = `require('net').connect(9000, '${behindBeta.address}').pipe(process.stdout)`
    const seen = await behindSite.server.exec(process.execPath, '-e', ask)
    assert.equal(seen.replace('::ffff:', ''), behindSite.address)
    await server.stop()
  })

  test('a controller whose interface somebody deletes has it again, with its routes, and no client notices', async () => {
    const [alpha, beta] = mesh.controllers
    const device = (await beta.api.status()).controller.tun
    assert.ok(device !== null)
    const { connections } = road.openvpn
    const routes = async (): Promise<string> =>
      (await beta.host.exec('ip', 'route', 'show', 'dev', device)).trim()
    const before = await routes()
    assert.match(before, /192\.168\.13\.0\/24/)
    await beta.host.ip('link', 'del', device)
    await until('the routes are back', async () => {
      const shown = await beta.host.attempt(['ip', 'route', 'show', 'dev', device])
      return shown.stdout.trim() === before
    })
    const ways = [
      [road.host, behindBeta.address],
      [behindBeta.server, behindSite.address],
      [behindAlpha.server, behindBeta.address],
      [beta.host, road.address],
    ] as const
    for (const [from, to] of ways) await from.exec('ping', '-c', '2', '-i', '0.2', '-W', '3', to)
    assert.equal(road.openvpn.connections, connections)
    const told = (await beta.cli('events', '--type', 'interface-*')).trim().split('\n')
    assert.match(told[0], new RegExp(`interface-lost.*${device} is gone \\(it was deleted\\)`))
    assert.match(told[1], new RegExp(`interface-back.*${device} is back`))
    const { warnings } = await beta.api.status()
    assert.deepEqual(
      warnings.filter(warning => warning.includes(device)),
      [],
    )
    await until(
      'alpha sees it as a gateway',
      async () => (await active('192.168.12.0/24', alpha)) !== undefined,
    )
  })

  test('one that somebody renames has its name back, which is told, and no client notices', async () => {
    const [alpha, beta] = mesh.controllers
    const device = (await beta.api.status()).controller.tun
    assert.ok(device !== null)
    const { connections } = road.openvpn
    const { code } = await beta.host.attempt(['ip', 'link', 'set', device, 'name', 'renamed0'])
    // Kernels before Linux 6.2 want it down for that.
    if (code !== 0)
      await beta.host.exec('sh', '-c', `ip link set ${device} down; ip link set ${device} name renamed0`)
    const told = async (): Promise<string[]> =>
      (await beta.cli('events', '--type', 'interface-*')).trim().split('\n').slice(-2)
    await until('it is back', async () => (await told())[0].includes('renamed0'))
    const [lost, back] = await told()
    assert.match(lost, new RegExp(`interface-lost.*${device} is gone \\(it was renamed renamed0\\)`))
    assert.match(back, new RegExp(`interface-back.*${device} is back`))
    const inUse = async () => (await active('192.168.12.0/24', alpha)) !== undefined
    await until('alpha sees it as a gateway', inUse)
    for (const [from, to] of [
      [road.host, behindBeta.address],
      [behindAlpha.server, behindBeta.address],
      [beta.host, road.address],
    ] as const)
      await from.exec('ping', '-c', '2', '-i', '0.2', '-W', '3', to)
    assert.equal(road.openvpn.connections, connections)
    const { warnings } = await beta.api.status()
    assert.deepEqual(
      warnings.filter(warning => warning.includes(device)),
      [],
    )
  })

  test('a network that only the probe shows to be cut off: flows move within 2 s, and back without a gap', async () => {
    const [alpha] = mesh.controllers
    const probe = ['--nat', '--probe', shared.address]
    await add(SHARED, '--via', 'controller:alpha', ...probe)
    await add(SHARED, '--via', 'controller:beta', '--metric', '10', ...probe)
    const via = async () => (await active(SHARED))?.via
    await until('the better via is in use', async () => (await via()) === 'controller:alpha', 10)
    await knowsWay(road.host, shared.address)
    const ping = await Ping.start(road.host, shared.address, { interval: 0.05 })
    await ping.answered()
    await shared.cable(alpha.host, 'out')
    await until('the other via is in use', async () => (await via()) === 'controller:beta', 5)
    await ping.answered()
    for (let i = 0; i < 12; i++) {
      assert.equal(await via(), 'controller:beta')
      await sleep(250)
    }
    await shared.cable(alpha.host, 'in')
    await until('the better via is in use', async () => (await via()) === 'controller:alpha', 20)
    await sleep(1000)
    const { longestGap } = await ping.stop()
    assert.ok(longestGap < 2, `${longestGap} s without an answer`)
  })

  test("the Internet sees the address of the client's own controller, or of the one that is named", async () => {
    const [alpha, beta] = mesh.controllers
    const added = await add('0.0.0.0/0', '--via', 'internet')
    assert.match(added, /every client now sends/)
    await knowsWay(road.host, WEB)
    assert.equal(await seenAs(road.host), beta.host.ip4)
    assert.equal(await seenAs(site.host), alpha.host.ip4)
    // Controllers stay reachable beside the tunnel, all of them.
    for (const { host } of mesh.controllers)
      assert.match(await road.host.exec('ip', 'route', 'get', host.ip4), /dev eth0/)
    // Who has a default route is taken for the Internet's neighbour, before those that have none.
    await alpha.host.ip('route', 'add', 'default', 'via', web.ip4)
    await until('alpha carries it', async () => (await seenAs(road.host)) === alpha.host.ip4, 20)
    await alpha.host.ip('route', 'delete', 'default')
    await until('beta carries it again', async () => (await seenAs(road.host)) === beta.host.ip4, 20)
    await add('0.0.0.0/0', '--via', 'internet:alpha', '--metric', '0')
    await alpha.cli('route', 'remove', '0.0.0.0/0', '--via', 'internet')
    await until('the named exit is in use', async () => (await active('0.0.0.0/0'))?.via === 'internet:alpha')
    assert.equal(await seenAs(road.host), alpha.host.ip4)
    await add('0.0.0.0/0', '--via', 'internet', '--metric', '5')
  })

  test('the controller that carries everything is killed: flows move within 2 s', async () => {
    const [alpha, beta] = mesh.controllers
    await until('alpha is in use', async () => (await active(SHARED))?.via === 'controller:alpha', 20)
    const pings = [
      await Ping.start(road.host, shared.address, { interval: 0.05 }),
      await Ping.start(road.host, WEB, { interval: 0.05 }),
    ]
    for (const ping of pings) await ping.answered()
    await alpha.process.stop('SIGKILL')
    await until('beta is in use', async () => (await active(SHARED))?.via === 'controller:beta', 5)
    for (const ping of pings) await ping.answered()
    for (const ping of pings) {
      const { longestGap } = await ping.stop()
      assert.ok(longestGap < 2, `${longestGap} s without an answer`)
    }
    assert.equal(await seenAs(road.host), beta.host.ip4)
    await alpha.up()
    await mesh.whole(20)
  })

  test('a client whose whole traffic goes through the overlay still fails over', async () => {
    const [alpha, beta] = mesh.controllers
    await until('alpha is in use', async () => (await active('0.0.0.0/0'))?.via === 'internet:alpha', 20)
    const mark = road.openvpn.mark()
    await beta.process.stop('SIGKILL')
    await road.openvpn.connected(15, mark)
    await until('road is on alpha', async () => (await mesh.whereIs('road', alpha)) === 'alpha', 10)
    assert.equal(await seenAs(road.host), alpha.host.ip4)
  })

  test('nothing is left in the kernel of a controller that stops', async () => {
    const [alpha] = mesh.controllers
    assert.match(await alpha.host.exec('nft', 'list', 'tables'), /overmesh/)
    await alpha.process.stop()
    assert.doesNotMatch(await alpha.host.exec('nft', 'list', 'tables'), /overmesh/)
    assert.doesNotMatch(await alpha.host.ip('route', 'show'), /192\.168\.12\.0/)
  })
})
