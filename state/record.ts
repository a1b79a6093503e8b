// One record, its canonical bytes (dag-cbor) and its author's signature (Ed25519, RFC 8032).
// On the wire and at rest: 64 bytes of signature, then the signed body.
import { createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto'
import { decode, encode } from '@ipld/dag-cbor'
import { isStamp, type Stamp } from './clock.ts'
import { type ControllerId, idProblem, isKind, type Kind, type Values, valueProblem } from './kinds.ts'

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
  /** null: a tombstone. */
  readonly value: Values[K] | null
  readonly stamp: Stamp
  readonly author: ControllerId
  readonly incarnation: Incarnation
  /** From 1, without gaps as written; gaps appear as records are superseded. */
  readonly sequence: number
  /** Leases only, 0 elsewhere: how often the address was given up before. See merge.ts. */
  readonly term: number
  readonly signature: Uint8Array
}

/** Any record; `kind` tells which. */
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
  const { kind, id, value, stamp, author, incarnation, sequence, term } = record
  return encode([FORMAT, kind, id, value, stamp, author, incarnation, sequence, term])
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
 * Reads a record from bytes that nobody vouches for: bounds, canonical form, schema. The signature is not checked here,
 * since that needs the author's key. Never throws.
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
  if (!isKind(kind)) return refuse(`kind ${JSON.stringify(String(kind).slice(0, 40))} is not known here`)
  if (typeof id !== 'string') return refuse('id is no text')
  if (!isStamp(stamp)) return refuse('stamp is malformed')
  if (typeof author !== 'string' || !AUTHOR.test(author)) return refuse('author is malformed')
  if (!isIncarnation(incarnation)) return refuse('incarnation is malformed')
  if (!isCount(sequence) || sequence === 0) return refuse('sequence is malformed')
  if (!isCount(term) || (term !== 0 && kind !== 'lease')) return refuse('term is malformed')
  const problem = value === null ? tombstoneProblem(kind, id) : valueProblem(kind, id, value)
  if (problem !== undefined) return refuse(problem)
  // Copied, so that a record never keeps a whole network buffer alive.
  const signature = Uint8Array.from(bytes.subarray(0, SIGNATURE_BYTES))
  const record = { kind, id, value, stamp, author, incarnation, sequence, term, signature } as StateRecord
  return { ok: true, record }
}

/** Kinds that are never deleted: what they say is only ever replaced or stays. */
export function tombstoneProblem(kind: Kind, id: string): string | undefined {
  if (kind === 'revocation') return 'a revocation is never taken back'
  if (kind === 'controller') return 'a controller is removed by marking its record, not by deleting it'
  if (kind === 'mesh') return 'the record of the mesh is never deleted'
  return idProblem(kind, id)
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
