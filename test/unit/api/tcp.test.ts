// The API over TCP as programs use it: the same service as on the unix socket, certificates, and where it listens.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpsServer } from 'node:https'
import { connect as connectTcp, createServer } from 'node:net'
import { test } from 'node:test'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { ApiCertificate } from '../../../node/api-certificate.ts'
import { createMeshRoot } from '../../../node/pki/authority.ts'
import { verifyChain } from '../../../node/pki/chain.ts'
import { FakeService, PACK_TEXT } from './fake-service.ts'
import { TcpWorld, untilClosed } from './tcp-world.ts'

async function certificateOf(world: TcpWorld, servername = 'localhost'): Promise<X509Certificate> {
  const socket: TLSSocket = connectTls({
    host: '127.0.0.1',
    port: world.port,
    servername,
    ca: world.home.rootCertificate,
  })
  await once(socket, 'secureConnect')
  const certificate = socket.getPeerX509Certificate()!
  socket.destroy()
  return certificate
}

test('is the same service as on the unix socket', async t => {
  const world = await TcpWorld.open(t)
  const { service } = world
  const remote = world.remote(await world.token('admin'))
  assert.deepEqual(await remote.status(), await service.status())
  assert.deepEqual(await remote.clients(), await service.clients())
  assert.deepEqual(await remote.records('client'), await service.records('client'))
  assert.deepEqual(await remote.tokens(), await service.tokens())
  assert.deepEqual(await remote.api(), await service.api())
  const pack = await remote.addClient({ name: 'new', tags: { site: 'lab' } })
  assert.equal(Buffer.from(pack.content).toString(), PACK_TEXT)
  await assert.rejects(remote.addClient({ name: 'new' }), { name: 'ServiceError', code: 'exists' })
  await assert.rejects(remote.revokeToken('nobody'), { code: 'not-found' })
  await remote.addToken({ name: 'ci', scope: 'read', ttlSeconds: 60 })
  await remote.changeApi({ listen: [], names: ['api.example.org'] })
  assert.deepEqual(service.calls.slice(-2), [
    ['addToken', { name: 'ci', scope: 'read', ttlSeconds: 60 }],
    ['changeApi', { listen: [], names: ['api.example.org'] }],
  ])
  const backup: Uint8Array[] = []
  for await (const chunk of await remote.backup('secret')) backup.push(chunk)
  assert.equal(Buffer.concat(backup).toString(), 'a backup')
  const stop = new AbortController()
  const seen: string[] = []
  await Promise.all([
    remote.feed(
      event => {
        seen.push(event.type)
        stop.abort()
      },
      { signal: stop.signal },
    ),
    (async () => {
      while (service.followers === 0) await new Promise(resolve => setTimeout(resolve, 5))
      service.emit('client-added')
    })(),
  ])
  assert.deepEqual(seen, ['client-added'])
})

test('refusals arrive with their code, and what is wrong with the way there is said', async t => {
  const world = await TcpWorld.open(t)
  const token = await world.token('read')
  await assert.rejects(world.remote(token).drain(), {
    code: 'forbidden',
    message: 'this takes a token of scope operate; this one has read',
  })
  await assert.rejects(world.remote('nonsense').status(), { code: 'unauthenticated' })
  const { pem: otherCa } = createMeshRoot({
    meshName: 'other',
    meshId: '00112233445566778899',
    now: Date.now(),
    lifetime: 600,
  })
  const url = `https://127.0.0.1:${world.port}`
  const refusals: [change: { url?: string; ca?: string }, message: RegExp][] = [
    [{ ca: otherCa }, /is not signed by the CA given/],
    [
      { url: `https://127.0.0.2:${world.port}` },
      /is not reached: nothing listens there; `overmesh api show`/,
    ],
    [{ url: 'https://no-such-host.invalid:1' }, /is not reached: (there is no such host|the name could not)/],
  ]
  for (const [change, message] of refusals) {
    await assert.rejects(world.remote(token, change).status(), error => {
      const { code, message: said } = error as Error & { code: string }
      assert.equal(code, 'failed')
      assert.match(said, message)
      assert.ok(!said.includes(token))
      return true
    })
  }
  const plain = createServer(socket => socket.end('SSH-2.0-x\r\n').on('error', () => {}))
  await once(plain.listen(0, '127.0.0.1'), 'listening')
  const { port } = plain.address() as { port: number }
  await assert.rejects(
    world.remote(token, { url: `https://127.0.0.1:${port}` }).status(),
    /does not speak TLS/,
  )
  plain.close()
  assert.equal((await world.remote(token, { url }).dns()).enabled, true)
})

test('an answer that is cut short, or is none of a controller, is said to be', async t => {
  const world = await TcpWorld.open(t)
  const between = createServer(client => {
    const server = connectTcp(world.port, '127.0.0.1')
    client.pipe(server).pipe(client)
    for (const end of [client, server]) end.on('error', () => {})
    cut = () => client.resetAndDestroy()
  })
  let cut = () => {}
  await once(between.listen(0, '127.0.0.1'), 'listening')
  const way = `https://127.0.0.1:${(between.address() as { port: number }).port}`
  const remote = world.remote(await world.token('read'), { url: way })
  const heard = Promise.withResolvers<void>()
  const feed = remote.feed(() => heard.resolve(), { signal: new AbortController().signal })
  while (world.service.followers === 0) await new Promise(resolve => setTimeout(resolve, 5))
  world.service.emit('float', {})
  await heard.promise
  cut()
  between.close()
  await assert.rejects(feed, { code: 'failed', message: /^the connection to the controller ended/ })
  const other = createHttpsServer(
    world.certificate.current({ listen: [], names: [] }, Date.now()),
    (_, answer) => answer.end('<html>hello</html>'),
  )
  await once(other.listen(0, '127.0.0.1'), 'listening')
  const { port } = other.address() as { port: number }
  const url = `https://127.0.0.1:${port}`
  const stranger = world.remote('x', { url })
  await assert.rejects(stranger.status(), { code: 'failed', message: /is no controller of Overmesh/ })
  await assert.rejects(
    stranger.feed(() => {}, { signal: new AbortController().signal }),
    /no controller of Overmesh/,
  )
  other.close()
  other.closeAllConnections()
})

test('a program may ask as much at once as it likes, and follow as well: what waits for others is not given up', async t => {
  const world = await TcpWorld.open(t)
  const remote = world.remote(await world.token('operate'))
  const stop = new AbortController()
  t.after(() => stop.abort())
  const feeds = Array.from({ length: 10 }, () => remote.feed(() => {}, { signal: stop.signal }))
  const until = Date.now() + 5000
  while (world.service.followers < feeds.length && Date.now() < until)
    await new Promise(resolve => setTimeout(resolve, 5))
  assert.equal(world.service.followers, feeds.length)
  const { promise: mayAnswer, resolve: answer } = Promise.withResolvers<void>()
  let asked = 0
  world.service.drain = async () => {
    asked++
    await mayAnswer
    return { draining: true, sessions: 0 }
  }
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const drains = Promise.all(Array.from({ length: 30 }, () => remote.drain()))
  drains.catch(() => {})
  while (asked < 8) await new Promise(resolve => setImmediate(resolve))
  t.mock.timers.tick(15_000)
  answer()
  assert.equal((await drains).length, 30)
  t.mock.timers.reset()
  stop.abort()
  await Promise.all(feeds)
})

test('the certificate chains to the mesh root and is for all names by which the controller is reached', async t => {
  const world = await TcpWorld.open(t, {}, { public: ['vpn.example.net', '198.51.100.7:1195'] })
  const settings = { listen: ['127.0.0.1:8443', '0.0.0.0:8444'], names: ['api.example.org', '2001:db8::7'] }
  const certificate = new ApiCertificate(world.home, () => ['192.0.2.77'])
  const { cert, key } = certificate.current(settings, Date.now())
  const leaf = new X509Certificate(cert)
  verifyChain(
    leaf,
    [world.home.issuingCertificate],
    new X509Certificate(world.home.rootCertificate),
    Date.now(),
    'server',
  )
  for (const host of ['localhost', 'vpn.example.net', 'alpha.prod.internal', 'api.example.org']) {
    assert.equal(leaf.checkHost(host), host)
  }
  for (const address of [
    '127.0.0.1',
    '::1',
    '198.51.100.7',
    '192.0.2.77',
    '10.77.0.1',
    '10.77.0.2',
    '2001:db8::7',
  ]) {
    assert.ok(leaf.checkIP(address), address)
  }
  assert.equal(leaf.checkHost('elsewhere.example.org'), undefined)
  assert.equal(leaf.checkIP('0.0.0.0'), undefined)
  assert.equal(certificate.current(settings, Date.now()).key, key, 'it is made once')
  assert.notEqual(certificate.current({ ...settings, names: [] }, Date.now()).key, key)
})

test('it is renewed while connections go on, and for new names', async t => {
  const world = await TcpWorld.open(t, {}, { lifetimes: { server: 400 } })
  const token = await world.token('read')
  const first = await certificateOf(world)
  const socket = await world.tls()
  world.api.review()
  assert.equal((await certificateOf(world)).serialNumber, first.serialNumber)
  world.ahead = 200_000
  world.api.review()
  const second = await certificateOf(world)
  assert.notEqual(second.serialNumber, first.serialNumber)
  socket.write(
    `GET /v1/dns HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nConnection: close\r\n\r\n`,
  )
  assert.match(await untilClosed(socket), /^HTTP\/1.1 200 /)
  world.ahead = 0
  await world.api.apply({ listen: ['127.0.0.1:0'], names: ['api.example.org'] })
  assert.equal(
    (await certificateOf(world, 'api.example.org')).checkHost('api.example.org'),
    'api.example.org',
  )
  const old = connectTls({
    host: '127.0.0.1',
    port: world.port,
    ca: world.home.rootCertificate,
    maxVersion: 'TLSv1.1',
  })
  const [error] = await once(old, 'error')
  assert.ok(error, 'what is renewed is as strict as before')
})

test('an address that cannot be had changes nothing, and one that was had before is tried again', async t => {
  const world = await TcpWorld.open(t)
  const token = await world.token('read')
  const before = world.api.listening()
  const taken = createServer()
  t.after(() => taken.close())
  await once(taken.listen(0, '127.0.0.1'), 'listening')
  const { port } = taken.address() as { port: number }
  const wanted = [`127.0.0.1:${port}`]
  await assert.rejects(world.api.apply({ listen: ['127.0.0.1:0', ...wanted], names: [] }), {
    code: 'refused',
    message: /cannot listen on 127\.0\.0\.1:\d+: something else listens there/,
  })
  assert.deepEqual(world.api.listening(), before)
  assert.equal((await world.call('/v1/dns', { token })).status, 200)
  await assert.rejects(world.api.apply({ listen: ['203.0.113.1:0'], names: [] }), /has no such address/)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  await world.api.apply({ listen: [], names: [] })
  assert.deepEqual(world.api.listening(), [])
  assert.equal(world.api.certificate(), null)
  await world.api.start({ listen: wanted, names: [] })
  assert.match(world.warning!, /something else listens there.*tried again/)
  const isLogged = () => world.log.filter(line => line.includes('something else')).length
  t.mock.timers.tick(10_000)
  for (let i = 0; i < 20; i++) await new Promise(resolve => setImmediate(resolve))
  assert.equal(isLogged(), 1, 'with every try the log would grow')
  taken.close()
  await once(taken, 'close')
  t.mock.timers.tick(10_000)
  t.mock.timers.reset()
  while (world.api.listening().length === 0) await new Promise(resolve => setTimeout(resolve, 5))
  assert.deepEqual(world.api.listening(), wanted)
  assert.equal(world.warning, undefined)
})

test('what it listened on is in the way of nothing at the same port, and is had back where that cannot be', async t => {
  const world = await TcpWorld.open(t)
  const token = await world.token('read')
  const { port } = world
  await world.api.apply({ listen: [`127.0.0.1:${port}`], names: [] })
  await world.api.apply({ listen: [`0.0.0.0:${port}`], names: [] })
  assert.deepEqual(world.api.listening(), [`0.0.0.0:${port}`])
  assert.equal((await world.call('/v1/dns', { token })).status, 200)
  const none = [`127.0.0.1:${port}`, '203.0.113.1:0']
  await assert.rejects(world.api.apply({ listen: none, names: [] }), /has no such address/)
  assert.deepEqual(world.api.listening(), [`0.0.0.0:${port}`])
  assert.equal((await world.call('/v1/dns', { token })).status, 200)
  assert.equal(world.warning, undefined)
})

test('an address that is given up ends its connections, and answers what is under way', async t => {
  const world = await TcpWorld.open(t)
  const token = await world.token('admin')
  const { promise: isAsked, resolve: asked } = Promise.withResolvers<void>()
  const { promise: mayAnswer, resolve: answer } = Promise.withResolvers<void>()
  world.service.drain = async () => {
    asked()
    await mayAnswer
    return { draining: true, sessions: 0 }
  }
  const call = world.call('/v1/drain', { method: 'POST', token })
  await isAsked
  const feed = world.remote(token).feed(() => {}, { signal: new AbortController().signal })
  while (world.service.followers === 0) await new Promise(resolve => setTimeout(resolve, 5))
  const port = world.port
  await Promise.all([
    assert.rejects(feed, { message: 'the controller stops' }),
    world.api.apply({ listen: [], names: [] }),
  ])
  await assert.rejects(
    world.remote(token, { url: `https://127.0.0.1:${port}` }).status(),
    /nothing listens there/,
  )
  answer()
  assert.equal((await call).status, 200)
  assert.equal(world.service.followers, 0)
  await world.api.apply({ listen: ['127.0.0.1:0'], names: [] })
  assert.equal((await world.call('/v1/dns', { token })).status, 200)
})

test('an error of the inside tells nothing, and its log has no token', async t => {
  const service = new FakeService()
  const world = await TcpWorld.open(t, { service })
  const token = await world.token('read')
  service.status = () => Promise.reject(new Error(`ENOENT /secret/path`))
  const answer = await world.call('/v1/status', { token })
  assert.equal(answer.status, 500)
  assert.doesNotMatch(answer.text, /secret/)
  assert.ok(world.log.some(line => line.includes('request failed')))
  assert.ok(!world.said().includes(token.slice(-20)))
})
