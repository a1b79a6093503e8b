// What controllers say to each other: dag-cbor arrays, the type first. Everything is hostile until read: bounds, then
// meaning; what is malformed yields undefined and nothing is thrown. Types, fields, and items at the end of lists that only
// newer versions know are passed over: see versions.ts.
import { decode, encode } from '@ipld/dag-cbor'
import { MAX_TIME } from '../state/clock.ts'
import { type ClientId, type ControllerId, isControllerId } from '../state/kinds.ts'
import { type Incarnation, isIncarnation, MAX_RECORD_BYTES } from '../state/record.ts'
import { BUCKETS } from '../state/record-hash.ts'
import { SequenceSet } from '../state/sequence-set.ts'
import { parseVector, type Vector } from '../state/vector.ts'
import { MAX_FRAME_BYTES } from './transport.ts'

/** Frames on the channel between two controllers; `records` and `signed` are gossiped, too. */
export type Frame =
  /** `sent` is the sender's clock, `echo` the last `sent` it heard from the receiver, and `held` the ms since then. */
  | { type: 'heartbeat'; sent: number; echo: number; held: number; boot: number; version: number }
  /** Two hashes that are equal on equal replicas. `answer`: the sender wants the receiver's. */
  | { type: 'summary'; vectorHash: string; stateHash: string; records: number; answer: boolean }
  | { type: 'vector'; vector: Vector; stateHash: string; answer: boolean }
  /** As `Delta` has it. */
  | { type: 'delta'; records: Uint8Array[]; known: Vector; base: Vector; more: boolean }
  | { type: 'buckets'; hashes: string[]; answer: boolean }
  | { type: 'repair'; records: Uint8Array[] }
  | { type: 'records'; records: Uint8Array[] }
  /** The sender has on its disk these records of the receiver. */
  | { type: 'stored'; incarnation: Incarnation; ranges: number[] }
  /** Bytes for the backbone of the receiver. */
  | { type: 'link'; payload: Uint8Array }
  /** A question to the receiver, and its answer, which has the question's number. */
  | { type: 'ask'; number: number; about: string }
  | { type: 'told'; number: number; text: string }
  /** What its author signed, whoever brings it: see `Statement`. */
  | { type: 'signed'; author: ControllerId; signature: Uint8Array; body: Uint8Array }

/** What is said under a signature, so that others can pass it on. */
export type Statement =
  /** `at`, the author's clock, makes it another message each time: gossipsub passes equal bytes on only once. */
  | { type: 'presence'; at: number; update: PresenceUpdate }
  /** The author wants to be told the presence of this controller in full. */
  | { type: 'want'; controller: ControllerId; at: number }
  /** An operator asks the controller to end the session of a client. */
  | { type: 'kick'; controller: ControllerId; client: ClientId; at: number }

/** Of a type that only newer versions know. */
export interface Foreign {
  type: 'foreign'
}

/** A change of one controller's presence from version `base` to `version`; in full, in parts, when `base` is 0. */
export interface PresenceUpdate {
  readonly boot: number
  readonly base: number
  readonly version: number
  /** Number of this part, from 0, and of parts. */
  readonly part: number
  readonly parts: number
  readonly facts: readonly [
    version: string,
    startedAt: number,
    draining: boolean,
    holdsRootKey: boolean,
    stateHash: string,
    records: number,
    gateway: boolean,
    failing: readonly string[],
    ipsec: boolean,
    attachments: readonly (readonly [id: string, since: number, several: boolean])[],
    /** Absent from versions that carry no IPv6. */
    gateway6?: boolean,
    exit6?: boolean,
    /** Absent from versions that take every gateway for an exit. */
    exit4?: boolean,
  ]
  /** Null: as they were at `base`. */
  readonly links: readonly (readonly [peer: ControllerId, up: boolean, rtt: number, loss: number])[] | null
  readonly up: readonly (readonly [client: ClientId, since: number, remote: string])[]
  readonly down: readonly ClientId[]
}

/** Sessions in one part of a presence in full: a part fits a gossiped frame. */
export const PART_SESSIONS = 500
/** Parts of one presence: sessions of one controller over that. */
export const MAX_PARTS = 132
const MAX_LINKS = 1024
/** Routes that are told to fail. */
export const MAX_FAILING = 256
/** Attachments that one controller tells to be up there. */
export const MAX_ATTACHMENTS = 256
const MAX_RECORDS = 65_536
const MAX_LINK_PAYLOAD = 4096
/** Of an answer, UTF-16 units. */
export const MAX_ANSWER = 65_536
/** Of clocks and spans, which may be no integers. */
const MAX_SPAN = 2 ** 53 - 1

const CLIENT_ID = /^[0-9a-f]{16}$/
const HASH = /^[0-9a-f]{64}$/
const TYPE = /^[a-z][a-z0-9-]{0,31}$/

export function encodeFrame(frame: Frame): Uint8Array {
  const { type, ...fields } = frame
  return encode([type, fields])
}

export function decodeFrame(bytes: Uint8Array): Frame | Foreign | undefined {
  if (bytes.length > MAX_FRAME_BYTES) return undefined
  const [type, fields] = pair(bytes)
  if (fields === undefined) return undefined
  return Object.hasOwn(FRAMES, type) ? FRAMES[type as Frame['type']](fields) : foreign(type)
}

export function encodeStatement(statement: Statement): Uint8Array {
  const { type, ...fields } = statement
  return encode([type, fields])
}

export function decodeStatement(bytes: Uint8Array): Statement | Foreign | undefined {
  const [type, fields] = pair(bytes)
  if (fields === undefined) return undefined
  return Object.hasOwn(STATEMENTS, type) ? STATEMENTS[type as Statement['type']](fields) : foreign(type)
}

function foreign(type: string): Foreign | undefined {
  return TYPE.test(type) ? { type: 'foreign' } : undefined
}

type Fields = Record<string, unknown>

function pair(bytes: Uint8Array): [string, Fields | undefined] {
  try {
    const value: unknown = decode(bytes)
    if (!Array.isArray(value) || value.length !== 2) return ['', undefined]
    const [type, fields] = value
    return typeof type === 'string' && isFields(fields) ? [type, fields] : ['', undefined]
  } catch {
    return ['', undefined]
  }
}

function isFields(value: unknown): value is Fields {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
  )
}

const FRAMES: { [T in Frame['type']]: (fields: Fields) => (Frame & { type: T }) | undefined } = {
  heartbeat({ sent, echo, held, boot, version }) {
    if (!isTime(sent) || !isTime(echo) || !isTime(held) || !isCount(boot) || !isCount(version))
      return undefined
    return { type: 'heartbeat', sent, echo, held, boot, version }
  },
  summary({ vectorHash, stateHash, records, answer }) {
    if (!isHash(vectorHash) || !isHash(stateHash) || !isCount(records) || !isFlag(answer)) return undefined
    return { type: 'summary', vectorHash, stateHash, records, answer }
  },
  vector({ vector, stateHash, answer }) {
    if (parseVector(vector) === undefined || !isHash(stateHash) || !isFlag(answer)) return undefined
    return { type: 'vector', vector: vector as Vector, stateHash, answer }
  },
  delta({ records, known, base, more }) {
    if (!areRecords(records) || !isFlag(more)) return undefined
    if (parseVector(known) === undefined || parseVector(base) === undefined) return undefined
    return { type: 'delta', records, known: known as Vector, base: base as Vector, more }
  },
  buckets({ hashes, answer }) {
    if (!Array.isArray(hashes) || hashes.length !== BUCKETS || !isFlag(answer)) return undefined
    return hashes.every(isShortText) ? { type: 'buckets', hashes, answer } : undefined
  },
  repair({ records }) {
    return areRecords(records) ? { type: 'repair', records } : undefined
  },
  records({ records }) {
    return areRecords(records) ? { type: 'records', records } : undefined
  },
  stored({ incarnation, ranges }) {
    const set = SequenceSet.from(ranges)
    if (!isIncarnation(incarnation) || set === undefined) return undefined
    return { type: 'stored', incarnation, ranges: set.ranges() }
  },
  link({ payload }) {
    if (!(payload instanceof Uint8Array) || payload.length > MAX_LINK_PAYLOAD) return undefined
    return { type: 'link', payload }
  },
  ask({ number, about }) {
    return isCount(number) && isShortText(about) ? { type: 'ask', number, about } : undefined
  },
  told({ number, text }) {
    if (!isCount(number) || typeof text !== 'string' || text.length > MAX_ANSWER) return undefined
    return { type: 'told', number, text }
  },
  signed({ author, signature, body }) {
    if (!isControllerId(author) || !isBytes(signature, 64) || !(body instanceof Uint8Array)) return undefined
    return { type: 'signed', author, signature, body }
  },
}

const STATEMENTS: { [T in Statement['type']]: (fields: Fields) => (Statement & { type: T }) | undefined } = {
  presence({ at, update }) {
    const read = isCount(at) && isFields(update) ? readUpdate(update) : undefined
    return read && { type: 'presence', at: at as number, update: read }
  },
  want({ controller, at }) {
    return isControllerId(controller) && isCount(at) ? { type: 'want', controller, at } : undefined
  },
  kick({ controller, client, at }) {
    if (!isControllerId(controller) || !isClientId(client) || !isCount(at)) return undefined
    return { type: 'kick', controller, client, at }
  },
}

function readUpdate(fields: Fields): PresenceUpdate | undefined {
  const { boot, base, version, part, parts, facts, links, up, down } = fields
  if (!isCount(boot) || !isCount(base) || !isCount(version) || version < 1 || base > version) return undefined
  if (!isCount(part) || !isCount(parts) || parts < 1 || parts > MAX_PARTS || part >= parts) return undefined
  if (parts > 1 && base !== 0) return undefined
  if (links === null ? base === 0 : !isList(links, MAX_LINKS, isLink)) return undefined
  if (!areFacts(facts) || !isList(up, PART_SESSIONS, isSession) || !isList(down, PART_SESSIONS, isClientId))
    return undefined
  return { boot, base, version, part, parts, facts, links: links as PresenceUpdate['links'], up, down }
}

type Facts = PresenceUpdate['facts']
type Link = NonNullable<PresenceUpdate['links']>[number]
type Session = PresenceUpdate['up'][number]

function areFacts(value: unknown): value is Facts {
  if (!Array.isArray(value) || value.length < 10) return false
  const [
    version,
    startedAt,
    draining,
    holdsRootKey,
    stateHash,
    records,
    gateway,
    failing,
    ipsec,
    attachments,
    gateway6,
    exit6,
    exit4,
  ] = value
  return (
    isShortText(version) &&
    isInstant(startedAt) &&
    isFlag(draining) &&
    isFlag(holdsRootKey) &&
    isHash(stateHash) &&
    isCount(records) &&
    isFlag(gateway) &&
    isList(failing, MAX_FAILING, isShortText) &&
    isFlag(ipsec) &&
    isList(attachments, MAX_ATTACHMENTS, isAttachment) &&
    (gateway6 === undefined || isFlag(gateway6)) &&
    (exit6 === undefined || isFlag(exit6)) &&
    (exit4 === undefined || isFlag(exit4))
  )
}

function isAttachment(value: unknown): value is Facts[9][number] {
  if (!Array.isArray(value) || value.length < 3) return false
  return isClientId(value[0]) && isInstant(value[1]) && isFlag(value[2])
}

function isLink(value: unknown): value is Link {
  if (!Array.isArray(value) || value.length < 4) return false
  const [peer, up, rtt, loss] = value
  return isControllerId(peer) && isFlag(up) && isTime(rtt) && isTime(loss) && loss <= 100
}

function isSession(value: unknown): value is Session {
  if (!Array.isArray(value) || value.length < 3) return false
  const [client, since, remote] = value
  return isClientId(client) && isInstant(since) && isShortText(remote)
}

function isList<T>(value: unknown, most: number, is: (item: unknown) => item is T): value is T[] {
  return Array.isArray(value) && value.length <= most && value.every(is)
}

function areRecords(value: unknown): value is Uint8Array[] {
  return isList(
    value,
    MAX_RECORDS,
    (item): item is Uint8Array => item instanceof Uint8Array && item.length <= MAX_RECORD_BYTES,
  )
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
/** ms since 1970 that are shown as a date, and that leave room for later ones. */
const isInstant = (value: unknown): value is number => isCount(value) && value <= MAX_TIME
const isTime = (value: unknown): value is number =>
  typeof value === 'number' && value >= 0 && value <= MAX_SPAN && !Object.is(value, -0)
const isFlag = (value: unknown): value is boolean => typeof value === 'boolean'
const isHash = (value: unknown): value is string => typeof value === 'string' && HASH.test(value)
const isShortText = (value: unknown): value is string => typeof value === 'string' && value.length <= 80
const isClientId = (value: unknown): value is ClientId => typeof value === 'string' && CLIENT_ID.test(value)
const isBytes = (value: unknown, length: number): value is Uint8Array =>
  value instanceof Uint8Array && value.length === length
