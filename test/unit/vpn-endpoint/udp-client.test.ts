// Clients and an endpoint in one process, on real sockets.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { Socket } from 'node:dgram'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { DEFAULT_PROTO } from '../../../node/vpn/client.ts'
import type { ClientError } from '../../../node/vpn/client-end.ts'
import { IV_PROTO } from '../../../node/vpn/peer-info.ts'
import { parseProfile } from '../../../node/vpn/profile.ts'
import type { ServerSession } from '../../../node/vpn/session.ts'
import { addressOf, UdpClient, type UdpClientOptions } from '../../../node/vpn/udp-client.ts'
import { inline, replaceInline } from '../../lab/openvpn-client.ts'
import { Stopwatch } from '../stopwatch.ts'
import { LoopbackServer } from './loopback.ts'
import { type EndpointOptions, type PackOptions, World } from './world.ts'

async function serve(t: TestContext, options: EndpointOptions = {}) {
  const world = new World()
  const server = await LoopbackServer.start(world, options)
  t.after(() => server.stop())
  const client = (name: string, clientOptions: UdpClientOptions = {}, pack: PackOptions = {}): UdpClient => {
    const text = world.pack(name, { remotes: [server.remote], ...pack })
    const made = new UdpClient(parseProfile(text), clientOptions)
    t.after(() => made.close())
    return made
  }
  return { world, server, client }
}

/** Until it is so, at most `seconds`. */
async function until(what: string, so: () => boolean, seconds = 10): Promise<void> {
  const end = Date.now() + seconds * 1000
  while (!so()) {
    if (Date.now() > end) assert.fail(`not within ${seconds} s: ${what}`)
    await sleep(10)
  }
}

const V25 = IV_PROTO.dataV2 | IV_PROTO.requestPush

const KINDS: { name: string; options: UdpClientOptions; expect: object }[] = [
  { name: 'as 2.6', options: {}, expect: { derivation: 'tls-ekm', format: 'aead', dynamicTlsCrypt: true } },
  {
    name: 'as 2.5: no second wrapped key, classic key derivation',
    options: { proto: V25, earlyNegotiation: false },
    expect: { derivation: 'prf', exitByControl: false, dynamicTlsCrypt: false },
  },
  { name: 'with push requests', options: { proto: IV_PROTO.dataV2 }, expect: { derivation: 'prf' } },
  {
    name: 'with the epoch format',
    options: { proto: 990 | IV_PROTO.dataEpoch },
    expect: { format: 'epoch' },
  },
  {
    name: 'with tls-ekm but no protocol flags',
    options: { proto: IV_PROTO.dataV2 | IV_PROTO.tlsKeyExport },
    expect: { derivation: 'tls-ekm', exitByControl: false },
  },
  { name: 'with TLS 1.2', options: { tls: { max: 'TLSv1.2' } }, expect: { tls: 'TLSv1.2' } },
  {
    name: 'with ChaCha20',
    options: { ciphers: ['CHACHA20-POLY1305'] },
    expect: { cipher: 'CHACHA20-POLY1305' },
  },
  { name: 'with AES-192', options: { ciphers: ['AES-192-GCM'] }, expect: { cipher: 'AES-192-GCM' } },
]

for (const { name, options, expect } of KINDS) {
  test(`a client ${name} connects, pings, renews its keys and leaves`, async t => {
    const { server, client } = await serve(t)
    const one = client('one', options)
    const two = client('two')
    const [connection, other] = await Promise.all([one.connect(30_000), two.connect(30_000)])
    for (const [key, value] of Object.entries(expect)) {
      assert.equal(connection[key as keyof typeof connection], value, key)
    }
    for (const address of ['10.77.0.1', addressOf(other)]) {
      const watch = new Stopwatch()
      await one.ping(address, { timeout: 10_000 })
      assert.ok(watch.own < 1000, `${watch.elapsed} ms, of which ${watch.waited} waited`)
    }
    await sleep(1000)
    one.renegotiate()
    await until('renewed', () => one.renegotiations === 1)
    await one.ping(addressOf(other), { timeout: 10_000 })
    await one.close()
    await until('gone', () => server.log.includes('down one: the client left'))
    assert.equal(server.endpoint.counters.controlForged, 0)
    assert.equal(server.endpoint.counters.internalErrors, 0)
  })
}

for (const proto of [DEFAULT_PROTO, IV_PROTO.dataV2]) {
  const how = (proto & IV_PROTO.requestPush) === 0 ? 'asks for it' : 'does not ask'
  test(`a client that ${how} is told that it is connected once packets find their way to it`, async t => {
    const opened: ServerSession[] = []
    const { client } = await serve(t, { opened: session => opened.push(session) })
    const one = client('one', { proto })
    const connecting = one.connect(30_000)
    await until('open', () => opened.length === 1)
    await sleep(300)
    assert.equal(one.connection, undefined)
    opened[0].reachable()
    await connecting
  })
}

test('keys are renewed by either side under traffic, and nothing is lost', async t => {
  const { server, client } = await serve(t, { settings: { renegotiationMs: 3000 } })
  const one = client('one', { renegotiationMs: 1700 })
  const two = client('two')
  const [, other] = await Promise.all([one.connect(30_000), two.connect(30_000)])
  const watch = new Stopwatch()
  let lost = 0
  let answered = 0
  // At least so long, and until all has happened that is to, on however busy a machine.
  const isOver = () =>
    answered > 500 &&
    one.renegotiations >= 3 &&
    two.renegotiations >= 2 &&
    server.plane.receivedByKey.size >= 3
  while (watch.elapsed < 9000 || (!isOver() && watch.elapsed < 60_000)) {
    // What is lost never comes; what is late on a busy machine does.
    await one.ping(addressOf(other), { timeout: 5000 }).then(
      () => answered++,
      () => lost++,
    )
    await sleep(2)
  }
  assert.equal(lost, 0)
  assert.ok(answered > 500, `${answered} answers`)
  assert.ok(one.renegotiations >= 3, `${one.renegotiations} renegotiations`)
  assert.ok(two.renegotiations >= 2, `${two.renegotiations} renegotiations`)
  assert.ok(server.plane.receivedByKey.size >= 3, 'data went under several keys')
  assert.deepEqual(
    server.log,
    ['up one', 'up two'].filter(line => server.log.includes(line)),
  )
  for (const port of server.plane.ports.values()) assert.equal(port.lost, 0)
})

async function refusal(attempt: Promise<unknown>): Promise<ClientError> {
  return attempt.then(
    () => assert.fail('connected'),
    error => error,
  )
}

test('a refusal reaches the caller with its reason', async t => {
  const { world, server, client } = await serve(t)
  const one = client('one')
  world.clients.clear()
  const error = await refusal(one.connect(30_000))
  assert.equal(error.code, 'AUTH_FAILED')
  assert.equal(error.reason, 'this certificate is unknown')
  assert.deepEqual(server.plane.calls, [])
})

test('a profile whose certificate or key is of no use is refused in words', () => {
  const world = new World()
  const text = world.pack('web')
  const other = world.pack('db')
  const encrypted = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' },
  }).privateKey
  const refused: [block: 'ca' | 'cert' | 'key', content: string, reason: RegExp][] = [
    ['key', inline(text, 'key').replace(/^[A-Za-z0-9+/=]+$/m, 'AAAA'), /: <key> holds no private key$/],
    ['key', 'nothing', /: <key> holds no private key$/],
    ['key', inline(other, 'key'), /: <key> is not the key of the certificate in <cert>$/],
    ['key', encrypted, /: <key> is encrypted, which this client does not read$/],
    ['cert', inline(text, 'key'), /: <cert> holds no certificate$/],
    ['ca', 'nothing', /: <ca> holds no certificate$/],
  ]
  for (const [block, content, reason] of refused) {
    const profile = parseProfile(replaceInline(text, block, content))
    assert.throws(() => new UdpClient(profile), { code: 'FAILED', message: reason }, `${block}: ${reason}`)
  }
})

test('a server that there is no way to is told of in words', async t => {
  const world = new World()
  const dial = async (host: string): Promise<ClientError> => {
    const profile = parseProfile(world.pack('one', { remotes: [{ host, port: 1194 }] }))
    const client = new UdpClient(profile, { reconnect: false })
    t.after(() => client.close())
    return refusal(client.connect(30_000))
  }
  // No kernel sends to a link-local address without the name of the link.
  const error = await dial('fe80::1')
  assert.equal(error.code, 'FAILED')
  assert.match(error.message, /^\[fe80::1\]:1194: .*\b(EINVAL|EAFNOSUPPORT|EADDRNOTAVAIL|ENETUNREACH|no )/)
  const close = t.mock.method(Socket.prototype, 'close')
  const reasons = {
    ENETUNREACH: 'this machine has no route to 192.0.2.1',
    EHOSTUNREACH: '192.0.2.1 cannot be reached from this machine',
    EADDRNOTAVAIL: 'this machine has no address to send to 192.0.2.1 from',
  }
  for (const [code, reason] of Object.entries(reasons)) {
    const failing = (_port: number, address: string, done: (error: Error) => void): void =>
      process.nextTick(done, Object.assign(new Error(code), { code, address }))
    const connect = t.mock.method(Socket.prototype, 'connect', failing as unknown as Socket['connect'])
    assert.equal((await dial('192.0.2.1')).message, `192.0.2.1:1194: ${reason}`)
    connect.mock.restore()
  }
  assert.equal(close.mock.callCount(), 3, 'no socket is left open')
})

test('an expired certificate is refused with its reason, in TLS 1.2 too', async t => {
  const { client } = await serve(t)
  for (const tls of [{}, { max: 'TLSv1.2' as const }]) {
    const one = client('one', { tls }, { at: Date.now() - 7200_000, lifetime: 3600 })
    const error = await refusal(one.connect(30_000))
    assert.equal(error.reason, 'this certificate has expired')
  }
})

test('a server that is not of the mesh, or of another, is refused by the client', async t => {
  const { world, server, client } = await serve(t)
  const foreign = new World().pack('web')
  const text = world.pack('one', { remotes: [server.remote] })
  const strangers = new UdpClient(parseProfile(replaceInline(text, 'ca', inline(foreign, 'ca'))), {
    reconnect: false,
  })
  t.after(() => strangers.close())
  assert.match((await refusal(strangers.connect(30_000))).message, /TLS failed/)
  const misnamed = parseProfile(text)
  misnamed.expectedName = { kind: 'name', value: 'another mesh' }
  const other = new UdpClient(misnamed, { reconnect: false })
  t.after(() => other.close())
  assert.match((await refusal(other.connect(30_000))).message, /is for ".*", not for "another mesh"/)
  assert.equal(server.log.filter(line => line.startsWith('up')).length, 0)
  assert.ok(client)
})

test('the newest session of a client is the one that lives', async t => {
  const { world, server } = await serve(t)
  const profile = parseProfile(world.pack('one', { remotes: [server.remote] }))
  const clients = [new UdpClient(profile), new UdpClient(profile, { reconnect: false })]
  t.after(() => Promise.all(clients.map(each => each.close())))
  await clients[0].connect(30_000)
  await clients[1].connect(30_000)
  assert.deepEqual(server.log, [
    'up one',
    'up one',
    'down one: replaced by a newer session of the same client',
  ])
  assert.equal([...server.endpoint.sessions()].length, 1)
  await clients[1].ping('10.77.0.1', { timeout: 10_000 })
})

test('clients go to the next server when one is silent or sends them away', async t => {
  const { world, server } = await serve(t)
  const next = await LoopbackServer.start(world)
  t.after(() => next.stop())
  const remotes = [{ host: '127.0.0.1', port: 9 }, server.remote, next.remote]
  const one = new UdpClient(parseProfile(world.pack('one', { remotes })))
  t.after(() => one.close())
  const reasons: string[] = []
  one.onRetrying = reason => reasons.push(reason)
  await one.connect(30_000)
  assert.match(reasons[0], /127\.0\.0\.1:9: no answer/)
  server.endpoint.drain()
  await until('on the next server', () => next.log.includes('up one'))
  assert.match(reasons[1], /it sends us to the next controller/)
  next.endpoint.end(() => true, { kind: 'restart', target: 'same' }, 'kicked')
  await until('back', () => next.log.filter(line => line === 'up one').length === 2)
})
