// What malloc has given out is seen, and what it was given back is not.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSecureContext } from 'node:tls'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { allocatedBytes } from '../../../node/switch/sys/allocated.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

test('memory of OpenSSL counts while it is in use', async () => {
  collect()
  const before = allocatedBytes()
  if (before === undefined) {
    const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
    assert.equal(header.glibcVersionRuntime, undefined, 'only another libc than glibc does not tell')
    return
  }
  let contexts: unknown[] | undefined = Array.from({ length: 100 }, () => createSecureContext())
  const most = allocatedBytes()!
  assert.ok(most - before > 100 * 1000, `${most - before} bytes`)
  assert.equal(contexts.length, 100)
  contexts = undefined
  await new Promise(resolve => setImmediate(resolve))
  collect()
  assert.ok(allocatedBytes()! < most - 100 * 1000)
})
