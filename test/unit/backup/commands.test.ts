// Backup and restore as commands: what they say, what they leave, and what is left when they are killed.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { readBackup, restoreBackup } from '../../../node/backup/restore.ts'
import { restoredNotice } from '../../../node/backup/settling.ts'
import { Home, readCertificate, readKey } from '../../../node/home.ts'
import type { Status } from '../../../node/service.ts'
import { start } from '../cli/run.ts'
import { PASSPHRASE, World } from './world.ts'

let world: World
before(async () => {
  world = new World()
  await world.init('alpha')
  await world.good('alpha', 'client', 'add', 'web', '--out', world.path('web.ovpn'))
  mkdirSync(world.path('alpha/invites'))
  writeFileSync(world.path('alpha/invites/00.json'), 'an invitation')
  await world.backup('alpha', 'alpha.backup')
})
after(() => world[Symbol.asyncDispose]())

const pass = (): string[] => ['--passphrase-file', world.pass]
const oneLine = /^overmesh: [^\n]+\n$/

test('a stopped controller comes back whole, but for what is of its machine', async () => {
  const said = await world.restore('whole', 'alpha.backup')
  assert.match(said, /^alpha of mesh prod is in .*whole, as of \d{4}-/)
  const files = (name: string) =>
    readdirSync(world.path(name), { recursive: true, encoding: 'utf8' })
      .filter(
        path => !/^(state|run|invites|events)/.test(path) && statSync(world.path(`${name}/${path}`)).isFile(),
      )
      .sort()
  assert.deepEqual(files('whole'), [...files('alpha'), 'restored.json'].sort())
  for (const path of files('alpha'))
    assert.deepEqual(
      readFileSync(world.path(`whole/${path}`)),
      readFileSync(world.path(`alpha/${path}`)),
      path,
    )
  assert.equal(existsSync(world.path('whole/invites')), false)
  for (const entry of readdirSync(world.path('whole'), { recursive: true, withFileTypes: true }))
    assert.equal(statSync(join(entry.parentPath, entry.name)).mode & 0o077, 0, entry.name)
  const home = await Home.open(world.path('whole'))
  try {
    assert.equal((await home.replica.verify()).faults.length, 0)
    assert.deepEqual(home.problems, [])
    assert.equal(home.views.clientByName('web')?.value.address, '10.77.0.3')
  } finally {
    await home.close()
  }
  const plain = (text: string) => text.replace(/^# made .*$/m, '')
  const packed = await world.good('whole', 'client', 'pack', 'web')
  assert.equal(plain(packed), plain(readFileSync(world.path('web.ovpn'), 'utf8')))
  const added = await world.cli('whole', 'client', 'add', 'more', '--out', world.path('more.ovpn'))
  assert.match(added.stderr, /has address 10\.77\.0\.4/, 'a mesh of one goes on')
})

test('a backup says what is in it, and nothing of it can be read without the passphrase', async () => {
  const file = world.path('alpha.backup')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.doesNotMatch(readFileSync(file, 'latin1'), /prod|alpha|PRIVATE KEY/)
  const shown = await world.json<Record<string, unknown>>('alpha', 'backup', 'show', file, ...pass())
  const { meshName, controllerName, clients, controllers, holdsRootKey } = shown
  assert.deepEqual(
    [meshName, controllerName, clients, controllers, holdsRootKey],
    ['prod', 'alpha', 1, 1, true],
  )
  assert.match(
    await world.good('alpha', 'backup', 'show', file, ...pass()),
    /^mesh +prod .*\ncontroller +alpha /,
  )
})

test('what cannot be done is refused in one line, and changes nothing', async () => {
  const file = world.path('alpha.backup')
  const bytes = readFileSync(file)
  writeFileSync(world.path('wrong'), 'wrong\n')
  const cases: [string[], RegExp, number][] = [
    [['backup', file, ...pass()], /exists; choose another file, or replace it with --force/, 1],
    [['backup'], /needs the name of a file/, 2],
    [
      ['restore', file, '--passphrase-file', world.path('wrong')],
      /the passphrase is not that of the backup/,
      1,
    ],
  ]
  for (const [args, said, status] of cases) {
    const { code, stdout, stderr } = await world.cli(args[0] === 'backup' ? 'alpha' : 'fresh', ...args)
    assert.match(stderr, oneLine)
    assert.match(stderr, said, args.join(' '))
    assert.deepEqual([code, stdout], [status, ''], args.join(' '))
  }
  assert.deepEqual(readFileSync(file), bytes)
  assert.equal(existsSync(world.path('fresh')), false)
  assert.deepEqual(
    readdirSync(world.directory).filter(name => name.endsWith('.tmp')),
    [],
  )
})

test('a file that is no text makes no backup, and what earlier versions made with one is opened and said', async () => {
  const file = world.path('before.backup')
  // What they made of bytes that are not UTF-8, of any.
  writeFileSync(world.path('signs'), '\ufffd'.repeat(32))
  await world.good('alpha', 'backup', file, '--passphrase-file', world.path('signs'))
  for (const byte of [0x80, 0xa1]) {
    const given = ['--passphrase-file', world.path('bytes')]
    writeFileSync(world.path('bytes'), Buffer.alloc(32, byte))
    const made = await world.cli('alpha', 'backup', world.path('none.backup'), ...given)
    assert.deepEqual([made.code, made.stdout], [1, ''])
    assert.match(
      made.stderr,
      /^overmesh: the first line of \S+ is no text in UTF-8; put the passphrase there as text/,
    )
    const shown = await world.cli('alpha', 'backup', 'show', file, ...given)
    assert.equal(shown.code, 0, shown.stderr)
    assert.match(shown.stderr, /only as older versions read it.* Make a new one/)
    const restored = await world.cli(`before-${byte}`, 'restore', file, ...given)
    assert.equal(restored.code, 0, restored.stderr)
    assert.match(restored.stderr, /only as older versions read it/)
    const other = await world.cli('other', 'restore', world.path('alpha.backup'), ...given)
    assert.deepEqual([other.code, existsSync(world.path('other'))], [1, false])
    assert.match(other.stderr, /^overmesh: [^\n]* is no text in UTF-8; [^\n]*\n$/)
  }
  const unsaid = await world.cli('alpha', 'backup', 'show', file, '--passphrase-file', world.path('signs'))
  assert.deepEqual([unsaid.code, unsaid.stderr], [0, ''])
  assert.equal(existsSync(world.path('none.backup')), false)
})

test('a mark before the passphrase is no part of it, but for what earlier versions made', async () => {
  const file = world.path('marked.backup')
  const [pass, marked, twice] = ['pass', 'marked', 'twice'].map(name => world.path(name))
  writeFileSync(marked, `\ufeff${PASSPHRASE}\r\n`)
  const same = await world.cli(
    'alpha',
    'backup',
    'show',
    world.path('alpha.backup'),
    '--passphrase-file',
    marked,
  )
  assert.deepEqual([same.code, same.stderr], [0, ''])
  writeFileSync(twice, `\ufeff\ufeff${PASSPHRASE}\n`)
  await world.good('alpha', 'backup', file, '--passphrase-file', twice)
  const before = await world.cli('alpha', 'backup', 'show', file, '--passphrase-file', marked)
  assert.equal(before.code, 0, before.stderr)
  assert.match(before.stderr, /only as older versions read it/)
  assert.equal((await world.cli('alpha', 'backup', 'show', file, '--passphrase-file', pass)).code, 1)
})

test('on another machine it listens and is dialled where it is told', async () => {
  const dataDir = world.path('moved')
  const relocation = { public: ['vpn9.example.net'], listen: ['0.0.0.0:1200'], meshListen: '0.0.0.0:4009' }
  await restoreBackup({ file: world.path('alpha.backup'), passphrase: PASSPHRASE, dataDir, relocation })
  const home = await Home.open(dataDir)
  try {
    assert.deepEqual([home.config.listen, home.config.meshListen], [['0.0.0.0:1200'], '0.0.0.0:4009'])
    assert.deepEqual(home.controller.publicEndpoints, ['vpn9.example.net:1194'])
    assert.deepEqual(home.controller.meshEndpoints, ['vpn9.example.net:4009'])
    const server = await readCertificate(home.directory, home.directory.serverCertificate)
    assert.match(server.subjectAltName ?? '', /vpn9\.example\.net/)
    assert.ok(server.checkPrivateKey(await readKey(home.directory, home.directory.serverKey)))
    assert.ok(server.checkIssued(home.issuingCertificate))
  } finally {
    await home.close()
  }
})

test('where nobody can dial it, it is not restored', async () => {
  const dataDir = world.path('undialled')
  const relocation = { public: ['10.77.0.77'] }
  await assert.rejects(
    restoreBackup({ file: world.path('alpha.backup'), passphrase: PASSPHRASE, dataDir, relocation }),
    { code: 'invalid', message: /10\.77\.0\.77 is in the overlay's own 10\.77\.0\.0\// },
  )
  assert.deepEqual(existsSync(dataDir) ? readdirSync(dataDir) : [], [])
})

test('a backup that is not whole is no controller', async () => {
  const bytes = readFileSync(world.path('alpha.backup'))
  const flipped = Buffer.from(bytes)
  flipped[flipped.length - 20] ^= 1
  const cases: [Uint8Array, RegExp][] = [
    [flipped, /damaged/],
    [bytes.subarray(0, -100), /cut short/],
    [new Uint8Array(), /no backup of Overmesh/],
    [readFileSync(world.path('web.ovpn')), /no backup of Overmesh/],
  ]
  const file = world.path('bad')
  const dataDir = world.path('never')
  for (const [content, said] of cases) {
    writeFileSync(file, content)
    await assert.rejects(restoreBackup({ file, passphrase: PASSPHRASE, dataDir }), said)
    assert.deepEqual(existsSync(dataDir) ? readdirSync(dataDir) : [], [])
  }
  const over = { file: world.path('alpha.backup'), passphrase: PASSPHRASE, dataDir: world.path('alpha') }
  await assert.rejects(restoreBackup(over), /holds a controller already; nothing was changed/)
  // What it cannot write ends it, too, and what it wrote until then goes.
  mkdirSync(dataDir, { recursive: true })
  writeFileSync(join(dataDir, 'mine'), '')
  await assert.rejects(restoreBackup({ ...over, dataDir }), /is not empty; nothing was changed/)
  assert.deepEqual(readdirSync(dataDir), ['mine'])
})

/** Ends the command by SIGKILL as soon as `isTime`, and waits until it has ended. */
async function killedWhen(args: string[], dataDir: string, isTime: () => boolean): Promise<void> {
  const child = start(args, { dataDir })
  const closed = new Promise(resolve => child.once('close', resolve))
  let ended = false
  void closed.then(() => {
    ended = true
  })
  while (!ended && !isTime()) await new Promise(resolve => setTimeout(resolve, 1))
  child.kill('SIGKILL')
  await closed
}

test('kill -9 at any time leaves a whole backup or none', async () => {
  const file = world.path('killed')
  const temporary = () => readdirSync(world.directory).find(name => name.startsWith('.killed.'))
  const size = () => {
    const name = temporary()
    return name === undefined ? -1 : (statSync(world.path(name), { throwIfNoEntry: false })?.size ?? 0)
  }
  for (const isTime of [() => size() >= 0, () => size() > 8000, () => existsSync(file)]) {
    await killedWhen(['backup', file, ...pass()], world.path('alpha'), isTime)
    if (existsSync(file)) assert.equal((await readBackup(file, PASSPHRASE)).clients, 1)
    rmSync(file, { force: true })
  }
  await world.backup('alpha', 'killed')
  assert.equal(temporary(), undefined, 'what was left is cleared away')
})

test('kill -9 at any time leaves a whole controller, or nothing that could be taken for one', async () => {
  const args = ['restore', world.path('alpha.backup'), ...pass()]
  for (const name of [
    'restored.json',
    'state/records/CURRENT',
    'secrets/tls-crypt-v2.key',
    'state/witness',
    'config.json',
  ]) {
    const dataDir = world.path('half')
    await killedWhen(args, dataDir, () => existsSync(join(dataDir, name)))
    const opened = await Home.open(dataDir).catch((error: Error) => error)
    if (opened instanceof Error)
      assert.match(opened.message, /a restore into .* was cut short, .* run `overmesh restore` again/, name)
    else {
      assert.equal(opened.replica.count, 6)
      await opened.close()
      rmSync(dataDir, { recursive: true })
    }
  }
  if (!existsSync(world.path('half/config.json'))) await world.restore('half', 'alpha.backup')
  assert.equal((await world.json<Status>('half', 'status')).records, 6)
})

test('a copy that knows of others says so until it met them', async () => {
  const store = world.path('alone')
  await restoreBackup({ file: world.path('alpha.backup'), passphrase: PASSPHRASE, dataDir: store })
  const home = await Home.open(store)
  try {
    assert.equal(restoredNotice(home), undefined, 'it knows of nobody')
    const views = {
      ...home.views,
      controllers: () => [...home.views.controllers(), { id: 'other', value: home.controller }],
    }
    const notice = restoredNotice({ id: home.id, replica: home.replica, views } as never)
    assert.match(notice ?? '', /restored from a backup of .*; see why they are not reached; only if/)
    // So does one whose store lost something.
    const replica = { unconfirmed: 1, restoredFrom: undefined, lostAt: Date.UTC(2026, 0, 1) }
    assert.match(
      restoredNotice({ id: home.id, replica, views } as never) ?? '',
      /lost some of its records, as it noticed on 2026-01-01T00:00:00Z, .*; see why they are not reached; only if/,
    )
    assert.equal(
      restoredNotice({ id: home.id, replica: { ...replica, unconfirmed: 0 }, views } as never),
      undefined,
    )
  } finally {
    await home.close()
  }
})
