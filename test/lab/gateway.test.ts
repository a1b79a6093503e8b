// A controller's kernel as the overlay's gateway: what passes and what does not, and that nothing of it stays.
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { rulesetOf } from '../../node/gateway/ruleset.ts'
import { parseIpv4 } from '../../node/net/ip.ts'
import { run } from './command.ts'
import {
  description,
  GATE,
  GatewayLab,
  LAN_HOST,
  nftTakes,
  PEER,
  prefix,
  prefix6,
  six,
  TUN,
} from './gateway.ts'
import type { Host } from './host.ts'
import { until } from './lab.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

let world: GatewayLab

const MARKS = ['forwarding-was-off', 'forwarding6-was-off', 'accept-ra-was-1-eth0.7']

/** A firewall that was there before, with what a careless hand would take along. */
const FOREIGN = `
table inet firewall {
  set overlay { type ipv4_addr; elements = { 10.77.0.1 } }
  chain forward { type filter hook forward priority filter; policy accept; ip daddr 203.0.113.9 drop; }
  chain postrouting { type nat hook postrouting priority srcnat; ip saddr 203.0.113.9 masquerade; }
}
table ip overmeshes {
  chain forward { type filter hook forward priority filter; policy accept; }
}
`

useLab('gateway', async lab => {
  world = new GatewayLab(lab)
  await world.prepare()
  await run(world.gate.command('nft', '-f', '-'), { input: FOREIGN })
  await world.gate.ip('route', 'add', '172.31.0.0/16', 'via', LAN_HOST)
})

afterEach(() => world.stopGateways())

const rules = async (text: string): Promise<boolean> => (await world.rules()).includes(text)
const lanOpen = { forwarded: [prefix('172.20.1.0/24')] }
const opened = async (): Promise<boolean> =>
  /set forwarded \{[^}]*172\.20\.1\.0\/24/.test(await world.rules())
const egress = { masqueraded: [prefix('0.0.0.0/0')] }
const lets = async (): Promise<boolean> => /set masqueraded \{[^}]*1\.0\.0\.0-/.test(await world.rules())
const sealed = async (): Promise<boolean> => {
  const text = await world.rules()
  return text.includes('chain forward {') && !text.includes('chain forwards {')
}

test('every kind of ruleset is one that nft takes', async () => {
  const cases = [
    {},
    { six: six({}) },
    {
      six: six({
        forwarded: [prefix6('2001:db8:5::/64')],
        masqueraded: [prefix6('::/0'), prefix6('fd00:5::1/128')],
      }),
    },
    { forwarded: [prefix('172.20.1.0/24'), prefix('172.20.0.0/16'), prefix('192.0.2.1/32')] },
    { masqueraded: [prefix('0.0.0.0/0')] },
    { forwarded: [prefix('0.0.0.0/0'), prefix('10.0.0.0/8')], masqueraded: [prefix('10.1.0.0/16')] },
  ]
  for (const changes of cases) {
    for (const marks of [[], MARKS]) {
      const { text } = rulesetOf('overmesh-0123456789ab', description(changes), marks)
      await nftTakes(world.gate, text)
    }
  }
  await assert.rejects(nftTakes(world.gate, 'table inet x {\n chain y {\n no such rule\n }\n}'))
})

test('sealed, then open as described, and sealed again', async () => {
  const { gate, peer, web, lan } = world
  const untouched = await world.kernel()
  const gateway = await world.gateway()
  // Forwarding is on already, as on a machine that runs containers: the rules alone have to seal.
  await gate.exec('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward')
  await gateway.describe({}, sealed)
  assert.equal(await world.connect(peer, lan, LAN_HOST), undefined)
  assert.equal(await world.connect(lan, peer, PEER), undefined)
  assert.equal(await world.connect(web, peer, PEER), undefined)
  assert.equal(await world.connect(peer, gate, GATE), `::ffff:${PEER}`, 'its own address answers')
  assert.equal(await world.connect(peer, gate, '172.20.1.1'), undefined, 'its other addresses do not')

  await gateway.describe(lanOpen, opened)
  assert.equal(await world.connect(peer, lan, LAN_HOST), `::ffff:${PEER}`)
  assert.equal(await world.connect(lan, peer, PEER), `::ffff:${LAN_HOST}`)
  assert.equal(await world.connect(peer, gate, '172.20.1.1'), `::ffff:${PEER}`)
  assert.equal(await world.connect(peer, web, web.ip4), undefined, 'what is not described stays closed')
  assert.equal(await world.connect(web, peer, PEER), undefined)

  await gateway.describe(egress, lets)
  assert.equal(await world.connect(peer, web, web.ip4), `::ffff:${gate.ip4}`, 'the Internet sees the gate')
  assert.equal(await world.connect(web, peer, PEER), undefined, 'and cannot begin')
  assert.equal(await world.connect(peer, lan, LAN_HOST), undefined, 'a private network is not the Internet')

  await gateway.describe({ masqueraded: [prefix('172.20.1.0/24')] }, () =>
    rules('ip daddr @masqueraded masquerade').then(async is => is && (await rules('172.20.1.0/24'))),
  )
  assert.equal(await world.connect(peer, lan, LAN_HOST), '::ffff:172.20.1.1')
  assert.equal(await world.connect(lan, peer, PEER), undefined)

  await gateway.describe({}, sealed)
  assert.equal(await world.connect(peer, lan, LAN_HOST), undefined)
  await gateway.stop()
  await gate.exec('sh', '-c', 'echo 0 > /proc/sys/net/ipv4/ip_forward')
  assert.equal(await world.kernel(), untouched)
})

test('a route that is taken away ends what used it', async () => {
  const { peer } = world
  const gateway = await world.gateway()
  await gateway.describe(egress, lets)
  const ping = await Ping.start(peer, world.web.ip4)
  await ping.answered()
  await gateway.describe({}, sealed)
  await assert.rejects(ping.answered(1))
  await ping.stop()
  await gateway.stop()
})

test('segments fit the narrower side, where no message about the MTU gets through', async () => {
  const { gate, peer, web } = world
  await peer.ip('link', 'set', TUN, 'mtu', '1500')
  await web.exec('nft', 'add table inet deaf')
  await web.exec('nft', 'add chain inet deaf input { type filter hook input priority 0; }')
  await web.exec('nft', 'add rule inet deaf input icmp type destination-unreachable drop')
  const gateway = await world.gateway()
  await gateway.describe(egress, lets)
  assert.equal(await world.connect(peer, web, web.ip4, 300_000), `::ffff:${gate.ip4}`)
  await gateway.stop()
  await web.exec('nft', 'delete table inet deaf')
  await peer.ip('link', 'set', TUN, 'mtu', '1420')
})

test('prefixes are routed into the overlay, but none that the machine has itself', async () => {
  const { gate } = world
  const untouched = await world.kernel()
  const gateway = await world.gateway()
  const ours = (): Promise<string> => gate.ip('route', 'show', 'proto', '172')
  const routes = async (): Promise<string[]> => (await ours()).trim().split('\n')
  const asked = [
    '172.30.0.0/16',
    '172.20.1.0/24',
    '172.20.1.128/25',
    '172.31.0.0/16',
    '172.31.7.0/24',
    '0.0.0.0/0',
  ]
  const kernelRoutes = [...asked, '198.51.100.0/24', '172.16.0.0/12'].map(prefix)
  const underlay = [parseIpv4('198.51.100.7')!, parseIpv4('172.20.1.2')!]
  await gateway.describe({ kernelRoutes, underlay }, async () => (await routes()).length >= 3)
  const set = await routes()
  assert.deepEqual(
    set.map(line => line.split(' ')[0]),
    ['172.16.0.0/12', '172.30.0.0/16', '172.31.7.0/24'],
  )
  for (const line of set) assert.match(line, /dev overlay/)
  await gateway.process.waitFor(/^up .*172\.20\.1\.0\/24/m)
  for (const text of ['172.20.1.0/24', '172.20.1.128/25', '172.31.0.0/16', '198.51.100.0/24']) {
    assert.match(gateway.says, new RegExp(`does not send ${text} into the overlay`))
  }
  await gateway.describe({ kernelRoutes: [prefix('172.29.0.0/16')] }, async () => {
    return (await ours()).trim().split(' ')[0] === '172.29.0.0/16' && !(await ours()).includes('172.30')
  })
  // A network that the machine gets later is its own from then on.
  await gate.ip('route', 'add', '172.29.0.0/16', 'via', LAN_HOST)
  await until('it was given up', async () => (await ours()) === '', 5)
  await gate.ip('route', 'delete', '172.29.0.0/16', 'via', LAN_HOST)
  await until('and taken again', async () => (await ours()) !== '', 5)
  await gateway.stop()
  assert.equal(await world.kernel(), untouched)
})

test('killed: the next start takes its place; stopped: nothing is left', async () => {
  const untouched = await world.kernel()
  const tables = async (): Promise<number> =>
    [...(await world.gate.exec('nft', 'list', 'tables')).matchAll(/inet overmesh-/g)].length
  let gateway = await world.gateway()
  await gateway.describe(lanOpen, opened)
  await gateway.process.waitFor(/^up/m)
  assert.match(await world.kernel(), /---\n1/, 'it forwards')
  await gateway.process.kill()
  assert.equal(await tables(), 1)
  gateway = await world.gateway()
  assert.equal(await tables(), 0, 'gone before anything new is made')
  await gateway.describe(lanOpen, opened)
  assert.equal(await tables(), 1)
  await gateway.stop()
  assert.equal(await world.kernel(), untouched)

  // And what is left is removed too when nothing is described ever after.
  gateway = await world.gateway()
  await gateway.describe(lanOpen, opened)
  await gateway.process.waitFor(/^up/m)
  await gateway.process.kill()
  gateway = await world.gateway()
  await gateway.stop()
  assert.equal(await world.kernel(), untouched)
})

test('two controllers on one machine: forwarding goes off with the last', async () => {
  await world.gate.ip('link', 'add', 'other', 'type', 'veth', 'peer', 'other-end')
  const untouched = await world.kernel()
  const forwarding = async (): Promise<string> =>
    (await world.gate.exec('cat', '/proc/sys/net/ipv4/ip_forward')).trim()
  const [first, second] = [await world.gateway('one'), await world.gateway('two')]
  await first.describe(lanOpen, opened)
  await first.process.waitFor(/^up/m)
  await second.describe({ ...lanOpen, tunName: 'other' }, () => rules('oifname "other"'))
  await second.process.waitFor(/^up/m)
  await first.stop()
  assert.equal(await forwarding(), '1')
  await second.stop()
  assert.equal(await world.kernel(), untouched)
  await world.gate.ip('link', 'delete', 'other')
})

test('an interface that somebody renames stays closed, which is told, and is open by its name again', async () => {
  const { gate, web } = world
  await gate.ip('link', 'add', 'cable', 'type', 'veth', 'peer', 'name', 'cable', 'netns', web.namespace)
  for (const [host, address] of [
    [gate, '10.78.0.1'],
    [web, '10.78.0.2'],
  ] as const) {
    await host.ip('address', 'add', `${address}/16`, 'dev', 'cable')
    await host.ip('link', 'set', 'cable', 'up')
  }
  await web.ip('route', 'add', '172.20.1.0/24', 'via', '10.78.0.1')
  await world.lan.ip('route', 'add', '10.78.0.0/16', 'via', '172.20.1.1')
  const reaches = async (address: string): Promise<boolean> => {
    const { code } = await web.attempt(['ping', '-c', '1', '-W', '1', address])
    return code === 0
  }
  // The machine forwards for others.
  const other = await world.gateway('two')
  await other.describe(lanOpen, opened)
  await other.process.waitFor(/^up/m)
  await until('the way is there', () => reaches(LAN_HOST))
  const gateway = await world.gateway()
  const tunIndex = Number((await gate.ip('-o', 'link', 'show', 'dev', 'cable')).split(':')[0])
  const cable = { tunName: 'cable', tunIndex, subnet: prefix('10.78.0.0/16') }
  await gateway.describe({ ...cable, ...lanOpen }, () => rules('"cable" ip daddr @forwarded accept'))
  await until('the overlay reaches the network', () => reaches(LAN_HOST))
  assert.equal(await reaches('172.20.1.1'), true)
  await gateway.describe(cable, async () => !(await rules('"cable" ip daddr @forwarded accept')))
  for (const name of ['cable', 'wire']) {
    if (name !== 'cable') await rename(gate, 'cable', name)
    for (const address of [LAN_HOST, '172.20.1.1']) assert.equal(await reaches(address), false, name)
  }
  await until('that is told', async () => /^down .*there is no interface cable/.test(gateway.says))
  await rename(gate, 'wire', 'cable')
  await gateway.describe({ ...cable, ...lanOpen }, () => reaches(LAN_HOST))
  await until('it is up', async () => gateway.says === 'up []')
  await gateway.stop()
  await other.stop()
  await gate.ip('link', 'delete', 'cable')
  await world.lan.ip('route', 'delete', '10.78.0.0/16')
})

/** Kernels before Linux 6.2 want an interface down for that. */
async function rename(host: Host, from: string, to: string): Promise<void> {
  const { code } = await host.attempt(['ip', 'link', 'set', from, 'name', to])
  if (code === 0) return
  await host.ip('link', 'set', from, 'down')
  await host.ip('link', 'set', from, 'name', to)
  await host.ip('link', 'set', to, 'up')
}

test('a firewall that is reloaded takes the rules away for a moment only', async () => {
  const { gate } = world
  const gateway = await world.gateway()
  await gateway.describe(lanOpen, opened)
  await gate.exec('nft', 'flush ruleset')
  await until('the rules are back', opened, 3)
  await gateway.stop()
  assert.equal(await gate.exec('nft', 'list', 'ruleset'), '')
  await run(gate.command('nft', '-f', '-'), { input: FOREIGN })
})

test('what stands in the way is said, with what to do', async () => {
  const { gate } = world
  const gateway = await world.gateway()
  await run(gate.command('nft', '-f', '-'), {
    input: 'table ip filter {\n chain FORWARD { type filter hook forward priority 0; policy drop; }\n}\n',
  })
  await gateway.describe(lanOpen, opened)
  const [, advice] = await gateway.process.waitFor(
    /^up .*let it pass: (nft insert[^"]*'\\"overlay\\"' accept; nft[^"]*'\\"overlay\\"' accept)/m,
  )
  assert.equal(await world.connect(world.peer, world.lan, LAN_HOST), undefined)
  await gate.exec('sh', '-c', advice.replaceAll('\\"', '"'))
  await gateway.process.waitFor(/^up \[\]/m, 5, gateway.process.output.lastIndexOf('let it pass'))
  assert.equal(await world.connect(world.peer, world.lan, LAN_HOST), `::ffff:${PEER}`)
  await gate.exec('nft', 'delete table ip filter')
  await gateway.stop()
})

test('a container that may not switch forwarding on says so, and is no gateway', async () => {
  const readOnly = 'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$0" "$@"'
  const gateway = await world.gateway('one', ['unshare', '--mount', 'sh', '-c', readOnly])
  await gateway.describe(lanOpen, opened)
  await gateway.process.waitFor(/^down .*\/proc\/sys is read-only.*--sysctl net\.ipv4\.ip_forward=1/m)
  await gateway.stop()
  assert.equal(await rules('overmesh-'), false)
})
