// Data directories of other versions.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { CONFIG_VERSION, DataDirectory, DataDirectoryError } from '../../../node/data-directory.ts'

const CONFIG = {
  version: CONFIG_VERSION,
  controller: 'alpha',
  controllerId: 'ab'.repeat(10),
  listen: ['0.0.0.0:1194'],
  meshListen: '0.0.0.0:4001',
  lifetimes: { issuing: 1, server: 1, client: 1, sessionKeys: 4 },
}

async function withConfig(config: object, work: (directory: DataDirectory) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'overmesh-config-'))
  const text = JSON.stringify(config)
  writeFileSync(join(root, 'config.json'), text)
  try {
    await work(new DataDirectory(root))
    assert.equal(readFileSync(join(root, 'config.json'), 'utf8'), text)
  } finally {
    rmSync(root, { recursive: true })
  }
}

const refusal = (code: string, words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof DataDirectoryError && error.code === code, String(error))
  assert.match(error.message, words)
  return true
}

test('what a newer version adds to the configuration is passed over, so that a downgrade works', () =>
  withConfig({ ...CONFIG, newer: { listen: 'x' } }, async directory => {
    assert.equal((await directory.readConfig()).controller, 'alpha')
  }))

test('where the API listens is checked like the rest', () =>
  withConfig({ ...CONFIG, api: { listen: 'x' } }, directory =>
    assert.rejects(directory.readConfig(), refusal('DAMAGED', /damaged/)),
  ))

test('a directory of a newer format is refused with what to do', () =>
  withConfig({ version: CONFIG_VERSION + 1, other: true }, directory =>
    assert.rejects(
      directory.readConfig(),
      refusal('NEWER', /newer Overmesh \(format 2.*run that version, or restore/),
    ),
  ))

test('a configuration that lacks something is damaged, whatever else it has', () =>
  withConfig({ ...CONFIG, listen: [], more: 1 }, directory =>
    assert.rejects(directory.readConfig(), refusal('DAMAGED', /damaged/)),
  ))
