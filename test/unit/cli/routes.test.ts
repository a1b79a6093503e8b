// Commands about routes: what they ask the controller for, and what they print.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Route } from '../../../node/service.ts'
import { FakeService } from '../api/fake-service.ts'
import { Served } from './run.ts'

test('route add hands over what was said and no more, and prints what comes of it', async () => {
  const service = new FakeService('site')
  await using served = await Served.open(service)
  const added = await served.run('route', 'add', '192.168.5.0/24', '--via', 'client:site')
  assert.equal(added.code, 0, added.stderr)
  assert.match(added.stdout, /^192\.168\.5\.0\/24 goes via client:site.*\nit wins there\n$/)
  const all = ['--via', 'controller:beta', '--nat', '--metric', '5', '--probe', '10.20.0.1']
  await served.run('route', 'add', '10.20.0.0/16', ...all)
  await served.run('route', 'add', '10.21.0.0/16', '--via', 'controller:beta', '--no-nat')
  await served.run('route', 'add', '0.0.0.0/0', '--via', 'client:site', '--default')
  assert.deepEqual(service.calls, [
    ['addRoute', { cidr: '192.168.5.0/24', via: 'client:site', metric: 0 }],
    ['addRoute', { cidr: '10.20.0.0/16', via: 'controller:beta', nat: true, metric: 5, probe: '10.20.0.1' }],
    ['addRoute', { cidr: '10.21.0.0/16', via: 'controller:beta', nat: false, metric: 0 }],
    ['addRoute', { cidr: '0.0.0.0/0', via: 'client:site', default: true, metric: 0 }],
  ])
})

test('two ways in one command are refused, not the first forgotten', async () => {
  const service = new FakeService('site', 'db')
  await using served = await Served.open(service)
  for (const what of ['add', 'remove']) {
    const ways = ['--via', 'client:site', '--via', 'client:db']
    const { code, stderr } = await served.run('route', what, '192.168.5.0/24', ...ways)
    assert.equal(code, 2)
    assert.match(stderr, /--via client:site and --via client:db: one at a time/)
  }
  assert.deepEqual(service.calls, [])
})

test('routes says in words how each way stands', async () => {
  const service = new FakeService()
  const route = (change: Partial<Route>): Route => ({
    cidr: '192.168.5.0/24',
    via: 'client:site',
    metric: 0,
    nat: false,
    probe: null,
    state: 'active',
    why: '',
    at: 'alpha',
    ...change,
  })
  service.routes = async () => [
    route({}),
    route({
      via: 'controller:beta',
      metric: 5,
      nat: true,
      probe: '192.168.5.9',
      state: 'standby',
      at: 'beta',
    }),
    route({ via: 'client:db', metric: 9, state: 'down', why: 'the client is not connected', at: null }),
    route({ cidr: '0.0.0.0/0', via: 'internet', nat: true, at: 'gamma' }),
  ]
  await using served = await Served.open(service)
  const lines = (await served.run('routes')).stdout
    .trimEnd()
    .split('\n')
    .map(line => line.replace(/ {2,}/g, '|'))
  assert.deepEqual(lines, [
    'CIDR|VIA|METRIC|PROBE|STATE',
    '192.168.5.0/24|client:site|0|-|active',
    '192.168.5.0/24|controller:beta (nat)|5|192.168.5.9|standby: another is better',
    '192.168.5.0/24|client:db|9|-|down: the client is not connected',
    '0.0.0.0/0|internet|0|-|active at gamma',
  ])
})

test('status has every route but the addresses of the overlay', async () => {
  const service = new FakeService('web')
  const [address] = await service.routes()
  const more = ['192.168.5.9/32', '2001:db8::/32', '0.0.0.0/0'].map(cidr => ({ ...address, cidr }))
  service.routes = async () => [address, ...more]
  await using served = await Served.open(service)
  const shown = (await served.run('status')).stdout.split('\n').map(line => line.split(' ')[0])
  for (const { cidr } of more) assert.ok(shown.includes(cidr), cidr)
  assert.ok(!shown.includes(address.cidr))
})

test('when clients learn of routes is set, shown, and asked for', async () => {
  const service = new FakeService('web', 'db')
  await using served = await Served.open(service)
  assert.match((await served.run('route', 'updates')).stdout, /spread over 10 s/)
  assert.match((await served.run('route', 'updates', 'now')).stdout, /at once/)
  assert.deepEqual(service.updates, { over: 0 })
  assert.match((await served.run('route', 'updates', 'later')).stdout, /client refresh/)
  assert.deepEqual(JSON.parse((await served.run('route', 'updates', '60', '--json')).stdout), { over: 60 })
  assert.match((await served.run('client', 'refresh', 'web', 'db')).stdout, /^web, db, if behind, learn/)
  assert.match((await served.run('client', 'refresh', '--all', '--over', '30')).stdout, /within 30 s/)
  assert.deepEqual(service.calls, [
    ['refreshClients', { clients: ['web', 'db'] }],
    ['refreshClients', { over: 30 }],
  ])
})
