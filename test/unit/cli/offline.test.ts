// Commands on a data directory whose controller does not run.
import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { newMesh } from '../controller/home.ts'
import { run } from './run.ts'

test('what is found wrong at opening is said by whichever command finds it, once, and kept in the events', async t => {
  const dataDir = await newMesh(t)
  const loosen = () => chmodSync(join(dataDir, 'pki', 'issuing.key'), 0o644)
  const said =
    /^attention: .*issuing\.key was open to other users and is closed now; keys in it may be known/m
  loosen()
  const first = await run(['client', 'list'], { dataDir })
  assert.equal(first.code, 0, first.stderr)
  assert.match(first.stderr, said)
  assert.doesNotMatch((await run(['client', 'list'], { dataDir })).stderr, /attention/)
  loosen()
  const json = await run(['client', 'list', '--json'], { dataDir })
  assert.deepEqual([json.stdout, json.stderr], ['[]\n', ''])
  loosen()
  const status = await run(['status'], { dataDir })
  assert.match(status.stdout, said)
  assert.doesNotMatch(status.stderr, /attention/, 'said once')
  const events = await run(['events', '--type', 'state-damage', '--json'], { dataDir })
  assert.equal(events.stdout.trimEnd().split('\n').length, 3, events.stdout)
})

test("root leaves nothing of its own in another user's data directory", {
  skip: process.getuid?.() !== 0 && 'needs root',
}, async t => {
  const dataDir = await newMesh(t)
  const everything = () => [
    dataDir,
    ...readdirSync(dataDir, { recursive: true, encoding: 'utf8' }).map(name => join(dataDir, name)),
  ]
  for (const path of everything()) chownSync(path, 1234, 1234)
  const { code, stderr } = await run(['client', 'add', 'web'], { dataDir })
  assert.equal(code, 0, stderr)
  assert.ok(everything().some(path => path.includes('clients')))
  assert.deepEqual(
    everything().filter(path => lstatSync(path).uid !== 1234),
    [],
  )
})

test("root's files elsewhere stay root's, whatever links lead to them from another user's data directory", {
  skip: process.getuid?.() !== 0 && 'needs root',
}, async t => {
  const dataDir = await newMesh(t)
  const elsewhere = join(dataDir, '..', 'elsewhere')
  mkdirSync(elsewhere)
  for (const name of ['linked', 'named']) writeFileSync(join(elsewhere, name), '')
  symlinkSync(elsewhere, join(dataDir, 'directory'))
  symlinkSync(join(elsewhere, 'linked'), join(dataDir, 'file'))
  linkSync(join(elsewhere, 'named'), join(dataDir, 'second'))
  chownSync(dataDir, 1234, 1234)
  const { code, stderr } = await run(['client', 'add', 'web'], { dataDir })
  assert.equal(code, 0, stderr)
  assert.equal(lstatSync(join(dataDir, 'config.json')).uid, 1234)
  for (const path of ['.', 'linked', 'named']) assert.equal(lstatSync(join(elsewhere, path)).uid, 0, path)
})
