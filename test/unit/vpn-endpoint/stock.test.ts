// Stock OpenVPN of this machine as the client, without root: `--dev null`.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { OPCODE, opcodeOf } from '../../../node/vpn/packet.ts'
import { inline, replaceInline } from '../../lab/openvpn-client.ts'
import { LabProcess } from '../../lab/process.ts'
import { LoopbackServer } from './loopback.ts'
import { type EndpointOptions, World } from './world.ts'

const CONNECTED = /Initialization Sequence Completed/

async function serve(t: TestContext, options: EndpointOptions = {}) {
  const world = new World()
  const server = await LoopbackServer.start(world, options)
  t.after(() => server.stop())
  return { world, server }
}

async function openvpn(t: TestContext, pack: string, ...args: string[]): Promise<LabProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'overmesh-endpoint-'))
  const file = join(directory, 'client.ovpn')
  writeFileSync(file, pack, { mode: 0o600 })
  const argv = ['openvpn', '--config', file, '--dev', 'null', '--ifconfig-noexec', '--route-noexec', ...args]
  const process = await LabProcess.start(argv, { name: 'openvpn', logFile: '/dev/null' })
  t.after(async () => {
    await process.kill()
    rmSync(directory, { recursive: true })
  })
  return process
}

test('a stock client connects, takes what is pushed, and says good-bye', async t => {
  const { world, server } = await serve(t)
  const client = await openvpn(t, world.pack('web', { remotes: [server.remote] }))
  await client.waitFor(CONNECTED)
  assert.match(client.output, /PUSH_REPLY,route-gateway 10\.77\.0\.1,topology subnet,ping 1/)
  await client.waitFor(/Data Channel: cipher 'AES-256-GCM'/)
  assert.doesNotMatch(client.output, /WARNING|inconsistent/)
  const [session] = server.endpoint.sessions()
  assert.equal(session.name, 'web')
  assert.equal(session.tlsVersion, 'TLSv1.3')
  await client.stop('SIGINT')
  assert.deepEqual(server.log, ['up web', 'down web: the client left'])
})

test('either side renews the keys, again and again', async t => {
  const { world, server } = await serve(t, { settings: { renegotiationMs: 5000 } })
  const pack = world.pack('web', { remotes: [server.remote] })
  const client = await openvpn(t, pack, '--reneg-sec', '4', '--verb', '4')
  await client.waitFor(CONNECTED)
  const rounds = 3
  const deadline = Date.now() + 25_000
  while (server.endpoint.counters.renegotiations < rounds && Date.now() < deadline) await sleep(100)
  assert.ok(server.endpoint.counters.renegotiations >= rounds)
  assert.equal(client.count(CONNECTED), 1)
  assert.equal(client.count(/TLS Error|AUTH_FAILED|SIGUSR1/), 0, client.tail())
  assert.equal(server.endpoint.counters.renegotiationsFailed, 0)
  // What the client sends under the newest key arrives.
  assert.ok([...server.plane.ports.values()][0].keys.size <= 3)
  assert.equal([...server.plane.ports.values()][0].lost, 0)
})

const KINDS: { name: string; args: string[]; expect: RegExp }[] = [
  { name: 'TLS 1.2', args: ['--tls-version-max', '1.2'], expect: /Control Channel: TLSv1\.2/ },
  {
    name: 'ChaCha20 alone',
    args: ['--data-ciphers', 'CHACHA20-POLY1305'],
    expect: /Data Channel: cipher 'CHACHA20-POLY1305'/,
  },
  { name: 'AES-128 alone', args: ['--data-ciphers', 'AES-128-GCM'], expect: /cipher 'AES-128-GCM'/ },
]

for (const { name, args, expect } of KINDS) {
  test(`a stock client with ${name} connects`, async t => {
    const { world, server } = await serve(t)
    const client = await openvpn(t, world.pack('web', { remotes: [server.remote] }), ...args)
    await client.waitFor(CONNECTED)
    // Of the data channel openvpn tells after it has said that it is connected.
    await client.waitFor(expect)
    // Its pings open here, and ours there.
    const deadline = Date.now() + 10_000
    while (server.plane.authentic < 2 && Date.now() < deadline) await sleep(50)
    assert.ok(server.plane.authentic >= 2)
    assert.doesNotMatch(client.output, /decrypt|Authenticate/i)
  })
}

const REFUSALS: {
  name: string
  pack?: { at?: number; lifetime?: number; commonName?: string }
  args?: string[]
  /** In front of the pack, whose remotes have what was said until then. */
  before?: string
  forget?: boolean
  reason: string
}[] = [
  { name: 'an unknown certificate', forget: true, reason: 'this certificate is unknown' },
  {
    name: "another's name",
    pack: { commonName: 'db' },
    reason: 'this certificate bears another name',
  },
  {
    name: 'an expired certificate',
    pack: { at: Date.now() - 7200_000, lifetime: 3600 },
    reason: 'this certificate has expired',
  },
  {
    name: 'no cipher in common',
    args: ['--data-ciphers', 'AES-256-CBC', '--cipher', 'AES-256-CBC'],
    reason: 'no data cipher in common',
  },
  {
    name: 'compression',
    args: ['--comp-lzo', 'no', '--allow-compression', 'yes'],
    reason: 'compression is not supported',
  },
  { name: 'fragments of its own', before: 'fragment 1300', reason: 'fragment is not supported' },
]

for (const { name, pack, args = [], before = '', forget, reason } of REFUSALS) {
  test(`a stock client with ${name} is told why it is refused`, async t => {
    const { world, server } = await serve(t)
    const text = world.pack('web', { remotes: [server.remote], ...pack })
    if (forget) world.clients.clear()
    const client = await openvpn(t, `${before}\n${text}`, ...args)
    await client.waitFor(new RegExp(`AUTH_FAILED,${reason}`))
    assert.match(server.log[0], new RegExp(`^refused: ${reason}`))
    assert.deepEqual(server.plane.calls, [])
    assert.doesNotMatch(client.output, /PUSH_REPLY/)
  })
}

test('a stock client whose certificate is not valid yet is told why, and stays: a clock may have been set back', async t => {
  const { world, server } = await serve(t)
  const pack = world.pack('web', { remotes: [server.remote], at: Date.now() + 7200_000 })
  const client = await openvpn(t, pack)
  await client.waitFor(
    /AUTH_FAILED,TEMP\[backoff 10\]:this certificate is not valid yet; is the clock right\?/,
  )
  await client.waitFor(/SIGUSR1\[soft,auth-temp-failure/)
  assert.match(server.log[0], /^refused: this certificate is not valid yet/)
  assert.deepEqual(server.plane.calls, [])
})

test('a certificate of a foreign mesh is refused', async t => {
  const { world, server } = await serve(t)
  const stranger = new World().pack('web')
  const text = ['cert', 'key'].reduce(
    (pack, tag) => replaceInline(pack, tag, inline(stranger, tag)),
    world.pack('web', { remotes: [server.remote] }),
  )
  const client = await openvpn(t, text)
  await client.waitFor(/AUTH_FAILED,this certificate is not of this mesh/)
  assert.deepEqual(server.log, ['refused: this certificate is not of this mesh'])
})

test('a foreign tls-crypt-v2 key gets no answer', async t => {
  const { world, server } = await serve(t)
  const text = replaceInline(
    world.pack('web', { remotes: [server.remote] }),
    'tls-crypt-v2',
    new World().clientKey(),
  )
  const client = await openvpn(t, text)
  await client.waitFor(/Server poll timeout|server_poll/)
  assert.ok(server.endpoint.counters.clientKeyForged > 0)
  assert.equal(server.plane.controlPackets, 0)
})

test('sessions are ended with a word: restart, next remote, refusal', async t => {
  const { world, server } = await serve(t)
  const client = await openvpn(t, world.pack('web', { remotes: [server.remote] }))
  await client.waitFor(CONNECTED)
  let mark = client.mark()
  server.endpoint.end(() => true, { kind: 'restart', target: 'same' }, 'kicked')
  await client.waitFor(CONNECTED, 20, mark)
  mark = client.mark()
  server.endpoint.end(() => true, { kind: 'auth-failed', reason: 'this certificate was revoked' }, 'revoked')
  await client.waitFor(/AUTH_FAILED,this certificate was revoked/, 5, mark)
  await client.ended
  assert.deepEqual(server.log, ['up web', 'down web: kicked', 'up web', 'down web: revoked'])
})

test('a stock client that asks for new keys as its session ends is told so by those', async t => {
  const { world, server } = await serve(t)
  const { endpoint } = server
  const receive = endpoint.receive.bind(endpoint)
  let isOver = false
  endpoint.receive = (path, packet) => {
    if (opcodeOf(packet[0]) === OPCODE.softResetV1 && !isOver) {
      isOver = true
      endpoint.end(() => true, { kind: 'restart', target: 'same' }, 'kicked')
    }
    receive(path, packet)
  }
  const pack = world.pack('web', { remotes: [server.remote] })
  const client = await openvpn(t, pack, '--reneg-sec', '3')
  await client.waitFor(CONNECTED)
  await client.waitFor(CONNECTED, 30, client.mark())
  assert.match(client.output, /Connection reset command was pushed by server/)
  assert.doesNotMatch(client.output, /Inactivity timeout/)
  assert.deepEqual(server.log, ['up web', 'down web: kicked', 'up web'])
})

test('drain sends clients to the next controller', async t => {
  const { world, server } = await serve(t)
  const next = await LoopbackServer.start(world)
  t.after(() => next.stop())
  const client = await openvpn(t, world.pack('web', { remotes: [server.remote, next.remote] }))
  await client.waitFor(CONNECTED)
  const mark = client.mark()
  server.endpoint.drain()
  await client.waitFor(CONNECTED, 10, mark)
  assert.deepEqual(next.log, ['up web'])
  assert.equal([...server.endpoint.sessions()].length, 0)
})
