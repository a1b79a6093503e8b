// The first frames of a channel: which mesh, which version, and whether there is anything to talk about.
import { decode, encode } from '@ipld/dag-cbor'
import { MAX_RECORD_BYTES } from '../../state/record.ts'
import {
  formatRange,
  highestCommon,
  isOlder,
  PROTOCOL,
  readRange,
  readSoftware,
  type VersionRange,
} from '../versions.ts'
import type { FrameStream } from './frame-stream.ts'

export interface GreetingContext {
  readonly meshId: string
  /** The record of this controller, for a peer that does not know it. */
  readonly introduction: () => Uint8Array | undefined
  /** Version of Overmesh that runs here. */
  readonly software: string
  /** Versions of the protocol on a channel that are spoken here. @default PROTOCOL */
  readonly versions?: VersionRange
}

export type Greeting =
  /** The highest version both speak, and the record with which the dialling end introduces itself. */
  | { version: number; introduction?: Uint8Array }
  /** The two share no version. */
  | { problem: string; isVersion: true }
  /** This controller was removed; these records show it. */
  | { farewell: Uint8Array[] }
  | { problem: string; isVersion?: false }

const MAX_FAREWELL = 8

/** The dialling end: says its name first. */
export async function greet(stream: FrameStream, context: GreetingContext): Promise<Greeting> {
  stream.send(hello(context, context.introduction()))
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
  stream.send(removal ? encode(['farewell', removal.slice(0, MAX_FAREWELL)]) : hello(context))
  return greeting
}

/** Later versions may say more after this; it is not read here. */
function hello(
  { meshId, versions = PROTOCOL, software }: GreetingContext,
  introduction?: Uint8Array,
): Uint8Array {
  return encode(['hello', meshId, versions.lowest, versions.highest, introduction ?? null, software])
}

function read(frame: Uint8Array | undefined, { meshId, versions = PROTOCOL }: GreetingContext): Greeting {
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
  const [theirs, lowest, highest, introduction, software] = rest
  const range = readRange(lowest, highest)
  if (type !== 'hello' || range === undefined) return { problem: 'its greeting is malformed' }
  if (theirs !== meshId) return { problem: 'it is of another mesh' }
  const version = highestCommon(range, versions)
  if (version === undefined)
    return { problem: disagreement(range, versions, readSoftware(software)), isVersion: true }
  const isRecord = introduction instanceof Uint8Array && introduction.length <= MAX_RECORD_BYTES
  return isRecord ? { version, introduction } : { version }
}

function disagreement(theirs: VersionRange, ours: VersionRange, software: string): string {
  const it = software === '' ? 'it' : `it (Overmesh ${software})`
  const older = isOlder(theirs, ours) ? 'that controller' : 'this controller'
  return (
    `${it} speaks ${formatRange(theirs)} of the mesh's protocol and this controller ${formatRange(ours)}; ` +
    `upgrade ${older}, through the versions between where there are any`
  )
}
