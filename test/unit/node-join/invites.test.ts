// Open invitations in the data directory.
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { inviteKey } from '../../../mesh/admission/proof.ts'
import { DataDirectory } from '../../../node/data-directory.ts'
import { Invites, MAX_INVITES } from '../../../node/invites.ts'
import { temporaryDirectory } from './world.ts'

const NOW = Date.UTC(2026, 0, 1)
const HOUR = 3_600_000

async function open(t: TestContext): Promise<{ directory: DataDirectory; invites: Invites }> {
  const directory = new DataDirectory(await temporaryDirectory(t))
  return { directory, invites: await Invites.open(directory) }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

test('an invitation is in a file of its owner, its secret is not', async t => {
  const { directory, invites } = await open(t)
  const { id, secret, expiresAt } = await invites.add(NOW, HOUR)
  assert.equal(expiresAt, NOW + HOUR)
  const file = directory.invite(hex(id))
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  const text = await readFile(file, 'utf8')
  for (const encoding of ['hex', 'base64', 'base64url'] as const) {
    assert.ok(!text.includes(Buffer.from(secret).toString(encoding)))
  }
  const again = await Invites.open(directory)
  assert.deepEqual(Buffer.from(again.get(hex(id))!.key), inviteKey(secret))
})

test('one is used once, also by two at the same time, and after opening again', async t => {
  const { directory, invites } = await open(t)
  const id = hex((await invites.add(NOW, HOUR)).id)
  assert.deepEqual(await Promise.all([invites.take(id), invites.take(id)]), [true, false])
  const again = await Invites.open(directory)
  assert.equal(again.get(id)?.used, true)
  assert.equal(await again.take(id), false)
  assert.equal(await again.take('00'.repeat(8)), false)
})

test('one that cannot be kept as used, on a full disk, is not used', async t => {
  const { directory, invites } = await open(t)
  const id = hex((await invites.add(NOW, HOUR)).id)
  const full = t.mock.method(directory, 'write', () => Promise.reject(new Error('ENOSPC')))
  await assert.rejects(invites.take(id), /ENOSPC/)
  full.mock.restore()
  assert.equal(invites.get(id)?.used, false)
  assert.deepEqual(await Promise.all([invites.take(id), invites.take(id)]), [true, false])
})

test('so many may be open, and those that are over make room', async t => {
  const { directory, invites } = await open(t)
  const ids = []
  for (let i = 0; i < MAX_INVITES; i++) ids.push(hex((await invites.add(NOW, HOUR)).id))
  await assert.rejects(invites.add(NOW, HOUR), {
    code: 'refused',
    message: /100 invitations are open already/,
  })
  await invites.take(ids[0])
  await invites.add(NOW, HOUR)
  await assert.rejects(invites.add(NOW, HOUR), { code: 'refused' })
  assert.equal(invites.any(NOW + HOUR - 1), true)
  assert.equal(invites.any(NOW + HOUR), false)
  await invites.add(NOW + HOUR, HOUR)
  assert.ok(invites.get(ids[0]), 'who comes late is told so')
  // A day later they are gone.
  const last = await invites.add(NOW + 26 * HOUR, HOUR)
  assert.deepEqual(await readdir(directory.invites), [`${hex(last.id)}.json`])
  assert.equal(invites.get(ids[0]), undefined)
})

test('files that are no invitations are left out', async t => {
  const { directory, invites } = await open(t)
  const id = hex((await invites.add(NOW, HOUR)).id)
  await mkdir(directory.invites, { recursive: true })
  const good = JSON.parse(await readFile(directory.invite(id), 'utf8'))
  const bad = ['', '{', 'null', '[]', '{"key":"00"}', JSON.stringify({ ...good, expiresAt: 'soon' })]
  for (const [i, text] of bad.entries()) await writeFile(directory.invite(`0${i}`.repeat(8)), text)
  await writeFile(join(directory.invites, 'README'), 'mine')
  const again = await Invites.open(directory)
  assert.ok(again.get(id))
  for (const i of bad.keys()) assert.equal(again.get(`0${i}`.repeat(8)), undefined)
  assert.ok((await readdir(directory.invites)).includes('README'))
})
