// Commands about who is a controller: what they print and write.
import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Home } from '../../../node/home.ts'
import type { ControllerEntry } from '../../../node/service-membership.ts'
import { FakeService, PACK_TEXT } from '../api/fake-service.ts'
import { startInviter, temporaryDirectory } from '../node-join/world.ts'
import { ownPort } from '../own-ports.ts'
import { run, Served, UNREAD } from './run.ts'

function entry(name: string, change: Partial<ControllerEntry> = {}): ControllerEntry {
  return {
    id: name,
    name,
    self: false,
    address: '10.77.0.2',
    public: ['192.0.2.1:1194'],
    mesh: ['192.0.2.1:4001'],
    joinedAt: '2026-01-02T03:04:05.678Z',
    up: true,
    behind: 0,
    draining: false,
    holdsRootKey: false,
    version: '0.1.0',
    removedAt: null,
    removedBy: null,
    ...change,
  }
}

const lastLine = (text: string): string | undefined => text.trimEnd().split('\n').at(-1)

test('invite ends with the token alone on its line', async () => {
  const service = new FakeService()
  await using served = await Served.open(service)
  const { code, stdout, stderr } = await served.run('invite', '--ttl', '2h')
  assert.equal(code, 0)
  assert.equal(stdout, 'om1-token\n')
  assert.match(stderr, /good once, for 2h 0m, at 192\.0\.2\.1:4001 \(TCP\)/)
  assert.deepEqual(service.calls, [['invite', 7200]])
  const json = await served.run('invite', '--json')
  assert.deepEqual(JSON.parse(json.stdout), {
    token: 'om1-token',
    expiresAt: '2026-01-02T04:04:05.678Z',
    endpoints: ['192.0.2.1:4001'],
  })
  assert.equal(json.stderr, '')
})

test('controllers are listed, taken out, and leave', async () => {
  const service = new FakeService()
  service.controllers = async (all?: boolean) => [
    entry('alpha', { self: true, holdsRootKey: true }),
    entry('beta', { up: false, behind: 3 }),
    ...(all ? [entry('gamma', { up: false, removedAt: '2026-02-02T03:04:05.678Z', removedBy: 'beta' })] : []),
  ]
  await using served = await Served.open(service)
  const list = await served.run('controller', 'list')
  assert.match(list.stdout, /^NAME +STATE +ADDRESS/)
  assert.match(list.stdout, /alpha \(this one\) +up .* here/)
  assert.match(list.stdout, /beta +away .* 3 /)
  assert.doesNotMatch(list.stdout, /gamma/)
  const all = await served.run('controller', 'list', '--all')
  assert.match(all.stdout, /gamma +removed by beta/)
  const json = await served.run('--json', 'controller', 'list', '--all')
  assert.deepEqual(JSON.parse(json.stdout), await service.controllers(true))

  const removed = await served.run('controller', 'remove', 'beta')
  assert.equal(removed.code, 0)
  assert.match(removed.stdout, /controller beta was removed; stored on 2 of 2 controllers/)
  assert.match(removed.stdout, /it issued the credential of 1 client, which ends with it: web/)
  assert.match(removed.stderr, /overmesh client reissue --issuer beta --out-dir DIR/)
  const left = await served.run('leave')
  assert.match(left.stdout, /controller alpha has left the mesh/)
})

test('reissue writes a pack for each client of that issuer, and nothing over a file', async () => {
  const service = new FakeService('web', 'db', 'other', 'gone')
  for (const name of ['web', 'db', 'gone']) {
    Object.assign(service.all.get(name)!, { issuer: 'beta', issuerRemoved: true })
  }
  service.all.get('gone')!.revoked = true
  // Of one that joined later under the same name.
  Object.assign(service.all.get('other')!, { issuer: 'beta', issuerRemoved: false })
  service.controllers = async () => [entry('beta', { removedAt: '2026-02-02T03:04:05.678Z' }), entry('beta')]
  await using served = await Served.open(service)
  const packs = join(served.dataDir, 'packs')
  mkdirSync(packs)
  writeFileSync(join(packs, 'web.ovpn'), 'mine')
  const args = ['client', 'reissue', '--issuer', 'beta', '--out-dir', 'packs']
  const refused = await served.run(...args)
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /packs\/web\.ovpn exists, so nothing was changed; .*--force/)
  assert.deepEqual(readdirSync(packs), ['web.ovpn'])
  assert.equal(service.calls.length, 0)

  const done = await served.run(...args, '--force')
  assert.equal(done.code, 0, done.stderr)
  assert.deepEqual(readdirSync(packs).sort(), ['db.ovpn', 'web.ovpn'])
  for (const file of readdirSync(packs)) {
    assert.equal(readFileSync(join(packs, file), 'utf8'), PACK_TEXT)
    assert.equal(statSync(join(packs, file)).mode & 0o777, 0o600)
  }
  assert.deepEqual(service.calls.map(([, name]) => name).sort(), ['db', 'web'])
  const unknown = await served.run('client', 'reissue', '--issuer', 'nobody', '--out-dir', 'packs')
  assert.equal(unknown.code, 1)
  assert.match(unknown.stderr, /no controller is or was named nobody/)
})

test('join makes a controller of this machine, or says in one line why not', {
  timeout: 240_000,
}, async t => {
  const inviter = await startInviter(t)
  const dataDir = await temporaryDirectory(t)
  const options = ['--controller', 'beta', '--public', 'vpn2.example.net', '--mesh-listen', '127.0.0.1:4002']
  const token = await inviter.token()
  for (const [text, expected] of [
    [token.slice(0, -3), /cut short or mistyped/],
    ['web.ovpn', /that is a clientpack/],
    ['', /the token is empty/],
  ] as const) {
    const bad = await run(['join', text, ...options], { dataDir })
    assert.equal(bad.code, 2)
    assert.match(bad.stderr, expected)
    assert.match(bad.stderr, /^overmesh: [^\n]+\n$/)
  }
  const taken = await run(['join', token, '--controller', 'alpha'], { dataDir })
  assert.equal(taken.code, 1)
  assert.match(lastLine(taken.stderr)!, /^overmesh: a controller named alpha is in the mesh already/)

  const joined = await run(['join', token, ...options, '--json'], { dataDir })
  assert.equal(joined.code, 0, joined.stderr)
  const { name, controller, public: endpoints, records, dataDir: told } = JSON.parse(joined.stdout)
  assert.deepEqual(
    { name, controller, endpoints, told },
    {
      name: 'prod',
      controller: 'beta',
      endpoints: ['vpn2.example.net:1194'],
      told: dataDir,
    },
  )
  assert.equal(records, inviter.home.replica.count)
  assert.equal(joined.stderr, '')
  const status = JSON.parse((await run(['status', '--json'], { dataDir })).stdout)
  assert.equal(status.stateHash, inviter.home.replica.hash())

  // Inviting needs the root key; the door is the running controller's, which is said.
  const noKey = await run(['invite'], { dataDir })
  assert.equal(noKey.code, 1)
  assert.match(noKey.stderr, /the key of the mesh root, which admits controllers, is not here/)
  const again = await run(['join', await inviter.token(), ...options], { dataDir })
  assert.equal(again.code, 1)
  assert.match(lastLine(again.stderr)!, /holds a controller already; nothing was changed/)
})

test('a join of which nobody reads anything is one all the same', { timeout: 240_000 }, async t => {
  const inviter = await startInviter(t)
  const dataDir = await temporaryDirectory(t)
  const args = ['join', await inviter.token(), '--controller', 'beta', '--public', 'vpn2.example.net']
  const first = UNREAD.replace(';', ' 2>&1;')
  assert.equal((await run(args, { dataDir, first })).code, 0)
  const status = JSON.parse((await run(['status', '--json'], { dataDir })).stdout)
  assert.equal(status.stateHash, inviter.home.replica.hash())
  assert.equal((await run(args, { dataDir, first })).code, 1, 'there is one already')
})

test('invite without a running controller says that one must run', async t => {
  const dataDir = await temporaryDirectory(t)
  const init = await run(['init', '--name', 'prod', '--subnet', '10.77.0.0/16', '--public', '192.0.2.1'], {
    dataDir,
  })
  assert.equal(init.code, 0, init.stderr)
  const { code, stdout, stderr } = await run(['invite'], { dataDir })
  assert.equal(code, 0)
  assert.match(stdout, /^om1-[A-Za-z0-9_-]+\n$/)
  assert.match(stderr, /at 192\.0\.2\.1:4001/)
  assert.match(stderr, /no controller is running here: start it with `overmesh up`/)
})

test('up says in one line that another uses its port, or that it was taken out', {
  timeout: 240_000,
}, async t => {
  const inviter = await startInviter(t)
  const dataDir = await temporaryDirectory(t)
  const own = ['--public', '192.0.2.2', '--listen', `127.0.0.1:${await ownPort()}`]
  const listen = [...own, '--mesh-listen', inviter.endpoint]
  const joined = await run(['join', await inviter.token(), '--controller', 'beta', ...listen], { dataDir })
  assert.equal(joined.code, 0, joined.stderr)
  const inUse = await run(['up', '--no-tun'], { dataDir })
  assert.equal(inUse.code, 1)
  assert.match(lastLine(inUse.stderr)!, /^overmesh: cannot listen on 127\.0\.0\.1:\d+ \(TCP\).*in use/)

  await inviter.membership.remove('beta')
  const beta = await Home.open(dataDir)
  await beta.replica.absorb(inviter.home.replica.missingFor(beta.replica.vector())!)
  await beta.close()
  const removed = await run(['up', '--no-tun'], { dataDir })
  assert.equal(removed.code, 1)
  assert.match(lastLine(removed.stderr)!, /^overmesh: controller beta was removed from the mesh by alpha at /)
})
