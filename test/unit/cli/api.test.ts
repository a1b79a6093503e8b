// Commands about the API over TCP and its tokens, and commands that go to a controller elsewhere by it.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { FakeService } from '../api/fake-service.ts'
import { TcpWorld } from '../api/tcp-world.ts'
import { temporaryDirectory } from '../controller/home.ts'
import { LAUNCHER, type Result, run, Served, start } from './run.ts'

test('a token is alone on its line, or in a file of its owner; the rest is said beside it', async () => {
  const service = new FakeService()
  await using served = await Served.open(service)
  const printed = await served.run('token', 'add', 'grafana', '--scope', 'read')
  assert.equal(printed.stdout, 'omt1_not-a-real-one\n')
  assert.match(printed.stderr, /^grafana may read until 2036-01-02 .*; the secret is not shown again\n$/)
  const file = join(served.dataDir, 'ci.token')
  const kept = await served.run('token', 'add', 'ci', '--scope', 'operate', '--ttl', '2d', '--out', file)
  assert.equal(kept.stdout, `wrote ${file}\n`)
  assert.equal(readFileSync(file, 'utf8'), 'omt1_not-a-real-one\n')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.doesNotMatch(kept.stderr, /omt1_/)
  const calls = service.calls.length
  const twice = await served.run('token', 'add', 'ci', '--scope', 'read', '--out', file)
  assert.equal(twice.code, 1)
  assert.equal(service.calls.length, calls, 'no token is made that could not be kept')
  assert.deepEqual(service.calls.slice(-2), [
    ['addToken', { name: 'grafana', scope: 'read' }],
    ['addToken', { name: 'ci', scope: 'operate', ttlSeconds: 172_800 }],
  ])
  assert.match(
    (await served.run('token', 'list')).stdout,
    /^TOKEN +ID +SCOPE +STATE.*\ngrafana +00112233445566ff +read +good/,
  )
  assert.match(
    (await served.run('token', 'revoke', 'ci')).stdout,
    /^ci is good no more; stored on 2 of 3 controllers\n$/,
  )
  const unknown = await served.run('token', 'revoke', 'nobody')
  assert.deepEqual([unknown.code, unknown.stderr], [1, 'overmesh: there is no token nobody\n'])
})

test('the API is shown and set, and the certificate to trust goes to a file', async () => {
  const service = new FakeService()
  await using served = await Served.open(service)
  assert.match(
    (await served.run('api')).stdout,
    /^over TCP +on\n[\s\S]*listens on +0\.0\.0\.0:8443\n[\s\S]*SHA-256 abab/,
  )
  await served.run(
    'api',
    'enable',
    '--listen',
    '127.0.0.1:8443',
    '--listen',
    '[::1]:8443',
    '--name',
    'x.example',
  )
  await served.run('api', 'disable')
  assert.deepEqual(service.calls, [
    ['changeApi', { listen: ['127.0.0.1:8443', '[::1]:8443'], names: ['x.example'] }],
    ['changeApi', { listen: [] }],
  ])
  const file = join(served.dataDir, 'ca.pem')
  const { stdout, stderr } = await served.run('api', 'ca', '--out', file)
  assert.equal(stdout, `wrote ${file}\n`)
  assert.match(stderr, /fingerprint is (ab){32}/)
  assert.equal(readFileSync(file, 'utf8'), (await service.api()).rootCertificate)
  assert.equal((await served.run('api', 'ca')).stdout, readFileSync(file, 'utf8'))
})

async function elsewhere(t: TestContext) {
  const world = await TcpWorld.open(t)
  const directory = await temporaryDirectory(t)
  await mkdir(directory)
  const file = (name: string, content: string) => {
    const path = join(directory, name)
    writeFileSync(path, content)
    return path
  }
  const token = await world.token('admin')
  const options = {
    api: `https://localhost:${world.port}`,
    tokenFile: file('token', `${token}\n`),
    ca: file('ca.pem', world.home.rootCertificate),
  }
  const given = ['--api', options.api, '--token-file', options.tokenFile, '--ca', options.ca]
  return { world, directory, file, token, options, given }
}

test('commands go to a controller elsewhere, by options or by the environment', async t => {
  const { world, options, given, token, directory } = await elsewhere(t)
  const { service } = world
  const good = (result: Result) => {
    assert.equal(result.code, 0, result.stderr)
    return result.stdout
  }
  assert.deepEqual(JSON.parse(good(await run([...given, 'status', '--json']))), await service.status())
  assert.deepEqual(
    JSON.parse(good(await run(['client', 'list', '--json', ...given]))),
    await service.clients(),
  )
  const env = { OVERMESH_API: options.api, OVERMESH_CA: options.ca }
  const byFile = { ...env, OVERMESH_TOKEN_FILE: options.tokenFile }
  assert.match(good(await run(['client', 'disable', 'web'], { env: byFile })), /web/)
  assert.match(good(await run(['status'], { env: { ...env, OVERMESH_TOKEN: token } })), /^mesh +home/)
  assert.match(
    good(
      await run(['status', ...given.slice(0, 2), '--token-file', '-', ...given.slice(4)], {
        input: `${token}\n`,
      }),
    ),
    /^mesh/,
  )
  const pack = join(directory, 'new.ovpn')
  good(await run(['client', 'add', 'new', '--out', pack], { env: byFile }))
  assert.equal(statSync(pack).mode & 0o777, 0o600)
  const health = await run(['health', ...given])
  assert.deepEqual([health.code, health.stdout], [0, 'ready\n'], health.stderr)
  service.state = { alive: true, ready: false, problems: ['it is drained'] }
  const drained = await run(['health'], { env: byFile })
  assert.deepEqual([drained.code, drained.stdout], [1, 'alive, not ready\nit is drained\n'])
  assert.equal((await run(['health', '--alive'], { env: byFile })).code, 0)
  const here = await run(['health', '--data', directory], { env: byFile })
  assert.deepEqual([here.code, here.stdout], [1, `not alive\nno controller is running on ${directory}\n`])
  // A data directory that is named is meant.
  const local = await run(['status', '--data', directory], { env: byFile })
  assert.equal(local.code, 1)
  assert.match(local.stderr, /^overmesh: no controller in|config\.json/)
  const follow = start(['events', '--follow', '--json'], { env: byFile })
  while (service.followers === 0) await new Promise(resolve => setTimeout(resolve, 10))
  service.emit('client-added', { client: 'x' })
  const [line] = await once(follow.stdout!, 'data')
  assert.equal(JSON.parse(String(line)).client, 'x')
  const closed = once(follow, 'close')
  follow.kill('SIGINT')
  await closed
})

test('what is wrong is one line, and never the token', async t => {
  const { world, options, file, token, given } = await elsewhere(t)
  const read = file('read', await world.token('read'))
  const revoked = await world.token('read', 'gone')
  await world.revoke('gone')
  const none = `https://localhost:1`
  const withToken = (path: string) => ['--api', options.api, '--token-file', path, '--ca', options.ca]
  const cases: [args: string[], message: RegExp, code?: number][] = [
    [['drain', ...withToken(read)], /^overmesh: this takes a token of scope operate; this one has read\n$/],
    [['status', ...withToken(file('gone', revoked))], /^overmesh: the token was revoked\n$/],
    [['status', ...withToken(file('bad', 'nonsense'))], /no token of Overmesh, or not all of one/],
    [
      ['status', ...withToken(file('split', `${token} x`))],
      /is no token; put there what `overmesh token add` printed/,
    ],
    [['status', ...withToken(file('empty', '\n'))], /the first line of .* is empty/],
    [['status', ...withToken('/nonexistent')], /cannot read the token from \/nonexistent/],
    [
      ['status', '--api', options.api, '--token-file', options.tokenFile],
      /signed by nobody that this system trusts; give the file that `overmesh api ca`/,
    ],
    [
      ['status', '--api', options.api, '--token-file', options.tokenFile, '--ca', options.tokenFile],
      /is no certificate in PEM; `overmesh api ca --out FILE`/,
    ],
    [
      ['status', '--api', none, '--token-file', options.tokenFile, '--ca', options.ca],
      /https:\/\/localhost:1 is not reached: nothing listens there/,
    ],
    [['client', 'show', 'nobody', ...given], /there is no client nobody/],
    [
      ['health', '--api', none, '--token-file', options.tokenFile, '--ca', options.ca],
      /https:\/\/localhost:1 is not reached: nothing listens there/,
    ],
  ]
  for (const [args, message, code = 1] of cases) {
    const result = await run(args)
    assert.match(result.stderr, message, args.join(' '))
    assert.match(result.stderr, /^overmesh: [^\n]+\n$/)
    assert.equal(result.code, code, args.join(' '))
    assert.equal(result.stdout, '')
    assert.ok(!result.stderr.includes(token))
  }
})

test('what works on a data directory of this machine is refused for another one, whichever way that is named', async t => {
  const dataDir = await temporaryDirectory(t)
  const address = 'https://alpha.example.net:8443'
  const env = { OVERMESH_API: address }
  const words = 'overmesh: this command works on a data directory of this machine; '
  for (const command of [
    'doctor',
    'up --no-tun',
    'init --name prod --subnet 10.77.0.0/16',
    'join om1-x',
    'controller move --public vpn.example.net',
    `authority export --passphrase-file ${LAUNCHER}`,
    `authority import ${LAUNCHER} --passphrase-file ${LAUNCHER}`,
    `restore /nonexistent --passphrase-file ${LAUNCHER}`,
  ]) {
    const args = command.split(' ')
    const option = await run([...args, '--api', address], { dataDir })
    assert.deepEqual(option, { code: 2, stdout: '', stderr: `${words}leave out --api\n` })
    const variable = await run(args, { dataDir, env })
    const stderr = `${words}unset OVERMESH_API, or name it with --data\n`
    assert.deepEqual(variable, { code: 2, stdout: '', stderr }, command)
    const named = await run([...args, '--data', '/dev/null'], { env })
    assert.doesNotMatch(named.stderr, /OVERMESH_API/)
  }
  assert.equal(existsSync(dataDir), false)
})
