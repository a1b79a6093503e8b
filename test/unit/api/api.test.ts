import assert from 'node:assert/strict'
import { constants } from 'node:os'
import { after, before, test } from 'node:test'
import { MAX_FOLLOWERS } from '../../../node/api/event-feed.ts'
import { ApiMeter } from '../../../node/api/meter.ts'
import type { Api } from '../../../node/api/schemas.ts'
import { buildApi } from '../../../node/api/server.ts'
import { Exposition } from '../../../node/metrics/exposition.ts'
import { readExposition } from '../metrics/exposition-check.ts'
import { FakeService, fakeSession, PACK_TEXT } from './fake-service.ts'

const service = new FakeService('web', 'db')
let api: Api
before(async () => {
  const web = service.all.get('web')!
  web.session = fakeSession(web)
  api = await buildApi({ service })
})
after(() => api.close())

const get = (url: string) => api.inject({ method: 'GET', url })
const post = (url: string, payload?: object) => api.inject({ method: 'POST', url, payload })

test('answers with everything the service says', async () => {
  assert.deepEqual((await get('/v1/status')).json(), await service.status())
  assert.deepEqual((await get('/v1/clients')).json(), await service.clients())
  assert.deepEqual((await get('/v1/clients/web')).json(), await service.client('web'))
  assert.deepEqual((await get('/v1/sessions')).json(), await service.sessions())
  assert.deepEqual((await get('/v1/routes')).json(), await service.routes())
  assert.deepEqual((await get('/v1/dns')).json(), await service.dns())
  assert.deepEqual((await get('/v1/state')).json(), await service.records())
  assert.deepEqual((await get('/v1/state?kind=setting')).json(), await service.records('setting'))
  assert.deepEqual((await get('/v1/state/verify')).json(), await service.verify())
})

test('the mesh as a document goes both ways whole, and what is not known in it is refused', async () => {
  const desired = await service.desiredState()
  assert.deepEqual((await get('/v1/desired-state')).json(), desired)
  const request = { desired, prune: true }
  const answer = await post('/v1/desired-state', request)
  assert.deepEqual(answer.json(), await service.reconcile(request))
  assert.deepEqual(service.calls.at(-2), ['reconcile', request])
  const clients = Object.fromEntries(
    Array.from({ length: 5000 }, (_, n) => [`c${n}`, { address: '10.77.0.2' }]),
  )
  assert.equal((await post('/v1/desired-state', { desired: { ...desired, clients } })).statusCode, 200)
  for (const wrong of [{ colour: 'red' }, { clients: { Bad: {} } }, { clients: { web: { secret: 'x' } } }]) {
    const refused = await post('/v1/desired-state', { desired: { ...desired, ...wrong } })
    assert.equal(refused.statusCode, 400, refused.body)
  }
})

test('a backup comes as it is made, and not without a passphrase', async () => {
  const answer = await post('/v1/backup', { passphrase: 'secret' })
  assert.equal(answer.headers['content-type'], 'application/octet-stream')
  assert.equal(answer.body, 'a backup')
  assert.equal((await post('/v1/backup', {})).statusCode, 400)
  assert.equal((await post('/v1/backup', { passphrase: '' })).statusCode, 400)
})

test('hands over a clientpack byte for byte', async () => {
  const answer = (await post('/v1/clients', { name: 'new', ip: '10.77.1.1', tags: { site: 'lab' } })).json()
  assert.equal(Buffer.from(answer.content, 'base64').toString(), PACK_TEXT)
  assert.equal(answer.client.address, '10.77.1.1')
  const zip = (await post('/v1/clients/new/pack', { format: 'zip' })).json()
  const direct = await service.packClient('new', 'zip')
  assert.deepEqual(new Uint8Array(Buffer.from(zip.content, 'base64')), direct.content)
})

test('refusals have a status, a code and a message', async () => {
  const missing = await get('/v1/clients/nobody')
  assert.equal(missing.statusCode, 404)
  assert.deepEqual(missing.json(), {
    error: { code: 'not-found', message: 'there is no client nobody; see overmesh client list' },
  })
  const twice = await post('/v1/clients', { name: 'web' })
  assert.equal(twice.statusCode, 409)
  assert.equal(twice.json().error.code, 'exists')
  const nowhere = await get('/v2/anything')
  assert.equal(nowhere.statusCode, 404)
  assert.equal(nowhere.json().error.code, 'not-found')
})

test('what the machine of the controller refuses is said in its words, without what it was tried on', async t => {
  const path = '/var/lib/overmesh/arriving/1.json'
  const fails = (code: string, errno: number) =>
    Object.assign(new Error(`${code}: it did not, open '${path}'`), { code, errno, path, syscall: 'open' })
  const refused = t.mock.method(service, 'addClient', async () => {
    throw fails('ENOSPC', -constants.errno.ENOSPC)
  })
  const { statusCode, body } = await post('/v1/clients', { name: 'late' })
  assert.equal(statusCode, 500)
  assert.match(JSON.parse(body).error.message, /did not let it \(no space left on device\); put that right/)
  assert.doesNotMatch(body, /arriving/)
  refused.mock.mockImplementation(async () => {
    throw fails('ENOENT', -constants.errno.ENOENT)
  })
  assert.match((await post('/v1/clients', { name: 'late' })).body, /failed to handle the request; its log/)
})

test('what does not fit the schemas is refused in one sentence', async () => {
  const cases: [string, object | undefined, RegExp][] = [
    ['/v1/clients', {}, /body lacks "name"/],
    ['/v1/clients', undefined, /body/],
    ['/v1/clients', { name: 'Bad Name' }, /"name" in body/],
    ['/v1/clients', { name: 'ok', ip: 7 }, /"ip" in body must be string/],
    ['/v1/dns', { forwarders: '192.0.2.53' }, /"forwarders" in body must be array/],
    ['/v1/dns', { on: true }, /not known/],
    ['/v1/clients', { name: 'ok', days: 0 }, /"days" in body must be >= 1/],
    ['/v1/clients', { name: 'ok', days: 1.5 }, /"days" in body must be integer/],
    ['/v1/clients', { name: 'ok', subnets: '10.0.0.0/8' }, /"subnets" in body must be array/],
    ['/v1/clients', { name: 'ok', tags: { site: 1 } }, /"tags.site" in body/],
    ['/v1/clients', { name: 'ok', colour: 'red' }, /colour/],
    ['/v1/clients', { name: 'ok', subnets: Array(65).fill('10.0.0.0/8') }, /"subnets" in body/],
    ['/v1/clients/web/pack', { format: 'exe' }, /"format" in body/],
    ['/v1/clients/Bad%20Name/kick', undefined, /"name" in params/],
  ]
  for (const [url, payload, expected] of cases) {
    const answer = await post(url, payload)
    assert.equal(answer.statusCode, 400, `${url} ${JSON.stringify(payload)}: ${answer.body}`)
    const { code, message } = answer.json().error
    assert.equal(code, 'invalid')
    assert.match(message, expected)
    assert.doesNotMatch(message, /\n/)
  }
  assert.equal((await get('/v1/events?limit=many')).statusCode, 400)
  assert.equal((await get('/v1/events?limit=100000')).statusCode, 400)
  assert.equal(service.all.has('ok'), false)
})

test('malformed and oversized bodies are refused', async () => {
  const headers = { 'content-type': 'application/json' }
  const broken = await api.inject({ method: 'POST', url: '/v1/clients', headers, payload: '{"name":' })
  assert.equal(broken.statusCode, 400)
  assert.equal(broken.json().error.code, 'invalid')
  const large = await api.inject({
    method: 'POST',
    url: '/v1/clients',
    headers,
    payload: JSON.stringify({ name: 'x'.repeat(70_000) }),
  })
  assert.equal(large.statusCode, 413)
  const text = await api.inject({
    method: 'POST',
    url: '/v1/clients',
    headers: { 'content-type': 'text/html' },
    payload: 'name=x',
  })
  assert.equal(text.statusCode, 415)
})

test('an unexpected error tells nothing of the inside', async () => {
  const broken = new FakeService()
  broken.status = () => Promise.reject(new Error('ENOENT /secret/path'))
  const server = await buildApi({ service: broken })
  const answer = await server.inject({ method: 'GET', url: '/v1/status' })
  assert.equal(answer.statusCode, 500)
  assert.equal(answer.json().error.code, 'failed')
  assert.doesNotMatch(answer.body, /secret/)
  await server.close()
})

test('metrics are Prometheus text, of each client only when asked', async () => {
  const answer = await get('/metrics')
  assert.match(String(answer.headers['content-type']), /^text\/plain; version=0.0.4/)
  assert.equal(answer.body, await service.metrics())
  assert.equal((await get('/metrics?clients=1')).body, await service.metrics({ clients: true }))
  assert.equal((await get('/metrics?clients=yes')).statusCode, 400)
})

test('health is a status and says why', async () => {
  const own = new FakeService()
  await using served = await buildApi({ service: own })
  const statuses = async () =>
    Promise.all(
      ['/healthz', '/readyz'].map(async url => (await served.inject({ method: 'GET', url })).statusCode),
    )
  assert.deepEqual(await statuses(), [200, 200])
  own.state = { alive: true, ready: false, problems: ['it is drained'] }
  assert.deepEqual(await statuses(), [200, 503])
  assert.deepEqual((await served.inject({ method: 'GET', url: '/readyz' })).json(), own.state)
  own.state = { alive: false, ready: false, problems: ['it hangs'] }
  assert.deepEqual(await statuses(), [503, 503])
})

test('requests are counted by route, never by what a client wrote', async () => {
  const meter = new ApiMeter()
  await using served = await buildApi({ service: new FakeService('web'), meter })
  for (const url of ['/v1/clients/web', '/v1/clients/nobody', '/v1/clients/other', '/nothing/at/all?x=1'])
    await served.inject({ method: 'GET', url })
  const out = new Exposition()
  meter.addTo(out)
  const [{ samples }, durations] = readExposition(out.text())
  assert.deepEqual(
    samples.map(({ labels, value }) => [labels.route, labels.code, value]),
    [
      ['/v1/clients/:name', '200', 1],
      ['/v1/clients/:name', '404', 2],
      ['unknown', '404', 1],
    ],
  )
  assert.equal(durations.samples.at(-1)?.value, 4)
})

test(`refuses the ${MAX_FOLLOWERS + 1}th follower`, async () => {
  const own = new FakeService()
  const server = await buildApi({ service: own })
  const address = await server.listen({ port: 0, host: '127.0.0.1' })
  const url = `${address}/v1/events/feed`
  const stop = new AbortController()
  const open = () => fetch(url, { signal: stop.signal })
  const all = await Promise.all(Array.from({ length: MAX_FOLLOWERS }, open))
  assert.ok(all.every(answer => answer.status === 200))
  assert.equal(own.followers, MAX_FOLLOWERS)
  const refused = await open()
  assert.equal(refused.status, 409)
  assert.match(await refused.text(), /follow the events already/)
  stop.abort()
  await server.close()
  assert.equal(own.followers, 0)
})

test('asking for the head of the feed opens none', async () => {
  const own = new FakeService()
  await using server = await buildApi({ service: own })
  const url = `${await server.listen({ port: 0, host: '127.0.0.1' })}/v1/events/feed`
  for (let asked = 0; asked <= MAX_FOLLOWERS; asked++)
    assert.equal((await fetch(url, { method: 'HEAD' })).status, 404)
  assert.equal(own.followers, 0)
  const stop = new AbortController()
  assert.equal((await fetch(url, { signal: stop.signal })).status, 200)
  stop.abort()
})

test('a feed ends with its answer, also where another one was given', async () => {
  const own = new FakeService()
  const protect = async (app: Api) => void app.addHook('onSend', async () => 'nothing of it')
  await using server = await buildApi({ service: own, protect })
  const address = await server.listen({ port: 0, host: '127.0.0.1' })
  assert.equal(await (await fetch(`${address}/v1/events/feed`)).text(), 'nothing of it')
  while (own.followers > 0) await new Promise(resolve => setTimeout(resolve, 5))
})
