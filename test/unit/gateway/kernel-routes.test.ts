import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { GatewayDescription } from '../../../node/gateway/description.ts'
import {
  changeRoutes,
  changeRoutes6,
  readKernelRoutes,
  readKernelRoutes6,
} from '../../../node/gateway/kernel-routes.ts'
import { parseCidr, parseIpv4 } from '../../../node/net/ip.ts'
import { parseAddress6, parseCidr6 } from '../../../state/address6.ts'

const cidr = (text: string) => parseCidr(text)!
const describe = (kernelRoutes: string[], changes: Partial<GatewayDescription> = {}): GatewayDescription => ({
  tunName: 'overmesh0',
  subnet: cidr('10.77.0.0/16'),
  kernelRoutes: kernelRoutes.map(cidr),
  forwarded: [],
  masqueraded: [],
  ...changes,
})

/** As iproute2 6.1 writes it with -N -json. */
const TABLE = JSON.stringify([
  { dst: 'default', gateway: '192.0.2.1', dev: 'eth0', flags: [] },
  { dst: '10.77.0.0/16', dev: 'overmesh0', protocol: '2', scope: '253', prefsrc: '10.77.0.10', flags: [] },
  { dst: '192.0.2.0/24', dev: 'eth0', protocol: '2', scope: '253', flags: [] },
  { dst: '198.51.100.7', gateway: '192.0.2.1', dev: 'eth0', protocol: '4', flags: [] },
  { dst: '172.21.0.0/16', nexthops: [{ gateway: '192.0.2.1', dev: 'eth0' }], protocol: '4', flags: [] },
  { dst: '172.30.0.0/16', dev: 'overmesh0', protocol: '172', scope: '253', metric: 4096, flags: [] },
  { dst: '172.29.0.0/16', dev: 'overmesh1', protocol: '172', scope: '253', metric: 4096, flags: [] },
  { dst: '172.28.0.0/16', dev: 'overmesh0', protocol: '4', scope: '253', flags: [] },
  { type: 'blackhole', dst: '172.27.0.0/16', protocol: '4' },
  { dst: 'fd00::/8', dev: 'eth0' },
  null,
  { dst: 7 },
])
const present = readKernelRoutes(TABLE)
const changes = (...args: Parameters<typeof describe>) => changeRoutes(describe(...args), present)

test('adds what lacks, removes what is no longer wanted, and leaves the routes of others', () => {
  assert.deepEqual(changes(['172.30.0.0/16']), { batch: [], problems: [] })
  assert.deepEqual(changes(['172.31.0.0/16', '172.31.0.0/16', '10.0.0.0/8']), {
    batch: [
      'route delete 172.30.0.0/16 dev overmesh0 proto 172 metric 4096',
      'route replace 10.0.0.0/8 dev overmesh0 proto 172 metric 4096',
      'route replace 172.31.0.0/16 dev overmesh0 proto 172 metric 4096',
    ],
    problems: [],
  })
})

test("the way to the Internet and the overlay's own subnet are not for it to set", () => {
  assert.deepEqual(changes(['172.30.0.0/16', '0.0.0.0/0', '128.0.0.0/1', '10.77.0.0/16']), {
    batch: [],
    problems: [],
  })
})

test('takes no prefix that the machine routes itself, nor a part of a network it is in', () => {
  for (const [text, owner] of [
    ['192.0.2.0/24', /192\.0\.2\.0\/24 on eth0/],
    ['192.0.2.128/25', /192\.0\.2\.0\/24 on eth0/],
    ['172.21.0.0/16', /172\.21\.0\.0\/16 on no interface/],
    ['172.27.0.0/16', /172\.27\.0\.0\/16 on no interface/],
    ['172.29.0.0/16', /on overmesh1/],
    ['198.51.100.7/32', /198\.51\.100\.7\/32 on eth0/],
  ] as const) {
    const { batch, problems } = changes(['172.30.0.0/16', text])
    assert.deepEqual(batch, [])
    assert.match(
      problems.join('\n'),
      new RegExp(`^this machine does not send ${text} into the overlay: its own`),
    )
    assert.match(problems.join('\n'), owner)
  }
  // Longer prefixes behind a router, and shorter ones, go together with the machine's own.
  assert.equal(changes(['172.30.0.0/16', '172.21.7.0/24', '192.0.0.0/8']).problems.length, 0)
})

test('what other controllers are dialled at stays outside', () => {
  const dialled = (address: string) => ({ underlay: [parseIpv4(address)!] })
  assert.match(
    changes(['203.0.113.0/24'], dialled('203.0.113.9')).problems[0],
    /dialled at 203\.0\.113\.9, inside it/,
  )
  assert.deepEqual(changes(['203.0.113.0/24'], dialled('203.0.114.9')).problems, [])
  assert.deepEqual(
    changes(['198.51.100.0/24'], dialled('198.51.100.7')).problems,
    [],
    'it has a route of its own',
  )
})

test('IPv6 is routed by the same rules', () => {
  const six = (text: string) => parseCidr6(text)!
  const present6 = readKernelRoutes6(
    JSON.stringify([
      { dst: 'default', gateway: 'fe80::1', dev: 'eth0', protocol: '9' },
      { dst: 'fd00:77::/64', dev: 'overmesh0', protocol: '2' },
      { dst: 'fe80::/64', dev: 'eth0', protocol: '2' },
      { dst: '2001:db8:1::/64', dev: 'eth0', protocol: '2' },
      { dst: '2001:db8:2::/64', gateway: 'fe80::1', dev: 'eth0', protocol: '4' },
      { dst: '2001:db8:3::9', gateway: 'fe80::1', dev: 'eth0', protocol: '4' },
      { dst: '2001:db8:4::/64', dev: 'overmesh0', protocol: '172', metric: 4096 },
    ]),
  )
  const wanted = ['::/0', '2000::/3', 'fd00:77::/64', '2001:db8:5::/48', '2001:db8:1:0:8000::/65']
  const changed = changeRoutes6(
    {
      tunName: 'overmesh0',
      six: {
        subnet: six('fd00:77::/64'),
        kernelRoutes: [...wanted, '2001:db8:2::/64', '2001:db8:3::/48', '2001:db8:6::/48'].map(six),
        ...{ forwarded: [], masqueraded: [] },
        underlay: ['2001:db8:3::9', '2001:db8:6::9'].map(each => parseAddress6(each)!),
      },
    },
    present6,
  )
  assert.deepEqual(changed.batch, [
    'route delete 2001:db8:4::/64 dev overmesh0 proto 172 metric 4096',
    'route replace 2001:db8:3::/48 dev overmesh0 proto 172 metric 4096',
    'route replace 2001:db8:5::/48 dev overmesh0 proto 172 metric 4096',
  ])
  assert.equal(changed.problems.length, 3)
  assert.match(changed.problems[0], /2001:db8:1:0:8000::\/65 into the overlay: .* 2001:db8:1::\/64 on eth0/)
  assert.match(changed.problems[1], /2001:db8:2::\/64 on eth0/)
  assert.match(changed.problems[2], /dialled at 2001:db8:6::9, inside it/)
  assert.deepEqual(changeRoutes6({ tunName: 'overmesh0' }, present6), { batch: [], problems: [] })
})

test('reads nothing where there is nothing', () => {
  assert.deepEqual(readKernelRoutes(''), [])
  assert.deepEqual(readKernelRoutes('{}'), [])
  assert.throws(() => readKernelRoutes('Cannot open netlink socket'), SyntaxError)
})
