// The first frames of a channel: which mesh, which version, and whether there is anything to talk about.
import { decode, encode } from '@ipld/dag-cbor'
import { MAX_RECORD_BYTES } from '../../state/record.ts'
import type { FrameStream } from './frame-stream.ts'

export interface GreetingContext {
  readonly meshId: string
  /** The record of this controller, for a peer that does not know it. */
  readonly introduction: () => Uint8Array | undefined
}

export type Greeting =
  /** The highest version both speak, and the record with which the dialling end introduces itself. */
  | { version: number; introduction?: Uint8Array }
  /** This controller was removed; these records show it. */
  | { farewell: Uint8Array[] }
  | { problem: string }

/** Versions of the protocol on a channel that are spoken here. */
const VERSIONS = { lowest: 1, highest: 1 }
const MAX_FAREWELL = 8

/** The dialling end: says its name first. */
export async function greet(stream: FrameStream, context: GreetingContext): Promise<Greeting> {
  const { meshId, introduction } = context
  stream.send(encode(['hello', meshId, VERSIONS.lowest, VERSIONS.highest, introduction() ?? null]))
  return read(await stream.receive(), context)
}

/** What the dialling end says, unanswered. */
export async function hear(stream: FrameStream, context: GreetingContext): Promise<Greeting> {
  return read(await stream.receive(), context)
}

/** The other end. @param removal tells the peer that it was removed */
export async function welcome(
  stream: FrameStream,
  context: GreetingContext,
  removal: Uint8Array[] | undefined,
): Promise<Greeting> {
  const greeting = await hear(stream, context)
  stream.send(
    removal
      ? encode(['farewell', removal.slice(0, MAX_FAREWELL)])
      : encode(['hello', context.meshId, VERSIONS.lowest, VERSIONS.highest]),
  )
  return greeting
}

function read(frame: Uint8Array | undefined, { meshId }: GreetingContext): Greeting {
  if (frame === undefined) return { problem: 'it ended the connection' }
  let words: unknown
  try {
    words = decode(frame)
  } catch {
    return { problem: 'its greeting is malformed' }
  }
  if (!Array.isArray(words)) return { problem: 'its greeting is malformed' }
  const [type, ...rest] = words
  if (type === 'farewell') {
    const [records] = rest
    const isGood =
      Array.isArray(records) &&
      records.length <= MAX_FAREWELL &&
      records.every(each => each instanceof Uint8Array && each.length <= MAX_RECORD_BYTES)
    return isGood ? { farewell: records } : { problem: 'its greeting is malformed' }
  }
  const [theirs, lowest, highest, introduction] = rest
  if (type !== 'hello' || !Number.isInteger(lowest) || !Number.isInteger(highest)) {
    return { problem: 'its greeting is malformed' }
  }
  if (theirs !== meshId) return { problem: 'it is of another mesh' }
  const version = Math.min(highest, VERSIONS.highest)
  if (version < Math.max(lowest, VERSIONS.lowest)) {
    return {
      problem: `it speaks versions ${lowest} to ${highest} of the mesh's protocol; upgrade the older one`,
    }
  }
  const isRecord = introduction instanceof Uint8Array && introduction.length <= MAX_RECORD_BYTES
  return isRecord ? { version, introduction } : { version }
}
