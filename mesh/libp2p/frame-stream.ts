// Whole frames over a libp2p stream: four bytes of length, big-endian, then the frame. Bounded both ways.
import type { Stream } from '@libp2p/interface'
import { MAX_FRAME_BYTES } from '../transport.ts'

const HEADER = 4
/** Bytes that may wait to be sent. */
export const MAX_SEND_BYTES = 16 * 2 ** 20
/** Frames that wait for `receive` before the peer is made to wait. */
const MAX_WAITING = 16

/** One end of a stream of frames. */
export interface FrameStream {
  /** False when it is closed, or more waits to be sent than may. */
  send(frame: Uint8Array): boolean
  /** Resolves when there is room to send again. */
  drained(): Promise<void>
  /** The next frame; undefined at the end. */
  receive(): Promise<Uint8Array | undefined>
  /** Sends what waits, then ends. */
  close(): Promise<void>
  /** Ends at once. */
  abort(reason: string): void
}

export class Libp2pFrameStream implements FrameStream {
  /** Takes frames in place of `receive`, from when it is set. */
  #onFrame: ((frame: Uint8Array) => void) | undefined
  /** Called once, when nothing comes any more. */
  onEnd: () => void = () => {}
  readonly #stream: Stream
  readonly #maxFrame: number
  /** Of the frame that is under way: its length, the frame once that is known, and how much of the two there is. */
  readonly #header = new Uint8Array(HEADER)
  #frame: Uint8Array | undefined
  #filled = 0
  readonly #frames: Uint8Array[] = []
  readonly #receivers: ((frame: Uint8Array | undefined) => void)[] = []
  #ended = false

  /** @param maxFrame bytes of a frame that the peer may send */
  constructor(stream: Stream, maxFrame = MAX_FRAME_BYTES) {
    this.#stream = stream
    this.#maxFrame = maxFrame
    // Silence is the mesh's to judge, not the stream's.
    stream.inactivityTimeout = Number.POSITIVE_INFINITY
    stream.addEventListener('message', ({ data }) => this.#take(data.subarray()))
    stream.addEventListener('remoteCloseWrite', () => this.#end())
    stream.addEventListener('close', () => this.#end())
  }

  /** Nothing comes any more: `onEnd` was called, or would have been. */
  get ended(): boolean {
    return this.#ended
  }

  send(frame: Uint8Array): boolean {
    const stream = this.#stream
    if (stream.status !== 'open' || stream.writeStatus !== 'writable') return false
    if (stream.writeBufferLength + frame.length > MAX_SEND_BYTES) return false
    const message = new Uint8Array(HEADER + frame.length)
    new DataView(message.buffer).setUint32(0, frame.length)
    message.set(frame, HEADER)
    try {
      stream.send(message)
      return true
    } catch {
      return false
    }
  }

  async drained(): Promise<void> {
    while (this.#stream.status === 'open' && this.#stream.writeBufferLength > MAX_SEND_BYTES / 4) {
      await this.#stream.onDrain().catch(() => {})
    }
  }

  receive(): Promise<Uint8Array | undefined> {
    const frame = this.#frames.shift()
    if (frame !== undefined) {
      if (this.#stream.readStatus === 'paused' && this.#frames.length < MAX_WAITING / 2) this.#stream.resume()
      return Promise.resolve(frame)
    }
    if (this.#ended) return Promise.resolve(undefined)
    return new Promise(resolve => this.#receivers.push(resolve))
  }

  /** Hands every frame over as it comes, those that wait first. */
  handOver(onFrame: (frame: Uint8Array) => void): void {
    this.#onFrame = onFrame
    for (const frame of this.#frames.splice(0)) onFrame(frame)
    if (this.#stream.readStatus === 'paused') this.#stream.resume()
  }

  async close(): Promise<void> {
    try {
      await this.#stream.close({ signal: AbortSignal.timeout(CLOSE_MS) })
    } catch {
      this.abort('it did not close in time')
    }
  }

  abort(reason: string): void {
    try {
      this.#stream.abort(new Error(reason))
    } catch {
      // Something under it was closed already.
    }
    this.#end()
  }

  /** Each byte is copied once, to where it belongs: a peer may send one at a time. */
  #take(data: Uint8Array): void {
    for (let at = 0; at < data.length && !this.#ended; ) {
      const target = this.#frame ?? this.#header
      const part = data.subarray(at, at + target.length - this.#filled)
      target.set(part, this.#filled)
      this.#filled += part.length
      at += part.length
      if (this.#filled === target.length) this.#filledUp()
    }
  }

  #filledUp(): void {
    let frame = this.#frame
    this.#filled = 0
    this.#frame = undefined
    if (frame === undefined) {
      const length = new DataView(this.#header.buffer).getUint32(0)
      if (length > this.#maxFrame) {
        this.abort(`a frame of ${length} bytes`)
        return
      }
      frame = new Uint8Array(length)
      if (length > 0) {
        this.#frame = frame
        return
      }
    }
    this.#deliver(frame)
  }

  #deliver(frame: Uint8Array): void {
    const receiver = this.#receivers.shift()
    if (this.#onFrame) this.#onFrame(frame)
    else if (receiver) receiver(frame)
    else {
      this.#frames.push(frame)
      if (this.#frames.length >= MAX_WAITING && this.#stream.readStatus === 'readable') this.#stream.pause()
    }
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#frame = undefined
    for (const receiver of this.#receivers.splice(0)) receiver(undefined)
    this.onEnd()
  }
}

const CLOSE_MS = 2000
