// A stream of frames whose other end goes away at every possible moment.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode } from '@ipld/dag-cbor'
import type { Stream } from '@libp2p/interface'
import { Libp2pFrameStream } from '../../../mesh/libp2p/frame-stream.ts'

/** As much of a libp2p stream as frames need. */
class FakeStream extends EventTarget {
  status = 'open'
  writeStatus = 'writable'
  readStatus = 'readable'
  writeBufferLength = 0
  inactivityTimeout = 0
  readonly sent: Uint8Array[] = []
  send(data: Uint8Array): boolean {
    this.sent.push(data)
    return true
  }
  abort(): void {
    this.status = 'aborted'
    throw new Error('something under it was closed already')
  }
  pause(): void {}
  resume(): void {}
  says(frame: Uint8Array): void {
    const length = new Uint8Array(4)
    new DataView(length.buffer).setUint32(0, frame.length)
    const data = new Uint8Array([...length, ...frame])
    this.dispatchEvent(Object.assign(new Event('message'), { data: { subarray: () => data } }))
  }
  ends(): void {
    this.dispatchEvent(new Event('remoteCloseWrite'))
  }
}

const make = () => {
  const raw = new FakeStream()
  return { raw, stream: new Libp2pFrameStream(raw as unknown as Stream) }
}

test('a frame and the end that follows it at once are both told, in whatever order they are asked for', async () => {
  const { raw, stream } = make()
  const frame = encode(['hello'])
  raw.says(frame)
  raw.ends()
  assert.equal(stream.ended, true)
  assert.deepEqual(await stream.receive(), frame)
  assert.equal(await stream.receive(), undefined)
})

test('a stream that cannot even be aborted has ended', () => {
  const { stream } = make()
  let ends = 0
  stream.onEnd = () => ends++
  stream.abort('why not')
  assert.equal(stream.ended, true)
  assert.equal(ends, 1)
})

test('a frame that is too long ends the stream, whatever follows', async () => {
  const raw = new FakeStream()
  raw.abort = () => {}
  const stream = new Libp2pFrameStream(raw as unknown as Stream, 16)
  raw.says(new Uint8Array(17))
  raw.says(new Uint8Array(3))
  assert.equal(stream.ended, true)
  assert.equal(await stream.receive(), undefined)
})
