// What a record of a newer version says to this one. Records travel between versions as their author signed them; each
// version acts on what it understands of them, and keeps the rest.
//
// What a version may change, for the one before it to go along:
// - A value may get a new optional field where ignoring it does no harm: older versions ignore it, and hand it on when they
//   write the record anew. A field that narrows what a value allows is none of these: that takes a new form of the value.
// - A value may get a new form (another `via`, another way to authenticate): older versions keep the record and act as if it
//   were not there. Not so `mesh` and `controller`, on which all authority rests: they may get fields only. A revocation counts
//   in any form, and a lease in any form keeps its address taken.
// - A kind may be added. Its records merge by the last writer, have no term, may be deleted, and their values are maps.
// - How records merge, who may write them, their ids' bounds and their format (see record.ts) are of the mesh's protocol:
//   changing them takes a higher lowest version there (see mesh/versions.ts), one version after all have learnt to read it.
import { isDeepStrictEqual } from 'node:util'
import { encode } from '@ipld/dag-cbor'
import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { isKind, type Kind, SCHEMAS, valueProblem } from './kinds.ts'

/** A value as it was signed: a map, and nothing more is known of it. */
export type RawValue = Readonly<Record<string, unknown>>

export type Understood =
  /** As this version writes it. */
  | { is: 'whole' }
  /** With fields beside these. */
  | { is: 'part'; value: RawValue }
  /** Of a newer version, or of no version at all. */
  | { is: 'nothing'; problem: string }
  /** Of no version. */
  | { is: 'malformed'; problem: string }

/** Names of kinds: those of newer versions, too. */
const KIND_NAME = /^[a-z][a-z0-9-]{0,31}$/
/** Ids of newer versions, too. */
const ANY_ID = /^[\x21-\x7e]{1,128}$/
/** Nobody's word counts without these, so they are what this version says they are, or nothing. */
const STRICT: ReadonlySet<string> = new Set<Kind>(['mesh', 'controller'])

export function isKindName(value: unknown): value is string {
  return typeof value === 'string' && KIND_NAME.test(value)
}

export function isAnyId(value: unknown): value is string {
  return typeof value === 'string' && ANY_ID.test(value)
}

/** Whether a record of this kind that is not understood counts for nothing, rather than being kept. */
export function isStrict(kind: string): boolean {
  return STRICT.has(kind)
}

export function isRawValue(value: unknown): value is RawValue {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

/** Deeper nests are nobody's value, and would fill the stack of whoever walks through them. */
const MAX_DEPTH = 32

function isShallow(value: unknown, depth = 0): boolean {
  if (typeof value !== 'object' || value === null) return true
  return depth < MAX_DEPTH && Object.values(value).every(each => isShallow(each, depth + 1))
}

/** What this version makes of a value. Never throws. */
export function understand(kind: string, id: string, value: RawValue): Understood {
  const problem = isKind(kind) ? valueProblem(kind, id, value) : `this version knows no kind "${kind}"`
  if (problem === undefined) return { is: 'whole' }
  if (!isShallow(value)) return { is: 'malformed', problem: 'value is nested too deep' }
  if (!isKind(kind)) return { is: 'nothing', problem }
  const known = withoutUnknown(SCHEMAS[kind], value) as RawValue
  if (valueProblem(kind, id, known) !== undefined) return { is: 'nothing', problem }
  return { is: 'part', value: known }
}

/**
 * A value to be written in place of another, with what this version does not understand of that one. Inside a field it is
 * kept where the field stays as it was.
 * @param maxBytes what does not fit is left out: a change must not fail for what others wrote
 */
export function carryOver(kind: Kind, value: RawValue, before: RawValue, maxBytes: number): RawValue {
  const known = withoutUnknown(SCHEMAS[kind], before) as RawValue
  const carried: Record<string, unknown> = { ...value }
  let isMore = false
  for (const [name, content] of Object.entries(before)) {
    const isUnknown = !Object.hasOwn(known, name) && !Object.hasOwn(value, name)
    const isUnchanged =
      Object.hasOwn(known, name) && Object.hasOwn(value, name) && isDeepStrictEqual(value[name], known[name])
    if (isUnknown || (isUnchanged && !isDeepStrictEqual(content, known[name]))) {
      carried[name] = content
      isMore = true
    }
  }
  return isMore && encode(carried).length <= maxBytes ? carried : value
}

/** A value without the fields that its schema does not name. */
function withoutUnknown(schema: TSchema, value: unknown): unknown {
  const { anyOf, properties, items } = schema as {
    anyOf?: readonly TSchema[]
    properties?: Readonly<Record<string, TSchema>>
    items?: TSchema
  }
  if (anyOf !== undefined) {
    for (const form of anyOf) {
      const known = withoutUnknown(form, value)
      if (Value.Check(form, known)) return known
    }
    return value
  }
  if (properties !== undefined && isRawValue(value)) {
    const names = Object.keys(value).filter(name => Object.hasOwn(properties, name))
    return Object.fromEntries(names.map(name => [name, withoutUnknown(properties[name], value[name])]))
  }
  if (items !== undefined && Array.isArray(value)) return value.map(each => withoutUnknown(items, each))
  return value
}
