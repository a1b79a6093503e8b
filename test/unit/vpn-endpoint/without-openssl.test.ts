// Sessions are the same where OpenSSL cannot be called, and node:tls and node:crypto do the work.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { attempt } from '../../lab/command.ts'
import { ENGINE } from './world.ts'

for (const name of ['hostile', 'identity', 'parts', 'udp-client']) {
  test(`${name}, with node:tls and node:crypto`, async () => {
    const file = join(import.meta.dirname, `${name}.test.ts`)
    const env = { ...process.env, [ENGINE]: 'stream', NODE_TEST_CONTEXT: undefined }
    const { code, stdout, stderr } = await attempt([process.execPath, file], { env, timeout: 120_000 })
    assert.equal(code, 0, stdout + stderr)
    assert.match(stdout, /pass [1-9]/)
  })
}
