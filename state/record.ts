// One record, its canonical bytes (dag-cbor) and its author's signature (Ed25519, RFC 8032).
// On the wire and at rest: 64 bytes of signature, then the signed body.
import { createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto'
import { decode, encode } from '@ipld/dag-cbor'
import { isStamp, type Stamp } from './clock.ts'
import { type ControllerId, idProblem, type Kind, type Values } from './kinds.ts'
import { isAnyId, isKindName, isRawValue, isStrict, type RawValue, understand } from './understanding.ts'

declare const incarnationBrand: unique symbol

/** One life of one controller's sequence numbers: 12 hex digits of its first millisecond, then 4 random ones. */
export type Incarnation = string & { readonly [incarnationBrand]: true }

/** Sorts below every other; nothing is written in it. */
export const FIRST_INCARNATION = '0000000000000000' as Incarnation

/** Where a record came from: one author in one incarnation. Sequence numbers count within it. */
export type Origin = `${string}/${string}`

export interface RecordOf<K extends Kind> {
  readonly kind: K
  readonly id: string
  /** What this version understands of it. null: a tombstone, or nothing is understood; see `isTombstone`. */
  readonly value: Values[K] | null
  /** What its author wrote, where that is more than `value`. */
  readonly raw?: RawValue
  readonly stamp: Stamp
  readonly author: ControllerId
  readonly incarnation: Incarnation
  /** From 1, without gaps as written; gaps appear as records are superseded. */
  readonly sequence: number
  /** Leases only, 0 elsewhere: how often the address was given up before. See merge.ts. */
  readonly term: number
  readonly signature: Uint8Array
}

/** Any record; `kind` tells which. One of a kind that only newer versions know has its name there, and no value. */
export type StateRecord = { [K in Kind]: RecordOf<K> }[Kind]

/** A record before its author signed it. */
export type UnsignedRecord = { [K in Kind]: Omit<RecordOf<K>, 'signature'> }[Kind]

/** Largest record in bytes, signature included: one gossip message. */
export const MAX_RECORD_BYTES = 65_536

const FORMAT = 1
const SIGNATURE_BYTES = 64
const FIELDS = 9
const MAX_SEQUENCE = Number.MAX_SAFE_INTEGER
const INCARNATION = /^[0-9a-f]{16}$/
const AUTHOR = /^[0-9a-f]{20}$/

/** The key under which a record is kept. Kinds hold no slash. */
export function recordKey(kind: Kind, id: string): string {
  return `${kind}/${id}`
}

/** Whether a record says that there is none. */
export function isTombstone(record: Pick<UnsignedRecord, 'value' | 'raw'>): boolean {
  return record.value === null && record.raw === undefined
}

/** Whether this version can make nothing of what a record says. */
export function isForeign(record: Pick<UnsignedRecord, 'value' | 'raw'>): boolean {
  return record.value === null && record.raw !== undefined
}

/** The value as its author wrote it; null for a tombstone. */
export function rawValueOf(record: Pick<UnsignedRecord, 'value' | 'raw'>): RawValue | null {
  return record.raw ?? record.value
}

export function originOf(record: Pick<UnsignedRecord, 'author' | 'incarnation'>): Origin {
  return `${record.author}/${record.incarnation}`
}

export function isIncarnation(value: unknown): value is Incarnation {
  return typeof value === 'string' && INCARNATION.test(value)
}

/** Splits an origin; undefined when it is none. */
export function parseOrigin(text: string): { author: ControllerId; incarnation: Incarnation } | undefined {
  const author = text.slice(0, 20)
  const incarnation = text.slice(21)
  if (text[20] !== '/' || !AUTHOR.test(author) || !isIncarnation(incarnation)) return undefined
  return { author: author as ControllerId, incarnation }
}

/** The bytes that are signed. One record has exactly one such form. */
function encodeBody(record: UnsignedRecord): Uint8Array {
  const { kind, id, stamp, author, incarnation, sequence, term } = record
  return encode([FORMAT, kind, id, rawValueOf(record), stamp, author, incarnation, sequence, term])
}

/** Signs a record. @param privateKey Ed25519 private key of the author */
export function signRecord(record: UnsignedRecord, privateKey: KeyObject): StateRecord {
  return { ...record, signature: sign(null, encodeBody(record), privateKey) } as StateRecord
}

/**
 * True when the key made the signature at the head of a record's bytes.
 * @param bytes as `decodeRecord` took them
 * @param publicKey Ed25519 public key of the author
 */
export function isSignedBy(bytes: Uint8Array, publicKey: KeyObject): boolean {
  return verify(null, bytes.subarray(SIGNATURE_BYTES), publicKey, bytes.subarray(0, SIGNATURE_BYTES))
}

/** The same by the threads of the process: many at once take all its cores. */
export function isSignedByAsync(bytes: Uint8Array, publicKey: KeyObject): Promise<boolean> {
  return new Promise(resolve => {
    const [body, signature] = [bytes.subarray(SIGNATURE_BYTES), bytes.subarray(0, SIGNATURE_BYTES)]
    verify(null, body, publicKey, signature, (error, isGood) => resolve(error === null && isGood))
  })
}

export function encodeRecord(record: StateRecord): Uint8Array {
  const body = encodeBody(record)
  const bytes = new Uint8Array(SIGNATURE_BYTES + body.length)
  bytes.set(record.signature, 0)
  bytes.set(body, SIGNATURE_BYTES)
  return bytes
}

/** Identity of a record's bytes: SHA-256, hex. */
export function digestOf(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex')
}

export type Decoded = { ok: true; record: StateRecord } | { ok: false; reason: string }

/**
 * Reads a record from bytes that nobody vouches for: bounds, canonical form, and what of its value is understood here. The
 * signature is not checked here, since that needs the author's key. Never throws.
 * @param isVouchedFor true for bytes that went through here before and lay under a checksum since: saves half the time
 */
export function decodeRecord(bytes: Uint8Array, isVouchedFor = false): Decoded {
  if (bytes.length <= SIGNATURE_BYTES) return refuse('too short for a record')
  if (bytes.length > MAX_RECORD_BYTES) return refuse(`longer than ${MAX_RECORD_BYTES} bytes`)
  const body = bytes.subarray(SIGNATURE_BYTES)
  let fields: unknown
  try {
    fields = decode(body)
    // A second spelling of the same values would make equal records unequal in bytes.
    if (!isVouchedFor && !equalBytes(encode(fields), body)) return refuse('not in canonical form')
  } catch {
    return refuse('not dag-cbor')
  }
  if (!Array.isArray(fields) || fields.length !== FIELDS) return refuse('not a record')
  const [format, kind, id, value, stamp, author, incarnation, sequence, term] = fields
  if (format !== FORMAT) return refuse(`record format ${String(format).slice(0, 20)} is not known here`)
  if (!isKindName(kind)) return refuse('kind is malformed')
  if (!isAnyId(id)) return refuse('id is malformed')
  if (!isStamp(stamp)) return refuse('stamp is malformed')
  if (typeof author !== 'string' || !AUTHOR.test(author)) return refuse('author is malformed')
  if (!isIncarnation(incarnation)) return refuse('incarnation is malformed')
  if (!isCount(sequence) || sequence === 0) return refuse('sequence is malformed')
  if (!isCount(term) || (term !== 0 && kind !== 'lease')) return refuse('term is malformed')
  const content = contentOf(kind, id, value)
  if ('problem' in content) return refuse(content.problem)
  // Copied, so that a record never keeps a whole network buffer alive.
  const signature = Uint8Array.from(bytes.subarray(0, SIGNATURE_BYTES))
  const record = {
    kind,
    id,
    ...content,
    stamp,
    author,
    incarnation,
    sequence,
    term,
    signature,
  } as StateRecord
  return { ok: true, record }
}

type Content = { value: RawValue | null; raw?: RawValue } | { problem: string }

function contentOf(kind: string, id: string, value: unknown): Content {
  if (value === null) {
    const problem = deletionProblem(kind)
    return problem === undefined ? { value } : { problem }
  }
  if (!isRawValue(value)) return { problem: 'value is no map' }
  const understood = understand(kind, id, value)
  if (understood.is === 'whole') return { value }
  if (understood.is === 'part') return { value: understood.value, raw: value }
  return understood.is === 'malformed' || isStrict(kind)
    ? { problem: understood.problem }
    : { value: null, raw: value }
}

/** Why a record of this kind and id is not to be deleted here; undefined when it may be. */
export function tombstoneProblem(kind: Kind, id: string): string | undefined {
  return deletionProblem(kind) ?? idProblem(kind, id)
}

/** Kinds that are never deleted: what they say is only ever replaced or stays. */
function deletionProblem(kind: string): string | undefined {
  if (kind === 'revocation') return 'a revocation is never taken back'
  if (kind === 'controller') return 'a controller is removed by marking its record, not by deleting it'
  return kind === 'mesh' ? 'the record of the mesh is never deleted' : undefined
}

/** @param raw raw Ed25519 public key, 32 bytes */
export function publicKeyFromRaw(raw: Uint8Array): KeyObject {
  const x = Buffer.from(raw).toString('base64url')
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
}

/** The raw 32 bytes of an Ed25519 public (or private) key's public half. */
export function rawPublicKey(key: KeyObject): Uint8Array {
  const { x } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' })
  return Buffer.from(x ?? '', 'base64url')
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_SEQUENCE
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

function refuse(reason: string): Decoded {
  return { ok: false, reason }
}
