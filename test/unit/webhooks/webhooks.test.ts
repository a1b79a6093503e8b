// Webhooks against HTTP servers of this machine that misbehave in every way.
import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { Controller } from '../../../node/controller.ts'
import { Home } from '../../../node/home.ts'
import { sealSecret } from '../../../node/ipsec/seal.ts'
import { Delivery, GIVE_UP_MS, MAX_WAITING } from '../../../node/webhooks/delivery.ts'
import { describeUrl, type Hook, MAX_HOOKS, readHooks, signingKey } from '../../../node/webhooks/hooks.ts'
import { type Outcome, post } from '../../../node/webhooks/post.ts'
import { newMesh, withService } from '../controller/home.ts'
import { ownPort } from '../own-ports.ts'

interface Got {
  headers: IncomingHttpHeaders
  body: string
}

/** Answers one request after the other by what is listed; the last for all others. */
async function receiver(t: TestContext, ...answers: RequestListener[]) {
  const got: Got[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const answer = answers[Math.min(got.length, answers.length - 1)]
    got.push({ headers: request.headers, body })
    answer(request, response)
    server.emit('got')
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const until = async (count: number) => {
    while (got.length < count) await once(server, 'got')
  }
  return { url, got, until }
}

const with_ =
  (status: number, headers: Record<string, string> = {}): RequestListener =>
  (_, response) =>
    response.writeHead(status, headers).end()

const hookTo = (url: string, secret?: string): Hook => ({
  name: 'x',
  url,
  types: ['*'],
  ...(secret && { secret }),
})
const message = { id: 'm1', body: '{"a":1}' }
const NOW = Date.UTC(2026, 0, 2, 3, 4, 5)

test('what is taken, what is tried again, what is not', async t => {
  const cases: [RequestListener, Partial<Outcome>][] = [
    [with_(200), { status: 200, retry: false, problem: undefined }],
    [with_(204), { status: 204, retry: false, problem: undefined }],
    [with_(500), { status: 500, retry: true, problem: 'answered 500' }],
    [with_(503, { 'retry-after': '7' }), { status: 503, retry: true, retryAfter: 7000 }],
    [
      with_(429, { 'retry-after': new Date(NOW + 60_000).toUTCString() }),
      { retry: true, retryAfter: 60_000 },
    ],
    [with_(429, { 'retry-after': '99999999' }), { retry: true, retryAfter: 3600_000 }],
    [with_(429, { 'retry-after': 'soon' }), { retry: true, retryAfter: undefined }],
    [with_(400), { status: 400, retry: false, problem: 'answered 400' }],
    [with_(410, { 'retry-after': '7' }), { retry: false, retryAfter: undefined }],
    [
      (_, response) => response.destroy(),
      { status: null, retry: true, problem: 'did not answer (ECONNRESET)' },
    ],
  ]
  for (const [answer, expected] of cases) {
    const { url } = await receiver(t, answer)
    const outcome = await post(hookTo(url), message, { now: NOW, timeout: 5000 })
    for (const [key, value] of Object.entries(expected)) assert.equal(outcome[key as 'status'], value, key)
  }
})

test('a redirect is not followed', async t => {
  const other = await receiver(t, with_(200))
  const { url } = await receiver(t, with_(307, { location: other.url }))
  const outcome = await post(hookTo(url), message, { now: NOW, timeout: 5000 })
  assert.match(outcome.problem!, /answered 307, a redirect/)
  assert.equal(outcome.retry, false)
  assert.equal(other.got.length, 0)
})

test('one that is down, hangs, answers without end or with nonsense is waited for no longer than the time', async t => {
  const down = await post(hookTo(`http://127.0.0.1:${await ownPort()}/`), message, {
    now: NOW,
    timeout: 5000,
  })
  assert.deepEqual(down, { status: null, problem: 'did not answer (ECONNREFUSED)', retry: true })

  const hanging = await receiver(t, () => {})
  const late = await post(hookTo(hanging.url), message, { now: NOW, timeout: 50 })
  assert.deepEqual(late, { status: null, problem: 'did not answer within 0.05 s', retry: true })

  const huge = await receiver(t, (_, response) => {
    const chunk = Buffer.alloc(65_536)
    const more = () => {
      while (!response.destroyed && response.write(chunk));
    }
    response.on('drain', more)
    more()
  })
  assert.equal((await post(hookTo(huge.url), message, { now: NOW, timeout: 5000 })).status, 200)

  const nonsense = createTcpServer(socket => {
    socket.on('error', () => {})
    socket.end('SSH-2.0-x\r\n')
  })
  await once(nonsense.listen(0, '127.0.0.1'), 'listening')
  t.after(() => nonsense.close())
  const url = `http://127.0.0.1:${(nonsense.address() as AddressInfo).port}/`
  assert.match(
    (await post(hookTo(url), message, { now: NOW, timeout: 5000 })).problem!,
    /did not answer \(HPE_/,
  )
})

test('the signature is that of the Standard Webhooks, over id, time and body', async t => {
  const { url, got } = await receiver(t, with_(200))
  const key = Buffer.from('a key of some bytes')
  for (const secret of [undefined, 'plain words', `whsec_${key.toString('base64')}`])
    await post(hookTo(url, secret), message, { now: NOW, timeout: 5000 })
  const expected = (k: string | Buffer) =>
    `v1,${createHmac('sha256', k)
      .update(`m1.${NOW / 1000}.{"a":1}`)
      .digest('base64')}`
  assert.deepEqual(
    got.map(({ headers }) => headers['webhook-signature']),
    [undefined, expected('plain words'), expected(key)],
  )
  assert.ok(got.every(({ headers }) => headers['webhook-timestamp'] === String(NOW / 1000)))
  assert.equal(got[0].body, message.body)
  assert.throws(() => signingKey('whsec_§'), { code: 'invalid' })
})

/** A delivery whose time goes by in no time. */
function delivery(outcomes: Outcome[]) {
  const world = { now: NOW, sent: [] as string[], waits: [] as number[] }
  const one = new Delivery({
    hook: hookTo('http://192.0.2.1/'),
    send: async (_hook, { id }) => {
      world.sent.push(id)
      return outcomes.length > 1 ? outcomes.shift()! : outcomes[0]
    },
    now: () => world.now,
    random: () => 0.5,
    pause: async ms => {
      world.waits.push(ms)
      world.now += ms
    },
  })
  const settled = async () => {
    while (one.state().waiting > 0) await new Promise(resolve => setImmediate(resolve))
  }
  return { one, world, settled }
}

const taken: Outcome = { status: 200, retry: false }
const away: Outcome = { status: 503, problem: 'answered 503', retry: true }

test('waits get longer up to a bound, as the receiver asks where it does, and events stay in order', async () => {
  const { one, world, settled } = delivery([...Array(12).fill(away), { ...away, retryAfter: 7 }, taken])
  one.add({ id: 'a', body: '' })
  one.add({ id: 'b', body: '' })
  await settled()
  assert.deepEqual(world.sent, [...Array(14).fill('a'), 'b'])
  assert.deepEqual(world.waits.slice(0, 4), [750, 1500, 3000, 6000])
  assert.deepEqual(world.waits.slice(-3), [225_000, 225_000, 7])
  const { lastDeliveredAt, ...state } = one.state()
  assert.deepEqual(state, { delivered: 2, failed: 0, dropped: 0, waiting: 0, attempts: 15, problem: null })
  assert.equal(lastDeliveredAt, new Date(world.now).toISOString())
})

test('what is refused is not tried again, and what nobody takes for a day is given up', async () => {
  const refused = delivery([{ status: 400, problem: 'answered 400', retry: false }, taken])
  refused.one.add({ id: 'a', body: '' })
  refused.one.add({ id: 'b', body: '' })
  await refused.settled()
  assert.deepEqual(refused.world.sent, ['a', 'b'])
  assert.deepEqual([refused.one.state().failed, refused.one.state().delivered], [1, 1])

  const gone = delivery([away])
  gone.one.add({ id: 'a', body: '' })
  await gone.settled()
  assert.ok(gone.world.now - NOW >= GIVE_UP_MS && gone.world.now - NOW < GIVE_UP_MS + 300_000)
  assert.deepEqual([gone.one.state().failed, gone.one.state().problem], [1, 'answered 503'])
})

test('what cannot even be sent has failed, and what follows is sent', async () => {
  const sent: string[] = []
  const one = new Delivery({
    hook: hookTo('http://192.0.2.1/'),
    send: async (_hook, { id }) => {
      sent.push(id)
      if (id === 'a') throw new Error('no such thing')
      return taken
    },
    now: () => NOW,
    random: () => 0,
  })
  one.add({ id: 'a', body: '' })
  while (one.state().waiting > 0) await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual([one.state().failed, one.state().problem], [1, 'could not be sent (no such thing)'])
  one.add({ id: 'b', body: '' })
  while (one.state().waiting > 0) await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual([sent, one.state().delivered], [['a', 'b'], 1])
})

test('a record that no controller of this version writes is no webhook', async t => {
  const home = await Home.open(await newMesh(t))
  t.after(() => home.close())
  const good = { url: 'https://h.example/', types: ['*'], secret: `whsec_${'QUJD'.repeat(6)}` }
  const all: Record<string, unknown> = {
    good,
    unsigned: { ...good, secret: undefined },
    nothing: null,
    secret: { ...good, secret: 'whsec_!' },
    number: { ...good, secret: 7 },
    url: { ...good, url: 'https://' },
    types: { ...good, types: [{}] },
  }
  for (const [name, hook] of Object.entries(all)) {
    const id = `webhook.${name}`
    const value = sealSecret(home.tlsCryptKey, id, Buffer.from(JSON.stringify(hook)), randomBytes)
    await home.replica.write([{ kind: 'setting', id, value: { value } }])
  }
  assert.deepEqual(
    readHooks(home).map(({ name }) => name),
    ['good', 'unsigned'],
  )
})

test('of too many that wait the oldest are dropped, and counted', async () => {
  const answer = Promise.withResolvers<Outcome>()
  const sent: string[] = []
  const one = new Delivery({
    hook: hookTo('http://192.0.2.1/'),
    send: async (_hook, { id }) => {
      sent.push(id)
      return sent.length === 1 ? answer.promise : taken
    },
    now: () => NOW,
    random: () => 0,
  })
  for (let i = 0; i < MAX_WAITING + 10; i++) one.add({ id: String(i), body: '' })
  assert.deepEqual([one.state().waiting, one.state().dropped], [MAX_WAITING, 10])
  answer.resolve(taken)
  while (one.state().waiting > 0) await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual([sent[1], sent.at(-1)], ['10', String(MAX_WAITING + 9)])
})

test('one that is stopped sends nothing more and waits for nothing', async t => {
  const { url, until, got } = await receiver(t, with_(503))
  const one = new Delivery({
    hook: hookTo(url),
    send: (hook, each, signal) => post(hook, each, { now: NOW, timeout: 5000, signal }),
    now: Date.now,
    random: Math.random,
  })
  one.add(message)
  await until(1)
  await one.stop()
  one.add(message)
  assert.equal(got.length, 1)
})

test('a running controller tells of what happens; the webhook lasts, and its secrets are not shown', async t => {
  const { url, got, until } = await receiver(t, with_(500), with_(200))
  const dataDir = await newMesh(t)
  const open = async () => {
    const controller = await Controller.open({ dataDir, logger: pino({ level: 'silent' }), tun: false })
    t.after(() => controller.stop())
    await controller.start()
    return controller
  }
  const first = await open()
  const { service } = first
  const path = 'services/T01234567/part'
  const { webhook } = await service.addWebhook({
    name: 'chat',
    url: `${url}${path}?key=hidden`,
    types: ['client-*'],
    secret: 'sign-with-this',
  })
  assert.equal(webhook.url, `${url}...`)
  await service.addClient({ name: 'web' })
  await service.addRoute({ cidr: '192.168.5.0/24', via: 'client:web' })
  await until(2)
  const [once_, again] = got
  assert.equal(once_.headers['webhook-id'], again.headers['webhook-id'])
  const { type, data } = JSON.parse(again.body)
  assert.deepEqual(
    [type, data.mesh, data.controller, data.event.client],
    ['client-added', 'prod', 'alpha', 'web'],
  )
  while ((await service.webhooks())[0].delivery?.delivered !== 1)
    await new Promise(resolve => setTimeout(resolve, 5))
  const metrics = await service.metrics()
  assert.match(metrics, /^overmesh_webhook_events_total\{webhook="chat",result="delivered"\} 1$/m)
  assert.match(metrics, /^overmesh_webhook_attempts_total\{webhook="chat"\} 2$/m)
  const shown = JSON.stringify([
    await service.webhooks(),
    await service.records(),
    await service.events(),
    await service.status(),
    metrics,
  ])
  for (const secret of [path, 'hidden', 'sign-with-this']) assert.ok(!shown.includes(secret), secret)

  assert.deepEqual((await service.testWebhook('chat')).delivered, true)
  assert.equal(JSON.parse(got[2].body).type, 'webhook-test')
  await assert.rejects(service.testWebhook('other'), { code: 'not-found' })
  await first.stop()
  const second = await open()
  await second.service.addClient({ name: 'db' })
  await until(4)
  assert.equal(JSON.parse(got[3].body).data.event.client, 'db')
  await second.service.removeWebhook('chat')
  await second.service.addClient({ name: 'unheard' })
  assert.deepEqual(await second.service.webhooks(), [])
  await second.stop()
  assert.equal(got.length, 4)
})

test('what cannot be a webhook is refused', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    const refused = (request: object, code: string) =>
      assert.rejects(service.addWebhook({ name: 'x', url: 'https://h.example/', ...request }), { code })
    for (const url of ['nonsense', 'ftp://h.example/', 'https://user:pass@h.example/', 'https://'])
      await refused({ url }, 'invalid')
    await refused({ types: ['nothing'] }, 'invalid')
    await refused({ secret: 'whsec_ ' }, 'invalid')
    for (let i = 0; i < MAX_HOOKS; i++) await service.addWebhook({ name: `h${i}`, url: 'https://h.example/' })
    await refused({ name: 'h0' }, 'exists')
    await refused({ name: 'more' }, 'refused')
    await assert.rejects(service.removeWebhook('none'), { code: 'not-found' })
    await assert.rejects(service.testWebhook('h0'), { code: 'not-running' })
    await service.removeWebhook('h0')
    assert.equal((await service.webhooks()).length, MAX_HOOKS - 1)
  })
})

test('of an address only where it leads is shown', () => {
  for (const [url, shown] of [
    ['https://h.example', 'https://h.example/'],
    ['https://h.example:8443/?', 'https://h.example:8443/'],
    ['https://h.example:8443/hooks/', 'https://h.example:8443/...'],
    ['http://h.example/services/T01234567/B01234567/a', 'http://h.example/...'],
    ['http://h.example/?key=a', 'http://h.example/...'],
  ])
    assert.equal(describeUrl(url), shown)
})
