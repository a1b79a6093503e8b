// The number of a start rises whatever the clock does.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { nextBoot } from '../../../node/boot.ts'
import { DataDirectory } from '../../../node/data-directory.ts'

test('a start has a higher number than all before, by the time or in spite of it', async t => {
  const root = mkdtempSync(join(tmpdir(), 'overmesh-boot-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  const directory = new DataDirectory(root)
  assert.equal(await nextBoot(directory, 1000), 1000)
  assert.equal(await nextBoot(directory, 5000), 5000)
  assert.equal(await nextBoot(directory, 200), 5001, 'the clock was set back')
  writeFileSync(directory.bootFile, 'nonsense')
  assert.equal(await nextBoot(directory, 7000), 7000)
})
