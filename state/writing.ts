// What this controller may write, and the records that come of it.
import type { KeyObject } from 'node:crypto'
import type { Authority } from './authority.ts'
import type { Batch } from './batch.ts'
import { FIRST_STAMP } from './clock.ts'
import { StateError } from './errors.ts'
import { type ControllerId, isKind, type Kind, type Values, valueProblem } from './kinds.ts'
import { isRemoval } from './merge.ts'
import {
  decodeRecord,
  encodeRecord,
  isTombstone,
  MAX_RECORD_BYTES,
  type RecordOf,
  rawValueOf,
  type StateRecord,
  signRecord,
  tombstoneProblem,
  type UnsignedRecord,
} from './record.ts'
import { carryOver, type RawValue } from './understanding.ts'

/** One record to write; `value: null` deletes. For a lease that releases the address. */
export type Op = {
  [K in Kind]: { readonly kind: K; readonly id: string; readonly value: Values[K] | null }
}[Kind]

/** A record but for stamp, numbers and signature. */
export type Draft = { [K in Kind]: Pick<RecordOf<K>, 'kind' | 'id' | 'value' | 'author' | 'term'> }[Kind]

/** Records that one batch may hold. */
export const MAX_OPS = 10_000

interface Writer {
  readonly id: ControllerId
  readonly authority: Authority
}

/**
 * Checks a batch against schemas, the rules of the kinds, and this controller's standing, and leaves out what is so
 * already. Later operations see earlier ones of the same batch.
 * @throws StateError INVALID, ADDRESS_TAKEN, FORBIDDEN, NOT_ADMITTED, REMOVED
 */
export function draftRecords(ops: readonly Op[], batch: Batch, writer: Writer): Draft[] {
  if (ops.length > MAX_OPS) throw new StateError('INVALID', `one batch holds at most ${MAX_OPS} records`)
  for (const op of ops) checkForm(op)
  const view = new DraftView(batch)
  checkStanding(ops, view, writer)
  const drafts: Draft[] = []
  for (const op of ops) {
    if (isSo(op, view)) continue
    const draft = draftOf(op, view, writer)
    view.put(draft)
    drafts.push(draft)
  }
  return drafts
}

/**
 * Signs a record, and reads it back as every other replica will: what it cannot read must not be written.
 * @param privateKey Ed25519 private key of the author
 * @throws StateError INVALID
 */
export function issue(
  draft: UnsignedRecord,
  privateKey: KeyObject,
): { record: StateRecord; bytes: Uint8Array } {
  const signed = signRecord(draft, privateKey)
  const bytes = encodeRecord(signed)
  const decoded = decodeRecord(bytes)
  if (!decoded.ok)
    throw new StateError('INVALID', `${signed.kind} ${signed.id} cannot be written: ${decoded.reason}`)
  return { record: decoded.record, bytes }
}

interface Current {
  readonly value: Values[Kind] | null
  readonly raw?: RawValue
  readonly term: number
}

/** The records as after the drafts made so far. */
class DraftView {
  readonly #batch: Batch
  readonly #drafts = new Map<string, Draft>()

  constructor(batch: Batch) {
    this.#batch = batch
  }

  get(kind: Kind, id: string): Current | undefined {
    return this.#drafts.get(`${kind}/${id}`) ?? (this.#batch.get(kind, id) as Current | undefined)
  }

  put(draft: Draft): void {
    this.#drafts.set(`${draft.kind}/${draft.id}`, draft)
  }
}

function checkForm(op: Op): void {
  const problem = isKind(op.kind)
    ? op.value === null
      ? tombstoneProblem(op.kind, op.id)
      : valueProblem(op.kind, op.id, op.value)
    : `there is no kind "${String(op.kind)}"`
  if (problem !== undefined) throw new StateError('INVALID', problem)
}

function checkStanding(ops: readonly Op[], view: DraftView, writer: Writer): void {
  const own = view.get('controller', writer.id)?.value as Values['controller'] | null | undefined
  if (own?.removedAt !== undefined) {
    throw new StateError(
      'REMOVED',
      'this controller was removed from the mesh; join it again under a new key',
    )
  }
  const bringsOwn = ops.some(op => op.kind === 'controller' && op.id === writer.id)
  if (own === undefined && !bringsOwn) {
    throw new StateError('NOT_ADMITTED', 'this controller is not part of a mesh yet; init or join one first')
  }
}

/** True when the operation would change nothing, so that it costs no record. */
function isSo(op: Op, view: DraftView): boolean {
  const current = view.get(op.kind, op.id)
  if (op.value === null) return current === undefined || isTombstone(current)
  if (op.kind === 'revocation') return current !== undefined
  if (op.kind === 'lease') return holderOf(current) === op.value.holder
  return false
}

function draftOf(op: Op, view: DraftView, writer: Writer): Draft {
  const current = view.get(op.kind, op.id)
  const value = contentOf(op, current)
  const draft = { kind: op.kind, id: op.id, value, author: writer.id, term: 0 } as Draft
  const forbidden = writer.authority.contentProblem({ ...draft, ...UNWRITTEN } as never)
  if (forbidden !== undefined)
    throw new StateError('FORBIDDEN', `${op.kind} ${op.id} cannot be written: ${forbidden}`)
  if (op.kind === 'controller' && current !== undefined && isRemoval(current as never)) {
    throw new StateError('FORBIDDEN', `controller ${op.id} was removed for good`)
  }
  if (op.kind !== 'lease') return draft
  if (op.value !== null && current !== undefined && !isTombstone(current)) {
    const holder = holderOf(current) ?? 'something that only newer versions know'
    throw new StateError('ADDRESS_TAKEN', `${op.id} is leased to ${holder}; release it first or take another`)
  }
  const term = current === undefined ? 0 : current.term + (op.value === null ? 0 : 1)
  return { ...draft, term } as Draft
}

/** What is written: with what a newer version wrote there, where this one does not understand it. */
function contentOf(op: Op, current: Current | undefined): Op['value'] {
  const before = current === undefined ? null : rawValueOf(current)
  if (op.value === null || before === null) return op.value
  return carryOver(op.kind, op.value, before, MAX_RECORD_BYTES - ENVELOPE_BYTES) as Op['value']
}

function holderOf(lease: Current | undefined): string | undefined {
  return (lease?.value as Values['lease'] | null | undefined)?.holder
}

/** All of a record but its value, at most. */
const ENVELOPE_BYTES = 512
const UNWRITTEN = { stamp: FIRST_STAMP, incarnation: '', sequence: 0 }
