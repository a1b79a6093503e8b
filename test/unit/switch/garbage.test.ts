// The packet path makes no garbage: V8's own account of its collections while packets pass.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { mainThread, readCollections } from '../../bench/heap.ts'

const PACKETS = 200_000

test('200,000 packets pass with hardly a garbage collection', async () => {
  const script = new URL('../../bench/switch-alone.ts', import.meta.url).pathname
  const running = promisify(execFile)(
    process.execPath,
    ['--trace-gc', script, '100', String(PACKETS), '50000', '8'],
    { timeout: 120_000, maxBuffer: 16 << 20 },
  )
  const { stdout } = await running
  const [before, measured] = stdout.split('warm\n')
  const forwarded = Number(/^forwarded (\d+)/m.exec(measured)?.[1])
  assert.ok(forwarded > PACKETS / 10, `${forwarded} forwarded`)
  // The sender and the receiver of the packets are processes of their own, and trace theirs into the same output.
  const ofSwitch = (trace: string): string =>
    trace
      .split('\n')
      .filter(line => line.startsWith(`[${running.child.pid}:`))
      .join('\n')
  const main = mainThread(ofSwitch(before))
  assert.ok(main, 'the main thread collected while it loaded the code')
  const { collections } = readCollections(ofSwitch(measured), forwarded, main)
  // None or one. One number for each FFI call of a packet, as addresses beyond V8's small integers would be, makes about twenty.
  assert.ok(collections <= 2, `${collections} collections for ${forwarded} packets`)
})
