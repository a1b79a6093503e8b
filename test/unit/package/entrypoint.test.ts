// What a container makes of the data directory that it is given, without a container: the command and the user are stand-ins.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { attempt } from '../../lab/command.ts'

const ENTRYPOINT = join(import.meta.dirname, '../../../deploy/docker/entrypoint.sh')

/** Starts it with these files in the data directory; a name that ends with a slash is a directory. */
async function start(t: TestContext, files: string[]) {
  const root = mkdtempSync(join(tmpdir(), 'overmesh-entrypoint-'))
  t.after(() => rmSync(root, { recursive: true }))
  const [bin, data, log] = ['bin', 'data', 'log'].map(name => join(root, name))
  mkdirSync(bin)
  mkdirSync(data)
  for (const name of files) {
    if (name.endsWith('/')) mkdirSync(join(data, name))
    else writeFileSync(join(data, name), 'precious')
  }
  writeFileSync(join(bin, 'id'), '#!/bin/sh\necho 10001\n', { mode: 0o700 })
  writeFileSync(join(bin, 'overmesh'), `#!/bin/sh\necho "$@" >> ${log}\n`, { mode: 0o700 })
  const env = {
    ...{ PATH: `${bin}:${process.env.PATH}`, OVERMESH_DATA: data, OVERMESH_CONTROLLER: 'berlin' },
    ...{
      OVERMESH_MESH: 'prod',
      OVERMESH_SUBNET: '10.77.0.0/16',
      OVERMESH_PUBLIC: 'a.example.net b.example.net',
    },
  }
  const { code, stderr } = await attempt(['sh', ENTRYPOINT, 'up'], { env })
  const ran = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []
  return { code, stderr, ran, left: files.filter(name => existsSync(join(data, name))) }
}

const FOUND =
  'init --name prod --subnet 10.77.0.0/16 --public a.example.net --public b.example.net --controller berlin'

test('an empty directory, or what a killed init left, becomes that of a controller', async t => {
  for (const files of [
    [],
    ['lost+found/'],
    ['identity.key', 'pki/', 'secrets/', 'state/', 'config.json.0a.tmp'],
  ]) {
    const { code, ran, left, stderr } = await start(t, files)
    assert.deepEqual({ code, ran, left }, { code: 0, ran: [FOUND, 'up'], left: [] }, stderr)
  }
})

test('a controller is run as it is', async t => {
  const files = ['config.json', 'identity.key', 'events.jsonl', 'other']
  const { code, ran, left } = await start(t, files)
  assert.deepEqual({ code, ran, left }, { code: 0, ran: ['up'], left: files })
})

test('what lacks its configuration and was no killed init is not deleted', async t => {
  const cases: [files: string[], said: RegExp][] = [
    [
      ['identity.key', 'authority/', 'state/', 'events.jsonl'],
      /data has events\.jsonl but no config\.json; restore/,
    ],
    [['identity.key', 'restored.json'], /a restore into .* was cut short; run it again/],
    [['photos/'], /has photos but no config\.json/],
    [['.ssh/'], /has \.ssh but no config\.json/],
  ]
  for (const [files, said] of cases) {
    const { code, ran, left, stderr } = await start(t, files)
    assert.deepEqual({ code, ran, left }, { code: 2, ran: [], left: files })
    assert.match(stderr, said)
  }
})
