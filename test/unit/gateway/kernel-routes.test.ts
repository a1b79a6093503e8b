import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { GatewayDescription } from '../../../node/gateway/description.ts'
import { changeRoutes, readKernelRoutes } from '../../../node/gateway/kernel-routes.ts'
import { parseCidr, parseIpv4 } from '../../../node/net/ip.ts'

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

test('reads nothing where there is nothing', () => {
  assert.deepEqual(readKernelRoutes(''), [])
  assert.deepEqual(readKernelRoutes('{}'), [])
  assert.throws(() => readKernelRoutes('Cannot open netlink socket'), SyntaxError)
})
