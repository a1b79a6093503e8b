// What may be added as a route: everything that can be wrong is refused with a reason, and what comes of the rest is said.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AddRoute } from '../../../node/service.ts'
import { newMesh, withService } from '../controller/home.ts'

const SITE = { via: 'client:site' }

const REFUSED: [what: string, request: AddRoute, code: string, reason: RegExp][] = [
  ['host bits', { cidr: '192.168.5.1/24', ...SITE }, 'invalid', /the prefix is 192\.168\.5\.0\/24/],
  ['no prefix length', { cidr: '192.168.5.1', ...SITE }, 'invalid', /one host is 192\.168\.5\.1\/32/],
  ['nonsense', { cidr: 'banana', ...SITE }, 'invalid', /no IPv4 prefix/],
  ['IPv6', { cidr: 'fd00:5::/64', ...SITE }, 'invalid', /this overlay has IPv4 only/],
  ['an IPv6 address', { cidr: 'fd00:5::1', ...SITE }, 'invalid', /one host is fd00:5::1\/128/],
  ['the overlay itself', { cidr: '10.77.0.0/24', ...SITE }, 'invalid', /overlay's own subnet/],
  ['a part of the overlay', { cidr: '10.77.0.128/25', ...SITE }, 'invalid', /overlay's own subnet/],
  ['loopback', { cidr: '127.0.0.0/8', ...SITE }, 'invalid', /loopback/],
  ['multicast', { cidr: '239.0.0.0/8', ...SITE }, 'invalid', /multicast/],
  ['link-local', { cidr: '169.254.0.0/16', ...SITE }, 'invalid', /link-local/],
  ['broadcast', { cidr: '255.255.255.255/32', ...SITE }, 'invalid', /reserved/],
  [
    'a default by mistake',
    { cidr: '0.0.0.0/0', ...SITE },
    'invalid',
    /all traffic of every client.*--default/,
  ],
  ['half a default', { cidr: '128.0.0.0/1', ...SITE }, 'invalid', /--default/],
  [
    'a default without NAT',
    { cidr: '0.0.0.0/0', via: 'controller:alpha' },
    'invalid',
    /or use --via internet or internet:alpha/,
  ],
  ['an unknown client', { cidr: '192.168.5.0/24', via: 'client:nobody' }, 'not-found', /no client is named/],
  ['a revoked client', { cidr: '192.168.5.0/24', via: 'client:gone' }, 'refused', /was revoked/],
  ['an unknown controller', { cidr: '192.168.5.0/24', via: 'controller:beta' }, 'not-found', /no controller/],
  ['an unknown exit', { cidr: '0.0.0.0/0', via: 'internet:beta' }, 'not-found', /no controller/],
  [
    'an unknown attachment',
    { cidr: '192.168.5.0/24', via: 'attachment:x' },
    'not-found',
    /no attachment is named/,
  ],
  ['no via', { cidr: '192.168.5.0/24', via: 'site' }, 'invalid', /nothing to route through/],
  ['NAT at a client', { cidr: '192.168.5.0/24', ...SITE, nat: true }, 'invalid', /--nat is for controllers/],
  ['no NAT to the Internet', { cidr: '0.0.0.0/0', via: 'internet', nat: false }, 'invalid', /always/],
  ['a metric below', { cidr: '192.168.5.0/24', ...SITE, metric: -1 }, 'invalid', /0 to 65535/],
  ['a metric beyond', { cidr: '192.168.5.0/24', ...SITE, metric: 65_536 }, 'invalid', /0 to 65535/],
  ['a probe elsewhere', { cidr: '192.168.5.0/24', ...SITE, probe: '192.168.6.1' }, 'invalid', /not in/],
  [
    'a probe in the overlay',
    { cidr: '0.0.0.0/0', via: 'internet', probe: '10.77.0.9' },
    'invalid',
    /overlay/,
  ],
  ['a probe of itself', { cidr: '0.0.0.0/0', via: 'internet', probe: '127.0.0.1' }, 'invalid', /loopback/],
  [
    'a probe that no host answers',
    { cidr: '192.168.5.0/24', ...SITE, probe: '192.168.5.0' },
    'invalid',
    /first address.*no host has/,
  ],
  ['nor the last', { cidr: '192.168.5.0/24', ...SITE, probe: '192.168.5.255' }, 'invalid', /last address/],
  ['a probe by name', { cidr: '0.0.0.0/0', via: 'internet', probe: 'one.one' }, 'invalid', /no IPv4 address/],
  [
    'what is there',
    { cidr: '192.168.9.0/24', ...SITE },
    'exists',
    /remove 192\.168\.9\.0\/24 --via client:site` first/,
  ],
  ["a client's own subnet", { cidr: '192.168.8.0/24', ...SITE }, 'exists', /already; as its own subnet/],
]

test('bad routes are refused with a reason, and leave nothing', async t => {
  const dataDir = await newMesh(t, { public: ['192.0.2.1'] })
  await withService(dataDir, async service => {
    await service.addClient({ name: 'site', subnets: ['192.168.8.0/24'] })
    await service.addClient({ name: 'gone' })
    await service.revokeClient('gone')
    await service.addRoute({ cidr: '192.168.9.0/24', ...SITE })
    const before = await service.records('route')
    for (const [what, request, code, message] of REFUSED)
      await assert.rejects(service.addRoute(request), { code, message }, what)
    assert.deepEqual(await service.records('route'), before)
  })
})

const ALPHA = { via: 'controller:alpha' }

const REFUSED6: [what: string, request: AddRoute, code: string, reason: RegExp][] = [
  ['host bits', { cidr: '2001:db8:5::1/48', ...ALPHA }, 'invalid', /the prefix is 2001:db8:5::\/48/],
  ['the overlay itself', { cidr: 'fd00:77::/64', ...ALPHA }, 'invalid', /overlaps the overlay's own/],
  ['a part of the overlay', { cidr: 'fd00:77::1:0/112', ...ALPHA }, 'invalid', /overlaps the overlay's own/],
  ['more than the overlay', { cidr: 'fd00::/16', ...ALPHA }, 'invalid', /overlaps the overlay's own/],
  ['link-local', { cidr: 'fe80::/64', ...ALPHA }, 'invalid', /nothing that a host can have/],
  ['multicast', { cidr: 'ff0e::/16', via: 'internet' }, 'invalid', /nothing that a host can have/],
  ['loopback', { cidr: '::1/128', ...ALPHA }, 'invalid', /nothing that a host can have/],
  ['half of everything', { cidr: '8000::/1', via: 'internet' }, 'invalid', /overlaps the overlay's own/],
  ['a part of nothing', { cidr: '4000::/3', via: 'internet' }, 'invalid', /nothing that a host can have/],
  ['all local addresses', { cidr: 'fc00::/7', ...ALPHA }, 'invalid', /overlaps the overlay's own/],
  ['a default by mistake', { cidr: '::/0', ...SITE }, 'invalid', /all traffic of every client.*--default/],
  ['the Internet by mistake', { cidr: '2000::/3', ...SITE }, 'invalid', /--default/],
  ['a default without NAT', { cidr: '::/0', ...ALPHA }, 'invalid', /or use --via internet or internet:alpha/],
  ['no NAT to the Internet', { cidr: '::/0', via: 'internet', nat: false }, 'invalid', /always/],
  ['NAT at a client', { cidr: '2001:db8:5::/48', ...SITE, nat: true }, 'invalid', /--nat is for controllers/],
  [
    'a site',
    { cidr: '2001:db8:5::/48', via: 'attachment:paris' },
    'invalid',
    /sites are reached by IPv4 only/,
  ],
  ['a probe elsewhere', { cidr: '2001:db8:5::/48', ...ALPHA, probe: '2001:db8:6::1' }, 'invalid', /not in/],
  ['a probe of IPv4', { cidr: '::/0', via: 'internet', probe: '192.0.2.1' }, 'invalid', /no IPv6 address/],
  [
    'a probe in the overlay',
    { cidr: '::/0', via: 'internet', probe: 'fd00:77::1' },
    'invalid',
    /overlay itself/,
  ],
  [
    'a probe of no host',
    { cidr: '::/0', via: 'internet', probe: 'ff02::1' },
    'invalid',
    /that a host can have/,
  ],
  ['IPv6 for IPv4', { cidr: '192.168.5.0/24', ...ALPHA, probe: '2001:db8::1' }, 'invalid', /no IPv4 address/],
]

test('bad IPv6 routes are refused with a reason; all others are taken as those of IPv4 are', async t => {
  const dataDir = await newMesh(t, { public: ['192.0.2.1', '[2001:db8:1::1]:1194'], subnet6: 'fd00:77::/64' })
  await withService(dataDir, async service => {
    await service.addClient({ name: 'site' })
    await service.addAttachment({
      ...{ name: 'paris', remote: 'any', localSubnets: ['10.77.0.0/24'], remoteSubnets: ['192.168.20.0/24'] },
      secret: Buffer.from('a pre-shared key that is long').toString('base64'),
    })
    for (const [what, request, code, message] of REFUSED6)
      await assert.rejects(service.addRoute(request), { code, message }, what)
    assert.deepEqual(await service.records('route'), [])

    const add = async (cidr: string, via: string, rest: Partial<AddRoute> = {}) =>
      (await service.addRoute({ cidr, via, ...rest })).notes.join('\n')
    assert.equal(await add('2001:db8:5::/48', 'controller:alpha', { probe: '2001:DB8:5::1' }), '')
    assert.match(
      await add('2001:db8:5::/48', 'client:site', { metric: 5 }),
      /controller:alpha \(metric 0\) is/,
    )
    await add('2001:db8:6::/48', 'internet:alpha')
    await add('2001:db8:7::/48', 'controller:alpha', { nat: true })
    assert.match(await add('2001:db8:1::/48', 'client:site'), /controllers in it \(2001:db8:1::1\) beside/)
    const egress = await add('::/0', 'internet', { probe: '2001:db8:99::1', metric: 3 })
    assert.match(egress, /every client now sends .* 2000::\/3/)
    assert.match(egress, /controllers in it and their \/64 \(2001:db8:1::1\) beside/)
    await add('::/0', 'client:site', { default: true, metric: 9 })
    const listed = (await service.routes()).filter(({ cidr }) => cidr.includes(':'))
    assert.deepEqual(
      listed.map(({ cidr, via, metric, nat, probe }) => `${cidr} ${via} ${metric} ${nat} ${probe}`),
      [
        '::/0 internet 3 true 2001:db8:99::1',
        '::/0 client:site 9 false null',
        '2001:db8:1::/48 client:site 0 false null',
        '2001:db8:5::/48 controller:alpha 0 false 2001:db8:5::1',
        '2001:db8:5::/48 client:site 5 false null',
        '2001:db8:6::/48 internet:alpha 0 true null',
        '2001:db8:7::/48 controller:alpha 0 true null',
      ],
    )
    await assert.rejects(service.addRoute({ cidr: '::/0', via: 'internet' }), { code: 'exists' })
    await service.removeRoute('2001:db8:6::/48', 'controller:alpha')
    assert.equal((await service.removeRoute('::/0')).changed, 2)
  })
})

test('what may not be a route may not be a subnet of a client either', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    for (const [subnet, reason] of [
      ['128.0.0.0/1', /all traffic of every client.*route add --default/],
      ['0.0.0.0/0', /overlay's own subnet/],
      ['10.0.0.0/8', /overlaps the overlay's own subnet/],
      ['10.77.0.128/25', /overlay's own subnet/],
      ['127.0.0.0/8', /loopback/],
      ['224.0.0.0/4', /multicast/],
      ['192.168.5.1/24', /the prefix is 192\.168\.5\.0\/24/],
      ['192.168.5.1', /one host is 192\.168\.5\.1\/32/],
      ['banana', /no IPv4 prefix/],
    ] as const) {
      const adding = service.addClient({ name: 'bad', subnets: [subnet] })
      await assert.rejects(adding, { code: 'invalid', message: reason }, subnet)
    }
  })
})

test('nor may IPv6 that stands for the Internet', async t => {
  const dataDir = await newMesh(t, { subnet6: 'fd00:77::/64' })
  await withService(dataDir, async service => {
    for (const subnet of ['::/0', '2000::/3', '2000::/8']) {
      const adding = service.addClient({ name: 'bad', subnets: [subnet] })
      await assert.rejects(adding, { code: 'invalid' }, subnet)
    }
  })
})

test('what comes of the subnets of a client is said', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    const add = async (name: string, ...subnets: string[]) =>
      (await service.addClient({ name, subnets })).client.notes
    assert.equal(await add('site', '192.168.4.0/22', '192.168.9.0/24'), undefined)
    const notes = await add('other', '192.168.5.0/24', '192.168.9.0/24')
    assert.equal(notes?.length, 2)
    assert.equal(
      notes[0],
      '192.168.5.0/24 lies within 192.168.4.0/22 (client:site) and wins there, also while it is down',
    )
    assert.match(notes[1], /^192\.168\.9\.0\/24: (of 2 ways it is|client:site \(metric 0\) is) preferred/)
  })
})

test('what comes of a route is said', async t => {
  const dataDir = await newMesh(t, { public: ['192.0.2.1', 'vpn.example.net'] })
  await withService(dataDir, async service => {
    for (const name of ['site', 'other']) await service.addClient({ name })
    const add = async (request: AddRoute) => (await service.addRoute(request)).notes.join('\n')
    assert.equal(await add({ cidr: '192.168.0.0/16', ...SITE }), '')
    assert.match(
      await add({ cidr: '192.168.5.0/24', via: 'client:other' }),
      /lies within 192\.168\.0\.0\/16 \(client:site\)/,
    )
    assert.match(
      await add({ cidr: '192.168.0.0/16', via: 'client:other' }),
      /goes on to win: 192\.168\.5\.0\/24/,
    )
    assert.match(
      await add({ cidr: '192.168.5.0/24', ...SITE, metric: 5 }),
      /client:other \(metric 0\) is preferred/,
    )
    assert.match(await add({ cidr: '10.0.0.0/8', ...SITE }), /10\.77\.0\.0\/24 lies within and stays/)
    assert.match(
      await add({ cidr: '192.0.2.0/24', ...SITE }),
      /controllers in it \(192\.0\.2\.1\) beside the tunnel/,
    )
    const egress = await add({ cidr: '0.0.0.0/0', via: 'internet', probe: '198.51.100.1' })
    assert.match(egress, /every client now sends/)
    assert.match(egress, /192\.0\.2\.1/)
    assert.match(egress, /vpn\.example\.net is resolved by the clients/)
    await add({ cidr: '0.0.0.0/0', ...SITE, default: true, metric: 9 })
  })
})

test('internet at a named controller and NAT at it are one route, which either name removes', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    await service.addRoute({ cidr: '0.0.0.0/0', via: 'internet:alpha' })
    await assert.rejects(service.addRoute({ cidr: '0.0.0.0/0', via: 'controller:alpha', nat: true }), {
      code: 'exists',
    })
    const [route] = (await service.routes()).filter(({ cidr }) => cidr === '0.0.0.0/0')
    assert.partialDeepStrictEqual(route, { via: 'internet:alpha', nat: true, state: 'down' })
    await service.removeRoute('0.0.0.0/0', 'controller:alpha')
    await service.addRoute({ cidr: '0.0.0.0/0', via: 'controller:alpha', nat: true })
    await service.removeRoute('0.0.0.0/0', 'internet:alpha')
    assert.deepEqual(await service.records('route'), [])
  })
})

test('the way to a part of the Internet is listed by the name that it was given', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    const add = (via: string, nat?: boolean) => service.addRoute({ cidr: '203.0.113.0/24', via, nat })
    const listed = async () => {
      const routes = await service.routes()
      return routes.filter(({ cidr }) => cidr === '203.0.113.0/24').map(({ via, nat }) => ({ via, nat }))
    }
    await add('internet:alpha')
    assert.deepEqual(await listed(), [{ via: 'internet:alpha', nat: true }])
    assert.deepEqual(
      (await service.desiredState()).routes?.map(({ via }) => via),
      ['internet:alpha'],
    )
    await assert.rejects(add('controller:alpha', true), { message: /has a route via internet:alpha already/ })
    assert.equal((await service.removeRoute('203.0.113.0/24', 'controller:alpha')).changed, 1)
    await add('controller:alpha', true)
    assert.deepEqual(await listed(), [{ via: 'controller:alpha', nat: true }])
    assert.equal((await service.removeRoute('203.0.113.0/24', 'internet:alpha')).changed, 1)
    await add('controller:alpha')
    assert.deepEqual(await listed(), [{ via: 'controller:alpha', nat: false }])
  })
})

test('host bits are refused where a route is removed as where it is added', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    await service.addClient({ name: 'site' })
    await service.addRoute({ cidr: '192.168.5.0/24', ...SITE })
    for (const [cidr, message] of [
      ['192.168.5.7/24', /names a host; the prefix is 192\.168\.5\.0\/24/],
      ['192.168.5.0', /one host is 192\.168\.5\.0\/32/],
      ['2001:db8:5::1/48', /names a host; the prefix is 2001:db8:5::\/48/],
      ['2001:db8:5::zz/48', /no IPv6 prefix/],
    ] as const)
      await assert.rejects(service.removeRoute(cidr), { code: 'invalid', message }, cidr)
    assert.equal((await service.removeRoute('192.168.5.0/24')).changed, 1)
  })
})

test('what was not added cannot be removed, and what it follows from is said', async t => {
  const dataDir = await newMesh(t, { subnet6: 'fd00:77::/64' })
  await withService(dataDir, async service => {
    await service.addClient({ name: 'site', subnets: ['192.168.8.0/24', '2001:db8:8::/48'] })
    for (const cidr of ['192.168.8.0/24', '2001:db8:8::/48']) {
      const said = {
        code: 'not-found',
        message: /is a subnet of client site; `overmesh export` and `import`/,
      }
      await assert.rejects(service.removeRoute(cidr), said)
      await assert.rejects(service.removeRoute(cidr, 'client:site'), said)
      await assert.rejects(service.removeRoute(cidr, 'client:other'), {
        message: /via client:other was added/,
      })
    }
    const { address } = (await service.status()).controller
    await assert.rejects(service.removeRoute(`${address}/32`), { message: /no route to .* was added/ })
  })
})

test('the route of a revoked client is shown as dead, and can be removed', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    await service.addClient({ name: 'site' })
    await service.addRoute({ cidr: '192.168.5.0/24', ...SITE })
    await service.revokeClient('site')
    const [route] = (await service.routes()).filter(({ cidr }) => cidr === '192.168.5.0/24')
    assert.partialDeepStrictEqual(route, { via: 'client:site', state: 'down' })
    // A new client of that name is another: the route stays that of the old one.
    await service.addClient({ name: 'site' })
    const [{ via }] = (await service.routes()).filter(({ cidr }) => cidr === '192.168.5.0/24')
    assert.match(via, /^client:[0-9a-f]{16}$/)
    assert.equal((await service.removeRoute('192.168.5.0/24', via)).changed, 1)
  })
})
