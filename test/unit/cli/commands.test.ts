// Commands against a running controller: what they print, write and answer.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { sectionBlock } from '../../../node/capture/pcapng.ts'
import { ServiceError } from '../../../node/service-error.ts'
import { fakeAttachment } from '../api/fake-attachment.ts'
import { FakeService, fakeSession, PACK_TEXT } from '../api/fake-service.ts'
import { run, Served, start, UNREAD } from './run.ts'

test('--json is one document, before or after the sub-command, and equals what the controller said', async () => {
  const service = new FakeService('web', 'db')
  const web = service.all.get('web')!
  web.session = fakeSession(web)
  await using served = await Served.open(service)
  const expected: [string, unknown][] = [
    ['status', await service.status()],
    ['sessions', await service.sessions()],
    ['routes', await service.routes()],
    ['route list', await service.routes()],
    ['client list', await service.clients()],
    ['client show web', web],
    ['state', await service.records()],
    ['state --kind client', await service.records('client')],
    ['state verify', await service.verify()],
    ['client enable db', await service.client('db')],
    ['client kick web', { kicked: true }],
    ['dns', await service.dns()],
    ['dns show', await service.dns()],
    ['dns off', await service.changeDns({ enabled: false })],
    ['dns forward 192.0.2.53', await service.changeDns({ forwarders: ['192.0.2.53'] })],
    ['token list', await service.tokens()],
    ['api', await service.api()],
    ['dns forward --none', await service.changeDns({ forwarders: [] })],
  ]
  for (const [command, value] of expected) {
    for (const args of [`--json ${command}`, `${command} --json`]) {
      const { code, stdout, stderr } = await served.run(...args.split(' '))
      assert.deepEqual(JSON.parse(stdout), value, args)
      assert.equal(stderr, '')
      assert.equal(code, 0)
    }
  }
})

test('tables are aligned, and plain in a pipe', async () => {
  const service = new FakeService('web', 'a-much-longer-name')
  const web = service.all.get('web')!
  web.session = { ...fakeSession(web), version: 'evil\u001b[2J\u202etxt' }
  await using served = await Served.open(service)
  const list = (await served.run('client', 'list')).stdout.trimEnd().split('\n')
  assert.match(list[0], /^NAME +ADDRESS +STATE +ON +FROM +SUBNETS +EXPIRES +TAGS$/)
  const column = list[0].indexOf('ADDRESS')
  for (const line of list.slice(1)) assert.match(line.slice(column - 2), /^ {2}10\.77/)
  const sessions = await served.run('sessions')
  assert.match(sessions.stdout, /web .* 192\.0\.2\.7:40000 .* 1\.2 MB .* evil\[2Jtxt\n$/)
  for (const command of ['status', 'routes', 'state', 'state verify', 'client show web', 'doctor']) {
    const { stdout } = await served.run(...command.split(' '))
    assert.notEqual(stdout, '', command)
    assert.doesNotMatch(stdout, /[\u0000-\u0009\u000b-\u001f\u007f]/, command)
  }
})

test('one of several clients of one name is called by the name that is shown, by every command and over the API', async () => {
  const name = 'web~e555'
  const service = new FakeService('web', name)
  const second = service.all.get(name)!
  second.session = fakeSession(second)
  await using served = await Served.open(service)
  const shown = await served.run('client', 'show', name, '--json')
  assert.deepEqual(JSON.parse(shown.stdout), second)
  const commands = ['pack NAME', 'kick NAME', 'refresh NAME', 'disable NAME', 'enable NAME', 'rekey NAME']
  for (const command of [...commands, 'revoke NAME']) {
    const { code, stderr } = await served.run('client', ...command.replace('NAME', name).split(' '))
    assert.equal(code, 0, `${command}: ${stderr}`)
  }
  assert.deepEqual([service.all.get('web')!.revoked, service.all.get(name)!.revoked], [false, true])
  const { code, stderr } = await served.run('client', 'add', name)
  assert.equal(code, 2)
  assert.match(stderr, /is not a name/)
})

test('a clientpack goes to a file of its owner alone, and never over another one', async () => {
  const service = new FakeService()
  await using served = await Served.open(service)
  const file = join(served.dataDir, 'web.ovpn')
  const added = await served.run(
    ...'client add web --ip 10.77.3.4 --tag site=lab --tag a=b=c --subnet 10.5.0.0/24 --days 30 --out web.ovpn'.split(
      ' ',
    ),
  )
  assert.equal(added.code, 0, added.stderr)
  assert.equal(added.stdout, '')
  assert.match(added.stderr, /wrote web\.ovpn; it holds a private key/)
  assert.match(added.stderr, /client web has address 10\.77\.3\.4/)
  assert.equal(readFileSync(file, 'utf8'), PACK_TEXT)
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.deepEqual(service.calls, [
    [
      'addClient',
      { name: 'web', ip: '10.77.3.4', subnets: ['10.5.0.0/24'], tags: { site: 'lab', a: 'b=c' }, days: 30 },
    ],
  ])

  writeFileSync(file, 'precious')
  const refused = await served.run('client', 'add', 'db', '--out', 'web.ovpn')
  assert.equal(refused.code, 1)
  assert.match(
    refused.stderr,
    /^overmesh: web\.ovpn exists; choose another file, or replace it with --force\n$/,
  )
  assert.equal(readFileSync(file, 'utf8'), 'precious')
  assert.ok(!service.all.has('db'), 'no client was made')

  const forced = await served.run('client', 'pack', 'web', '--out', 'web.ovpn', '--force')
  assert.equal(forced.code, 0)
  assert.equal(readFileSync(file, 'utf8'), PACK_TEXT)
  assert.equal(statSync(file).mode & 0o777, 0o600)
})

test('nothing is left behind where a refused pack would have been', async () => {
  await using served = await Served.open(new FakeService('web'))
  const refused = await served.run('client', 'add', 'web', '--out', 'new.ovpn')
  assert.equal(refused.code, 1)
  assert.equal(refused.stderr, 'overmesh: client web exists already\n')
  assert.equal(statSync(join(served.dataDir, 'new.ovpn'), { throwIfNoEntry: false }), undefined)
  const nowhere = await served.run('client', 'add', 'db', '--out', 'no/such/dir/db.ovpn')
  assert.equal(nowhere.code, 1)
  assert.match(nowhere.stderr, /there is no directory no\/such\/dir; create it first/)
})

test('without --out the pack alone is on standard output, byte for byte', async () => {
  const service = new FakeService('db')
  await using served = await Served.open(service)
  const added = await served.run('client', 'add', 'web')
  assert.equal(added.stdout, PACK_TEXT)
  assert.match(added.stderr, /client web has address/)
  const zip = await served.run('client', 'pack', 'db', '--format', 'zip')
  assert.deepEqual(
    new Uint8Array(Buffer.from(zip.stdout, 'latin1')),
    (await service.packClient('db', 'zip')).content,
  )
  const document = JSON.parse((await served.run('client', 'rekey', 'db', '--json')).stdout)
  assert.equal(document.name, 'db')
  assert.deepEqual(document.pack, {
    format: 'ovpn',
    fileName: 'db.ovpn',
    file: null,
    encoding: 'utf8',
    content: PACK_TEXT,
  })
})

test('a p12 password comes from a file, not from arguments', async () => {
  const service = new FakeService('web')
  await using served = await Served.open(service)
  writeFileSync(join(served.dataDir, 'pass'), 'open sesame\nrest\n')
  const packed = await served.run(
    ...'client pack web --format p12 --password-file pass --out web.p12'.split(' '),
  )
  assert.equal(packed.code, 0, packed.stderr)
  assert.deepEqual(service.calls[0], ['packClient', 'web', 'p12', { password: 'open sesame' }])
  assert.doesNotMatch(packed.stderr, /empty/)
  const open = await served.run(...'client pack web --format p12 --out open.p12'.split(' '))
  assert.equal(open.code, 0)
  assert.match(
    open.stderr,
    /\nits password is empty: whoever has the file has the key; --password-file gives it one\n$/,
  )
  const missing = await served.run(
    ...'client pack web --format p12 --password-file nope --out x.p12'.split(' '),
  )
  assert.equal(missing.code, 1)
  assert.match(missing.stderr, /^overmesh: cannot read the password from nope/)
})

test('refusals of the controller: one line and status 1; what it finds invalid is status 2', async () => {
  await using served = await Served.open(new FakeService('web'))
  const missing = await served.run('client', 'revoke', 'nobody', '--reason', 'lost')
  assert.equal(missing.code, 1)
  assert.equal(missing.stderr, 'overmesh: there is no client nobody; see overmesh client list\n')
  const away = await served.run('client', 'kick', 'web')
  assert.equal(away.code, 1)
  assert.equal(away.stderr, 'overmesh: client web is not connected; see `overmesh sessions`\n')
  const document = await served.run('client', 'kick', 'web', '--json')
  assert.deepEqual([document.code, document.stderr], [away.code, away.stderr])
  assert.deepEqual(JSON.parse(document.stdout), { kicked: false })
})

test('says so when no controller runs and one is needed', async () => {
  for (const command of ['client kick web', 'events --follow']) {
    const { code, stderr, stdout } = await run(command.split(' '))
    assert.equal(code, 1)
    assert.match(
      stderr,
      /^overmesh: no controller is running on \/nonexistent\/overmesh; start it with `overmesh up`/,
    )
    assert.equal(stdout, '')
  }
})

test('events: one JSON object a line, followed until interrupted', async () => {
  const service = new FakeService()
  service.emit('controller.started')
  service.emit('session.up', { client: 'web', remote: '192.0.2.7:40000' })
  await using served = await Served.open(service)
  const listed = (await served.run('events', '--json')).stdout.trimEnd().split('\n')
  assert.deepEqual(
    listed.map(line => JSON.parse(line)),
    service.past,
  )
  assert.match(
    (await served.run('events')).stdout,
    / {2}session\.up {2}client=web {2}remote=192\.0\.2\.7:40000\n$/,
  )

  service.emit('client-added', { client: 'web', message: 'client web was added' })
  const spoken = await served.run('events', '--limit', '1')
  assert.match(spoken.stdout, /^2026-01-02T03:04:05\.678Z {2}client-added {2}client web was added\n$/)

  const child = start(['events', '--follow', '--json'], { dataDir: served.dataDir })
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  const next = async () => JSON.parse((await lines.next()).value ?? '')
  assert.deepEqual(await next(), service.past[0])
  assert.deepEqual(await next(), service.past[1])
  assert.deepEqual(await next(), service.past[2])
  service.emit('session.down', { client: 'web', reason: 'revoked' })
  assert.deepEqual(await next(), service.past[3])
  child.kill('SIGINT')
  const [code] = await once(child, 'close')
  assert.equal(code, 0)
})

test('what was made and cannot be written is not lost without a word on how to get it', async () => {
  const service = new FakeService('web')
  await using served = await Served.open(service)
  for (const [command, advice] of [
    ['client add db', 'client db was added: get its pack with `overmesh client pack db --out FILE`'],
    [
      'client rekey web --json',
      'client web has a new key: get its pack with `overmesh client pack web --out FILE`',
    ],
    ['client pack web', 'try again with --out FILE'],
    ['token add ci --scope read', 'make another after `overmesh token revoke ci`'],
  ]) {
    for (const [first, reason] of [
      ['exec >/dev/full', 'no space left on device'],
      [UNREAD, 'broken pipe'],
    ]) {
      service.all.delete('db')
      const { code, stderr } = await run(command.split(' '), { dataDir: served.dataDir, first })
      const last = stderr.trimEnd().split('\n').at(-1)
      assert.equal(last, `overmesh: standard output cannot be written: ${reason}; ${advice}`, command)
      assert.equal(code, 1, command)
    }
  }
})

test('a change is made also where nobody reads what is said of it, and its end is the exit status', async () => {
  const service = new FakeService('web')
  service.reconcile = async request => {
    service.calls.push(['reconcile', request])
    const changes = Array.from({ length: 100 }, (_, n) => ({
      action: 'change' as const,
      kind: 'client' as const,
      name: `c${n}`,
      details: ['more'],
    }))
    if (!request.dryRun && fails) throw new ServiceError('refused', 'not now')
    const add = { action: 'add' as const, kind: 'client' as const, name: 'web', details: [] }
    return { changes: [...changes, add], problems: [], applied: !request.dryRun }
  }
  let fails = false
  await using served = await Served.open(service)
  const { dataDir } = served
  writeFileSync(join(dataDir, 'mesh.yaml'), 'version: 1\nmesh: home\n')
  const args = ['import', 'mesh.yaml', '--packs', 'packs', '--force']
  const pack = join(dataDir, 'packs/web.ovpn')
  for (const [first, code, said] of [
    [UNREAD, 0, /^the clientpacks in packs hold private keys, hand them over safely\n$/],
    [`${UNREAD.replace(';', ' 2>&1;')}`, 0, /^$/],
    [
      'exec >/dev/full',
      1,
      /\novermesh: standard output cannot be written: no space left on device; [^\n]*\n$/,
    ],
  ] as const) {
    const made = await run(args, { dataDir, cwd: dataDir, first })
    assert.match(made.stderr, said)
    assert.equal(made.code, code)
    assert.equal(readFileSync(pack, 'utf8'), PACK_TEXT)
    rmSync(pack)
  }
  fails = true
  const refused = await run(args, { dataDir, cwd: dataDir, first: UNREAD })
  assert.deepEqual([refused.code, refused.stderr], [1, 'overmesh: not now\n'])
})

test('what only shows what happens ends when nobody reads it any more', async () => {
  const service = new FakeService('web')
  const content = new PassThrough()
  service.capturing = () => {
    content.write(sectionBlock('Overmesh'))
    return { id: 7, content }
  }
  service.emit('session.up', { client: 'web' })
  await using served = await Served.open(service)
  for (const command of ['events --follow', 'events --follow --json', 'capture']) {
    const { code, stderr } = await run(command.split(' '), { dataDir: served.dataDir, first: UNREAD })
    assert.equal(code, 0, command)
    assert.match(
      stderr,
      command === 'capture' ? /^capturing .*\n0 packets of 0 B; nobody reads them any more\n$/ : /^$/,
    )
  }
  // The controller captures no more.
  if (!content.closed) await once(content, 'close')
  const full = await run(['events', '--follow'], { dataDir: served.dataDir, first: 'exec >/dev/full' })
  assert.equal(full.code, 1)
  assert.match(
    full.stderr,
    /^overmesh: standard output cannot be written: no space left on device; [^\n]*\n$/,
  )
})

test('- is standard output for --out, and never a file', async () => {
  const service = new FakeService('web')
  service.sites.set(
    'paris',
    fakeAttachment({ name: 'paris', remote: 'any', localSubnets: [], remoteSubnets: [] }),
  )
  await using served = await Served.open(service)
  const there = readdirSync(served.dataDir)
  for (const command of [
    'client pack web',
    'client rekey web',
    'client pack web --json',
    'export',
    'api ca',
    'token add ci --scope read',
    'ipsec export paris',
  ]) {
    const [plain, dash] = [
      await served.run(...command.split(' ')),
      await served.run(...command.split(' '), '--out', '-'),
    ]
    assert.deepEqual(dash, plain, command)
    assert.equal(dash.code, 0, dash.stderr)
    assert.notEqual(dash.stdout, '')
    const force = await served.run(...command.split(' '), '--out', '-', '--force')
    assert.deepEqual([force.code, force.stderr], [2, 'overmesh: --force replaces a file; give --out FILE\n'])
  }
  for (const [command, words] of [
    ['backup -', /^overmesh: this goes to a file only; give one, \.\/- for a file of that name\n$/],
    [
      'import mesh.yaml --packs -',
      /^overmesh: --packs takes a directory; give one, \.\/- for one of that name\n$/,
    ],
    ['client reissue --issuer beta --out-dir -', /^overmesh: --out-dir takes a directory; give one, /],
  ] as const) {
    const { code, stderr, stdout } = await served.run(...command.split(' '))
    assert.match(stderr, words)
    assert.deepEqual([code, stdout], [2, ''])
  }
  assert.deepEqual(readdirSync(served.dataDir), there)
  assert.equal((await served.run('client', 'pack', 'web', '--out', './-')).code, 0)
  assert.equal(readFileSync(join(served.dataDir, '-'), 'utf8'), PACK_TEXT)
})

test('a reader that stops reading is no error', async () => {
  const service = new FakeService()
  for (let i = 0; i < 1000; i++) service.emit('noise', { text: 'x'.repeat(500) })
  await using served = await Served.open(service)
  const child = start(['events'], { dataDir: served.dataDir })
  let stderr = ''
  child.stderr!.on('data', text => {
    stderr += text
  })
  child.stdout!.once('data', () => child.stdout!.destroy())
  const [code] = await once(child, 'close')
  assert.equal(code, 0)
  assert.equal(stderr, '')
})
