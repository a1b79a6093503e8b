// The first words on a channel: whatever comes, and whatever later versions add to them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode } from '@ipld/dag-cbor'
import type { FrameStream } from '../../../mesh/libp2p/frame-stream.ts'
import { greet, hear } from '../../../mesh/libp2p/greeting.ts'
import { highestCommon, isOlder, readRange } from '../../../mesh/versions.ts'

const MESH = '00112233445566778899'
const context = { meshId: MESH, software: '1.0.0', introduction: () => undefined }

const heard = (words: unknown) =>
  hear({ receive: async () => encode(words) } as unknown as FrameStream, {
    ...context,
    versions: { lowest: 2, highest: 4 },
  })

test('a greeting with more in it than is known is taken, and one with less', async () => {
  const record = new Uint8Array(100)
  assert.deepEqual(await heard(['hello', MESH, 1, 3, record, '2.0.0', { more: true }, 7]), {
    version: 3,
    introduction: record,
  })
  assert.deepEqual(await heard(['hello', MESH, 4, 9]), { version: 4 })
})

test('ranges that are none, and other meshes, are told', async () => {
  const malformed = { problem: 'its greeting is malformed' }
  for (const [lowest, highest] of [
    [3, 2],
    [-1, 3],
    [1.5, 3],
    ['2', 3],
    [2, null],
    [2, 2 ** 60],
  ])
    assert.deepEqual(await heard(['hello', MESH, lowest, highest]), malformed)
  assert.deepEqual(await heard(['hello', 'other', 2, 3]), { problem: 'it is of another mesh' })
})

test('software that could spoil a terminal or a log is not repeated', async () => {
  const greeting = await heard(['hello', MESH, 9, 9, null, '1.0\u001b[31m'])
  assert.ok('problem' in greeting && greeting.isVersion)
  assert.match(greeting.problem, /^it speaks version 9 of the mesh's protocol .*; upgrade this controller/)
})

test('both ends tell their range and what they run', async () => {
  const sent: unknown[] = []
  const stream = {
    send: (frame: Uint8Array) => sent.push(frame),
    receive: async () => encode(['hello', MESH, 1, 1]),
  } as unknown as FrameStream
  assert.deepEqual(await greet(stream, context), { version: 1 })
  assert.deepEqual(sent, [encode(['hello', MESH, 1, 1, null, '1.0.0'])])
})

test('the highest common version of two ranges', () => {
  const range = (lowest: number, highest: number) => readRange(lowest, highest)!
  assert.equal(highestCommon(range(1, 2), range(2, 3)), 2)
  assert.equal(highestCommon(range(1, 5), range(2, 3)), 3)
  assert.equal(highestCommon(range(1, 2), range(3, 3)), undefined)
  assert.equal(isOlder(range(1, 2), range(3, 3)), true)
  assert.equal(isOlder(range(3, 3), range(1, 2)), false)
})
