// Who may do what over TCP, tried through TLS on loopback; and what must not be found anywhere afterwards.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { guard } from '../../../node/api/guard.ts'
import { buildApi } from '../../../node/api/server.ts'
import type { Home } from '../../../node/home.ts'
import { formatToken, parseToken, withoutTokens } from '../../../node/token-text.ts'
import { MAX_TOKENS, Tokens } from '../../../node/tokens.ts'
import { SCOPES, type Scope } from '../../../state/kinds.ts'
import { fakeAttachment } from './fake-attachment.ts'
import { FakeService } from './fake-service.ts'
import { TcpWorld } from './tcp-world.ts'

const MANY = { perAddress: 10_000, perToken: 10_000, failures: 10_000, perSecond: 10_000 }
const DAY = 86_400
const SITE = { name: 'web', remote: 'any', localSubnets: [], remoteSubnets: ['192.168.20.0/24'] }

/** What anybody was told must hold no secret of a token. */
function assertNoSecret(world: TcpWorld, ...texts: string[]): void {
  const said = [world.said(), ...texts].join('\n')
  for (const secret of world.secrets) {
    assert.ok(!said.includes(parseToken(secret)!.secret), 'a secret was told')
    assert.ok(!said.includes(secret.slice(-20)), 'the end of a secret was told')
  }
}

test('each scope opens its routes and those of the narrower ones, and no other', async t => {
  const world = await TcpWorld.open(t, { limits: MANY })
  const tokens: Record<Scope, string> = {
    read: await world.token('read'),
    operate: await world.token('operate'),
    admin: await world.token('admin'),
  }
  const { paths } = JSON.parse((await world.call('/openapi.json', { token: tokens.read })).text)
  world.service.sites.set('web', fakeAttachment(SITE))
  let refused = 0
  for (const [path, item] of Object.entries<Record<string, { security: { token: Scope[] }[] }>>(paths)) {
    if (path === '/v1/events/feed') continue
    for (const [method, { security }] of Object.entries(item)) {
      // Nobody has to be known for /healthz and /readyz.
      if (security.length === 0) continue
      const needed = security[0].token[0]
      for (const scope of SCOPES) {
        const isWide = SCOPES.indexOf(scope) >= SCOPES.indexOf(needed)
        // A body that is no JSON: nothing happens, also where the token is wide enough.
        const call = {
          method: method.toUpperCase(),
          token: tokens[scope],
          ...(method === 'post' && { body: '{' }),
        }
        const answer = await world.call(path.replace('{name}', 'web'), call)
        const what = `${method} ${path} with ${scope}: ${answer.status} ${answer.text}`
        if (isWide) assert.ok(answer.status === 200 || answer.status === 400, what)
        else {
          refused++
          assert.equal(answer.status, 403, what)
          assert.equal(
            answer.headers['www-authenticate'],
            `Bearer realm="overmesh", error="insufficient_scope", error_description="this takes a token of scope ` +
              `${needed}; this one has ${scope}", scope="${needed}"`,
          )
        }
      }
    }
  }
  assert.ok(refused > 40)
  assert.deepEqual(world.service.calls, [])
  assertNoSecret(world)
})

test('what is no good token is refused with the reason, on every path, before anything else', async t => {
  const world = await TcpWorld.open(t, { limits: MANY })
  const good = await world.token('admin')
  const { id, secret } = parseToken(good)!
  const expired = await world.token('admin', 'expired', 60)
  const revoked = await world.token('admin', 'revoked')
  await world.revoke('revoked')
  const other = `${secret[0] === 'A' ? 'B' : 'A'}${secret.slice(1)}`
  const cases: [headers: Record<string, string | string[]>, reason: RegExp][] = [
    [{}, /a token is needed/],
    [{ authorization: '' }, /not Bearer TOKEN/],
    [{ authorization: good }, /not Bearer TOKEN/],
    [{ authorization: `Basic ${Buffer.from(`admin:${good}`).toString('base64')}` }, /not Bearer TOKEN/],
    [{ authorization: `Bearer ${good} more` }, /not Bearer TOKEN/],
    [{ authorization: `Bearer ${good.slice(0, -1)}` }, /no token of Overmesh, or not all of one/],
    [{ authorization: `Bearer ${good}A` }, /no token of Overmesh/],
    [{ authorization: `Bearer ${good.toUpperCase()}` }, /no token of Overmesh/],
    [{ authorization: `Bearer ${'x'.repeat(8000)}` }, /no token of Overmesh/],
    [{ authorization: `Bearer ${formatToken({ id, secret: other })}` }, /not known here/],
    [{ authorization: `Bearer ${formatToken({ id: '0'.repeat(16), secret })}` }, /not known here/],
    [{ authorization: `Bearer ${revoked}` }, /was revoked/],
    [{ 'x-token': good, cookie: `token=${good}` }, /a token is needed/],
  ]
  const texts: string[] = []
  const refuses = async (headers: Record<string, string | string[]>, reason: RegExp) => {
    for (const [path, call] of [
      ['/v1/status', {}],
      ['/v1/clients', { method: 'POST', body: JSON.stringify({ name: 'new' }) }],
      ['/metrics', {}],
      ['/openapi.json', {}],
      ['/v1/nowhere', {}],
      ['/', { method: 'OPTIONS' }],
    ] as const) {
      const answer = await world.call(path, { ...call, headers })
      texts.push(JSON.stringify(answer))
      assert.equal(answer.status, 401, `${path} ${JSON.stringify(headers)}: ${answer.text}`)
      assert.match(String(answer.headers['www-authenticate']), /^Bearer realm="overmesh"/)
      const { error } = JSON.parse(answer.text)
      assert.equal(error.code, 'unauthenticated')
      assert.match(error.message, reason)
    }
  }
  for (const [headers, reason] of cases) await refuses(headers, reason)
  world.ahead = 61_000
  await refuses({ authorization: `Bearer ${expired}` }, /the token expired at 20/)
  world.ahead = 0
  for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
    const answer = await world.call('/v1/status', { headers: { authorization: `${scheme} ${good}` } })
    assert.equal(answer.status, 200)
  }
  assert.deepEqual(world.service.calls, [])
  assertNoSecret(world, ...texts)
})

test('a route that is public needs no token, and is not asked for too often either', async t => {
  const { tokens } = await TcpWorld.open(t)
  const api = await buildApi({
    service: new FakeService(),
    protect: async app => {
      await guard(app, { tokens, record: () => {}, now: Date.now, limits: { perAddress: 3 } })
      app.get(
        '/well',
        { config: { scope: 'public' }, schema: { summary: 'Whether it is well' } },
        () => 'yes',
      )
    },
  })
  const answers = []
  for (const url of ['/well', '/v1/status', '/well', '/well']) answers.push(await api.inject({ url }))
  assert.deepEqual(
    answers.map(({ statusCode }) => statusCode),
    [200, 401, 200, 429],
  )
  const document = api.swagger() as { paths: Record<string, { get: { security: unknown } }> }
  assert.deepEqual(document.paths['/well'].get.security, [])
  await api.close()
})

test('a token in an address is refused in whatever form, and kept nowhere', async t => {
  const world = await TcpWorld.open(t, { limits: MANY })
  const token = await world.token('admin')
  const encoded = [...token].map(each => `%${each.charCodeAt(0).toString(16)}`).join('')
  const twice = encoded.replaceAll('%', '%25')
  const texts: string[] = []
  for (const path of [
    `/v1/status?token=${token}`,
    `/v1/status?access_token=${token}`,
    `/v1/status?x=${token}`,
    `/v1/status?${token}`,
    `/v1/status?x=${encoded}`,
    `/v1/status?api_key=secret`,
    `/v1/status/${token}`,
    `/v1/clients/${token}`,
    `/v1/clients/${encoded}`,
    `/v1/clients/${twice}`,
    `/${token}?a=b`,
    `/v1/status;${token}`,
  ]) {
    for (const call of [{}, { token }, { token, method: 'POST', body: '{}' }]) {
      const answer = await world.call(path, call)
      assert.equal(answer.status, 400, `${path}: ${answer.text}`)
      assert.match(answer.text, /a token does not belong into an address/)
      assert.match(String(answer.headers['www-authenticate']), /error="invalid_request"/)
      texts.push(JSON.stringify(answer))
    }
  }
  // Not even well formed: no route is looked for.
  const broken = await world.call(`/v1/%zz/${token}`, {})
  assert.match(broken.text, /does not belong into an address/)
  texts.push(JSON.stringify(broken))
  assertNoSecret(world, ...texts)
  assert.ok(!world.said().includes(encoded.slice(-30)))
  assert.ok(world.log.length > 30, 'there is a log to look into')
})

test('revoking a token ends what is open under it at once, and nothing else', async t => {
  const world = await TcpWorld.open(t)
  const [mine, other] = [await world.token('read', 'mine'), await world.token('read', 'other')]
  const stop = new AbortController()
  const feeds = [mine, other].map(token => world.remote(token).feed(() => {}, { signal: stop.signal }))
  while (world.service.followers < 2) await new Promise(resolve => setTimeout(resolve, 5))
  const ended = assert.rejects(feeds[0], { message: 'the token was revoked' })
  await world.revoke('mine')
  await ended
  assert.equal(world.service.followers, 1)
  assert.equal((await world.call('/v1/status', { token: mine })).status, 401)
  assert.equal((await world.call('/v1/status', { token: other })).status, 200)
  stop.abort()
  await feeds[1]
})

test('an expiry ends what is open, too', async t => {
  const world = await TcpWorld.open(t)
  const feed = world.remote(await world.token('read', 'short', 100)).feed(() => {}, {
    signal: new AbortController().signal,
  })
  while (world.service.followers < 1) await new Promise(resolve => setTimeout(resolve, 5))
  world.ahead = 100_000
  await assert.rejects(feed, /the token expired at/)
})

test('a token that is revoked while a body is on its way does nothing', async t => {
  const world = await TcpWorld.open(t)
  const token = await world.token('admin')
  const socket = await world.tls()
  const body = JSON.stringify({ name: 'new' })
  socket.write(
    `POST /v1/clients HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 5)}`,
  )
  // Known to have been let in by what it is told then.
  await new Promise(resolve => setTimeout(resolve, 100))
  await world.revoke('admin')
  socket.write(body.slice(5))
  const [answer] = await new Promise<[Buffer]>(resolve => socket.once('data', data => resolve([data])))
  assert.match(String(answer), /^HTTP\/1.1 401 /)
  assert.deepEqual(world.service.calls, [])
  socket.destroy()
})

test('what was changed is on record with name, place and outcome, also if nobody waited for it; reads are not', async t => {
  const world = await TcpWorld.open(t, { limits: MANY })
  const token = await world.token('admin', 'ci')
  await world.call('/v1/status', { token })
  await world.call('/v1/desired-state', {
    method: 'POST',
    token,
    body: JSON.stringify({ desired: { version: 1, mesh: 'home' }, dryRun: true }),
  })
  assert.equal(world.events.length, 0)
  const id = parseToken(token)!.id
  const base = { token: 'ci', id, from: '127.0.0.1', method: 'POST' }
  await world.call('/v1/clients/web/kick', { method: 'POST', token })
  await world.call('/v1/clients/nobody/kick', { method: 'POST', token })
  assert.deepEqual(world.events, [
    { type: 'api-request', ...base, path: '/v1/clients/web/kick', status: 200 },
    { type: 'api-request', ...base, path: '/v1/clients/nobody/kick', status: 404 },
  ])
  await world.call('/v1/clients', { method: 'POST', token, body: '{"name":"Bad Name"}' })
  assert.deepEqual(world.events.at(-1), {
    type: 'api-refused',
    ...base,
    path: '/v1/clients',
    status: 400,
    reason: 'not understood',
  })
  // Gone before the answer.
  const { promise: isAsked, resolve } = Promise.withResolvers<void>()
  const { promise: mayAnswer, resolve: answer } = Promise.withResolvers<void>()
  world.service.drain = async () => {
    resolve()
    await mayAnswer
    return { draining: true, sessions: 0 }
  }
  const socket = await world.tls()
  socket.write(`POST /v1/drain HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`)
  await isAsked
  socket.destroy()
  await new Promise(done => setTimeout(done, 20))
  answer()
  const lastPath = () => world.events.at(-1)?.path
  while (lastPath() !== '/v1/drain') await new Promise(done => setTimeout(done, 5))
  assertNoSecret(world)
})

test('only a hash is kept, and names are free again when a token has ended', async t => {
  const world = await TcpWorld.open(t)
  const token = await world.token('read', 'ci')
  const { id, secret } = parseToken(token)!
  const value = world.home.replica.get('token', id)!
  assert.ok(!JSON.stringify(value).includes(secret))
  assert.match(value.hash, /^[0-9a-f]{64}$/)
  await assert.rejects(world.token('admin', 'ci'), { code: 'exists' })
  await world.revoke('ci')
  await assert.rejects(world.revoke('ci'), { code: 'refused', message: /ended already/ })
  await assert.rejects(world.revoke('nobody'), { code: 'not-found' })
  const again = await world.token('operate', 'ci')
  await world.revoke(parseToken(again)!.id)
  assert.deepEqual(
    world.tokens
      .list(Date.now())
      .map(({ name, scope, state }) => [name, scope, state])
      .sort(),
    [
      ['ci', 'operate', 'revoked'],
      ['ci', 'read', 'revoked'],
    ],
  )
})

test('times are bounded, and those that ended long ago are forgotten by the next one', async t => {
  const { home } = await TcpWorld.open(t)
  const tokens = new Tokens(home)
  const now = Date.now()
  for (const ttlSeconds of [0, -1, 3651 * DAY, Number.NaN]) {
    await assert.rejects(tokens.add({ name: 'x', scope: 'read', ttlSeconds }, now), { code: 'invalid' })
  }
  await tokens.add({ name: 'old', scope: 'read', ttlSeconds: DAY }, now - 32 * DAY * 1000)
  await tokens.add({ name: 'recent', scope: 'read', ttlSeconds: DAY }, now - 3 * DAY * 1000)
  assert.deepEqual(
    tokens.list(now).map(({ name, state }) => `${name} ${state}`),
    ['recent expired'],
  )
  await tokens.add({ name: 'new', scope: 'read' }, now)
  assert.deepEqual([...home.replica.all('token')].map(({ value }) => value.name).sort(), ['new', 'recent'])
})

/** Records as a replica has them, with their authors. */
function stub(t: TestContext, count: number, admitted: () => boolean) {
  const now = Date.now()
  const value = (index: number) => ({
    name: `t${index}`,
    scope: 'read' as const,
    hash: 'ab'.repeat(32),
    createdAt: now,
    expiresAt: now + 1e9,
    ...(index > 0 && { revokedAt: now }),
  })
  const id = (index: number) => index.toString(16).padStart(16, '0')
  const all = Array.from({ length: count }, (_, index) => ({
    id: id(index),
    value: value(index),
    author: 'a1',
  }))
  const write = t.mock.fn(async (make: () => unknown) => make())
  const replica = {
    all: () => all,
    get: (kind: string, wanted: string) =>
      kind === 'token' ? all.find(each => each.id === wanted)?.value : undefined,
    record: (_kind: string, wanted: string) => all.find(each => each.id === wanted),
    write,
  }
  return new Tokens({ replica, views: { isAdmitted: admitted }, id: 'a1' } as unknown as Home)
}

test(`beyond ${MAX_TOKENS} no more are made, revoked ones counted`, async t => {
  const now = Date.now()
  await assert.rejects(stub(t, MAX_TOKENS, () => true).add({ name: 'x', scope: 'read' }, now), {
    code: 'refused',
    message: /no more are kept/,
  })
})

test('what a controller made that was taken out of the mesh is void', t => {
  let admitted = true
  const tokens = stub(t, 1, () => admitted)
  const bearer = { id: '0'.repeat(16), name: 't0', scope: 'read' as const }
  assert.equal(tokens.ended(bearer, Date.now()), undefined)
  admitted = false
  assert.match(tokens.ended(bearer, Date.now())!, /was taken out of the mesh/)
  assert.equal(tokens.list(Date.now())[0].state, 'void')
})

test('texts are rid of tokens and pieces of them', () => {
  assert.equal(withoutTokens('a omt1_0011_xyz-_ b OMT1_z'), 'a omt1_… b omt1_…')
  assert.equal(parseToken('om1-abc'), undefined)
})
