// biome-ignore-all lint/suspicious/noExplicitAny: an OpenAPI document is read as it comes
// The OpenAPI document against the routes that there are, and the answers against the document.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Value } from 'typebox/value'
import type { Api } from '../../../node/api/schemas.ts'
import { buildApi } from '../../../node/api/server.ts'
import { fakeAttachment } from './fake-attachment.ts'
import { FakeService, fakeSession } from './fake-service.ts'

interface Operation {
  method: string
  path: string
  operation: Record<string, any>
}

const routes: { method: string; path: string; scope: string | undefined }[] = []
const service = new FakeService('web', 'db')
let api: Api
let document: any
let operations: Operation[]
before(async () => {
  const web = service.all.get('web')!
  web.session = fakeSession(web)
  service.emit('client-added', { client: 'web' })
  const protect = async (app: Api) => {
    app.addHook('onRoute', ({ method, url, config }) => {
      const path = url.replace(/:(\w+)/g, '{$1}')
      for (const each of [method].flat()) routes.push({ method: each, path, scope: config?.scope })
    })
  }
  api = await buildApi({ service, protect })
  document = (await api.inject({ url: '/openapi.json' })).json()
  operations = Object.entries<Record<string, any>>(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  )
})
after(() => api.close())

/** Bodies of requests; an operation that takes one and has none here fails the test. */
const BODIES: Record<string, object> = {
  'POST /v1/clients': { name: 'new' },
  'POST /v1/clients/{name}/pack': { format: 'ovpn' },
  'POST /v1/clients/{name}/disable': {},
  'POST /v1/clients/{name}/revoke': { reason: 'lost' },
  'POST /v1/clients/{name}/rekey': {},
  'POST /v1/routes': { cidr: '192.168.5.0/24', via: 'client:web' },
  'POST /v1/routes/remove': { cidr: '192.168.5.0/24' },
  'POST /v1/routes/updates': { over: 5 },
  'POST /v1/routes/refresh': {},
  'POST /v1/invites': {},
  'POST /v1/dns': { enabled: true },
  'POST /v1/attachments': { name: 'berlin', remote: 'any', localSubnets: [], remoteSubnets: ['10.5.0.0/16'] },
  'POST /v1/attachments/{name}': { initiate: false },
  'POST /v1/backup': { passphrase: 'secret' },
  'POST /v1/desired-state': { desired: { version: 1, mesh: 'home' } },
  'POST /v1/captures': {},
  'POST /v1/tokens': { name: 'ci', scope: 'read' },
  'POST /v1/api': { listen: [] },
  'POST /v1/webhooks': { name: 'chat', url: 'https://hooks.example.net/' },
  'POST /v1/metrics-listen': { listen: '127.0.0.1:9464' },
}

const PARIS = { name: 'paris', remote: 'any', localSubnets: [], remoteSubnets: ['192.168.20.0/24'] }
const nameFor = (path: string) => (path.startsWith('/v1/attachments') ? 'paris' : 'web')

test('every route is documented, and every operation of the document is a route', () => {
  const real = routes.filter(({ method }) => method !== 'HEAD').map(({ method, path }) => `${method} ${path}`)
  const documented = operations.map(({ method, path }) => `${method} ${path}`)
  assert.deepEqual(documented.sort(), real.sort())
  assert.ok(documented.length >= 45)
})

test('every operation says who may call it, and that is what the route asks', () => {
  assert.equal(document.components.securitySchemes.token.scheme, 'bearer')
  for (const { method, path, operation } of operations) {
    const route = routes.find(each => each.method === method && each.path === path)
    if (['/healthz', '/readyz'].includes(path)) {
      assert.equal(route?.scope, 'public')
      assert.deepEqual(operation.security, [])
      continue
    }
    assert.ok(['read', 'operate', 'admin'].includes(route?.scope ?? ''), `${method} ${path}`)
    assert.deepEqual(operation.security, [{ token: [route!.scope] }], `${method} ${path}`)
    assert.match(operation.description, new RegExp(`scope ${route!.scope}`))
    if (method === 'POST') assert.notEqual(route!.scope, 'read', `${path} changes something`)
  }
})

test('what hands out keys, or says who belongs to the mesh, is for admins', () => {
  const admin = operations
    .filter(({ operation }) => operation.security[0]?.token[0] === 'admin')
    .map(({ method, path }) => `${method} ${path}`)
  for (const each of [
    'POST /v1/clients',
    'POST /v1/clients/{name}/pack',
    'POST /v1/clients/{name}/rekey',
    'POST /v1/invites',
    'POST /v1/backup',
    'POST /v1/controllers/{name}/remove',
    'POST /v1/leave',
    'GET /v1/state',
    'GET /v1/tokens',
    'POST /v1/tokens',
    'POST /v1/tokens/{name}/revoke',
    'POST /v1/api',
    'POST /v1/metrics-listen',
    'POST /v1/webhooks',
    'POST /v1/desired-state',
    'POST /v1/captures',
    'POST /v1/captures/{id}/end',
  ]) {
    assert.ok(admin.includes(each), each)
  }
})

test('a route without a scope does not get so far as to be served', async () => {
  const forgetful = async (app: Api) => void app.get('/v1/new', () => 'hello')
  await assert.rejects(
    buildApi({ service: new FakeService(), protect: forgetful }),
    /\/v1\/new lacks a scope/,
  )
})

test('every operation has a summary, a tag of the list, its parameters, and a schema for each status', () => {
  assert.equal(document.openapi, '3.1.0')
  const tags = document.tags.map(({ name }: any) => name)
  for (const { method, path, operation } of operations) {
    assert.ok(operation.summary, `${method} ${path} has no summary`)
    assert.ok(operation.tags.length === 1 && tags.includes(operation.tags[0]), `${method} ${path}`)
    for (const status of ['200', '4XX', '5XX']) {
      const content = operation.responses[status]?.content
      assert.ok(content, `${method} ${path} lacks a schema for ${status}`)
      for (const { schema } of Object.values<any>(content)) assert.ok(schema)
    }
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(match => match[1])
    const declared = (operation.parameters ?? []).filter((each: any) => each.in === 'path')
    assert.deepEqual(
      declared.map((each: any) => each.name),
      named,
    )
  }
  assert.ok(!JSON.stringify(document).includes('"$ref":"#/components/undefined'))
})

test('answers are as the document says, good ones and refusals', async () => {
  // The feed has no end.
  const answering = operations.filter(({ path }) => path !== '/v1/events/feed')
  for (const { method, path, operation } of answering.sort((a, b) => (a.path < b.path ? -1 : 1))) {
    const key = `${method} ${path}`
    const payload = BODIES[key]
    assert.equal(operation.requestBody !== undefined, payload !== undefined, `${key}: a body to send`)
    const url = path.replace('{name}', nameFor(path)).replace('{id}', '1')
    service.sites.set('paris', fakeAttachment(PARIS))
    const answer = await api.inject({ method: method as 'GET', url, payload })
    assert.equal(answer.statusCode, 200, `${key}: ${answer.body}`)
    const [[type, { schema }]] = Object.entries<any>(operation.responses['200'].content)
    assert.ok(
      String(answer.headers['content-type']).startsWith(type),
      `${key}: ${answer.headers['content-type']}`,
    )
    if (type === 'application/json') {
      const [first] = [...Value.Errors(schema, answer.json())]
      assert.ok(Value.Check(schema, answer.json()), `${key}: ${first?.instancePath} ${first?.message}`)
    }
    if (path.includes('{name}')) {
      const bad = await api.inject({
        method: method as 'GET',
        url: path.replace('{name}', 'A'.repeat(90)),
        payload,
      })
      assert.ok(bad.statusCode >= 400 && bad.statusCode < 500, `${key}: ${bad.statusCode}`)
      assert.ok(Value.Check(operation.responses['4XX'].content['application/json'].schema, bad.json()), key)
    }
  }
})
