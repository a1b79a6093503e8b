// Messages of strongSwan's VICI: a tree of sections, lists and values. Format: "Message format" in
// https://github.com/strongswan/strongswan/blob/master/src/libcharon/plugins/vici/README.md
import { ViciError } from './error.ts'

/** What is sent: names at most 255 bytes, values at most 65535. */
export interface ViciMessage {
  readonly [name: string]: ViciItem | undefined
}
export type ViciItem = string | Uint8Array | readonly (string | Uint8Array)[] | ViciMessage

/** What was received, without a prototype: any name is only a name. Values are taken as UTF-8. */
export interface ViciSection {
  readonly [name: string]: string | readonly string[] | ViciSection | undefined
}

const SECTION_START = 1
const SECTION_END = 2
const KEY_VALUE = 3
const LIST_START = 4
const LIST_ITEM = 5
const LIST_END = 6

const MAX_NAME = 0xff
const MAX_VALUE = 0xffff
/** Deepest section that is read; the daemon's own have five levels. */
const MAX_DEPTH = 16
/** Sections, values, lists and items of one message that are read. */
const MAX_ELEMENTS = 65_536

/** @throws RangeError when a name or a value is too long: an error of the caller's */
export function encodeMessage(message: ViciMessage): Uint8Array {
  const parts: Uint8Array[] = []
  writeSection(parts, message)
  return Buffer.concat(parts)
}

function writeSection(parts: Uint8Array[], section: ViciMessage): void {
  for (const [name, item] of Object.entries(section)) {
    if (item === undefined) continue
    if (typeof item === 'string' || item instanceof Uint8Array) {
      parts.push(named(KEY_VALUE, name), ...sized(item))
    } else if (isList(item)) {
      parts.push(named(LIST_START, name))
      for (const each of item) parts.push(Uint8Array.of(LIST_ITEM), ...sized(each))
      parts.push(Uint8Array.of(LIST_END))
    } else {
      parts.push(named(SECTION_START, name))
      writeSection(parts, item)
      parts.push(Uint8Array.of(SECTION_END))
    }
  }
}

const isList = (item: ViciItem): item is readonly (string | Uint8Array)[] => Array.isArray(item)

/** A type or packet number, and a name behind its length. */
export function named(type: number, name: string): Uint8Array {
  const bytes = Buffer.from(name)
  if (bytes.length > MAX_NAME) throw new RangeError(`a VICI name has at most ${MAX_NAME} bytes`)
  return Buffer.concat([Uint8Array.of(type, bytes.length), bytes])
}

function sized(value: string | Uint8Array): [Uint8Array, Uint8Array] {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  if (bytes.length > MAX_VALUE) throw new RangeError(`a VICI value has at most ${MAX_VALUE} bytes`)
  return [Uint8Array.of(bytes.length >>> 8, bytes.length & 0xff), bytes]
}

type Section = Record<string, string | string[] | ViciSection>

const newSection = (): Section => Object.create(null) as Section

/** @throws ViciError `malformed` */
export function decodeMessage(bytes: Uint8Array): ViciSection {
  const root = newSection()
  const open: Section[] = []
  let section = root
  let list: string[] | undefined
  let elements = 0
  let at = 0

  const take = (length: number): string => {
    if (at + length > bytes.length) throw malformed('ends within an element')
    const text = Buffer.from(bytes.buffer, bytes.byteOffset + at, length).toString('utf8')
    at += length
    return text
  }
  const takeName = (): string => {
    if (at >= bytes.length) throw malformed('ends before a name')
    const name = take(bytes[at++])
    if (name in section) throw malformed('has a name twice')
    return name
  }
  const takeValue = (): string => {
    if (at + 2 > bytes.length) throw malformed('ends before a value')
    const length = (bytes[at] << 8) | bytes[at + 1]
    at += 2
    return take(length)
  }

  while (at < bytes.length) {
    if (++elements > MAX_ELEMENTS) throw malformed(`has more than ${MAX_ELEMENTS} elements`)
    const type = bytes[at++]
    if (list !== undefined) {
      if (type === LIST_ITEM) list.push(takeValue())
      else if (type === LIST_END) list = undefined
      else throw malformed(`has an element of type ${type} in a list`)
    } else if (type === KEY_VALUE) {
      const name = takeName()
      section[name] = takeValue()
    } else if (type === LIST_START) {
      const name = takeName()
      list = []
      section[name] = list
    } else if (type === SECTION_START) {
      const name = takeName()
      if (open.length === MAX_DEPTH) throw malformed(`is more than ${MAX_DEPTH} sections deep`)
      const inner = newSection()
      section[name] = inner
      open.push(section)
      section = inner
    } else if (type === SECTION_END) {
      const outer = open.pop()
      if (outer === undefined) throw malformed('ends a section that was not begun')
      section = outer
    } else {
      throw malformed(`has an element of type ${type}`)
    }
  }
  if (list !== undefined || open.length > 0) throw malformed('ends within a section or a list')
  return root
}

const malformed = (what: string): ViciError => new ViciError('malformed', `the message ${what}`)

/** A value; undefined where there is none, or something else. */
export function textOf(section: ViciSection | undefined, name: string): string | undefined {
  const item = section?.[name]
  return typeof item === 'string' ? item : undefined
}

export function listOf(section: ViciSection | undefined, name: string): readonly string[] {
  const item = section?.[name]
  return Array.isArray(item) ? item : []
}

export function sectionOf(section: ViciSection | undefined, name: string): ViciSection | undefined {
  const item = section?.[name]
  return typeof item === 'object' && !Array.isArray(item) ? (item as ViciSection) : undefined
}

/** The sections in a section, by name. */
export function sectionsOf(section: ViciSection | undefined): [string, ViciSection][] {
  return Object.entries(section ?? {}).flatMap(([name, item]) =>
    typeof item === 'object' && !Array.isArray(item) ? [[name, item as ViciSection] as const] : [],
  ) as [string, ViciSection][]
}
