// Files that commands write, and directories of clientpacks: whole or not there, also after kill -9.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import filesystem from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { intoFile, OutputFile } from '../../../node/cli/output-file.ts'
import { PackDirectory } from '../../../node/cli/pack-directory.ts'
import { FakeService } from '../api/fake-service.ts'

function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'overmesh-output-'))
  t.after(() => rmSync(directory, { recursive: true }))
  return directory
}

const content = Buffer.from('all of it')

test('a file has no name before it is whole, and what a killed process left of it goes', async t => {
  const directory = temporary(t)
  const path = join(directory, 'key.pem')
  const { pid } = spawnSync(process.execPath, ['-e', ''])
  writeFileSync(join(directory, `.key.pem.${pid}.tmp`), 'half')
  writeFileSync(join(directory, `.key.pem.${process.ppid}.tmp`), 'of one that is at work')
  const file = await OutputFile.reserve(path, false)
  await file.write([content.subarray(0, 3), content.subarray(3)])
  assert.equal(statSync(path, { throwIfNoEntry: false }), undefined)
  assert.equal(statSync(file.temporary).mode & 0o777, 0o600)
  await file.place()
  await file.discard()
  assert.deepEqual(readFileSync(path), content)
  assert.deepEqual(readdirSync(directory).sort(), [`.key.pem.${process.ppid}.tmp`, 'key.pem'].sort())
})

test('nothing is replaced but a plain file, and that only by --force', async t => {
  const directory = temporary(t)
  const path = join(directory, 'key.pem')
  const produce = async () => ({ content })
  // One that comes while ours is made.
  const late = intoFile(path, false, 'try again', async () => {
    writeFileSync(path, 'precious')
    return { content }
  })
  await assert.rejects(late, {
    message: `${path} could not be written (another file is there by now); try again`,
  })
  await assert.rejects(
    intoFile(path, false, '', produce),
    /exists; choose another file, or replace it with --force/,
  )
  assert.equal(readFileSync(path, 'utf8'), 'precious')
  await intoFile(path, true, '', produce)
  assert.deepEqual(readFileSync(path), content)
  symlinkSync('/dev/null', join(directory, 'link'))
  mkdirSync(join(directory, 'sub'))
  for (const name of ['link', 'sub'])
    await assert.rejects(
      intoFile(join(directory, name), true, '', produce),
      /and no plain file; choose another/,
    )
  assert.deepEqual(readdirSync(directory).sort(), ['key.pem', 'link', 'sub'])
})

test('where a file system has no links a file is placed all the same, and over none', async t => {
  const directory = temporary(t)
  const path = join(directory, 'key.pem')
  const noLinks = Object.assign(new Error('EPERM: operation not permitted, link'), { code: 'EPERM' })
  const { mock } = t.mock.method(filesystem, 'link', () => Promise.reject(noLinks))
  syncBuiltinESMExports()
  t.after(() => {
    mock.restore()
    syncBuiltinESMExports()
  })
  await intoFile(path, false, '', async () => ({ content }))
  assert.equal(mock.callCount(), 1)
  assert.deepEqual(readFileSync(path), content)
  const late = intoFile(join(directory, 'late'), false, 'try again', async () => {
    writeFileSync(join(directory, 'late'), 'precious')
    return { content }
  })
  await assert.rejects(late, /another file is there by now/)
  assert.deepEqual(readdirSync(directory).sort(), ['key.pem', 'late'])
})

test('clientpacks that a killed process did not come to are written by the next one', async t => {
  const path = join(temporary(t), 'packs')
  const service = new FakeService('anna', 'ben', 'carl')
  const pack = (directory: PackDirectory, name: string) =>
    directory.write(name, '', () => service.packClient(name, 'ovpn'))
  const killed = await PackDirectory.open(path, ['anna', 'ben', 'nobody'], false)
  await killed.begin()
  await pack(killed, 'anna')
  const before = statSync(killed.fileOf('anna')).mtimeMs
  // Killed after it had its name, and before its other name went.
  const { pid } = spawnSync(process.execPath, ['-e', ''])
  linkSync(killed.fileOf('anna'), join(path, `.anna.ovpn.${pid}.tmp`))
  const next = await PackDirectory.open(path, ['carl'], false)
  await next.begin()
  await pack(next, 'carl')
  assert.deepEqual(await next.finish(service), ['ben'])
  assert.deepEqual(readdirSync(path).sort(), ['anna.ovpn', 'ben.ovpn', 'carl.ovpn'])
  assert.equal(statSync(next.fileOf('anna')).mtimeMs, before)
  await assert.rejects(PackDirectory.open(path, ['ben'], false), /ben\.ovpn exists, so nothing was changed/)
  // By force all are made anew, those included that were there.
  await new Promise(resolve => setTimeout(resolve, 20))
  const forced = await PackDirectory.open(path, ['anna', 'ben'], true)
  await forced.begin()
  assert.deepEqual(await (await PackDirectory.open(path, [], false)).finish(service), ['anna', 'ben'])
})
