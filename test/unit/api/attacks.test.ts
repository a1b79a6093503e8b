// What strangers and broken programs may do to the API over TCP: too much, too large, too slow, or no HTTP at all.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { Connections, MAX_CALLERS } from '../../../node/api/connections.ts'
import { EventFeed } from '../../../node/api/event-feed.ts'
import { TcpWorld, untilClosed } from './tcp-world.ts'

const MANY = { perAddress: 10_000, perToken: 10_000, failures: 10_000, perSecond: 10_000, total: 10_000 }
/** ms */
const FAST = { handshake: 4000, headers: 2000, request: 3000, keepAlive: 1250, idle: 4000 }

/** The server is there for others. */
async function assertServes(world: TcpWorld): Promise<void> {
  const { status } = await world.call('/v1/status')
  assert.equal(status, 401)
}

test('oversized and malformed bodies are refused, and without a token not even waited for', async t => {
  const world = await TcpWorld.open(t, { limits: MANY })
  const token = await world.token('admin')
  const large = JSON.stringify({ name: 'x'.repeat(70_000) })
  const cases: [body: string, headers: Record<string, string>, status: number][] = [
    [large, {}, 413],
    ['{"name":', {}, 400],
    ['', {}, 400],
    ['null', {}, 400],
    ['[]', {}, 400],
    ['{"name":"a","__proto__":{"x":1}}', {}, 400],
    ['{"name":"a","constructor":{"prototype":{}}}', {}, 400],
    ['"\ud800"', {}, 400],
    ['name=x', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
    ['{}', { 'content-type': 'text/html' }, 415],
    ['{}', { 'content-type': 'application/json; charset=utf-7' }, 400],
    ['{"name":"a"}', { 'content-length': '5' }, 400],
  ]
  for (const [body, headers, status] of cases) {
    const answer = await world.call('/v1/clients', { method: 'POST', token, body, headers })
    assert.equal(answer.status, status, `${body.slice(0, 40)} ${JSON.stringify(headers)}: ${answer.text}`)
    assert.ok(answer.text.length < 1000)
  }
  assert.deepEqual(world.service.calls, [])
  // Announces sixteen megabytes, sends none, and has its answer.
  const socket = await world.tls()
  socket.write(
    `POST /v1/desired-state HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 16000000\r\n\r\n`,
  )
  assert.match(await untilClosed(socket), /^HTTP\/1.1 401 [\s\S]*connection: close/i)
})

test('a body in chunks is bounded as well', async t => {
  const world = await TcpWorld.open(t, { limits: MANY })
  const token = await world.token('admin')
  const socket = await world.tls()
  socket.write(
    `POST /v1/clients HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\n` +
      'Transfer-Encoding: chunked\r\n\r\n',
  )
  const answered = once(socket, 'data')
  for (let sent = 0; sent < 100 && socket.writable; sent++) socket.write(`400\r\n${' '.repeat(1024)}\r\n`)
  const [answer] = await answered
  assert.match(String(answer), /^HTTP\/1.1 413 /)
  socket.destroy()
})

test('what is no HTTP, or too much of its head, is refused without being repeated', async t => {
  const world = await TcpWorld.open(t, { limits: MANY })
  const secret = 'omt1_hidden'
  const cases: [sent: string, status: RegExp][] = [
    [`${secret}\r\n\r\n`, /^HTTP\/1.1 400 /],
    [`GET /${secret} HTTP/9.9\r\n\r\n`, /^HTTP\/1.1 400 /],
    [`GET /v1/status HTTP/1.1\r\nHost: x\r\nX: ${secret.repeat(3000)}\r\n\r\n`, /^HTTP\/1.1 431 /],
    [`GET /${'a'.repeat(40_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, /^HTTP\/1.1 431 /],
    [`GET /v1/status HTTP/1.1\r\nHost: x\r\n${secret}\u0000: y\r\n\r\n`, /^HTTP\/1.1 400 /],
    [
      `POST /v1/clients HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
      /^HTTP\/1.1 400 /,
    ],
    [`GET /v1/status HTTP/1.1\r\nAuthorization: Bearer ${secret}\r\n\r\n`, /^HTTP\/1.1 400 /],
    [`CONNECT elsewhere:443 HTTP/1.1\r\nHost: x\r\n\r\n`, /^$/],
  ]
  for (const [sent, status] of cases) {
    const socket = await world.tls()
    socket.write(sent)
    const answer = await untilClosed(socket)
    assert.match(answer, status, sent.slice(0, 60))
    assert.ok(!answer.includes(secret), answer)
  }
  assert.ok(!world.said().includes(secret))
  await assertServes(world)
})

test('a request that others may read in another way is refused; old HTTP and names that are not ours are no matter', async t => {
  const world = await TcpWorld.open(t, { limits: MANY })
  const [read, admin] = [await world.token('read'), await world.token('admin')]
  const bearer = `Authorization: Bearer ${read}\r\n`
  const cases: [sent: string, status: RegExp][] = [
    [
      `GET /v1/dns HTTP/1.1\r\nHost: a\r\nHost: b\r\n${bearer}\r\n`,
      /^HTTP\/1.1 400 [\s\S]*may be there once/,
    ],
    [
      `GET /v1/dns HTTP/1.1\r\nHost: a\r\n${bearer}Authorization: Bearer ${admin}\r\n\r\n`,
      /^HTTP\/1.1 400 [\s\S]*may be there once/,
    ],
    [`GET /v1/dns HTTP/1.1\r\n${bearer}\r\n`, /^HTTP\/1.1 400 /],
    [`GET /v1/dns HTTP/1.0\r\n\r\n`, /^HTTP\/1.1 401 /],
    [`GET /v1/dns HTTP/1.0\r\n${bearer}\r\n`, /^HTTP\/1.1 200 /],
    [`GET /v1/dns HTTP/1.1\r\nHost: elsewhere\r\n${bearer}Connection: close\r\n\r\n`, /^HTTP\/1.1 200 /],
    [`TRACE /v1/dns HTTP/1.1\r\nHost: a\r\n${bearer}Connection: close\r\n\r\n`, /^HTTP\/1.1 404 /],
  ]
  for (const [sent, status] of cases) {
    const socket = await world.tls()
    socket.write(sent)
    const answer = await untilClosed(socket)
    assert.match(answer, status, sent)
    for (const token of [read, admin]) assert.ok(!answer.includes(token.slice(-20)))
  }
  // What comes in one go with a request that was refused is not looked at.
  const socket = await world.tls()
  const drain = `POST /v1/drain HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${admin}\r\nContent-Length: 0\r\n\r\n`
  socket.write(`GET /v1/dns HTTP/1.1\r\nHost: a\r\n\r\n${drain}`)
  assert.equal((await untilClosed(socket)).match(/^HTTP\/1.1 \d+/gm)?.join(), 'HTTP/1.1 401')
})

test('whoever is slow is cut off: at TLS, headers, body, and between requests', async t => {
  const world = await TcpWorld.open(t, { limits: MANY, timeouts: FAST })
  const token = await world.token('admin')
  const start = Date.now()
  const trickle = (socket: Socket, first: string, piece: string) => {
    socket.write(first)
    const timer = setInterval(() => socket.write(piece), 50)
    return untilClosed(socket).finally(() => clearInterval(timer))
  }
  const [silent, halfTls, noHeaders, headers, body, kept] = await Promise.all([
    world.tcp().then(untilClosed),
    world.tcp().then(socket => trickle(socket, '\x16\x03\x01', '')),
    world.tls().then(untilClosed),
    world.tls().then(socket => trickle(socket, 'GET /v1/status HTTP/1.1\r\nHost: x\r\n', 'X-A: b\r\n')),
    world
      .tls()
      .then(socket =>
        trickle(
          socket,
          `POST /v1/clients HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
            'Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n{',
          ' ',
        ),
      ),
    world.tls().then(socket => {
      socket.write(`GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`)
      return untilClosed(socket)
    }),
  ])
  assert.ok(Date.now() - start < 20_000)
  assert.equal(silent + halfTls, '')
  assert.match(noHeaders, /^(HTTP\/1.1 408 .*)?/)
  assert.match(headers, /^HTTP\/1.1 408 /)
  assert.match(body, /^HTTP\/1.1 408 /)
  assert.match(kept, /^HTTP\/1.1 200 /)
  assert.deepEqual(world.service.calls, [])
  await assertServes(world)
})

test('whoever takes nothing of an answer is cut off', async t => {
  const world = await TcpWorld.open(t, { limits: MANY, timeouts: { ...FAST, idle: 500 } })
  const token = await world.token('read')
  const socket = await world.tls()
  socket.pause()
  socket.write(`GET /v1/events/feed HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`)
  while (world.service.followers === 0) await sleep(5)
  // More than the buffers between the two hold, and fewer than would end the feed by their number.
  for (let sent = 0; sent < 900; sent++) world.service.emit('noise', { text: 'x'.repeat(20_000) })
  while (world.service.followers > 0) await sleep(10)
  socket.destroy()
})

test('a capture of which nothing is seen is waited for as long as it was asked for, and what follows it no longer', async t => {
  const world = await TcpWorld.open(t, { limits: MANY })
  const remote = world.remote(await world.token('admin'))
  const set = t.mock.method(Socket.prototype, 'setTimeout')
  const content = new Readable({ read() {} })
  content.push('the beginning of a file')
  world.service.capturing = () => ({ id: 7, content })
  const capture = await remote.capture({ seconds: 3600 })
  const socket = set.mock.calls.map(call => call.this as Socket).find(each => each.localPort === world.port)!
  assert.ok(socket.timeout! > 3600_000, `${socket.timeout}`)
  content.push(null)
  for await (const _ of capture.content);
  while (socket.timeout! > 60_000) await sleep(5)
})

test('a feed in which nothing happens says so from time to time, so that it is not taken for dead', async t => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const feed = new EventFeed(() => {})
  let text = ''
  feed.on('data', chunk => {
    text += chunk
  })
  await sleep(5)
  t.mock.timers.tick(31_000)
  await sleep(5)
  assert.equal(text, '\n\n\n')
  feed.destroy()
})

test('one address holds so many connections, and all together so many', async t => {
  const world = await TcpWorld.open(t, { limits: { ...MANY, total: 3 } })
  const held = await Promise.all([world.tls(), world.tls(), world.tls()])
  assert.equal(await untilClosed(await world.tcp()), '')
  held[0].destroy()
  // Its place is free as soon as the other end has heard of it.
  const isServed = () =>
    assertServes(world).then(
      () => true,
      () => false,
    )
  while (!(await isServed())) await sleep(10)
  for (const socket of held) socket.destroy()
})

class Caller {
  readonly remoteAddress: string
  destroyed = false
  #closed = () => {}
  constructor(remoteAddress: string) {
    this.remoteAddress = remoteAddress
  }
  once(_event: string, listener: () => void): void {
    this.#closed = listener
  }
  destroy(): void {
    this.destroyed = true
  }
  close(): void {
    this.#closed()
  }
}

test('connections are counted by IPv4 address and IPv6 /64, by number and by rate', () => {
  let now = 0
  const connections = new Connections({ total: 100, perAddress: 4, perSecond: 5 }, () => now)
  const call = (address: string) => {
    const caller = new Caller(address)
    connections.admit(caller as unknown as Socket)
    return caller
  }
  const first = Array.from({ length: 5 }, () => call('192.0.2.1'))
  assert.deepEqual(
    first.map(({ destroyed }) => destroyed),
    [false, false, false, false, true],
  )
  assert.equal(call('::ffff:192.0.2.1').destroyed, true, 'the same address in IPv6')
  assert.equal(call('192.0.2.2').destroyed, false)
  for (let host = 1; host <= 4; host++) assert.equal(call(`2001:db8::${host}`).destroyed, false)
  assert.equal(call('2001:db8::ffff:1').destroyed, true)
  assert.equal(call('2001:db8:0:1::1').destroyed, false)
  first[0].close()
  assert.equal(call('192.0.2.1').destroyed, false)
  // Short ones, one after the other: ten at once, then five a second.
  const short = () => {
    const caller = call('198.51.100.1')
    if (!caller.destroyed) caller.close()
    return !caller.destroyed
  }
  assert.equal(Array.from({ length: 30 }, short).filter(Boolean).length, 10)
  now += 1000
  assert.equal(Array.from({ length: 30 }, short).filter(Boolean).length, 5)
})

test(`no more than ${MAX_CALLERS} addresses are remembered, and those with connections are not forgotten`, () => {
  const connections = new Connections({ total: 10, perAddress: 1 }, () => 0)
  const held = new Caller('192.0.2.1')
  connections.admit(held as unknown as Socket)
  for (let each = 0; each < 3 * MAX_CALLERS; each++) {
    const caller = new Caller(`10.${each >> 16}.${(each >> 8) & 255}.${each & 255}`)
    connections.admit(caller as unknown as Socket)
    caller.close()
  }
  assert.equal(connections.callers, MAX_CALLERS)
  const second = new Caller('192.0.2.1')
  connections.admit(second as unknown as Socket)
  assert.equal(second.destroyed, true)
})

async function statuses(world: TcpWorld, count: number, token?: string) {
  const answers = await Promise.all(Array.from({ length: count }, () => world.call('/v1/dns', { token })))
  return {
    count: (status: number) => answers.filter(answer => answer.status === status).length,
    limited: answers.find(({ status }) => status === 429),
  }
}

test('too many requests: by token, by address, and for failures much sooner, with the time to wait', async t => {
  const byToken = await TcpWorld.open(t, { limits: { ...MANY, perToken: 5 } })
  const [one, two] = [await byToken.token('read', 'one'), await byToken.token('read', 'two')]
  const ofToken = await statuses(byToken, 12, one)
  assert.ok(ofToken.count(429) >= 2 && ofToken.count(200) >= 5)
  assert.match(ofToken.limited!.text, /"limited".*too many requests with this token/)
  assert.equal(ofToken.limited!.headers['retry-after'], '1')
  assert.equal((await byToken.call('/v1/dns', { token: two })).status, 200)

  const byAddress = await TcpWorld.open(t, { limits: { ...MANY, perAddress: 5 } })
  const ofAddress = await statuses(byAddress, 12, await byAddress.token('read'))
  assert.ok(ofAddress.count(429) >= 2)
  assert.match(ofAddress.limited!.text, /too many requests from this address/)

  const failing = await TcpWorld.open(t, { limits: { ...MANY, failures: 3 } })
  const failed = await statuses(failing, 8, 'nonsense')
  assert.deepEqual([failed.count(401), failed.count(429)], [3, 5])
  assert.ok(Number(failed.limited!.headers['retry-after']) > 1)
  // Whoever shares the address and has a token is not shut out by who has none.
  assert.equal((await failing.call('/v1/dns', { token: await failing.token('read') })).status, 200)
})

test('a clock that is set back keeps nobody out', async t => {
  const world = await TcpWorld.open(t, { limits: { ...MANY, perToken: 5 } })
  const token = await world.token('read')
  assert.equal((await world.call('/v1/dns', { token })).status, 200)
  const { now } = Date
  t.mock.method(Date, 'now', () => now() - 3_600_000)
  await new Promise(resolve => setTimeout(resolve, 1100))
  const answers = await Promise.all(Array.from({ length: 5 }, () => world.call('/v1/dns', { token })))
  for (const { status } of answers) assert.equal(status, 200)
  const { status, headers } = await world.call('/v1/dns', { token })
  assert.deepEqual([status, headers['retry-after']], [429, '1'])
})

test('whoever has no token fills no log', async t => {
  const world = await TcpWorld.open(t, { limits: MANY })
  const token = await world.token('operate')
  const gone = await world.token('operate', 'gone')
  await world.revoke('gone')
  for (const each of [undefined, 'nonsense', gone])
    for (const method of ['POST', 'PUT', 'HEAD'])
      assert.equal((await world.call('/v1/dns', { method, token: each })).status, 401)
  const said = () => world.log.map(line => JSON.parse(line)).filter(({ level, url }) => level > 20 && url)
  assert.deepEqual(said(), [])
  await world.call('/v1/dns', { method: 'POST', token, body: '{"enabled":true}' })
  assert.deepEqual(
    said().map(({ bearer, method, status }) => [bearer, method, status]),
    [['operate', 'POST', 200]],
  )
})

test('a client waits as long as it is told, and then says that there were too many', async t => {
  const world = await TcpWorld.open(t, { limits: { ...MANY, perToken: 20 } })
  const remote = world.remote(await world.token('admin'))
  await Promise.all(Array.from({ length: 30 }, () => remote.dns()))
  const none = await TcpWorld.open(t, { limits: { ...MANY, failures: 0 } })
  await assert.rejects(none.remote('nonsense').dns(), {
    code: 'limited',
    message: /^too many requests without a good token from this address; try again in \d+ s$/,
  })
})

function overTls(t: TestContext, world: TcpWorld, options: object): Promise<string> {
  const socket = connectTls({
    host: '127.0.0.1',
    port: world.port,
    ca: world.home.rootCertificate,
    ...options,
  })
  t.after(() => socket.destroy())
  return new Promise(resolve => {
    socket.once('secureConnect', () => resolve(String(socket.getProtocol())))
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(String(error.code)))
  })
}

test('TLS is 1.3 or 1.2, and nothing older', async t => {
  const world = await TcpWorld.open(t, { limits: MANY })
  assert.equal(await overTls(t, world, {}), 'TLSv1.3')
  assert.equal(await overTls(t, world, { maxVersion: 'TLSv1.2' }), 'TLSv1.2')
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }
  assert.match(await overTls(t, world, old), /ALERT|PROTOCOL/)
})
