// What follows from the records for clients, the switch, the kernel and the probes of one controller.
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import type { Reach } from '../../../node/beyond.ts'
import { Certificates } from '../../../node/certificates.ts'
import { EventLog } from '../../../node/events.ts'
import { Home } from '../../../node/home.ts'
import { LocalService } from '../../../node/local-service.ts'
import { OverlayRoutes } from '../../../node/overlay-routes.ts'
import { dialledEndpoints } from '../../../node/pack-list.ts'
import { Routes } from '../../../node/routes.ts'
import type { AddRoute } from '../../../node/service.ts'
import { formatCidr, formatIpv4, parseIpv4 } from '../../../state/address.ts'
import { type Address6, formatAddress6, formatCidr6 } from '../../../state/address6.ts'
import { type ClientId, type ControllerId, routeId } from '../../../state/kinds.ts'
import { newMesh } from '../controller/home.ts'

/** A controller with two clients, of which `site` is connected here by port 7. */
async function bench(
  t: TestContext,
  reach: Reach = { gateway: true, gateway6: true, exit4: true, exit6: true, failing: [] },
) {
  const init = { public: ['192.0.2.1', 'vpn.example.net'], subnet6: 'fd00:77::/64' }
  const home = await Home.open(await newMesh(t, init))
  t.after(() => home.close())
  const certificates = await Certificates.open(home)
  const service = new LocalService({ home, certificates, events: new EventLog({ now: Date.now }) })
  const ids = new Map<string, ClientId>()
  for (const name of ['site', 'road']) {
    await service.addClient({ name })
    ids.set(name, home.views.clientByName(name)!.id)
  }
  const live = { reach, carriers: new Map<string, ControllerId>() }
  const routes = new OverlayRoutes(home, {
    clients: () => [ids.get('site')!],
    session: client => (client === ids.get('site') ? 7 : undefined),
    controllerOf: client => (client === ids.get('site') ? home.id : undefined),
    wayTo: () => undefined,
    reach: controller => (controller === home.id ? live.reach : undefined),
    carrier: attachment => live.carriers.get(attachment),
    isUpHere: attachment => live.carriers.get(attachment) === home.id,
  })
  const add = (cidr: string, via: string, rest: Partial<AddRoute> = {}) =>
    service.addRoute({ cidr, via, ...rest })
  const hop = (cidr: string) => routes.table().find(each => formatCidr(each) === cidr)?.peerId
  return { home, service, routes, add, hop, live, id: (name: string) => ids.get(name)! }
}

const texts = (prefixes: Iterable<Parameters<typeof formatCidr>[0]>) => [...prefixes].map(formatCidr).sort()

test("records that name addresses of clients and controllers as somebody else's network take none of their packets", async t => {
  const { home, routes, id } = await bench(t)
  const { address } = home.views.client(id('site'))!.value
  const own = home.controller.address
  const value = home.replica.get('client', id('road'))!
  const via = { kind: 'client', id: id('road') } as const
  // No command writes such: a broken or hostile controller does.
  const route = {
    cidr: `${address}/32`,
    via: { kind: 'controller', id: home.id } as const,
    metric: 0,
    createdAt: 1,
  }
  await home.replica.write([
    {
      kind: 'client',
      id: id('road'),
      value: { ...value, subnets: [`${address}/32`, `${own}/32`, '10.77.0.1/32'] },
    },
    { kind: 'route', id: routeId(route), value: route },
    ...['10.77.0.0/24', `${own}/32`].map(cidr => {
      const other = { cidr, via, metric: 0, createdAt: 1 }
      return { kind: 'route' as const, id: routeId(other), value: other }
    }),
  ])
  const table = routes.table()
  // Of two routes to one prefix the later counts.
  const hop = (cidr: string) => table.findLast(each => formatCidr(each) === cidr)?.peerId
  assert.equal(hop(`${address}/32`), 7)
  assert.equal(hop(`${own}/32`), 'tun')
  assert.equal(hop('10.77.0.1/32'), 'tun')
  assert.equal(hop('10.77.0.0/24'), 'unreachable')
  assert.deepEqual(texts(routes.behind(id('road'))), [])
})

test('a client is not told what lies behind it, and all others are', async t => {
  const { routes, add, id } = await bench(t)
  await add('0.0.0.0/0', 'client:site', { default: true })
  await add('192.168.5.0/24', 'client:site')
  assert.deepEqual(texts(routes.toldTo(id('site'))), [])
  assert.deepEqual(texts(routes.toldTo(id('road'))), ['0.0.0.0/0', '192.168.5.0/24'])
})

test("a client through which everything goes may not send from the overlay's other addresses", async t => {
  const { routes, add, id } = await bench(t)
  await add('0.0.0.0/0', 'client:site', { default: true })
  const behind = routes.behind(id('site'))
  const admits = (a: number, b: number, c: number, d: number) => {
    const address = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
    return behind.some(({ address: at, length }) => length === 0 || (address ^ at) >>> (32 - length) === 0)
  }
  assert.deepEqual(
    [admits(10, 77, 0, 9), admits(10, 77, 0, 255), admits(10, 77, 1, 0), admits(8, 8, 8, 8)],
    [false, false, true, true],
  )
})

test('what has to stay beside the tunnel is left out of what is told, and has a route of its own beside the Internet', async t => {
  const { routes, add, id, service } = await bench(t)
  await add('192.168.5.0/24', 'client:site')
  assert.deepEqual(routes.bypassed(), [])
  const { revision } = routes
  const told = () => texts(routes.toldTo(id('road')))
  // Whoever is on that network reaches the controller there as before: no route of the tunnel's leads to 192.0.2.1.
  await add('192.0.2.0/29', 'client:site')
  assert.deepEqual(told(), ['192.0.2.0/32', '192.0.2.2/31', '192.0.2.4/30', '192.168.5.0/24'])
  assert.deepEqual(routes.bypassed(), [])
  assert.ok(routes.revision > revision)
  await add('192.0.2.1/32', 'client:site')
  assert.deepEqual(told(), ['192.0.2.0/32', '192.0.2.2/31', '192.0.2.4/30', '192.168.5.0/24'])
  await service.removeRoute('192.0.2.1/32')
  await add('0.0.0.0/0', 'internet')
  assert.deepEqual(told(), ['0.0.0.0/0', '192.0.2.0/32', '192.0.2.2/31', '192.0.2.4/30', '192.168.5.0/24'])
  assert.deepEqual(routes.bypassed(), ['192.0.2.1', 'vpn.example.net'])
})

test('why a way is down is said of what goes through it', async t => {
  const { home, routes, add, live } = await bench(t)
  await add('192.168.5.0/24', 'client:site', { probe: '192.168.5.1' })
  await add('192.168.5.0/24', 'controller:alpha', { probe: '192.168.5.2', metric: 7 })
  live.reach = { ...live.reach, failing: [...home.replica.all('route')].map(({ id }) => id) }
  const listed = new Routes(home).list(routes.standings(), undefined)
  assert.deepEqual(
    listed.filter(({ probe }) => probe !== null).map(({ why }) => why),
    ['192.168.5.1 does not answer, or the client is silent', '192.168.5.2 does not answer'],
  )
})

test('a change that clients need not hear of is none', async t => {
  const { routes, service, add } = await bench(t)
  await add('192.168.5.0/24', 'client:site')
  const { revision } = routes
  await service.addClient({ name: 'another' })
  await add('192.168.5.0/24', 'controller:alpha', { metric: 7 })
  assert.equal(routes.revision, revision)
  await service.revokeClient('site')
  assert.equal(routes.revision, revision)
  await service.removeRoute('192.168.5.0/24', 'controller:alpha')
  assert.ok(routes.revision > revision)
  assert.deepEqual(texts(routes.beyond()), [])
})

test('who gets, or loses, a prefix behind it that others lead to as well is told other routes than before', async t => {
  const { routes, service, add, id } = await bench(t)
  for (const [cidr, told] of [
    ['192.168.5.0/24', () => texts(routes.toldTo(id('road')))],
    ['2001:db8:5::/48', () => routes.six.toldTo(id('road')).map(formatCidr6)],
  ] as const) {
    await add(cidr, 'client:site')
    assert.deepEqual(told(), [cidr])
    const { revision } = routes
    await add(cidr, 'client:road', { metric: 7 })
    assert.deepEqual(told(), [])
    assert.equal(routes.revision, revision + 1)
    await service.removeRoute(cidr, 'client:road')
    assert.deepEqual(told(), [cidr])
    assert.equal(routes.revision, revision + 2)
    await service.removeRoute(cidr)
  }
})

test('the best via that is up is in the table, and what has none is unreachable', async t => {
  const { routes, add, hop, live } = await bench(t)
  await add('192.168.5.0/24', 'client:road')
  assert.equal(hop('192.168.5.0/24'), 'unreachable')
  await add('192.168.5.0/24', 'client:site', { metric: 5 })
  assert.equal(hop('192.168.5.0/24'), 7)
  await add('192.168.5.0/24', 'controller:alpha', { metric: 4 })
  assert.equal(hop('192.168.5.0/24'), 'tun')
  assert.deepEqual(
    routes.standings().flatMap(({ entry, active, way }) => {
      const how = active ? 'active' : 'problem' in way ? way.problem : 'standby'
      return entry.source === 'route' ? [`${entry.metric} ${how}`] : []
    }),
    ['0 not-connected', '4 active', '5 standby'],
  )
  live.reach = { gateway: false, gateway6: false, exit4: true, exit6: false, failing: [] }
  assert.equal(hop('192.168.5.0/24'), 7)
})

test('vias through clients that are here, of prefixes that have others, are watched', async t => {
  const { routes, service, add, id } = await bench(t)
  await service.addClient({ name: 'late', subnets: ['192.168.7.0/24', '2001:db8:7::/48'] })
  await add('192.168.5.0/24', 'client:site')
  await add('192.168.6.0/24', 'client:road')
  assert.deepEqual(routes.contested(), [])
  for (const cidr of ['192.168.5.0/24', '192.168.6.0/24']) await add(cidr, 'controller:alpha', { metric: 4 })
  for (const cidr of ['192.168.7.0/24', '2001:db8:7::/48']) await add(cidr, 'client:site', { metric: 4 })
  const via = `client:${id('site')}`
  assert.deepEqual(
    routes.contested().map(each => each.id),
    ['192.168.5.0/24', '192.168.7.0/24', '2001:db8:7::/48'].map(cidr => `${cidr}|${via}`),
  )
  assert.partialDeepStrictEqual(routes.contested()[0], { client: id('site'), port: 7 })
})

test('of several ways to an IPv6 prefix the best that is up is taken', async t => {
  const { routes, service, add, live, id } = await bench(t)
  const prefix = '2001:db8:5::/48'
  const hops = () => routes.six.table().flatMap(each => (formatCidr6(each) === prefix ? [each.peerId] : []))
  await add(prefix, 'client:road')
  assert.deepEqual(hops(), ['unreachable'])
  assert.deepEqual(routes.six.toldTo(id('site')).map(formatCidr6), [prefix])
  await add(prefix, 'client:site', { metric: 5 })
  assert.equal(hops().at(-1), 7)
  assert.deepEqual(routes.six.toldTo(id('site')), [])
  assert.deepEqual(routes.six.behind(id('site')).map(formatCidr6), [prefix])
  live.reach = {
    gateway: true,
    gateway6: true,
    exit4: true,
    exit6: true,
    failing: [`${prefix}|client:${id('site')}`],
  }
  assert.equal(hops().at(-1), 'unreachable')
  for (const name of ['road', 'site']) await service.revokeClient(name)
  assert.deepEqual(routes.six.beyond(), [])
})

test('an IPv6 prefix behind a controller is its own to carry, while it says that it forwards IPv6', async t => {
  const { home, routes, add, live, id } = await bench(t)
  const prefix = '2001:db8:5::/48'
  const hop = (cidr = prefix) => routes.six.table().findLast(each => formatCidr6(each) === cidr)?.peerId
  await add(prefix, 'controller:alpha', { probe: '2001:db8:5::9' })
  await add(prefix, 'client:site', { metric: 5, probe: '2001:db8:5::9' })
  await add('2001:db8:6::/48', 'client:site')
  await add('2001:db8:7::/48', 'controller:alpha', { nat: true })
  await add('::/0', 'internet')
  assert.deepEqual([hop(), hop('::/0')], ['tun', 'tun'])
  assert.equal(hop('fd00:77::/64'), 'unreachable')
  const { kernelRoutes, forwarded, masqueraded } = routes.six.kernel()
  assert.deepEqual(kernelRoutes.map(formatCidr6), ['2001:db8:6::/48'])
  assert.deepEqual(forwarded.map(formatCidr6), [prefix])
  assert.deepEqual(masqueraded.map(formatCidr6), ['::/0', '2001:db8:7::/48'])
  assert.deepEqual(
    routes.probes().map(({ id, address, from }) => [id, formatAddress6(address as Address6), from]),
    [
      [`${prefix}|controller:${home.id}`, '2001:db8:5::9', 'kernel'],
      [`${prefix}|client:${id('site')}`, '2001:db8:5::9', { port: 7 }],
    ],
  )
  assert.deepEqual(routes.kernel().forwarded, [], 'IPv4 has none of it')
  live.reach = { gateway: true, gateway6: false, exit4: true, exit6: false, failing: [] }
  assert.deepEqual([hop(), hop('::/0')], [7, 'unreachable'])
  assert.equal(routes.probes().length, 1)
  live.reach = { gateway: true, gateway6: true, exit4: true, exit6: false, failing: [] }
  assert.deepEqual([hop(), hop('::/0')], ['tun', 'unreachable'], 'it has IPv6, but no way to the Internet')
  await add('2000::/3', 'internet:alpha')
  assert.equal(hop('2000::/3'), 'tun', 'who names it knows')
  live.reach = {
    gateway: false,
    gateway6: true,
    exit4: true,
    exit6: true,
    failing: [`${prefix}|controller:${home.id}`],
  }
  assert.deepEqual([hop(), hop('::/0')], [7, 'tun'])
})

test('what controllers are dialled at stays beside the tunnel, by IPv6, too', async t => {
  const { home, routes, add, id } = await bench(t)
  const { controller } = home
  await home.replica.write([
    {
      kind: 'controller',
      id: home.id,
      value: { ...controller, publicEndpoints: ['192.0.2.1:1194', '[2001:db8:1::1]:1194'] },
    },
  ])
  const told = () => routes.six.toldTo(id('road')).map(formatCidr6)
  await add('2001:db8:5::/48', 'client:site')
  assert.deepEqual(told(), ['2001:db8:5::/48'])
  const { revision } = routes
  await add('2001:db8:1::/126', 'client:site')
  assert.deepEqual(told(), ['2001:db8:1::2/127', '2001:db8:1::/128', '2001:db8:5::/48'])
  assert.ok(routes.revision > revision)
  assert.deepEqual(routes.six.beyond().map(formatCidr6), ['2001:db8:1::/126', '2001:db8:5::/48'])
  assert.deepEqual(routes.six.toldTo(id('site')), [])
  assert.deepEqual(routes.six.kernel().underlay, [], 'its own address is no concern of its kernel')
})

test('a failing probe takes its own via out of use, and no other', async t => {
  const { home, routes, add, hop, live } = await bench(t)
  await add('192.168.5.0/24', 'client:site', { probe: '192.168.5.9' })
  await add('192.168.5.0/24', 'controller:alpha', { metric: 4, probe: '192.168.5.9' })
  await add('192.168.6.0/24', 'client:road', { probe: '192.168.6.9' })
  const [client, kernel] = routes.probes()
  assert.equal(routes.probes().length, 2)
  assert.deepEqual([client.from, kernel.from], [{ port: 7 }, 'kernel'])
  assert.equal(formatIpv4(client.address as number), '192.168.5.9')
  assert.equal(hop('192.168.5.0/24'), 7)
  live.reach = { gateway: true, gateway6: true, exit4: true, exit6: true, failing: [client.id] }
  assert.equal(hop('192.168.5.0/24'), 'tun')
  live.reach = { gateway: true, gateway6: true, exit4: true, exit6: true, failing: [client.id, kernel.id] }
  assert.equal(hop('192.168.5.0/24'), 'unreachable')
  assert.ok(home.replica.get('route', client.id))
})

test('a site is probed by who carries it, as the overlay, and judged by that though its networks are routed by themselves', async t => {
  const { home, service, routes, add, hop, live } = await bench(t)
  await service.addAttachment({
    ...{
      name: 'paris',
      remote: 'any',
      secret: Buffer.from('a pre-shared key that is long').toString('base64'),
    },
    ...{ localSubnets: ['10.77.0.0/16'], remoteSubnets: ['192.168.5.0/24', '192.168.6.0/24'] },
  })
  const [{ id: paris }] = home.replica.all('attachment')
  await add('192.168.5.0/24', 'attachment:paris', { probe: '192.168.5.9' })
  await add('192.168.5.0/24', 'client:site', { metric: 9 })
  assert.deepEqual(routes.probes(), [])
  assert.equal(hop('192.168.5.0/24'), 7)
  live.carriers.set(paris, home.id)
  assert.equal(hop('192.168.5.0/24'), 'tun')
  const [probe, ...others] = routes.probes()
  assert.deepEqual(others, [])
  assert.deepEqual(probe.from, { source: parseIpv4(home.controller.address) })
  live.reach = { gateway: true, gateway6: true, exit4: true, exit6: true, failing: [probe.id] }
  assert.equal(hop('192.168.5.0/24'), 7)
  assert.equal(hop('192.168.6.0/24'), 'tun')
  assert.equal(routes.standings().filter(({ entry }) => entry.via.kind === 'attachment').length, 2)
})

test('a site that is disabled keeps its networks: clients hear nothing, and a wider site does not get its packets', async t => {
  const { home, service, routes, hop, live } = await bench(t)
  const add = async (name: string, remoteSubnets: string[]) => {
    await service.addAttachment({
      ...{ name, remote: 'any', secret: Buffer.from('a pre-shared key that is long').toString('base64') },
      ...{ localSubnets: ['10.77.0.0/16'], remoteSubnets },
    })
    const { id } = [...home.replica.all('attachment')].find(each => each.value.name === name)!
    live.carriers.set(id, home.id)
    return id
  }
  await add('wide', ['192.168.0.0/16'])
  const paris = await add('paris', ['192.168.5.0/24'])
  const { revision } = routes
  assert.deepEqual(texts(routes.kernel().expected), ['192.168.0.0/16', '192.168.5.0/24'])
  await service.attachmentDown('paris')
  live.carriers.delete(paris)
  assert.deepEqual(
    [hop('192.168.5.0/24'), hop('192.168.0.0/16'), routes.revision],
    ['unreachable', 'tun', revision],
  )
  // Into the overlay, where it is said to be out of reach, and not out of this machine; and nothing is taken from there.
  assert.deepEqual(texts(routes.kernel().kernelRoutes), ['192.168.5.0/24'])
  assert.deepEqual(texts(routes.kernel().expected), ['192.168.0.0/16'])
  await service.removeAttachment('paris')
  assert.equal(hop('192.168.5.0/24'), undefined)
  assert.notEqual(routes.revision, revision)
})

test('the kernel is to carry what is its own, and sends the rest into the overlay', async t => {
  const { routes, add } = await bench(t)
  await add('192.168.5.0/24', 'client:site')
  await add('192.168.6.0/24', 'controller:alpha')
  await add('192.168.7.0/24', 'controller:alpha', { nat: true })
  // Its own network stays its own, also where another way to it is better.
  await add('192.168.6.0/24', 'client:site', { metric: 0 })
  await add('0.0.0.0/0', 'internet')
  const { kernelRoutes, forwarded, masqueraded, underlay } = routes.kernel()
  assert.deepEqual(texts(kernelRoutes), ['192.168.5.0/24'])
  assert.deepEqual(texts(forwarded), ['192.168.6.0/24'])
  assert.deepEqual(texts(masqueraded), ['0.0.0.0/0', '192.168.7.0/24'])
  assert.deepEqual(underlay, [])
})

test('a connected client is in the table for as long as its credential is good', async t => {
  const { home, service, hop, id } = await bench(t)
  const address = () => `${home.views.client(id('site'))!.value.address}/32`
  assert.equal(hop(address()), 7)
  await service.disableClient('site')
  assert.equal(hop(address()), undefined)
  await service.enableClient('site')
  assert.equal(hop(address()), 7)
  const before = address()
  await service.revokeClient('site')
  assert.equal(hop(before), undefined)
})

test('endpoints of a controller that nobody can dial are left out of everything', async t => {
  const { home, service, routes, add, id } = await bench(t)
  const publicEndpoints = [
    'a:b:1194',
    '[::1:1194',
    '1.2.3.999:1194',
    'evil,redirect-gateway:1194',
    '192.0.2.9:01194',
    '192.0.2.7:1194',
  ]
  await home.replica.write([
    { kind: 'controller', id: home.id, value: { ...home.controller, publicEndpoints } },
  ])
  await add('0.0.0.0/0', 'client:site', { default: true })
  assert.deepEqual(texts(routes.toldTo(id('road'))), ['0.0.0.0/0'])
  assert.deepEqual(routes.bypassed(), ['192.0.2.7'])
  assert.deepEqual(routes.kernel().underlay, [])
  assert.equal(routes.six.toldText().length > 0, true)
  assert.deepEqual(dialledEndpoints(home), ['192.0.2.7:1194'])
  const pack = Buffer.from((await service.packClient('road', 'ovpn')).content).toString()
  assert.deepEqual(pack.match(/^remote .*/gm), ['remote 192.0.2.7 1194 udp'])
  const value = { ...home.controller, publicEndpoints: publicEndpoints.slice(0, -1) }
  await home.replica.write([{ kind: 'controller', id: home.id, value }])
  assert.deepEqual(dialledEndpoints(home), [])
})
