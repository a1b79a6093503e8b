// Whose word counts: records of controllers that the mesh root admitted, up to their removal.
import { type KeyObject, X509Certificate } from 'node:crypto'
import type { ControllerId, ControllerValue } from './kinds.ts'
import { compareWritten, isRemoval } from './merge.ts'
import {
  decodeRecord,
  isSignedBy,
  publicKeyFromRaw,
  type RecordOf,
  type StateRecord,
  type UnsignedRecord,
} from './record.ts'

/** What the mesh root vouches for. */
export interface MeshTrust {
  /** SHA-256 of the root certificate's DER, lower-case hex. */
  readonly rootFingerprint: string
  /**
   * Why the certificate of this controller does not admit it, in words; undefined when it does. Must depend on nothing
   * but its arguments, or replicas would disagree: validity dates are not looked at, since a record stays good after
   * its author's certificate was renewed.
   */
  refuses(id: ControllerId, controller: ControllerValue): string | undefined
}

/**
 * Trust by X.509: the first certificate of the chain is a CA signed by the root and names the controller in a URI
 * subject alternative name, `overmesh:controller:ID`.
 * @param rootPem the mesh root certificate
 * @throws TypeError and OpenSSL errors when that is no certificate
 */
export function certificateTrust(rootPem: string): MeshTrust {
  const root = new X509Certificate(rootPem)
  const rootKey = root.publicKey
  return {
    rootFingerprint: root.fingerprint256.replaceAll(':', '').toLowerCase(),
    refuses(id, controller) {
      try {
        const issuing = new X509Certificate(controller.certificateChain)
        if (!issuing.ca) return 'its certificate is not that of a CA'
        if (!issuing.checkIssued(root) || !issuing.verify(rootKey))
          return 'its certificate is not signed by the mesh root'
        const names = issuing.subjectAltName?.split(', ') ?? []
        return names.includes(`URI:overmesh:controller:${id}`)
          ? undefined
          : 'its certificate names another controller'
      } catch {
        return 'its certificate cannot be read'
      }
    },
  }
}

export type Verdict =
  /** Counts. */
  | { verdict: 'good' }
  /** The author's own record is not here yet, so nothing can be said. */
  | { verdict: 'unknown-author' }
  /** Well signed, but written after its author was removed. */
  | { verdict: 'void' }
  /** Counts nowhere. */
  | { verdict: 'refused'; reason: string }

const GOOD: Verdict = { verdict: 'good' }

/** Whether a record's bytes are signed with that key's private half; see `isSignedBy`. */
export type SignatureCheck = (bytes: Uint8Array, publicKey: KeyObject) => Promise<boolean>

/** Finds a controller's record among those held. */
export type Controllers = (id: string) => RecordOf<'controller'> | undefined

/** Public keys kept parsed. */
const MAX_KEYS = 4096

/** Judges records by the controller records that are held. */
export class Authority {
  readonly #trust: MeshTrust
  /** An id follows from its key, so an entry never goes stale. */
  readonly #keys = new Map<ControllerId, KeyObject>()
  /** What was read of records whose signature was found good. */
  readonly #proven = new WeakMap<Uint8Array, StateRecord>()

  constructor(trust: MeshTrust) {
    this.#trust = trust
  }

  /** @param bytes the record's own */
  judge(record: StateRecord, bytes: Uint8Array, controllers: Controllers): Verdict {
    const reason = this.contentProblem(record)
    if (reason !== undefined) return { verdict: 'refused', reason }
    const author = authorOf(record, controllers)
    if (author === undefined) return { verdict: 'unknown-author' }
    if (this.#proven.get(bytes) !== record && !isSignedBy(bytes, this.#keyOf(record.author, author))) {
      return { verdict: 'refused', reason: 'the signature is not that of its author' }
    }
    return isVoid(record, controllers) ? { verdict: 'void' } : GOOD
  }

  /**
   * Checks signatures of many records ahead of their judgement, which then takes them as checked. Those of authors that are
   * not held yet, and those that are not good, are left to the judgement.
   */
  async prove(
    records: readonly Uint8Array[],
    controllers: Controllers,
    isSigned: SignatureCheck,
  ): Promise<void> {
    await Promise.all(
      records.map(async bytes => {
        const decoded = decodeRecord(bytes)
        const author = decoded.ok ? authorOf(decoded.record, controllers) : undefined
        if (!decoded.ok || author === undefined) return
        const { record } = decoded
        if (await isSigned(bytes, this.#keyOf(record.author, author))) this.#proven.set(bytes, record)
      }),
    )
  }

  /** The record that `prove` read. */
  proven(bytes: Uint8Array): StateRecord | undefined {
    return this.#proven.get(bytes)
  }

  /** Why nobody may write such a record, signature and author's standing aside. */
  contentProblem(record: UnsignedRecord): string | undefined {
    if (record.kind === 'mesh' && record.value?.rootFingerprint !== this.#trust.rootFingerprint) {
      return 'the mesh root is another'
    }
    if (record.kind !== 'controller') return undefined
    if (record.value === null) return 'a controller is never deleted'
    if (record.author !== record.id && record.value.removedAt === undefined) {
      return "a controller's own record is written by itself"
    }
    return this.#trust.refuses(record.id as ControllerId, record.value)
  }

  /** The signature alone, for records that were judged when they came. False when the author is not held. */
  hasGoodSignature(record: StateRecord, bytes: Uint8Array, controllers: Controllers): boolean {
    const author = authorOf(record, controllers)
    return author !== undefined && isSignedBy(bytes, this.#keyOf(record.author, author))
  }

  #keyOf(id: ControllerId, controller: ControllerValue): KeyObject {
    let key = this.#keys.get(id)
    if (key === undefined) {
      key = publicKeyFromRaw(Buffer.from(controller.publicKey, 'hex'))
      if (this.#keys.size < MAX_KEYS) this.#keys.set(id, key)
    }
    return key
  }
}

/** A controller's own record brings the key it is checked with. */
function authorOf(record: StateRecord, controllers: Controllers): ControllerValue | undefined {
  if (record.kind === 'controller' && record.id === record.author) return record.value ?? undefined
  return controllers(record.author)?.value ?? undefined
}

/**
 * True when the record was written after its author's removal. A revocation stands all the same: whoever asked an
 * admitted controller for it was told that it holds.
 */
function isVoid(record: StateRecord, controllers: Controllers): boolean {
  const author = controllers(record.author)
  return author !== undefined && isVoidAfter(record, author)
}

/** True when `removal` is one and `record`, of that controller, was written after it and is no revocation. */
export function isVoidAfter(record: StateRecord, removal: RecordOf<'controller'>): boolean {
  if (!isRemoval(removal) || record.author !== removal.id || record.kind === 'revocation') return false
  // A controller that leaves writes its own removal: that one counts.
  if (record.kind === 'controller' && record.id === removal.id && isRemoval(record)) {
    return compareWritten(record, removal) > 0
  }
  return compareWritten(record, removal) >= 0
}
