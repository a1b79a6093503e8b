// IPv6 in the overlay, beside IPv4: two controllers, stock clients on each.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Controller, OVERMESH, WITHOUT_ROOT } from './controller.ts'
import { iperf, iperfServer } from './iperf.ts'
import { sleep, until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { NarrowRouter } from './narrow-router.ts'
import { Ping, reaches } from './ping.ts'
import { useLab } from './suite.ts'

const SUBNET6 = 'fd77:1:2:3::/64'
const GATEWAY6 = 'fd77:1:2:3::a4d:1'
const COUNT = 40

/** Global IPv6 addresses of an interface, as the kernel has them. */
async function addresses6({ host, openvpn }: MeshClient): Promise<string[]> {
  const out = await host.ip('-json', '-6', 'address', 'show', 'dev', openvpn.dev, 'scope', 'global')
  const [device] = JSON.parse(out) as { addr_info?: { local: string; prefixlen: number }[] }[]
  return (device?.addr_info ?? [])
    .filter(({ local }) => local)
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`)
}

describe('two controllers with IPv6 in the overlay, and clients on each', () => {
  let mesh: Mesh
  let here: MeshClient
  let beside: MeshClient
  let there: MeshClient
  const address6 = new Map<string, string>()

  useLab('overlay-ipv6', async lab => {
    mesh = await Mesh.start(lab, ['alpha', 'beta'], { subnet6: SUBNET6 })
    here = await mesh.connect('here', ['alpha', 'beta'])
    beside = await mesh.connect('beside', ['alpha'], { by: mesh.get('beta') })
    there = await mesh.connect('there', ['beta'])
    for (const { name, address6: told } of await mesh.controllers[0].clients()) address6.set(name, told!)
  })

  const six = ({ name }: { name: string }): string => address6.get(name)!

  test('a client has the address that goes with its IPv4 address, and everything says so', async () => {
    for (const client of [here, beside, there]) {
      const tail = client.address.split('.').map(Number)
      const low = `${((tail[0] << 8) | tail[1]).toString(16)}:${((tail[2] << 8) | tail[3]).toString(16)}`
      assert.equal(six(client), `fd77:1:2:3::${low}`)
      assert.deepEqual(await addresses6(client), [`${six(client)}/64`])
    }
    const [alpha, beta] = mesh.controllers
    const status = await beta.status()
    assert.equal(status.mesh.subnet6, SUBNET6)
    assert.equal(status.controller.gateway6, GATEWAY6)
    const sessions = await beta.sessions()
    assert.deepEqual(
      sessions.map(each => each.address6),
      sessions.map(each => address6.get(each.client)),
    )
    assert.match(await alpha.cli('client', 'show', 'here'), new RegExp(six(here)))
    assert.equal((await alpha.client('there')).address6, six(there))
  })

  test('clients ping each other, the gateway and every controller, and lose nothing', async () => {
    const own = await Promise.all(
      mesh.controllers.map(async each => (await each.status()).controller.address6!),
    )
    const clients = [here, beside, there]
    const pings: Promise<Ping>[] = []
    for (const client of clients)
      for (const target of [GATEWAY6, ...own, ...clients.map(six)])
        if (target !== six(client)) pings.push(Ping.start(client.host, target, { count: COUNT }))
    for (const ping of await Promise.all(pings)) {
      const { received, duplicates } = await (await ping).finish()
      assert.deepEqual({ received, duplicates }, { received: COUNT, duplicates: 0 })
    }
    // One router on this controller; the routers of both on the way between them.
    assert.match(await here.host.exec('ping', '-c', '1', '-W', '2', six(beside)), / ttl=63 /)
    assert.match(await here.host.exec('ping', '-c', '1', '-W', '2', six(there)), / ttl=62 /)
  })

  test('the machines of the controllers reach clients, here and elsewhere', async () => {
    for (const { host } of mesh.controllers)
      for (const client of [here, there])
        await host.exec('ping', '-c', '2', '-i', '0.1', '-W', '2', six(client))
  })

  test('TCP passes, on one controller, between two, and to a controller', async () => {
    const [alpha] = mesh.controllers
    const own = (await alpha.status()).controller.address6!
    for (const [server, address] of [
      [beside.host, six(beside)],
      [there.host, six(there)],
      [alpha.host, own],
    ] as const) {
      const process = await iperfServer(server)
      for (const reverse of [false, true]) {
        const { bitsPerSecond } = await iperf(here.host, address, { reverse })
        assert.ok(bitsPerSecond > 20e6, `TCP to ${address}: ${bitsPerSecond / 1e6} Mbit/s`)
      }
      const udp = await iperf(here.host, address, { udp: { bitsPerSecond: 5e6, bytes: 1300 } })
      assert.ok(udp.delivered > 0.99 * udp.packets, `${udp.delivered} of ${udp.packets}`)
      await process.stop()
    }
  })

  test('overmesh probe pings and is pinged over IPv6', async () => {
    const [alpha] = mesh.controllers
    const pack = await alpha.addClient('probe')
    const visitor = await mesh.lab.host('visitor')
    const argv = [...WITHOUT_ROOT, ...OVERMESH, 'probe', pack, '--ping', six(there), '--count', '5', '--json']
    const { code, stdout, stderr } = await visitor.attempt(argv)
    assert.equal(code, 0, stderr)
    const { address6: own } = await alpha.client('probe')
    const { address6, ping } = JSON.parse(stdout)
    assert.deepEqual([address6, ping.target], [own, six(there)])
    // The answer to the first may be back at the other controller before word of the newcomer is.
    const answered = ping.pings.map(({ sequence }: { sequence: number }) => sequence)
    assert.deepEqual(
      answered.filter((sequence: number) => sequence > 0),
      [1, 2, 3, 4],
    )
    const waiting = await visitor.spawn('probe', [...WITHOUT_ROOT, ...OVERMESH, 'probe', pack])
    await waiting.waitFor(/connected to/)
    await until('word of it is there', () => reaches(there.host, own!), 5)
    await waiting.stop('SIGINT')
  })

  test('traceroute sees the controllers', async () => {
    for (const [ttl, answer] of [
      [1, /Time exceeded: Hop limit/],
      [2, /Time exceeded: Hop limit/],
      [3, / 0% packet loss/],
    ] as const) {
      const { stdout } = await there.host.attempt([
        'ping',
        '-c',
        '1',
        '-W',
        '2',
        '-t',
        String(ttl),
        six(here),
      ])
      assert.match(stdout, answer, `${ttl} hops`)
      if (ttl < 3) assert.match(stdout, new RegExp(`From ${GATEWAY6}`))
    }
  })

  test('a source that is not the client’s is dropped and counted; its kernel’s own chatter is counted apart', async () => {
    const [alpha] = mesh.controllers
    const before = await alpha.counter(/^spoofedSource$/)
    const chatter = await alpha.counter(/^linkScope$/)
    const forged = ['fd77:1:2:3::a4d:fffe', '2001:db8::7', six(there)]
    for (const address of forged) {
      await here.host.ip('address', 'add', `${address}/128`, 'dev', 'lo', 'nodad')
      const ping = await here.host.attempt([
        'ping',
        '-c',
        '3',
        '-i',
        '0.1',
        '-W',
        '1',
        '-I',
        address,
        six(beside),
      ])
      assert.equal(ping.code, 1, `sent, and not answered: ${ping.stderr}`)
      await here.host.ip('address', 'del', `${address}/128`, 'dev', 'lo')
    }
    assert.equal(await alpha.counter(/^spoofedSource$/), before + 3 * forged.length)
    await here.host.attempt(['ping', '-c', '2', '-i', '0.1', '-W', '1', 'ff02::1%tun0'])
    assert.ok((await alpha.counter(/^linkScope$/)) > chatter)
    assert.equal(await alpha.counter(/^spoofedSource$/), before + 3 * forged.length)
  })

  test('who is away and what is nowhere is said', async () => {
    const unreachable = await here.host.attempt(['ping', '-c', '1', '-W', '2', 'fd77:1:2:3::a4d:9999'])
    assert.match(unreachable.stdout, /Destination unreachable: Address unreachable/)
    await here.host.ip('-6', 'route', 'add', '2001:db8:9::/48', 'dev', 'tun0')
    const nowhere = await here.host.attempt(['ping', '-c', '1', '-W', '2', '2001:db8:9::1'])
    assert.match(nowhere.stdout, /Destination unreachable: No route/)
  })

  test('an underlay with a smaller MTU: "packet too big" with what fits, and the next packets do', async () => {
    const [alpha, beta] = mesh.controllers
    const hosts = [alpha, beta, here, there].map(({ host }) => host)
    for (const host of hosts) await host.setMtu(1400)
    await until(
      'the link is smaller',
      async () => ((await alpha.status()).controllers.find(each => !each.self)?.link.mtu ?? 1420) < 1400,
      10,
    )
    const before = (await alpha.counter(/^tooBig$/)) + (await beta.counter(/^tooBig$/))
    const first = await here.host.attempt([
      'ping',
      '-c',
      '1',
      '-W',
      '1',
      '-M',
      'do',
      '-s',
      '1372',
      six(there),
    ])
    assert.match(first.stdout, /Packet too big: mtu=1[23]\d\d/)
    assert.ok((await alpha.counter(/^tooBig$/)) + (await beta.counter(/^tooBig$/)) > before)
    // The kernel has learnt, and sends fragments of its own.
    await here.host.exec('ping', '-c', '2', '-i', '0.2', '-W', '2', '-s', '1372', six(there))
    const server = await iperfServer(there.host)
    const { bitsPerSecond } = await iperf(here.host, six(there))
    assert.ok(bitsPerSecond > 20e6, `TCP ${bitsPerSecond / 1e6} Mbit/s`)
    await server.stop()
    for (const host of hosts) await host.setMtu(1500)
  })

  test('1,280 bytes pass everywhere, also where a path takes less and nobody says so', async () => {
    const ping = (...options: string[]) => [
      ...['ping', '-W', '1', '-M', 'do', '-s', String(1280 - 48), ...options],
      six(there),
    ]
    const pass = async (where: string) => {
      await until(`they pass ${where}`, async () => (await here.host.attempt(ping('-c', '1'))).code === 0, 20)
      assert.match(await here.host.exec(...ping('-c', '20', '-i', '0.05')), / 0% packet loss/)
    }
    await there.host.setMtu(1280)
    await pass('to a client')
    await there.host.setMtu(1500)
    const [alpha, beta] = mesh.controllers
    const router = await NarrowRouter.make(mesh.lab)
    await router.between([alpha.host, beta.host], 1280, true)
    await pass('between controllers')
    await router.remove([alpha.host, beta.host])
  })

  test('a client that goes to the other controller keeps its address', async () => {
    const ping = await Ping.start(there.host, six(here))
    await ping.answered()
    const [alpha] = mesh.controllers
    await alpha.process.kill()
    await sleep(200)
    await ping.answered(15)
    await ping.stop()
    assert.equal(await mesh.whereIs('here', mesh.get('beta')), 'beta')
    assert.deepEqual(await addresses6(here), [`${six(here)}/64`])
    // The interface was kept: it is the same one.
    assert.equal(here.openvpn.process.count(/net_addr_v6_add/), 1)
    await alpha.up()
    await mesh.whole(20)
  })

  test('a prefix behind a client is reached from everywhere, and its sources are admitted', async () => {
    const [alpha, beta] = mesh.controllers
    const prefix = '2001:db8:5::/48'
    const site = await mesh.lab.host('site')
    const pack = await alpha.addClient('site', '--subnet', prefix, '--subnet', '192.168.5.0/24')
    await site.ip('address', 'add', '2001:db8:5::1/128', 'dev', 'lo', 'nodad')
    const { openvpn } = await mesh.connectWith('site', site, mesh.orderPack(pack, ['beta']))
    // Its own prefix is not pushed to it.
    assert.equal(openvpn.process.count(/route-ipv6/), 0)
    const late = await mesh.connect('late', ['alpha'])
    const { address6: lateAddress6 } = await alpha.client('late')
    await late.host.exec('ping', '-c', '3', '-i', '0.1', '-W', '2', '2001:db8:5::1')
    await site.exec('ping', '-c', '3', '-i', '0.1', '-W', '2', '-I', '2001:db8:5::1', lateAddress6!)
    const listed = (await beta.status()).routes.find(({ cidr }) => cidr === prefix)
    assert.partialDeepStrictEqual(listed, { cidr: prefix, via: 'client:site' })
    await openvpn.stop()
    const away = await late.host.attempt(['ping', '-c', '1', '-W', '2', '2001:db8:5::1'])
    assert.match(away.stdout, /Destination unreachable: Address unreachable/)
    for (const [cidr, reason] of [
      ['fd77:1:2:3:0:1::/96', /overlaps the overlay's own fd77:1:2:3::\/64/],
      ['fe80::/64', /nothing that a host can have/],
      ['2000::/3', /more than anyone owns/],
    ] as const) {
      const { code, stderr } = await alpha.attempt(['client', 'add', 'bad', '--subnet', cidr, '--out', '-'])
      assert.equal(code, 2)
      assert.match(stderr, reason)
    }
  })

  test('a route through a client is told to those that are connected, and the next way takes over', async () => {
    const [alpha] = mesh.controllers
    const prefix = '2001:db8:6::/48'
    const target = '2001:db8:6::1'
    for (const { host } of [here, beside])
      await host.ip('address', 'add', `${target}/128`, 'dev', 'lo', 'nodad')
    await alpha.cli('route', 'updates', 'now')
    await alpha.cli('route', 'add', prefix, '--via', 'client:here')
    await alpha.cli('route', 'add', prefix, '--via', 'client:beside', '--metric', '10')
    const active = async () =>
      (await alpha.api.status()).routes.find(({ cidr, state }) => cidr === prefix && state === 'active')?.via
    await until('the better via is in use', async () => (await active()) === 'client:here')
    await until('there is told', async () =>
      /dev tun0/.test((await there.host.attempt(['ip', '-6', 'route', 'get', target])).stdout),
    )
    await until('nobody is behind', async () => {
      const sessions = await alpha.sessions()
      return [here, there, beside].every(({ name }) =>
        sessions.some(session => session.client === name && !session.routesBehind),
      )
    })
    const ping = await Ping.start(there.host, target, { interval: 0.05 })
    await ping.answered()
    // The clients were told by a new connection. Of one that is gone before its first second is over, it is not known that it answers.
    await sleep(1000)
    await here.openvpn.process.stop('SIGKILL')
    await until('the other via is in use', async () => (await active()) === 'client:beside', 5)
    await ping.answered()
    const { longestGap } = await ping.stop()
    assert.ok(longestGap < 2, `${longestGap} s without an answer`)
  })
})

describe('a controller where IPv6 is disabled', () => {
  useLab('overlay-ipv6-off', async lab => {
    const host = await lab.host('hub')
    await host.exec(
      'sysctl',
      '-qw',
      'net.ipv6.conf.all.disable_ipv6=1',
      'net.ipv6.conf.default.disable_ipv6=1',
    )
    hub = await Controller.start(host, { subnet6: SUBNET6 })
  })
  let hub: Controller

  test('serves its clients, and says that it has none itself', async () => {
    const mesh = Mesh.of(hub.host.lab, [hub])
    const [one, two] = [await mesh.connect('one'), await mesh.connect('two')]
    const { address6 } = await hub.client('two')
    await one.host.exec('ping', '-c', '2', '-i', '0.1', '-W', '2', address6!)
    await one.host.exec('ping', '-c', '2', '-i', '0.1', '-W', '2', two.address)
    // The switch answers in the place of its kernel.
    for (const target of [GATEWAY6, (await hub.status()).controller.address6!])
      await one.host.exec('ping', '-c', '2', '-i', '0.1', '-W', '2', target)
    const { warnings } = await hub.status()
    assert.match(warnings.join(), /without IPv6 \(this machine has IPv6 disabled\)/)
  })
})
