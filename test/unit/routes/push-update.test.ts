import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseControlMessage } from '../../../node/vpn/control-message.ts'
import { applyUpdate, differs, pushUpdate, supersedes } from '../../../node/vpn/push-update.ts'
import { routesOf } from '../../../node/vpn/pushed-options.ts'
import { SimulatedNetwork } from '../vpn-endpoint/simulated-network.ts'
import { World } from '../vpn-endpoint/world.ts'

const BASE = ['topology subnet', 'ifconfig 10.77.0.10 255.255.255.0']
const FIVE = 'route 192.168.5.0 255.255.255.0'
const SIX = 'route 192.168.6.0 255.255.255.0'

test('an update brings all routes, or takes them away, and leaves other kinds alone', () => {
  assert.equal(pushUpdate([...BASE, FIVE], [...BASE, FIVE, SIX]), `PUSH_UPDATE,${FIVE},${SIX}`)
  assert.equal(pushUpdate([...BASE, FIVE], BASE), 'PUSH_UPDATE,-route')
  const dns = 'dhcp-option DNS 10.77.0.1'
  assert.equal(pushUpdate([...BASE, FIVE], [...BASE, FIVE, dns]), `PUSH_UPDATE,${dns}`)
  assert.equal(pushUpdate([...BASE, FIVE], [...BASE, FIVE]), undefined)
})

test('what a client cannot change while it is connected, or what is too long for one message, is no update', () => {
  assert.equal(pushUpdate(BASE, ['topology subnet', 'ifconfig 10.77.0.11 255.255.255.0', FIVE]), undefined)
  assert.equal(pushUpdate(BASE, [...BASE, 'dns server 0 address 10.77.0.1']), undefined)
  const many = Array.from({ length: 40 }, (_, i) => `route 192.168.${i}.0 255.255.255.0`)
  assert.equal(pushUpdate(BASE, [...BASE, ...many]), undefined)
  assert.ok((pushUpdate(BASE, [...BASE, ...many.slice(0, 25)])?.length ?? 0) < 1000)
})

test('an update stands for those before it that changed nothing else', () => {
  const dns = 'dhcp-option DNS 10.77.0.1'
  const routes = pushUpdate(BASE, [...BASE, FIVE])!
  const none = pushUpdate([...BASE, FIVE], BASE)!
  const names = pushUpdate(BASE, [...BASE, dns])!
  const both = pushUpdate(BASE, [...BASE, FIVE, dns])!
  const pairs = [
    [none, routes],
    [routes, none],
    [both, routes],
    [both, names],
    [names, routes],
    [routes, both],
  ]
  assert.deepEqual(
    pairs.map(([later, earlier]) => supersedes(later, earlier)),
    [true, true, true, true, false, false],
  )
})

test('where to connect the next time is no reason to disturb anyone', () => {
  assert.equal(differs(BASE, [...BASE, 'setenv-safe OVERMESH_REMOTES a:1']), false)
  assert.equal(differs(BASE, [...BASE, FIVE]), true)
})

test('a client that is told an update has what it was meant to have', () => {
  const states = [BASE, [...BASE, FIVE], [...BASE, FIVE, SIX], [...BASE, SIX]]
  for (const before of states) {
    for (const after of states) {
      const text = pushUpdate(before, after)
      if (text === undefined) continue
      const message = parseControlMessage(text)
      assert.ok(message?.type === 'push-update')
      assert.deepEqual(applyUpdate(before, message.options)?.sort(), [...after].sort())
    }
  }
})

test('an update of what must not change is not applied, unless it is optional', () => {
  assert.equal(applyUpdate(BASE, ['ifconfig 10.77.0.66 255.255.255.0']), undefined)
  assert.deepEqual(applyUpdate(BASE, ['?ifconfig 10.77.0.66 255.255.255.0']), BASE)
})

test('what is routed through the tunnel is read from the options', () => {
  assert.deepEqual(
    routesOf([
      ...BASE,
      FIVE,
      'route 192.0.2.1 255.255.255.255 net_gateway',
      'route 1.2.3.4',
      'route a.example',
    ]),
    ['192.168.5.0/24', '1.2.3.4/32'],
  )
})

const world = new World()

test('a session updates a client that can, and says of the others that they cannot', async () => {
  const network = new SimulatedNetwork(world)
  const modern = network.client('modern', { proto: 990 | (1 << 12) })
  const stock = network.client('stock')
  await network.run(10, () => modern.connection !== undefined && stock.connection !== undefined)
  const sessions = new Map([...network.endpoint.sessions()].map(each => [each.name, each]))
  const options = (name: string) => {
    const pushed = (name === 'modern' ? modern : stock).connection!.options
    const network = pushed.filter(each => !/^(peer-id|cipher|protocol-flags|tun-mtu)/.test(each))
    return [...network, FIVE]
  }
  const [a, b] = [sessions.get('modern')!, sessions.get('stock')!]
  assert.deepEqual([a.canUpdate(options('modern')), b.canUpdate(options('stock'))], [true, false])
  assert.equal(a.isBehind(options('modern')), true)
  a.update(options('modern'))
  assert.equal(a.isBehind(options('modern')), false)
  await network.run(2)
  assert.deepEqual(routesOf(modern.connection!.options), ['192.168.5.0/24'])
  assert.deepEqual(routesOf(stock.connection!.options), [])
  assert.equal(modern.end, undefined)
})
