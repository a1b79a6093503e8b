// A controller's kernel as the overlay's gateway of IPv6: see gateway.test.ts.
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { GATE6, GatewayLab, LAN_GATE6, LAN_HOST6, PEER6, prefix, prefix6, six } from './gateway.ts'
import { sleep, until } from './lab.ts'
import { useLab } from './suite.ts'

let world: GatewayLab

useLab('gateway6', async lab => {
  world = new GatewayLab(lab)
  await world.prepare()
})

afterEach(() => world.stopGateways())

const LAN = prefix6('2001:db8:20::/64')
const closed = { six: six({}) }
const lanOpen = { six: six({ forwarded: [LAN] }) }
const egress = { six: six({ masqueraded: [prefix6('::/0')] }) }
const rules = async (expression: RegExp): Promise<boolean> => expression.test(await world.rules())
const sealed = async () => (await rules(/chain forward \{/)) && !(await rules(/chain forwards6/))
const opened = () => rules(/set forwarded6 \{[^}]*2001:db8:20::/)
const lets = () => rules(/set masqueraded6 \{[^}]*2000::/)
const forwarding = (on: '0' | '1') =>
  until('forwarding is as it should be', async () => (await sysctl('all/forwarding')) === on)
const sysctl = async (name: string): Promise<string> =>
  (await world.gate.exec('cat', `/proc/sys/net/ipv6/conf/${name}`)).trim()
/** Packets that the rules dropped. */
async function dropped(): Promise<number> {
  return [...(await world.rules()).matchAll(/counter packets (\d+) bytes \d+ drop/g)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  )
}

test('sealed, then open as described, and sealed again', async () => {
  const { gate, peer, web, lan } = world
  const untouched = await world.kernel()
  const gateway = await world.gateway()
  await gateway.describe(closed, sealed)
  await gate.exec('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1')
  assert.equal(await world.connect(peer, lan, LAN_HOST6), undefined)
  assert.equal(await world.connect(lan, peer, PEER6), undefined)
  assert.equal(await world.connect(web, peer, PEER6), undefined)
  assert.equal(await world.connect(peer, gate, GATE6), PEER6, 'its own address answers')
  assert.equal(await world.connect(peer, gate, LAN_GATE6), undefined, 'its other addresses do not')
  await gate.exec('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=0')

  await gateway.describe(lanOpen, opened)
  await forwarding('1')
  assert.equal(await world.connect(peer, lan, LAN_HOST6), PEER6)
  assert.equal(await world.connect(lan, peer, PEER6), LAN_HOST6)
  assert.equal(await world.connect(peer, gate, LAN_GATE6), PEER6)
  assert.equal(await world.connect(peer, web, web.ip6), undefined, 'what is not described stays closed')
  assert.equal(await world.connect(web, peer, PEER6), undefined)

  await gateway.describe(egress, lets)
  assert.equal(await world.connect(peer, web, web.ip6), gate.ip6, 'the Internet sees the gate')
  assert.equal(await world.connect(web, peer, PEER6), undefined, 'and cannot begin')

  await gateway.describe({ six: six({ masqueraded: [LAN] }) }, () =>
    rules(/masqueraded6 \{[^}]*2001:db8:20::/),
  )
  assert.equal(await world.connect(peer, lan, LAN_HOST6), LAN_GATE6)
  assert.equal(await world.connect(lan, peer, PEER6), undefined)

  await gateway.describe(closed, sealed)
  await forwarding('0')
  assert.equal(await world.connect(peer, lan, LAN_HOST6), undefined)
  await gateway.stop()
  assert.equal(await world.kernel(), untouched)
})

test('much TCP passes in super-packets, also where no message about the MTU gets through', async () => {
  const { gate, peer, web, lan } = world
  await web.exec('nft', 'add table inet deaf')
  await web.exec('nft', 'add chain inet deaf input { type filter hook input priority 0; }')
  await web.exec('nft', 'add rule inet deaf input icmpv6 type packet-too-big drop')
  const gateway = await world.gateway()
  await gateway.describe({ six: six({ forwarded: [LAN], masqueraded: [prefix6('::/0')] }) }, lets)
  await forwarding('1')
  assert.equal(await world.connect(peer, web, web.ip6, 3_000_000), gate.ip6)
  assert.equal(await world.connect(peer, lan, LAN_HOST6, 3_000_000), PEER6)
  assert.equal(await world.connect(lan, peer, PEER6, 3_000_000), LAN_HOST6)
  await gateway.stop()
  await web.exec('nft', 'delete table inet deaf')
})

test('a packet that is too long for the overlay is answered, and the next ones fit', async () => {
  const { lan } = world
  const gateway = await world.gateway()
  await gateway.describe(lanOpen, opened)
  await forwarding('1')
  const first = await lan.attempt(['ping', '-c', '1', '-W', '1', '-M', 'do', '-s', '1440', PEER6])
  assert.match(first.stdout, /Packet too big: mtu=1420/)
  await lan.exec('ping', '-c', '2', '-i', '0.2', '-W', '2', '-s', '1440', PEER6)
  await gateway.stop()
})

test('forged sources are dropped and counted, of the network and of the Internet', async () => {
  const { lan, web } = world
  const gateway = await world.gateway()
  await gateway.describe(lanOpen, opened)
  await forwarding('1')
  for (const [from, source] of [
    [lan, '2001:db8:99::9'],
    [lan, 'fd00:77::a4d:c'],
    [web, '2001:db8:99::9'],
  ] as const) {
    const before = await dropped()
    await from.ip('address', 'add', `${source}/128`, 'dev', 'lo', 'nodad')
    await from.attempt(['ping', '-c', '3', '-i', '0.1', '-W', '1', '-I', source, PEER6])
    await from.ip('address', 'delete', `${source}/128`, 'dev', 'lo')
    assert.equal((await dropped()) - before, 3, `${source} from ${from.name}`)
  }
  await gateway.stop()
})

test('the machine keeps the way to the Internet that it learns from a router, and learns on', async () => {
  const { gate, web } = world
  const before = await sysctl('eth0/accept_ra')
  await gate.exec('sysctl', '-qw', 'net.ipv6.conf.eth0.accept_ra=1')
  await gate.ip(
    '-6',
    'route',
    'add',
    'default',
    'via',
    web.ip6,
    'dev',
    'eth0',
    'proto',
    'ra',
    'expires',
    '300',
  )
  const gateway = await world.gateway()
  await gateway.describe(lanOpen, opened)
  await forwarding('1')
  assert.match(await gate.ip('-6', 'route', 'show', 'default'), /proto ra/)
  assert.equal(await sysctl('eth0/accept_ra'), '2')
  await gateway.process.kill()
  const next = await world.gateway()
  await next.describe(closed, sealed)
  await forwarding('0')
  await until('as it was', async () => (await sysctl('eth0/accept_ra')) === '1')
  assert.match(await gate.ip('-6', 'route', 'show', 'default'), /proto ra/)
  await next.stop()
  await gate.ip('-6', 'route', 'delete', 'default')
  await gate.exec('sysctl', '-qw', `net.ipv6.conf.eth0.accept_ra=${before}`)
})

test('killed: the next start takes its place; stopped: nothing is left', async () => {
  const untouched = await world.kernel()
  let gateway = await world.gateway()
  const kernelRoutes = [prefix6('2001:db8:30::/48')]
  const ours = (): Promise<string> => world.gate.ip('-6', 'route', 'show', 'proto', '172')
  await gateway.describe({ six: six({ forwarded: [LAN], kernelRoutes }) }, async () => (await ours()) !== '')
  assert.match(await ours(), /^2001:db8:30::\/48 dev overlay/)
  await forwarding('1')
  await gateway.process.kill()
  gateway = await world.gateway()
  // The interface is another's here, and outlives the gateway.
  await gateway.describe(closed, async () => (await ours()) === '')
  await forwarding('0')
  await gateway.describe(lanOpen, opened)
  await forwarding('1')
  await gateway.process.kill()
  gateway = await world.gateway()
  await gateway.stop()
  assert.equal(await world.kernel(), untouched)
  assert.equal(await ours(), '')
})

test('two controllers on one machine: forwarding goes off with the last', async () => {
  await world.gate.ip('link', 'add', 'other', 'type', 'veth', 'peer', 'other-end')
  const untouched = await world.kernel()
  const [first, second] = [await world.gateway('one'), await world.gateway('two')]
  await first.describe(lanOpen, opened)
  await forwarding('1')
  await second.describe({ ...lanOpen, tunName: 'other' }, () => rules(/oifname "other"/))
  await second.process.waitFor(/^up/m)
  await first.stop()
  await sleep(1000)
  assert.equal(await sysctl('all/forwarding'), '1')
  await second.stop()
  assert.equal(await world.kernel(), untouched)
  await world.gate.ip('link', 'delete', 'other')
})

test('what IPv6 is refused by does not keep IPv4 closed', async () => {
  const readOnly =
    'mount --bind /proc/sys/net/ipv6 /proc/sys/net/ipv6 && mount -o remount,bind,ro /proc/sys/net/ipv6 && exec "$0" "$@"'
  const gateway = await world.gateway('one', ['unshare', '--mount', 'sh', '-c', readOnly])
  await gateway.describe({ ...lanOpen, forwarded: [prefix('172.20.1.0/24')] }, opened)
  await gateway.process.waitFor(
    /^up .*no gateway of IPv6: .*read-only.*--sysctl net\.ipv6\.conf\.all\.forwarding=1/m,
  )
  assert.equal(await world.connect(world.peer, world.lan, '172.20.1.2'), '::ffff:10.77.0.11')
  assert.equal(await world.connect(world.peer, world.lan, LAN_HOST6), undefined)
  await gateway.stop()
})
