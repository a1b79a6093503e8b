// Forwarding IPv6: on where it is needed, with what was before it known to the next start and to other controllers, and undone.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { DataDirectory } from '../../../node/data-directory.ts'
import type { GatewayDescription6 } from '../../../node/gateway/description.ts'
import { Gateway } from '../../../node/gateway/gateway.ts'
import { parseCidr6 } from '../../../state/address6.ts'
import { description, FakeKernel, IP_FORWARD, ok, start, until } from './fake-kernel.ts'

const CONF = '/proc/sys/net/ipv6/conf'
const FORWARD = `${CONF}/all/forwarding`
const six = (changes: Partial<GatewayDescription6> = {}): GatewayDescription6 => ({
  subnet: parseCidr6('fd00:77::/64')!,
  kernelRoutes: [],
  forwarded: [parseCidr6('2001:db8:5::/64')!],
  masqueraded: [],
  ...changes,
})
const open = (changes?: Partial<GatewayDescription6>) => description({ forwarded: [], six: six(changes) })

/** One that learns its way to the Internet by router advertisements on `eth0`, and forwards from `br0` already. */
class RouterKernel extends FakeKernel {
  constructor() {
    super()
    for (const [name, forwarding, acceptRa] of [
      ['all', '0', '1'],
      ['default', '0', '1'],
      ['lo', '0', '1'],
      ['eth0', '0', '1'],
      ['eth1', '0', '0'],
      ['br0', '1', '1'],
      ['overmesh0', '0', '1'],
    ]) {
      this.files.set(`${CONF}/${name}/forwarding`, forwarding)
      this.files.set(`${CONF}/${name}/accept_ra`, acceptRa)
    }
  }
  /** The switch for all sets each. */
  override write(path: string, text: string): void {
    super.write(path, text)
    if (path !== FORWARD) return
    for (const name of this.list(CONF)) this.files.set(`${CONF}/${name}/forwarding`, text)
  }
  conf(): Record<string, string> {
    return Object.fromEntries([...this.files].filter(([path]) => path.startsWith(CONF)))
  }
}

test('forwarding is on while it is needed; router advertisements are taken all the while, and all is as before', async t => {
  const kernel = new RouterKernel()
  const before = kernel.conf()
  const [gateway] = await start(t, kernel)
  gateway.update(open({ forwarded: [] }))
  await until(() => gateway.isUp6)
  assert.deepEqual(kernel.conf(), before, 'nothing is forwarded')
  gateway.update(open())
  await until(() => kernel.files.get(FORWARD) === '1')
  assert.equal(kernel.files.get(IP_FORWARD), '0', 'IPv4 is a matter of its own')
  const taken = ['eth0', 'default'].map(name => kernel.files.get(`${CONF}/${name}/accept_ra`))
  assert.deepEqual(taken, ['2', '2'])
  const order = kernel.written.filter(each => each.startsWith(CONF))
  assert.equal(order.at(-1), `${FORWARD} 1`, 'only then do interfaces forget their routers')
  for (const name of ['eth1', 'br0', 'lo', 'overmesh0'])
    assert.equal(kernel.files.get(`${CONF}/${name}/accept_ra`), before[`${CONF}/${name}/accept_ra`], name)
  gateway.update(open({ forwarded: [] }))
  await until(() => kernel.files.get(FORWARD) === '0')
  await until(() => kernel.files.get(`${CONF}/eth0/accept_ra`) === '1')
  assert.deepEqual(kernel.conf(), before)
  gateway.update(open({ masqueraded: [parseCidr6('::/0')!] }))
  await until(() => kernel.files.get(FORWARD) === '1')
  await gateway.stop()
  assert.deepEqual(kernel.conf(), before)
  assert.equal(gateway.isUp6, false)
})

test('what somebody else changed meanwhile stays, and an interface may be gone', async t => {
  const kernel = new RouterKernel()
  const [gateway] = await start(t, kernel)
  gateway.update(open())
  await until(() => kernel.files.get(FORWARD) === '1')
  kernel.files.set(`${CONF}/eth0/accept_ra`, '0')
  kernel.files.delete(`${CONF}/default/accept_ra`)
  kernel.files.delete(`${CONF}/br0/forwarding`)
  await gateway.stop()
  assert.equal(kernel.files.get(`${CONF}/eth0/accept_ra`), '0')
  assert.equal(kernel.files.has(`${CONF}/default/accept_ra`), false)
  assert.equal(kernel.files.get(FORWARD), '0')
})

test('after a crash the next start knows what was before, and so does one that is no gateway', async t => {
  for (const isGateway of [true, false]) {
    const kernel = new RouterKernel()
    const before = kernel.conf()
    const [gateway, directory] = await start(t, kernel)
    gateway.update(open())
    await until(() => kernel.files.get(FORWARD) === '1')
    const traces = JSON.parse(await readFile(join(directory, 'run/gateway.json'), 'utf8'))
    assert.deepEqual(traces.six.before, [
      'forwarding6-was-off',
      'accept-ra-was-1-default',
      'accept-ra-was-1-eth0',
      'forwarding6-was-1-br0',
    ])
    if (isGateway) {
      const [next] = await start(t, kernel, directory)
      next.update(open())
      await until(() => next.isUp6)
      assert.equal(kernel.files.get(FORWARD), '1')
      await next.stop()
    } else {
      await Gateway.cleanUp({ directory: new DataDirectory(directory), id: 'alpha', kernel })
    }
    assert.deepEqual(kernel.conf(), before)
  }
})

test('of two controllers on one machine the last to go leaves all as it was', async t => {
  const kernel = new RouterKernel()
  const before = kernel.conf()
  const [first] = await start(t, kernel)
  const [second] = await start(t, kernel, undefined, 'beta')
  first.update(open())
  await until(() => kernel.files.get(FORWARD) === '1')
  second.update(open())
  await until(() => second.isUp6)
  await first.stop()
  assert.equal(kernel.files.get(FORWARD), '1')
  await second.stop()
  assert.deepEqual(kernel.conf(), before)
})

test('others that came meanwhile and forward IPv6 keep it on; those of IPv4 do not', async t => {
  for (const [family, left] of [
    ['ip6', '1'],
    ['inet', '1'],
    ['ip', '0'],
  ] as const) {
    const kernel = new RouterKernel()
    const [gateway] = await start(t, kernel)
    gateway.update(open())
    await until(() => kernel.files.get(FORWARD) === '1')
    kernel.foreign = [{ family, table: 'filter', name: 'FORWARD', hook: 'forward', policy: 'accept' }]
    await gateway.stop()
    assert.equal(kernel.files.get(FORWARD), left, family)
  }
})

test('where it cannot be switched on IPv4 goes on, and that is said with what to do', async t => {
  const kernel = new RouterKernel()
  kernel.files.set(IP_FORWARD, '1')
  const before = kernel.conf()
  const [gateway] = await start(t, kernel)
  kernel.refuse = 'EROFS'
  gateway.update(description({ six: six() }))
  await until(() => gateway.isUp)
  assert.equal(gateway.isUp6, false)
  assert.deepEqual(gateway.problems(), [
    'this controller is no gateway of IPv6: IPv6 forwarding is off and cannot be switched on from here (/proc/sys is read-only); ' +
      'on the machine: sysctl -w net.ipv6.conf.all.forwarding=1; for a container: docker run --sysctl net.ipv6.conf.all.forwarding=1',
  ])
  assert.deepEqual(kernel.conf(), before)
  assert.ok(![...kernel.tables.values()].some(text => text.includes('was-off')))
})

test('whether the machine has a way of its own to the IPv6 Internet is seen in its routes', async t => {
  const kernel = new RouterKernel()
  const [gateway] = await start(t, kernel)
  let routes: object[] = []
  let count = 0
  kernel.answer = (_program, args) =>
    args.includes('-6') && args.includes('show') ? ok(JSON.stringify(routes)) : undefined
  for (const [has, ...present] of [
    [false, { dst: '2001:db8:1::/64', dev: 'eth0' }],
    [true, { dst: 'default', gateway: 'fe80::1', dev: 'eth0', protocol: '9' }],
    [true, { dst: '2000::/3', dev: 'wan0' }],
    [false, { type: 'unreachable', dst: 'default', dev: 'lo' }],
    [true, { dst: 'default', nexthops: [{ gateway: 'fe80::1', dev: 'eth0' }] }],
    [false, { dst: 'default', dev: 'overmesh0' }],
    [false, { type: '2', dst: 'default', dev: 'eth0', table: '255' }],
    [true, { dst: 'default', gateway: 'fe80::1', dev: 'eth0', table: '77' }],
  ] as const) {
    routes = [...present]
    gateway.update(open({ forwarded: [parseCidr6(`2001:db8:${++count}::/64`)!] }))
    await gateway.settled()
    assert.equal(gateway.hasExit6, has, JSON.stringify(routes))
  }
  gateway.update(description())
  await gateway.settled()
  assert.equal(gateway.hasExit6, false)
})

test('rules open what is described, of IPv6 as of IPv4, and nothing where there is no IPv6', async t => {
  const kernel = new RouterKernel()
  const [gateway] = await start(t, kernel)
  const elsewhere = parseCidr6('2001:db8:5:0:8000::/65')!
  gateway.update(open({ masqueraded: [parseCidr6('::/0')!], kernelRoutes: [elsewhere] }))
  await until(() => kernel.rules.length > 0)
  const [rules] = kernel.rules
  assert.match(rules, /set overlay6 \{\n.*ipv6_addr\n.*\n.*elements = \{ fd00:77::\/64 \}/)
  assert.match(rules, /set forwarded6 \{[^}]*elements = \{ 2001:db8:5::-2001:db8:5:0:7fff:ffff:ffff:ffff \}/)
  assert.match(
    rules,
    /set masqueraded6 \{[^}]*elements = \{ 2000::-2001:db8:4:ffff[^}]*, 2001:db8:5:1::-3fff:/,
  )
  for (const rule of [
    'iifname "overmesh0" ip6 daddr @forwarded6 accept',
    'oifname "overmesh0" ip6 saddr @forwarded6 accept',
    'iifname "overmesh0" ct state new,established ip6 daddr @masqueraded6 accept',
    'ip6 saddr @overlay6 ip6 daddr @masqueraded6 masquerade',
    'chain forwards6 { }',
  ])
    assert.ok(rules.includes(rule), rule)
  assert.ok(!rules.includes('chain forwards { }'))
  gateway.update(description())
  await until(() => gateway.isUp && !gateway.isUp6 && kernel.files.get(FORWARD) === '0')
  assert.doesNotMatch(kernel.rules.at(-1)!, /overlay6|forwards6/)
})
