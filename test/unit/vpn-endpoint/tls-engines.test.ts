// Both engines of TLS behave alike: messages, ends, refusals in the same words, and nothing is left behind.
import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import tls from 'node:tls'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Arena } from '../../../node/switch/sys/arena.ts'
import { SysError } from '../../../node/switch/sys/error.ts'
import { libcrypto, POINTER } from '../../../node/switch/sys/library.ts'
import { TlsConnection, TlsContext } from '../../../node/switch/sys/tls.ts'
import { MemoryTlsServer } from '../../../node/vpn/memory-tls.ts'
import { parseProfile } from '../../../node/vpn/profile.ts'
import { StreamTlsServer } from '../../../node/vpn/stream-tls.ts'
import type { TlsChannel, TlsServer } from '../../../node/vpn/tls.ts'
import { chooseEngine, newTlsServer } from '../../../node/vpn/tls-server.ts'
import { closePair, connectPair, ENGINES } from './tls-engines.ts'
import { World } from './world.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const world = new World()
const { cert, key } = parseProfile(world.pack('web'))
const client = { ca: world.root.pem, cert, key }

/** A client by node:tls with its socket in reach, and what its server says of it. */
function connectSocket(server: TlsServer, options: tls.ConnectionOptions) {
  const transport = new Duplex({
    read() {},
    write(chunk: Uint8Array, _encoding, done) {
      setImmediate(() => accepted.receive(chunk))
      done()
    },
  })
  const closed = Promise.withResolvers<string>()
  const secure = Promise.withResolvers<void>()
  const connected = Promise.withResolvers<void>()
  const accepted = server.accept({
    output: bytes => void setImmediate(() => transport.push(bytes)),
    secure: () => secure.resolve(),
    data() {},
    closed: reason => closed.resolve(reason),
  })
  const socket = tls.connect({
    socket: transport,
    ...client,
    checkServerIdentity: () => undefined,
    ...options,
  })
  socket.on('error', () => {})
  socket.on('secureConnect', () => connected.resolve())
  const both = Promise.all([secure.promise, connected.promise])
  return { accepted, socket, closed: closed.promise, secure: secure.promise, both }
}

for (const [engine, make] of ENGINES) {
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`each message is a record of its own, in order (${maxVersion}, ${engine})`, async () => {
      const pair = connectPair(make(world.credentials), { ...client, maxVersion })
      // Before the handshake is through they wait.
      for (const text of ['one', 'two', 'three']) pair.server.write(Buffer.from(text))
      await pair.until('client got three')
      pair.client.write(Buffer.from('four'))
      await pair.until('server got four')
      const got = pair.log.filter(entry => entry.includes(' got '))
      assert.deepEqual(got, ['client got one', 'client got two', 'client got three', 'server got four'])
      closePair(pair)
    })

    test(`no session is resumed (${maxVersion}, ${engine})`, async () => {
      const server = make(world.credentials)
      const first = connectSocket(server, { maxVersion })
      first.socket.on('session', () => assert.ok(maxVersion === 'TLSv1.2' || engine === 'node:tls'))
      await first.both
      const again = connectSocket(server, { maxVersion, session: first.socket.getSession() })
      await again.both
      assert.equal(again.socket.isSessionReused(), false)
      for (const { accepted, socket } of [first, again]) {
        accepted.close()
        socket.destroy()
      }
    })

    test(`a peer that closes is one that closed (${maxVersion}, ${engine})`, async () => {
      const { accepted, socket, closed, both } = connectSocket(make(world.credentials), { maxVersion })
      await both
      socket.end()
      assert.equal(await closed, 'closed by the peer')
      accepted.close()
      socket.destroy()
    })
  }

  test(`a message longer than a record arrives (${engine})`, async () => {
    const pair = connectPair(make(world.credentials), client)
    await pair.until('client secure')
    pair.client.write(Buffer.alloc(40_000, 'x'))
    await pair.until('server got')
    const length = (): number =>
      pair.log
        .filter(entry => entry.startsWith('server got'))
        .reduce((sum, { length }) => sum + length - 11, 0)
    while (length() < 40_000) await new Promise(resolve => setImmediate(resolve))
    assert.equal(length(), 40_000)
    closePair(pair)
  })

  test(`an old version is refused in OpenSSL's words (${engine})`, async () => {
    const { accepted, socket, closed } = connectSocket(make(world.credentials), {
      minVersion: 'TLSv1.1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT:@SECLEVEL=0',
    })
    assert.equal(await closed, 'unsupported protocol')
    accepted.close()
    socket.destroy()
  })

  test(`a client without a cipher in common is refused in OpenSSL's words (${engine})`, async () => {
    const { accepted, socket, closed } = connectSocket(make(world.credentials), {
      maxVersion: 'TLSv1.2',
      ciphers: 'ECDHE-ECDSA-CAMELLIA256-SHA384:AES256-GCM-SHA384',
    })
    assert.equal(await closed, 'no shared cipher')
    accepted.close()
    socket.destroy()
  })

  test(`the server has the choice of the cipher (${engine})`, async () => {
    const [own, other] = ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384']
    for (const ciphers of [`${own}:${other}`, `${other}:${own}`]) {
      const { accepted, socket, both } = connectSocket(make(world.credentials), {
        maxVersion: 'TLSv1.2',
        ciphers,
      })
      await both
      assert.equal(socket.getCipher().name, own)
      accepted.close()
      socket.destroy()
    }
  })

  test(`a client of TLS 1.2 cannot renegotiate (${engine})`, async () => {
    const { accepted, socket, both } = connectSocket(make(world.credentials), { maxVersion: 'TLSv1.2' })
    await both
    const failed = new Promise(resolve => socket.once('error', resolve))
    const refused = new Promise(resolve => socket.renegotiate({}, resolve))
    assert.ok((await Promise.race([failed, refused])) instanceof Error)
    accepted.close()
    socket.destroy()
  })

  test(`what is no TLS is refused, with nothing after it (${engine})`, async () => {
    const reasons: string[] = []
    const channel = make(world.credentials).accept({
      output() {},
      secure: () => assert.fail('secure'),
      data: () => assert.fail('data'),
      closed: reason => reasons.push(reason),
    })
    for (let i = 0; i < 3; i++) channel.receive(Buffer.from('GET / HTTP/1.1\r\nHost: example.org\r\n\r\n'))
    while (reasons.length === 0) await new Promise(resolve => setImmediate(resolve))
    await new Promise(resolve => setTimeout(resolve, 50))
    assert.deepEqual(reasons, ['http request'])
    channel.write(Buffer.from('too late'))
    channel.close()
  })

  test(`nothing comes of a channel that its owner closed while it reported (${engine})`, async () => {
    const calls: string[] = []
    const server = make(world.credentials)
    const pair = connectSocket(
      {
        setCredentials() {},
        accept: handlers => {
          const channel = server.accept({
            ...handlers,
            secure: () => {
              calls.push('secure')
              channel.close()
              handlers.secure()
            },
            data: () => calls.push('data'),
            closed: () => calls.push('closed'),
          })
          return channel
        },
      },
      {},
    )
    pair.socket.write('behind the handshake')
    await pair.secure
    await new Promise(resolve => setTimeout(resolve, 50))
    assert.deepEqual(calls, ['secure'])
    pair.accepted.close()
    pair.socket.destroy()
  })
}

test('OpenSSL itself is taken where it can be called, and node:tls elsewhere', async () => {
  assert.ok(newTlsServer(world.credentials) instanceof MemoryTlsServer)
  const missing = new SysError('dlsym', 'ENOSYMBOL', 'SSL_new')
  assert.equal(await chooseEngine(() => Promise.reject(missing)), StreamTlsServer)
  await assert.rejects(
    chooseEngine(() => Promise.reject(new TypeError('a mistake'))),
    TypeError,
  )
})

test('connections are freed once, whatever ended them', async () => {
  const before = TlsConnection.living
  const server = new MemoryTlsServer(world.credentials)
  const open = connectPair(server, client)
  await open.until('client secure')
  const begun = server.accept({ output() {}, secure() {}, data() {}, closed() {} })
  const broken = server.accept({ output() {}, secure() {}, data() {}, closed() {} })
  assert.equal(TlsConnection.living, before + 3)
  broken.receive(Buffer.from('this is no TLS at all'))
  assert.equal(TlsConnection.living, before + 2)
  broken.close()
  begun.close()
  begun.close()
  closePair(open)
  closePair(open)
  assert.equal(TlsConnection.living, before)
  assert.equal(open.server.peer, undefined)
  assert.throws(() => open.server.exportKey(32, 'x'), /no TLS session/)
})

test('a message that fills a record arrives whole, and a longer one is refused', async () => {
  const pair = connectPair(new MemoryTlsServer(world.credentials), client)
  await Promise.all([pair.until('client secure'), pair.until('server secure')])
  const longest = 'x'.repeat(16_384)
  pair.server.write(Buffer.from(longest))
  await pair.until(`client got ${longest}`)
  assert.throws(() => pair.server.write(Buffer.from(`${longest}y`)), /ERANGE_ARENA/)
  closePair(pair)
})

test('what is wrong with credentials is said', () => {
  const { credentials } = world
  assert.throws(
    () => new MemoryTlsServer({ ...credentials, key: new World().credentials.key }),
    /key values mismatch/,
  )
  assert.throws(() => new MemoryTlsServer({ ...credentials, key: 'none' }), /PEM_read_bio_PrivateKey/)
  assert.throws(() => new MemoryTlsServer({ ...credentials, cert: 'none' }), /PEM_read_bio_X509/)
})

test('the ciphers are those that were given, and nothing comes of what was freed', async () => {
  const [ciphers, suites] = ['ECDHE-ECDSA-AES256-GCM-SHA384', 'TLS_CHACHA20_POLY1305_SHA256']
  const context = new TlsContext({ ...world.credentials, ciphers, suites, maxCertificates: 16_384 })
  for (const [maxVersion, name] of [
    ['TLSv1.2', ciphers],
    ['TLSv1.3', suites],
  ] as const) {
    const server: TlsServer = {
      setCredentials() {},
      accept: ({ output, secure }) => {
        const connection = context.accept()
        const receive = (bytes: Uint8Array): void => {
          const step = connection.receive(bytes)
          if (step.output) output(step.output)
          if (connection.secure) secure()
        }
        return { receive, close: () => connection.free() } as TlsChannel
      },
    }
    const { accepted, socket, both } = connectSocket(server, { maxVersion })
    await both
    assert.equal(socket.getCipher().name, name)
    accepted.close()
    socket.destroy()
  }
  const connection = context.accept()
  context.free()
  context.free()
  assert.throws(() => context.accept(), /SSL_new/)
  assert.equal(connection.secure, false)
  connection.free()
  connection.free()
  assert.throws(() => connection.secure, /was freed/)
})

test('why a connection is over is what ended it, however much came behind', () => {
  const reasons: string[] = []
  const channel = new MemoryTlsServer(world.credentials).accept({
    output() {},
    secure: () => assert.fail('secure'),
    data: () => assert.fail('data'),
    closed: reason => reasons.push(reason),
  })
  channel.receive(Buffer.alloc(40_000, 'GET / HTTP/1.1\r\n'))
  assert.deepEqual(reasons, ['http request'])
})

// OpenSSL has one queue of errors for each thread, and what stands there already counts as an error of the next connection.
test('an error that someone else left behind is none of a connection', async () => {
  const name = new Arena(16)
  name.bytes.set(Buffer.from('no cipher\0'))
  const fetch = libcrypto('EVP_CIPHER_fetch', POINTER, POINTER, POINTER, POINTER)
  const peek = libcrypto('ERR_peek_error', 'ulong')
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const pair = connectPair(new MemoryTlsServer(world.credentials), { ...client, maxVersion })
    await Promise.all([pair.until('client secure'), pair.until('server secure')])
    assert.equal(Number(fetch(0, name.address(0, 10), 0)), 0)
    assert.notEqual(Number(peek()), 0)
    // The first byte of a record: there is more to come.
    pair.server.receive(Uint8Array.of(0x17))
    assert.equal(Number(peek()), 0)
    assert.deepEqual(
      pair.log.filter(entry => entry.includes('closed')),
      [],
    )
    closePair(pair)
  }
})

/** What a client says first. */
async function clientHello(): Promise<Uint8Array> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array>()
  const transport = new Duplex({ read() {}, write: (chunk: Uint8Array, _encoding, _done) => resolve(chunk) })
  const socket = tls.connect({ socket: transport, ...client })
  socket.on('error', () => {})
  const hello = Uint8Array.from(await promise)
  socket.destroy()
  return hello
}

test('20,000 clients that come no further than their first words leave no memory behind', async () => {
  const server = new MemoryTlsServer(world.credentials)
  const hello = await clientHello()
  const round = (count: number): void => {
    for (let i = 0; i < count; i++) {
      const channel = server.accept({ output() {}, secure() {}, data() {}, closed() {} })
      channel.receive(hello)
      channel.close()
    }
  }
  /** Bytes that are neither JavaScript's nor waiting to be collected: OpenSSL's among them. */
  const native = async (): Promise<number> => {
    for (let i = 0; i < 2; i++) {
      await new Promise(resolve => setTimeout(resolve, 20))
      collect()
    }
    const { rss, heapTotal, external } = process.memoryUsage()
    return rss - heapTotal - external
  }
  round(4000)
  const before = await native()
  for (let i = 0; i < 8; i++) {
    round(2500)
    await native()
  }
  // A connection in the middle of its handshake has more than 20 kB.
  const grown = (await native()) - before
  assert.ok(grown < 20_000 * 1000, `${Math.round(grown / 1e6)} MB more`)
})
