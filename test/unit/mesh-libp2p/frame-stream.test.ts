// A stream of frames whose other end goes away at every possible moment.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode } from '@ipld/dag-cbor'
import type { Stream } from '@libp2p/interface'
import { Libp2pFrameStream } from '../../../mesh/libp2p/frame-stream.ts'
import { Stopwatch } from '../stopwatch.ts'

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
    this.brings(framed(frame))
  }
  brings(data: Uint8Array): void {
    this.dispatchEvent(Object.assign(new Event('message'), { data: { subarray: () => data } }))
  }
  ends(): void {
    this.dispatchEvent(new Event('remoteCloseWrite'))
  }
}

function framed(frame: Uint8Array): Uint8Array {
  const data = new Uint8Array(4 + frame.length)
  new DataView(data.buffer).setUint32(0, frame.length)
  data.set(frame, 4)
  return data
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

test('frames arrive whole in whatever pieces their bytes come', async () => {
  const frames = [0, 1, 5, 300, 70_000, 0].map((length, index) => new Uint8Array(length).fill(index + 1))
  const bytes = Buffer.concat(frames.map(framed))
  for (const size of [1, 3, 4, 5, 1000, bytes.length]) {
    const { raw, stream } = make()
    for (let at = 0; at < bytes.length; at += size) raw.brings(bytes.subarray(at, at + size))
    for (const frame of frames) assert.deepEqual(await stream.receive(), frame)
  }
})

test('a frame that comes byte by byte costs what its bytes cost: whoever is at the door may send one', async () => {
  const { raw, stream } = make()
  const bytes = framed(new Uint8Array(2 ** 17))
  const watch = new Stopwatch()
  for (let at = 0; at < bytes.length; at++) raw.brings(bytes.subarray(at, at + 1))
  // It was half a minute, with the loop at a stand, when pieces were kept until all were there.
  assert.ok(watch.own < 5000, `${watch.own} ms`)
  assert.equal((await stream.receive())?.length, 2 ** 17)
})
