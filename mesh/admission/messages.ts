// What a newcomer and the controller that invited it say to each other: dag-cbor arrays, strictly read, but for fields that
// only newer versions know, which are passed over. What is malformed yields undefined and nothing is thrown.
import { decode, encode } from '@ipld/dag-cbor'
import { isName } from '../../state/kinds.ts'
import { MAX_RECORD_BYTES } from '../../state/record.ts'
import { parseVector, type Vector } from '../../state/vector.ts'
import { MAX_FRAME_BYTES } from '../transport.ts'
import { highestCommon, JOINING, readRange, readSoftware, type VersionRange } from '../versions.ts'
import { INVITE_ID_BYTES } from './token.ts'

/** Seconds for which certificates of the mesh are good, and session keys. */
export interface Lifetimes {
  readonly issuing: number
  readonly server: number
  readonly client: number
  readonly sessionKeys: number
}

export interface JoinRequest {
  readonly type: 'join'
  /** The lowest and the highest version of the join that the newcomer speaks. */
  readonly version: number
  readonly highest: number
  /** Version of Overmesh that the newcomer runs; empty when it does not say. */
  readonly software: string
  readonly inviteId: Uint8Array
  /** See `proveInvited`. */
  readonly proof: Uint8Array
  /** The newcomer's clock, ms since 1970. */
  readonly now: number
  /** The name it wants. */
  readonly name: string
  /** DER of the EC P-256 key that it wants an issuing certificate for. */
  readonly publicKey: Uint8Array
  /** See `provePossession`. */
  readonly possession: Uint8Array
}

export interface Admission {
  readonly type: 'admitted'
  /** The highest version of the join that both speak. */
  readonly version: number
  readonly meshId: string
  /** PEM */
  readonly rootCertificate: string
  /** PEM, of the newcomer's issuing CA. */
  readonly issuingCertificate: string
  /** PEM: the tls-crypt-v2 server key that the controllers of the mesh share. */
  readonly tlsCryptKey: string
  readonly lifetimes: Lifetimes
}

export type JoinMessage =
  | JoinRequest
  /** A request in the words of versions that are not spoken here: all that is understood of it. */
  | { type: 'foreign'; versions: VersionRange; software: string }
  | Admission
  | { type: 'refused'; reason: string }
  /** The newcomer has this; it is sent what it lacks. */
  | { type: 'vector'; vector: Vector }
  | { type: 'delta'; records: Uint8Array[]; known: Vector; more: boolean }
  /** The newcomer's own records. `again`: it understands `taken`. */
  | { type: 'own'; records: Uint8Array[]; again?: boolean }
  /** Its address was leased to another meanwhile: nothing of it was kept, and it may begin anew with `vector`. */
  | { type: 'taken' }
  | { type: 'welcome' }

/** What is said in this version. */
export type SpokenMessage = Exclude<JoinMessage, { type: 'foreign' }>

/** Longest request, bytes: it comes from whoever knocks. */
export const MAX_REQUEST_BYTES = 4096
/** Longest frame of a newcomer that was let in, bytes: what it has accounted for of all origins. */
export const MAX_NEWCOMER_FRAME_BYTES = 2 ** 19

const MAX_TEXT = 32_768
const MAX_REASON = 400
const MAX_KEY = 256
const MAX_RECORDS = 65_536
const MAX_OWN = 16
/** Seconds. */
const MIN_SESSION_KEYS = 4
/** The latest time that a Date holds, ms since 1970. */
const MAX_TIME = 8.64e15

export function encodeJoinMessage(message: SpokenMessage): Uint8Array {
  const { type, ...fields } = message
  return encode([type, fields])
}

/** @param maxBytes longest that is looked at */
export function decodeJoinMessage(
  bytes: Uint8Array | undefined,
  maxBytes = MAX_FRAME_BYTES,
): JoinMessage | undefined {
  if (bytes === undefined || bytes.length > maxBytes) return undefined
  let value: unknown
  try {
    value = decode(bytes)
  } catch {
    return undefined
  }
  if (!Array.isArray(value) || value.length !== 2) return undefined
  const [type, fields] = value
  if (typeof type !== 'string' || !Object.hasOwn(READERS, type) || !isFields(fields)) return undefined
  if (type === 'join') {
    const versions = rangeOf(fields)
    if (versions === undefined) return undefined
    if (highestCommon(versions, JOINING) === undefined)
      return { type: 'foreign', versions, software: readSoftware(fields.software) }
  }
  return READERS[type as SpokenMessage['type']](fields)
}

type Fields = Record<string, unknown>

const READERS: { [T in SpokenMessage['type']]: (fields: Fields) => (JoinMessage & { type: T }) | undefined } =
  {
    join(fields) {
      const { version, highest, software, inviteId, proof, now, name, publicKey, possession } = fields
      if (!isCount(version) || !isCount(highest) || readSoftware(software) !== software) return undefined
      if (!isBytes(inviteId, INVITE_ID_BYTES) || !isBytes(proof, 32)) return undefined
      if (!isTime(now) || typeof name !== 'string' || !isName(name)) return undefined
      if (!isShort(publicKey) || !isShort(possession)) return undefined
      return { type: 'join', version, highest, software, inviteId, proof, now, name, publicKey, possession }
    },
    admitted({ version, meshId, rootCertificate, issuingCertificate, tlsCryptKey, lifetimes }) {
      if (!isCount(version) || !isText(meshId) || !isText(rootCertificate) || !isText(issuingCertificate))
        return undefined
      if (!isText(tlsCryptKey) || !isFields(lifetimes)) return undefined
      const { issuing, server, client, sessionKeys } = lifetimes
      if (!isSpan(issuing, 1) || !isSpan(server, 1) || !isSpan(client, 1)) return undefined
      if (!isSpan(sessionKeys, MIN_SESSION_KEYS)) return undefined
      const read = { issuing, server, client, sessionKeys }
      return {
        ...{ type: 'admitted', version, meshId, rootCertificate, issuingCertificate, tlsCryptKey },
        lifetimes: read,
      }
    },
    refused({ reason }) {
      return isText(reason) ? { type: 'refused', reason: reason.slice(0, MAX_REASON) } : undefined
    },
    vector({ vector }) {
      return parseVector(vector) ? { type: 'vector', vector: vector as Vector } : undefined
    },
    delta({ records, known, more }) {
      if (!areRecords(records, MAX_RECORDS) || !parseVector(known) || typeof more !== 'boolean')
        return undefined
      return { type: 'delta', records, known: known as Vector, more }
    },
    own({ records, again }) {
      if (!areRecords(records, MAX_OWN)) return undefined
      return again === true ? { type: 'own', records, again } : { type: 'own', records }
    },
    taken() {
      return { type: 'taken' }
    },
    welcome() {
      return { type: 'welcome' }
    },
  }

/** Of a request that names one version: that one. */
function rangeOf({ version, highest = version }: Fields): VersionRange | undefined {
  return readRange(version, highest)
}

function isFields(value: unknown): value is Fields {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
  )
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isTime = (value: unknown): value is number => isCount(value) && value <= MAX_TIME
const isSpan = (value: unknown, least: number): value is number => isCount(value) && value >= least
const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= MAX_TEXT
const isBytes = (value: unknown, length: number): value is Uint8Array =>
  value instanceof Uint8Array && value.length === length
const isShort = (value: unknown): value is Uint8Array =>
  value instanceof Uint8Array && value.length > 0 && value.length <= MAX_KEY

function areRecords(value: unknown, most: number): value is Uint8Array[] {
  return (
    Array.isArray(value) &&
    value.length <= most &&
    value.every(each => each instanceof Uint8Array && each.length <= MAX_RECORD_BYTES)
  )
}
