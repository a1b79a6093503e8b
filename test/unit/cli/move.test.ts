// `controller move`: a controller that does not run is told where it listens and is dialled from now on.
import assert from 'node:assert/strict'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Certificates } from '../../../node/certificates.ts'
import { Home, readCertificate, readKey } from '../../../node/home.ts'
import { initMesh } from '../../../node/init.ts'
import { FakeService } from '../api/fake-service.ts'
import { temporaryDirectory } from '../node-join/world.ts'
import { run, Served } from './run.ts'

/** The data directory of a controller that does not run. */
async function stopped(t: TestContext): Promise<string> {
  const dataDir = join(await temporaryDirectory(t), 'alpha')
  const mesh = { name: 'prod', subnet: '10.77.0.0/16', controller: 'alpha' }
  const place = { public: ['vpn.example.net'], listen: ['0.0.0.0:1194'], meshListen: '0.0.0.0:4001' }
  await initMesh({ dataDir, ...mesh, ...place })
  return dataDir
}

test('what is given changes, for good; the rest stays', async t => {
  const dataDir = await stopped(t)
  const move = (...args: string[]) => run(['controller', 'move', ...args], { dataDir })
  const first = await move('--public', 'vpn2.example.net', '--public', '192.0.2.7:1200')
  assert.equal(first.code, 0, first.stderr)
  assert.match(first.stdout, /^clients dial +vpn2\.example\.net:1194 192\.0\.2\.7:1200$/m)
  assert.match(first.stdout, /^peers dial +vpn2\.example\.net:4001 192\.0\.2\.7:4001$/m)
  assert.match(first.stdout, /^it listens on +0\.0\.0\.0:1194$/m)
  assert.match(
    first.stderr,
    /packs made before name vpn\.example\.net:1194: their clients use the other controllers/,
  )
  assert.doesNotMatch(first.stderr, /ipsec/)
  assert.match(first.stderr, /port 1200 is dialled, and nothing here listens on it/)

  const second = await move(
    '--listen',
    '0.0.0.0:1194',
    '--listen',
    '0.0.0.0:1200',
    '--mesh-listen',
    '0.0.0.0:4009',
  )
  assert.equal(second.code, 0, second.stderr)
  assert.doesNotMatch(second.stderr, /packs made before|nothing here listens/)
  assert.match(second.stdout, /^clients dial +vpn2\.example\.net:1194 192\.0\.2\.7:1200$/m)
  assert.match(second.stdout, /^peers dial +vpn2\.example\.net:4009 192\.0\.2\.7:4009$/m)

  const home = await Home.open(dataDir)
  try {
    assert.deepEqual(home.controller.publicEndpoints, ['vpn2.example.net:1194', '192.0.2.7:1200'])
    assert.deepEqual(home.controller.meshEndpoints, ['vpn2.example.net:4009', '192.0.2.7:4009'])
    assert.deepEqual(home.config.listen, ['0.0.0.0:1194', '0.0.0.0:1200'])
    assert.equal(home.config.meshListen, '0.0.0.0:4009')
    const server = await readCertificate(home.directory, home.directory.serverCertificate)
    assert.match(server.subjectAltName ?? '', /vpn2\.example\.net.*192\.0\.2\.7/)
    assert.doesNotMatch(server.subjectAltName ?? '', /vpn\.example\.net/)
    assert.ok(server.checkPrivateKey(await readKey(home.directory, home.directory.serverKey)))
    assert.equal((await (await Certificates.open(home)).renew(Date.now())).renewed.length, 0)
  } finally {
    await home.close()
  }
})

test('where the old address stays, packs stay good; one endpoint written twice is one', async t => {
  const dataDir = await stopped(t)
  const endpoints = ['[2001:db8::1]:1194', '[2001:DB8::1]', 'VPN.example.net'].flatMap(each => [
    '--public',
    each,
  ])
  const moved = await run(['controller', 'move', '--json', ...endpoints], { dataDir })
  assert.equal(moved.code, 0, moved.stderr)
  assert.deepEqual(JSON.parse(moved.stdout), {
    public: ['[2001:db8::1]:1194', 'vpn.example.net:1194'],
    mesh: ['[2001:db8::1]:4001', 'vpn.example.net:4001'],
    listen: ['0.0.0.0:1194'],
    meshListen: '0.0.0.0:4001',
    gone: [],
    sites: [],
  })
  assert.equal(moved.stderr, '')
})

test('it waits for another command, and keeps what that has changed', async t => {
  const dataDir = await stopped(t)
  const home = await Home.open(dataDir)
  const moving = run(['controller', 'move', '--mesh-listen', '0.0.0.0:4009'], { dataDir })
  await delay(1000)
  await home.directory.writeConfig({ ...home.config, listen: ['0.0.0.0:1200'] })
  await home.close()
  const { code, stderr } = await moving
  assert.equal(code, 0, stderr)
  const { listen, meshListen } = JSON.parse(readFileSync(join(dataDir, 'config.json'), 'utf8'))
  assert.deepEqual([listen, meshListen], [['0.0.0.0:1200'], '0.0.0.0:4009'])
})

test('what was found wrong at opening is said, and who has sites is told of them', async t => {
  const dataDir = await stopped(t)
  const psk = join(dataDir, '..', 'psk')
  writeFileSync(psk, 'a secret that is long enough\n', { mode: 0o600 })
  const site = ['--remote', '198.51.100.7', '--psk-file', psk, '--remote-ts', '192.168.30.0/24']
  const added = await run(['ipsec', 'add', 'office', ...site], { dataDir })
  assert.equal(added.code, 0, added.stderr)
  chmodSync(join(dataDir, 'identity.key'), 0o644)
  const { code, stderr } = await run(['controller', 'move', '--public', 'vpn2.example.net'], { dataDir })
  assert.equal(code, 0, stderr)
  assert.match(stderr, /attention: .*identity\.key was open to other users/)
  assert.match(stderr, /routers of office: `overmesh ipsec export`/)
})

test('what nobody can dial or listen on, or nothing at all, is refused and changes nothing', async t => {
  const dataDir = await stopped(t)
  const config = readFileSync(join(dataDir, 'config.json'), 'utf8')
  const cases: [string[], number, RegExp][] = [
    [[], 2, /give what changes: --public, --listen or --mesh-listen/],
    [
      ['--public', '10.77.1.1', '--listen', '0.0.0.0:1195'],
      2,
      /10\.77\.1\.1 is in the overlay's own 10\.77\.0\.0\/16/,
    ],
    [['--public', '0.0.0.0'], 2, /where to listen, not an address to dial/],
    [['--listen', 'localhost:1194'], 2, /is a name; give an address of this machine/],
    [['--mesh-listen', '0.0.0.0'], 2, /has no port/],
    [['--api', 'https://192.0.2.1:8443', '--public', 'a.example.net'], 2, /leave out --api/],
  ]
  for (const [args, status, words] of cases) {
    const { code, stdout, stderr } = await run(
      ['controller', 'move', ...args],
      args[0] === '--api' ? {} : { dataDir },
    )
    assert.equal(code, status, stderr)
    assert.match(stderr, words)
    assert.equal(stdout, '')
  }
  assert.equal(readFileSync(join(dataDir, 'config.json'), 'utf8'), config)
  const home = await Home.open(dataDir)
  assert.deepEqual(home.controller.publicEndpoints, ['vpn.example.net:1194'])
  await home.close()
})

test('one that runs is to be stopped first; one that has left the mesh goes nowhere', async t => {
  await using served = await Served.open(new FakeService())
  const running = await served.run('controller', 'move', '--public', 'vpn2.example.net')
  assert.equal(running.code, 1)
  assert.match(running.stderr, /a controller is running on .*; stop it first/)

  const dataDir = await stopped(t)
  const home = await Home.open(dataDir)
  await home.replica.write([
    { kind: 'controller', id: home.id, value: { ...home.controller, removedAt: Date.now() } },
  ])
  await home.close()
  const left = await run(['controller', 'move', '--public', 'vpn2.example.net'], { dataDir })
  assert.equal(left.code, 1)
  assert.match(left.stderr, /controller alpha left the mesh at .*join with a new data directory/)
})
