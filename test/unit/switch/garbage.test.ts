// The packet path makes no garbage: V8's own account of its collections while packets pass.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'

const PACKETS = 200_000

test('200,000 packets pass with hardly a garbage collection', async () => {
  const script = new URL('../../bench/switch-alone.ts', import.meta.url).pathname
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--trace-gc', script, '100', String(PACKETS), '50000', '8'],
    { timeout: 120_000, maxBuffer: 16 << 20 },
  )
  const [, measured] = stdout.split('warm\n')
  const forwarded = Number(/^forwarded (\d+)/m.exec(measured)?.[1])
  assert.ok(forwarded > PACKETS / 10, `${forwarded} forwarded`)
  const collections = new Map<string, number>()
  for (const [, isolate] of measured.matchAll(
    /^\[\d+:(0x[0-9a-f]+)(?::\d+)?\].*?(?:Scavenge|Mark-Compact)/gm,
  )) {
    collections.set(isolate, (collections.get(isolate) ?? 0) + 1)
  }
  // A turn of the loop makes a few numbers, and small batches many turns. One number for each FFI call of a packet, as
  // addresses beyond V8's small integers would, makes about twenty collections.
  const most = Math.max(0, ...collections.values())
  assert.ok(most <= 8, `${most} collections for ${forwarded} packets`)
})
