// IPv6 beyond the overlay: networks behind controllers, with and without masquerade, one behind both controllers and a client, and the
// Internet. See beyond.test.ts for IPv4.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { Controller } from './controller.ts'
import type { Host } from './host.ts'
import { iperf, iperfServer } from './iperf.ts'
import { sleep, until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { writePack } from './openvpn-client.ts'
import { Ping } from './ping.ts'
import { type RemoteNetwork, remoteNetwork } from './remote-network.ts'
import { useLab } from './suite.ts'

const WEB = '2001:db8:80::80'
const OPEN = '2001:db8:11::/64'
const HIDDEN = '2001:db8:12::/64'
const SHARED = '2001:db8:14::/64'

describe('IPv6 networks behind two controllers, one behind both and a client, and the Internet', () => {
  let mesh: Mesh
  let road: MeshClient
  let site: MeshClient
  let web: Host
  let open: RemoteNetwork
  let hidden: RemoteNetwork
  let shared: RemoteNetwork
  const untouched = new Map<string, string>()
  const address6 = new Map<string, string>()

  useLab('beyond6', async lab => {
    const six = async (name: string) => {
      const host = await lab.host(name)
      const listen = ['0.0.0.0:1194', '[::]:1194']
      return { host, init: { listen, public: [host.ip4, `[${host.ip6}]:1194`], subnet6: 'fd77::/64' } }
    }
    const [one, two] = [await six('alpha'), await six('beta')]
    web = await lab.host('web')
    await web.ip('address', 'add', `${WEB}/128`, 'dev', 'lo', 'nodad')
    await web.exec('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1', 'net.ipv4.ip_forward=1')
    for (const { host } of [one, two]) await host.ip('-6', 'route', 'add', 'default', 'via', web.ip6)
    open = await remoteNetwork(lab, 'open', '192.168.11', [one.host], '2001:db8:11')
    hidden = await remoteNetwork(lab, 'hidden', '192.168.12', [two.host], '2001:db8:12')
    const siteHost = await lab.host('site')
    shared = await remoteNetwork(lab, 'both', '192.168.14', [one.host, two.host, siteHost], '2001:db8:14')
    for (const { host } of [one, two]) {
      const tentative = async () => host.ip('-6', 'address', 'show', 'tentative')
      await until(`the addresses of ${host.name} are its own`, async () => (await tentative()) === '')
      untouched.set(host.name, await kernel(host))
    }

    const alpha = await Controller.start(one.host, one.init)
    const beta = await Controller.join(two.host, await alpha.invite(), two.init)
    await beta.up()
    mesh = Mesh.of(lab, [alpha, beta])
    await mesh.whole(20)
    await alpha.cli('route', 'updates', 'now')
    await siteHost.exec('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1')
    site = await mesh.connectWith('site', siteHost, mesh.orderPack(await alpha.addClient('site'), ['alpha']))
    // Dials controllers by IPv6 alone, and by a router.
    const roadHost = await lab.host('road')
    await roadHost.exec('sysctl', '-qw', 'net.ipv6.conf.all.accept_redirects=0')
    await roadHost.ip('-6', 'route', 'delete', '2001:db8::/64', 'dev', 'eth0')
    await roadHost.ip('-6', 'route', 'add', `${web.ip6}/128`, 'dev', 'eth0')
    await roadHost.ip('-6', 'route', 'add', 'default', 'via', web.ip6)
    road = await mesh.connectWith('road', roadHost, byIpv6(await alpha.addClient('road'), [beta, alpha]))
    for (const { name, address6: told } of await alpha.clients()) address6.set(name, told!)
  })

  /** A copy of a pack that dials these, by IPv6 alone. */
  function byIpv6(pack: string, controllers: readonly Controller[]): string {
    const text = readFileSync(pack, 'utf8')
    const lines = text.match(/^remote .*\n/gm) ?? []
    const chosen = controllers.map(({ host }) => lines.find(each => each.includes(`remote ${host.ip6} `))!)
    const [first] = lines
    const rest = lines.reduce((left, line) => left.replace(line, line === first ? '@@' : ''), text)
    return writePack(
      mesh.controllers[0].host,
      'road-six.ovpn',
      rest.replace('@@', () => chosen.join('')),
    )
  }

  const add = (...args: string[]) => mesh.controllers[0].cli('route', 'add', ...args)
  /** Not by a command, which would take a whole core of what is timed. */
  const active = async (cidr: string, of = mesh.controllers[1]) =>
    (await of.api.routes()).find(each => each.cidr === cidr && each.state === 'active')?.via
  const knowsWay = (host: Host, address: string) =>
    until(
      `${host.name} knows the way to ${address}`,
      async () => /dev tun0/.test((await host.attempt(['ip', 'route', 'get', address])).stdout),
      15,
    )
  /** What a server takes for the client's address. */
  async function seenAs(client: Host, server: Host, address: string): Promise<string> {
    const serve = "require('net').createServer(s => s.end(s.remoteAddress)).listen(8000)"
    const running = await server.spawn('server', [process.execPath, '-e', serve])
    try {
      let seen = ''
      const ask = `require('net').connect(8000, '${address}').setTimeout(1000, () => process.exit(1)).pipe(process.stdout)`
      await until('the server answers', async () => {
        const { code, stdout } = await client.attempt([process.execPath, '-e', ask])
        seen = stdout
        return code === 0 && seen !== ''
      })
      return seen
    } finally {
      await running.stop()
    }
  }
  /** What of a controller's kernel must be as before. */
  async function kernel(host: Host): Promise<string> {
    const conf = await host.exec('sh', '-c', 'cd /proc/sys/net/ipv6/conf; grep . */forwarding */accept_ra')
    const rules = await host.exec('nft', 'list', 'ruleset')
    const routes = await host.ip('-6', 'route', 'show', 'table', 'all')
    const isOverlay = (line: string) => /overmesh/.test(line)
    return [conf, rules, routes].flatMap(each => each.split('\n').filter(line => !isOverlay(line))).join('\n')
  }

  test('a network behind a controller is reached with the own address, and reaches the overlay; or with the controller’s', async () => {
    await add(OPEN, '--via', 'controller:alpha')
    await add(HIDDEN, '--via', 'controller:beta', '--nat')
    for (const cidr of [OPEN, HIDDEN])
      await until(`${cidr} is reached`, async () => (await active(cidr)) !== undefined, 10)
    await knowsWay(road.host, open.address6)
    await knowsWay(road.host, hidden.address6)
    const [roadSix, siteSix] = ['road', 'site'].map(name => address6.get(name)!)
    assert.equal(await seenAs(road.host, open.server, open.address6), roadSix)
    assert.equal(await seenAs(site.host, open.server, open.address6), siteSix)
    assert.equal(await seenAs(open.server, road.host, roadSix), open.address6)
    assert.equal(await seenAs(road.host, hidden.server, hidden.address6), '2001:db8:12::1')
    // The machine of the other controller, and its network, send into the overlay.
    const [, beta] = mesh.controllers
    await beta.host.exec('ping', '-c', '2', '-i', '0.2', '-W', '2', open.address6)
  })

  test('TCP passes at speed, both ways, in super-packets', async () => {
    for (const { server, address6: address } of [open, hidden]) {
      const running = await iperfServer(server)
      for (const reverse of [false, true]) {
        const { bitsPerSecond } = await iperf(road.host, address, { reverse })
        assert.ok(bitsPerSecond > 20e6, `TCP with ${address}: ${bitsPerSecond / 1e6} Mbit/s`)
      }
      await running.stop()
    }
  })

  test('who forges a source is dropped and counted: a client at its session, a network at the gateway', async () => {
    const [alpha, beta] = mesh.controllers
    const before = await beta.counter(/^spoofedSource$/)
    for (const [index, source] of [open.address6, '2001:db8:77::7', address6.get('site')!].entries()) {
      await road.host.ip('address', 'add', `${source}/128`, 'dev', 'lo', 'nodad')
      await road.host.attempt(['ping', '-c', '2', '-i', '0.1', '-W', '1', '-I', source, hidden.address6])
      await road.host.ip('address', 'delete', `${source}/128`, 'dev', 'lo')
      assert.equal(await beta.counter(/^spoofedSource$/), before + 2 * (index + 1), source)
    }
    const drops = async () =>
      [...(await alpha.host.exec('nft', 'list', 'ruleset')).matchAll(/counter packets (\d+) bytes \d+ drop/g)]
        .map(([, count]) => Number(count))
        .reduce((a, b) => a + b, 0)
    for (const source of ['2001:db8:12::10', address6.get('site')!]) {
      const dropped = await drops()
      await open.server.ip('address', 'add', `${source}/128`, 'dev', 'lo', 'nodad')
      await open.server.attempt([
        'ping',
        '-c',
        '2',
        '-i',
        '0.1',
        '-W',
        '1',
        '-I',
        source,
        address6.get('road')!,
      ])
      await open.server.ip('address', 'delete', `${source}/128`, 'dev', 'lo')
      assert.equal(await drops(), dropped + 2, source)
    }
  })

  test('a network that only the probe shows to be cut off: flows move within 2 s, on to a client, and back', async () => {
    const [alpha, beta] = mesh.controllers
    const probe = ['--probe', shared.address6]
    // The network answers the overlay by the client, which is not told that another leads to its own network.
    await shared.server.ip('-6', 'route', 'add', 'fd77::/64', 'via', '2001:db8:14::3')
    await add(SHARED, '--via', 'client:site', '--metric', '20', ...probe)
    await add(SHARED, '--via', 'controller:alpha', '--nat', ...probe)
    await add(SHARED, '--via', 'controller:beta', '--nat', '--metric', '10', ...probe)
    const via = () => active(SHARED)
    await until('the better via is in use', async () => (await via()) === 'controller:alpha', 10)
    await knowsWay(road.host, shared.address6)
    const ping = await Ping.start(road.host, shared.address6, { interval: 0.05 })
    await ping.answered()
    await sleep(2000)
    await shared.cable(alpha.host, 'out')
    await until('the other via is in use', async () => (await via()) === 'controller:beta', 5)
    await ping.answered()
    await sleep(1000)
    await shared.cable(beta.host, 'out')
    await until('the client is in use', async () => (await via()) === 'client:site', 5)
    await ping.answered()
    await sleep(1000)
    await shared.cable(beta.host, 'in')
    await shared.cable(alpha.host, 'in')
    await until('the better via is in use', async () => (await via()) === 'controller:alpha', 20)
    await sleep(1000)
    const { longestGap } = await ping.stop()
    assert.ok(longestGap < 2, `${longestGap} s without an answer`)
  })

  test("the Internet sees the address of the client's own controller, or of the one that is named", async () => {
    const [alpha, beta] = mesh.controllers
    const added = await add('::/0', '--via', 'internet')
    assert.match(added, /every client now sends .* 2000::\/3/)
    await knowsWay(road.host, WEB)
    await knowsWay(site.host, WEB)
    assert.equal(await seenAs(road.host, web, WEB), beta.host.ip6)
    assert.equal(await seenAs(site.host, web, WEB), alpha.host.ip6)
    // Controllers stay reachable beside the tunnel, all of them.
    for (const { host } of mesh.controllers)
      assert.match(await road.host.exec('ip', 'route', 'get', host.ip6), /dev eth0/)
    // The nearest that has a way out itself.
    await beta.host.ip('-6', 'route', 'delete', 'default')
    await until(
      'the other is the way out',
      async () => (await seenAs(road.host, web, WEB)) === alpha.host.ip6,
      15,
    )
    await beta.host.ip('-6', 'route', 'add', 'default', 'via', web.ip6)
    await until('the nearest is again', async () => (await seenAs(road.host, web, WEB)) === beta.host.ip6, 15)
    await add('::/0', '--via', 'internet:alpha', '--metric', '0')
    await alpha.cli('route', 'remove', '::/0', '--via', 'internet')
    await until('the named exit is in use', async () => (await active('::/0')) === 'internet:alpha')
    assert.equal(await seenAs(road.host, web, WEB), alpha.host.ip6)
    await add('::/0', '--via', 'internet', '--metric', '5')
  })

  test('the controller that carries everything is killed: flows move within 2 s; it comes back and leaves all as it was', async () => {
    const [alpha, beta] = mesh.controllers
    await until('alpha is in use', async () => (await active(SHARED)) === 'controller:alpha', 20)
    const pings = [
      await Ping.start(road.host, shared.address6, { interval: 0.05 }),
      await Ping.start(road.host, WEB, { interval: 0.05 }),
    ]
    for (const ping of pings) await ping.answered()
    await alpha.process.stop('SIGKILL')
    await until('beta is in use', async () => (await active(SHARED)) === 'controller:beta', 5)
    for (const ping of pings) await ping.answered()
    for (const ping of pings) {
      const { longestGap } = await ping.stop()
      assert.ok(longestGap < 2, `${longestGap} s without an answer`)
    }
    assert.equal(await seenAs(road.host, web, WEB), beta.host.ip6)
    assert.match(await kernel(alpha.host), /all\/forwarding:1/)
    await alpha.up()
    await mesh.whole(20)
    await until('alpha is in use', async () => (await active('::/0')) === 'internet:alpha', 20)
  })

  test('a client whose whole IPv6 goes through the overlay, and that dials by IPv6, still fails over', async () => {
    const [alpha, beta] = mesh.controllers
    const mark = road.openvpn.mark()
    await beta.process.stop('SIGKILL')
    await road.openvpn.connected(20, mark)
    await until('road is on alpha', async () => (await mesh.whereIs('road', alpha)) === 'alpha', 10)
    assert.equal(await seenAs(road.host, web, WEB), alpha.host.ip6)
    await beta.up()
  })

  test('nothing is left in the kernel of a controller that stops', async () => {
    for (const controller of mesh.controllers) {
      await until(
        `${controller.name} forwards`,
        async () => /all\/forwarding:1/.test(await kernel(controller.host)),
        10,
      )
      await controller.process.stop()
      assert.equal(await kernel(controller.host), untouched.get(controller.name))
    }
  })
})
