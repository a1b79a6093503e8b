// The figures of controllers that run in this process.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { Controller } from '../../../node/controller.ts'
import { MetricsListen } from '../../../node/metrics-listen.ts'
import { UdpClient } from '../../../node/vpn/udp-client.ts'
import { newMesh, patientProfile } from '../controller/home.ts'
import { ownPort } from '../own-ports.ts'
import { lint, type ReadMetric, readExposition } from './exposition-check.ts'

async function run(t: TestContext, options: { metricsListen?: string; subnet6?: string } = {}) {
  const { subnet6, ...rest } = options
  const dataDir = await newMesh(t, { subnet6 })
  const controller = await Controller.open({
    dataDir,
    logger: pino({ level: 'silent' }),
    tun: false,
    ...rest,
  })
  t.after(() => controller.stop())
  await controller.start()
  return { controller, dataDir, service: controller.service }
}

/** The value of a metric by its labels; undefined when it is not there. */
function figure(metrics: readonly ReadMetric[], name: string, labels: Record<string, string> = {}) {
  const wanted = Object.entries(labels)
  return metrics
    .flatMap(({ samples }) => samples)
    .find(each => each.name === name && wanted.every(([key, value]) => each.labels[key] === value))?.value
}

test('a page of a running controller is sound, and says what it does', async t => {
  const { service, controller } = await run(t)
  const pack = await service.addClient({ name: 'web' })
  await service.addClient({ name: 'gone' })
  await service.revokeClient('gone')
  await service.addRoute({ cidr: '192.168.5.0/24', via: 'client:web' })
  const port = Number((await service.status()).controller.listen[0].split(':')[1])
  const profile = patientProfile(pack.content)
  const client = new UdpClient(profile, { remote: { host: '127.0.0.1', port }, reconnect: false })
  t.after(() => client.close())
  await client.connect(20_000)
  await client.ping((await service.status()).controller.gateway)

  const text = await service.metrics()
  const metrics = readExposition(text)
  assert.deepEqual(lint(metrics), [])
  const expected: [name: string, labels: Record<string, string>, value: number][] = [
    ['overmesh_info', { mesh: 'prod', controller: 'alpha' }, 1],
    ['overmesh_alive', {}, 1],
    ['overmesh_ready', {}, 1],
    ['overmesh_draining', {}, 0],
    ['overmesh_sessions', { controller: 'alpha' }, 1],
    ['overmesh_sessions_opened_total', {}, 1],
    ['overmesh_clients', { state: 'enabled' }, 1],
    ['overmesh_clients', { state: 'revoked' }, 1],
    ['overmesh_records', { kind: 'client' }, 2],
    ['overmesh_routes', { state: 'active' }, 1],
    ['overmesh_controllers', {}, 1],
    ['overmesh_conflicts', {}, 0],
    ['overmesh_events_total', { type: 'session-up' }, 1],
    ['overmesh_events_total', { type: 'attachment-down' }, 0],
    ['overmesh_switch_echo_replies_total', {}, 1],
    ['overmesh_switch_alive', {}, 1],
  ]
  for (const [name, labels, value] of expected)
    assert.equal(figure(metrics, name, labels), value, `${name} ${JSON.stringify(labels)}`)
  for (const name of [
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'overmesh_switch_receive_bytes_total',
  ])
    assert.ok(figure(metrics, name)! > 0, name)
  assert.doesNotMatch(text, /client="/)
  assert.ok(metrics.every(({ name }) => /^(overmesh|process|nodejs)_/.test(name)))

  const detailed = readExposition(await service.metrics({ clients: true }))
  assert.deepEqual(lint(detailed), [])
  assert.ok(figure(detailed, 'overmesh_client_receive_bytes_total', { client: 'web' })! > 0)
  await controller.drain()
  const health = await service.health()
  assert.deepEqual([health.alive, health.ready], [true, false])
  assert.match(health.problems.join(), /drained/)
})

test('ways to networks of IPv6 are counted like those of IPv4', async t => {
  const { service } = await run(t, { subnet6: 'fd00:77::/64' })
  await service.addClient({ name: 'web', subnets: ['192.168.6.0/24'] })
  await service.addRoute({ cidr: '2001:db8:5::/48', via: 'client:web' })
  const metrics = readExposition(await service.metrics())
  const states = ['active', 'standby', 'down'].map(state => figure(metrics, 'overmesh_routes', { state }))
  assert.deepEqual(states, [0, 0, 2])
})

test('however many ask at once, a page is written once', async t => {
  const { service } = await run(t)
  const pages = await Promise.all(Array.from({ length: 20 }, () => service.metrics()))
  assert.equal(new Set(pages).size, 1)
})

test('figures are served by plain HTTP where that is asked for, which lasts, and nowhere else', async t => {
  const { controller, dataDir, service } = await run(t)
  assert.deepEqual(await service.metricsListen(), { listen: null, listening: null })
  const { listening } = await service.setMetricsListen('127.0.0.1:0')
  const get = async (path: string) => (await fetch(`http://${listening}${path}`)).status
  assert.deepEqual([await get('/readyz'), await get('/healthz'), await get('/metrics')], [200, 200, 200])
  await assert.rejects(service.setMetricsListen('192.0.2.1:80'), {
    code: 'refused',
    message: /cannot listen on/,
  })
  assert.equal(await get('/readyz'), 200, 'what was there stays')
  for (const wrong of ['localhost:80', '127.0.0.1', 'x y:1', '127.0.0.1:70000'])
    await assert.rejects(service.setMetricsListen(wrong), { code: 'invalid' }, wrong)
  await controller.stop()
  await assert.rejects(fetch(`http://${listening}/readyz`))

  const again = await Controller.open({ dataDir, logger: pino({ level: 'silent' }), tun: false })
  t.after(() => again.stop())
  await again.start()
  const state = await again.service.metricsListen()
  assert.equal(state.listen, '127.0.0.1:0')
  assert.equal((await fetch(`http://${state.listening}/readyz`)).status, 200)
  assert.deepEqual(await again.service.setMetricsListen(null), { listen: null, listening: null })
  await assert.rejects(fetch(`http://${state.listening}/readyz`))
})

test('where figures were served is in the way of nothing at the same port, and is had back where that cannot be', async t => {
  const { service } = await run(t)
  const port = await ownPort()
  const status = async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).status
  await service.setMetricsListen(`127.0.0.1:${port}`)
  const { listening } = await service.setMetricsListen(`0.0.0.0:${port}`)
  assert.deepEqual([listening, await status()], [`0.0.0.0:${port}`, 200])
  await assert.rejects(service.setMetricsListen(`192.0.2.1:${port}`), { code: 'refused' })
  assert.equal((await service.metricsListen()).listening, `0.0.0.0:${port}`)
  assert.equal(await status(), 200)
})

test('an address that cannot be had keeps no client out unless it was asked for this time', async t => {
  const { dataDir, controller, service } = await run(t)
  await controller.stop()
  const open = (metricsListen?: string) =>
    Controller.open({ dataDir, logger: pino({ level: 'silent' }), tun: false, metricsListen })
  const wanted = await open('192.0.2.1:9464')
  await assert.rejects(wanted.start(), { code: 'refused' })
  await wanted.stop()
  assert.equal(service.running, true)
  const { readFile, writeFile } = await import('node:fs/promises')
  const config = JSON.parse(await readFile(`${dataDir}/config.json`, 'utf8'))
  await writeFile(`${dataDir}/config.json`, JSON.stringify({ ...config, metricsListen: '192.0.2.1:9464' }))
  const settled = await open()
  t.after(() => settled.stop())
  await settled.start()
  assert.equal((await settled.service.health()).ready, true)
  assert.match(
    (await settled.service.status()).warnings.join(),
    /figures are not served: cannot listen on 192\.0\.2\.1.*tried again/,
  )
})

test('an address that was settled and cannot be had yet is tried again, unless another is asked for', async t => {
  const taken = createServer()
  t.after(() => taken.close())
  await once(taken.listen(0, '127.0.0.1'), 'listening')
  const address = `127.0.0.1:${(taken.address() as { port: number }).port}`
  let warning: string | undefined
  const open = (): MetricsListen =>
    new MetricsListen({
      service: { health: async () => ({ alive: true, ready: true, problems: [] }), metrics: async () => '' },
      logger: pino({ level: 'silent' }),
      warn: text => {
        warning = text
      },
    })
  const [served, given] = [open(), open()]
  t.after(() => Promise.all([served.stop(), given.stop()]))
  t.mock.timers.enable({ apis: ['setTimeout'] })
  for (const each of [given, served]) await each.start(address)
  assert.match(warning!, /figures are not served: .*tried again/)
  await given.apply(null)
  taken.close()
  await once(taken, 'close')
  t.mock.timers.tick(10_000)
  t.mock.timers.reset()
  const until = Date.now() + 5000
  while (served.listening === null && Date.now() < until) await new Promise(resolve => setTimeout(resolve, 5))
  assert.deepEqual([served.listening, given.listening], [address, null])
  assert.equal(warning, undefined)
})

test('for how long it has run is known by a clock that nobody sets', async t => {
  const { service } = await run(t)
  const { now } = Date
  t.mock.method(Date, 'now', () => now() - 3_600_000)
  const { uptimeSeconds } = (await service.status()).controller
  assert.ok(uptimeSeconds >= 0 && uptimeSeconds < 60, `${uptimeSeconds} s`)
})
