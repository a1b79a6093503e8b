// The mesh made as a document has it: all of it or nothing, and nothing twice.
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { readDocument, writeDocument } from '../../../node/desired/document.ts'
import { Home } from '../../../node/home.ts'
import type { ControllerService } from '../../../node/service.ts'
import type { DesiredState } from '../../../node/service-desired.ts'
import { run, start } from '../cli/run.ts'
import { newMesh, temporaryDirectory, withService } from '../controller/home.ts'

const secret = (text: string) => Buffer.from(text).toString('base64')
const PSK = secret('a pre-shared key of some length')

/** A mesh with one of everything. */
async function fullMesh(t: TestContext): Promise<string> {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    await service.addClient({
      name: 'web',
      tags: { site: 'berlin' },
      subnets: ['192.168.1.0/24'],
      prefer: ['alpha'],
    })
    await service.addClient({ name: 'db', ip: '10.77.0.50' })
    await service.addClient({ name: 'gone' })
    await service.addRoute({ cidr: '192.168.8.0/24', via: 'client:gone' })
    await service.revokeClient('gone')
    await service.disableClient('db')
    await service.addAttachment({
      ...{ name: 'paris', remote: '198.51.100.7', secret: PSK, initiate: true, remoteId: 'router.example' },
      ...{
        localSubnets: ['10.77.0.0/24', '192.168.1.0/24'],
        remoteSubnets: ['192.168.20.0/24'],
        dpdSeconds: 30,
        natTraversal: 'always',
      },
    })
    await service.addRoute({ cidr: '192.168.9.0/24', via: 'client:web', metric: 5, probe: '192.168.9.1' })
    await service.addRoute({ cidr: '10.9.0.0/16', via: 'controller:alpha', nat: true })
    await service.addRoute({ cidr: '0.0.0.0/0', via: 'internet:alpha' })
    await service.addRoute({ cidr: '192.168.20.128/25', via: 'attachment:paris' })
    await service.changeDns({ forwarders: ['192.0.2.53'] })
    await service.setRouteUpdates({ over: 'later' })
  })
  return dataDir
}

const read = (text: string): DesiredState => readDocument(text).document as DesiredState
const stateHash = async (service: ControllerService) => (await service.status()).stateHash

test('what is exported changes nothing, and holds no key', async t => {
  await withService(await fullMesh(t), async service => {
    const text = writeDocument(await service.desiredState())
    assert.doesNotMatch(text, /sealed|secret|BEGIN|gone:/)
    const before = await stateHash(service)
    const result = await service.reconcile({ desired: read(text), prune: true })
    assert.deepEqual(result, { changes: [], problems: [], applied: true })
    assert.equal(await stateHash(service), before)
  })
})

test('an export makes the same of a new mesh', async t => {
  const desired = await withService(await fullMesh(t), service => service.desiredState())
  await withService(await newMesh(t), async service => {
    const missing = await service.reconcile({ desired })
    assert.deepEqual(missing.problems.map(({ path }) => path.join('.')).sort(), [
      'attachments.paris',
      'routes.3',
    ])
    assert.equal(missing.applied, false)
    assert.equal((await service.clients()).length, 0)
    desired.attachments!.paris.secret = PSK
    desired.routes = desired.routes!.filter(({ via }) => via !== 'client:gone')
    const made = await service.reconcile({ desired })
    assert.deepEqual(made.problems, [])
    assert.equal(made.applied, true)
    assert.equal(made.changes.filter(({ action }) => action === 'add').length, 7)
    const { secret: _, ...paris } = desired.attachments!.paris
    assert.deepEqual(await service.desiredState(), { ...desired, attachments: { paris } })
    assert.match(
      Buffer.from((await service.packClient('web', 'ovpn')).content).toString(),
      /# address {2}10\.77\.0\.3/,
    )
    assert.deepEqual((await service.reconcile({ desired })).changes, [], 'the same key is no change')
    desired.attachments!.paris.secret = secret('another pre-shared key, as long')
    const rekeyed = await service.reconcile({ desired })
    assert.deepEqual(rekeyed.changes, [
      { action: 'change', kind: 'attachment', name: 'paris', details: ['the pre-shared key is another'] },
    ])
    assert.equal((await service.verify()).ok, true)
  })
})

test('what changes is said field by field, and a dry run changes nothing', async t => {
  await withService(await fullMesh(t), async service => {
    const desired = await service.desiredState()
    desired.clients!.web.tags = { site: 'paris' }
    delete desired.clients!.web.subnets
    desired.clients!.db.enabled = true
    desired.clients!.fresh = { tags: { a: 'b' } }
    desired.routes!.find(({ cidr }) => cidr === '192.168.9.0/24')!.metric = 9
    desired.routes!.push({ cidr: '192.168.7.0/24', via: 'client:fresh' })
    desired.attachments!.paris.initiate = false
    desired.dns!.enabled = false
    desired.routeUpdates = 20
    const before = await stateHash(service)
    const dry = await service.reconcile({ desired, dryRun: true })
    assert.equal(dry.applied, false)
    assert.equal(await stateHash(service), before)
    const words = (changes: typeof dry.changes) =>
      changes
        .map(({ action, kind, name, details }) => `${action} ${kind} ${name}: ${details.join('; ')}`)
        .sort()
    assert.deepEqual(words(dry.changes), [
      'add client fresh: 10.77.0.4; tags: none → {"a":"b"}',
      'add route 192.168.7.0/24 via client:fresh: ',
      'change attachment paris: initiate: true → false',
      'change client db: enabled: false → true',
      'change client web: subnets: ["192.168.1.0/24"] → none; tags: {"site":"berlin"} → {"site":"paris"}',
      'change dns dns: enabled: true → false',
      'change route 192.168.9.0/24 via client:web: metric: 5 → 9',
      'change routeUpdates routeUpdates: later → 20',
    ])
    const done = await service.reconcile({ desired })
    assert.deepEqual(words(done.changes), words(dry.changes))
    assert.deepEqual((await service.reconcile({ desired })).changes, [])
    const events = await service.events()
    const last = events.at(-1) as Record<string, unknown>
    assert.deepEqual([last.type, last.added, last.changed, last.removed], ['state-imported', 2, 6, 0])
  })
})

test('the way to the Internet at a controller is one route by either name', async t => {
  await withService(await newMesh(t), async service => {
    const reconcile = async (route: { via: string; nat?: boolean }) => {
      const routes = [{ cidr: '203.0.113.0/24', ...route }]
      const desired: DesiredState = { version: 1, mesh: 'prod', routes }
      const { changes, problems } = await service.reconcile({ desired, prune: true })
      assert.deepEqual(problems, [])
      assert.deepEqual((await service.desiredState()).routes, routes)
      return changes.map(({ action, details }) => `${action} ${details}`)
    }
    assert.deepEqual(await reconcile({ via: 'internet:alpha' }), ['add '])
    assert.deepEqual(await reconcile({ via: 'internet:alpha' }), [])
    const renamed = 'change via: internet:alpha → controller:alpha'
    assert.deepEqual(await reconcile({ via: 'controller:alpha', nat: true }), [renamed])
    assert.deepEqual(await reconcile({ via: 'controller:alpha' }), ['change nat: true → none'])
  })
})

test('what is not named stays, and goes by prune; sections that are absent are left alone', async t => {
  await withService(await fullMesh(t), async service => {
    const desired: DesiredState = { version: 1, mesh: 'prod', clients: { db: { enabled: false } } }
    const extras = await service.reconcile({ desired })
    assert.deepEqual(extras.changes, [{ action: 'extra', kind: 'client', name: 'web', details: [] }])
    assert.equal((await service.client('web')).revoked, false)
    const routes = [{ cidr: '192.168.9.0/24', via: 'client:web', metric: 5, probe: '192.168.9.1' }]
    const torn = await service.reconcile({ desired: { ...desired, routes }, prune: true })
    assert.match(torn.problems[0].message, /client:web is not in the document, and --prune is to remove it/)
    assert.equal((await service.client('web')).revoked, false)
    const pruned = await service.reconcile({
      desired: { ...desired, routes: [], attachments: {} },
      prune: true,
    })
    assert.equal(pruned.changes.filter(({ action }) => action === 'remove').length, 7)
    assert.equal((await service.client('web')).revoked, true)
    const { clients, routes: left, attachments, dns } = await service.desiredState()
    assert.deepEqual([Object.keys(clients!), left, attachments], [['db'], [], {}])
    assert.deepEqual(dns, { enabled: true, forwarders: ['192.0.2.53'] })
    // Its name and address are free for another.
    const again = { ...desired, clients: { ...desired.clients, web: { address: '10.77.0.3' } } }
    assert.equal((await service.reconcile({ desired: again })).applied, true)
    assert.equal((await service.client('web')).revoked, false)
  })
})

test('everything that is wrong is said at once, and nothing is done', async t => {
  await withService(await fullMesh(t), async service => {
    const before = await stateHash(service)
    const result = await service.reconcile({
      desired: {
        version: 1,
        mesh: 'other',
        dns: { forwarders: ['10.77.0.1'] },
        clients: {
          web: { address: '10.77.0.77' },
          good: { address: '10.77.0.60' },
          a: { address: '10.77.0.50' },
          b: { address: '10.77.0.60' },
          c: { subnets: ['192.168.5.1/24'], prefer: ['nobody'] },
          'd~12': {},
          'e.': {},
        },
        routes: [
          { cidr: '192.168.3.0/24', via: 'client:nobody' },
          { cidr: '192.168.3.0/24', via: 'internet' },
          { cidr: '192.168.3.0/24', via: 'internet' },
          { cidr: '0.0.0.0/0', via: 'client:web' },
        ],
        attachments: {
          paris: { remote: 'any', remoteSubnets: ['192.168.20.0/24'], initiate: true },
          twin: { remote: 'any', remoteSubnets: ['192.168.40.0/24'], secret: PSK },
          rival: { remote: 'any', remoteSubnets: ['192.168.40.0/24'], secret: PSK },
          bare: { remote: 'any', remoteSubnets: ['192.168.50.0/24'] },
        },
      },
    })
    assert.equal(result.applied, false)
    assert.deepEqual(result.problems.map(({ path }) => path.join('.')).sort(), [
      ...['attachments.bare', 'attachments.paris', 'attachments.rival.remoteSubnets'],
      ...[
        'clients.a.address',
        'clients.b.address',
        'clients.c.prefer',
        'clients.c.subnets',
        'clients.d~12',
        'clients.e.',
      ],
      ...['clients.web.address', 'dns', 'mesh', 'routes.0', 'routes.2', 'routes.3'],
    ])
    assert.equal(await stateHash(service), before)
  })
})

test('of two imports at once that want one address one is refused, and leaves no key; two of the same are one', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    const document = (name: string): DesiredState => ({
      ...{ version: 1, mesh: 'prod' },
      clients: { [name]: { address: '10.77.0.9' }, [`${name}-2`]: {} },
    })
    const results = await Promise.allSettled(
      ['a', 'b'].map(name => service.reconcile({ desired: document(name) })),
    )
    const refused = results.find(({ status }) => status === 'rejected') as PromiseRejectedResult
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
    assert.match(
      refused.reason.message,
      /changed meanwhile: .*10\.77\.0\.9.*; nothing was imported, try again/,
    )
    assert.equal((await service.clients()).length, 2)
    await Promise.all(
      ['c', 'c'].map(name => service.reconcile({ desired: { ...document(name), clients: { c: {} } } })),
    )
    assert.equal((await service.clients()).length, 3)
  })
  assert.equal(readdirSync(join(dataDir, 'clients')).length, 3)
  assert.equal(readdirSync(join(dataDir, 'arriving')).length, 0)
})

test('what would be too much for one batch is refused', async t => {
  await withService(await newMesh(t, { subnet: '10.77.0.0/16' }), async service => {
    const clients = Object.fromEntries(Array.from({ length: 5001 }, (_, n) => [`c${n}`, {}]))
    const result = await service.reconcile({ desired: { version: 1, mesh: 'prod', clients } })
    assert.match(result.problems[0].message, /takes 10002 records, and one import writes at most 10000/)
    assert.equal((await service.clients()).length, 0)
  })
})

test('kill -9 during an import leaves nothing of it, or all; and the next one makes the packs that it did not', async t => {
  const dataDir = await newMesh(t, { subnet: '10.77.0.0/16' })
  const cwd = dirname(dataDir)
  const count = 200
  const clients = Object.fromEntries(Array.from({ length: count }, (_, n) => [`c${n}`, {}]))
  writeFileSync(join(cwd, 'mesh.yaml'), writeDocument({ version: 1, mesh: 'prod', clients }))
  const args = ['import', 'mesh.yaml', '--packs', 'packs']
  const filesIn = (path: string) => (existsSync(path) ? readdirSync(path) : [])
  const issued = () => filesIn(join(dataDir, 'arriving')).length
  const packed = () => filesIn(join(cwd, 'packs')).filter(name => name.endsWith('.ovpn')).length
  let seen = 0
  for (const isTime of [() => issued() > 10, () => issued() > 0.9 * count, () => packed() > 20]) {
    const child = start(args, { dataDir, cwd })
    const closed = new Promise(resolve => child.once('close', resolve))
    while (child.exitCode === null && !isTime()) await new Promise(resolve => setTimeout(resolve, 1))
    child.kill('SIGKILL')
    await closed
    const home = await Home.open(dataDir)
    seen = home.views.clients().length
    await home.close()
    assert.ok(seen === 0 || seen === count, `${seen} clients`)
    assert.equal(filesIn(join(dataDir, 'clients')).length, seen, 'there are keys of those alone')
    assert.equal(issued(), 0)
  }
  const again = await run([...args, '--json'], { dataDir, cwd })
  assert.equal(again.code, 0, again.stderr)
  assert.equal(JSON.parse(again.stdout).changes.length, count - seen)
  const packs = filesIn(join(cwd, 'packs'))
  assert.deepEqual(
    packs.filter(name => !/^c\d+\.ovpn$/.test(name)),
    [],
  )
  assert.equal(packs.length, count)
  for (const name of packs) assert.match(readFileSync(join(cwd, 'packs', name), 'utf8'), /<\/key>/, name)
  assert.equal((await run(['diff', 'mesh.yaml'], { dataDir, cwd })).code, 0)
})

test('the commands: exit status, packs, and what is said', async t => {
  const dataDir = await newMesh(t)
  const cwd = dirname(dataDir)
  const cli = (...args: string[]) => run(args, { dataDir, cwd })
  assert.equal((await cli('export', '--out', 'mesh.yaml')).code, 0)
  assert.equal(statSync(join(cwd, 'mesh.yaml')).mode & 0o777, 0o600)
  writeFileSync(join(cwd, 'psk'), 'a pre-shared key of some length\n')
  const text = readFileSync(join(cwd, 'mesh.yaml'), 'utf8')
    .replace('clients: {}', 'clients:\n  web: {}')
    .replace(
      'attachments: {}',
      'attachments:\n  paris: { remote: any, remoteSubnets: [192.168.20.0/24], pskFile: psk }',
    )
  writeFileSync(join(cwd, 'new.yaml'), text)
  const different = await cli('diff', 'new.yaml')
  assert.equal(different.code, 1)
  assert.match(
    Buffer.from(different.stdout, 'latin1').toString(),
    /^\+ client web: 10\.77\.0\.3\n\+ attachment paris/,
  )
  assert.equal((await cli('import', 'new.yaml', '--packs', 'packs', '--dry-run')).code, 0)
  assert.equal(existsSync(join(cwd, 'packs')), false)
  const made = await cli('import', 'new.yaml', '--packs', 'packs')
  assert.equal(made.code, 0, made.stderr)
  assert.match(made.stdout, /2 added, 0 changed, 0 removed/)
  assert.equal(statSync(join(cwd, 'packs/web.ovpn')).mode & 0o777, 0o600)
  assert.equal((await cli('diff', 'new.yaml')).code, 0)
  writeFileSync(join(cwd, 'psk'), '\ufeffa pre-shared key of some length\r\n')
  assert.equal((await cli('diff', 'new.yaml')).code, 0, 'what an editor put before it is no part of the key')
  writeFileSync(join(cwd, 'bad.yaml'), `${text}colour: red\nclients: {}\n`)
  for (const command of ['diff', 'import']) {
    const bad = await cli(command, 'bad.yaml')
    assert.equal(bad.code, 2)
    assert.match(
      bad.stderr,
      /^bad\.yaml:\d+: the same key twice\novermesh: bad\.yaml has a problem; nothing was changed\n$/,
    )
  }
  assert.equal((await run(['diff', 'new.yaml'], { dataDir: await temporaryDirectory(t), cwd })).code, 2)
})
