// The desired state as YAML: read with everything that is wrong and its line, written as people would.

import { type TSchema, Type } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import {
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  stringify,
  visit,
  type YAMLMap,
} from 'yaml'
import {
  DesiredAttachment,
  DesiredClient,
  DesiredRoute,
  DesiredState,
  MAX_CLIENTS,
  SHOWN_NAME,
} from '../service-desired.ts'

/** Far above what 10,000 clients need. */
export const MAX_DOCUMENT_BYTES = 8 * 2 ** 20
/** Problems that are listed. */
const MAX_PROBLEMS = 100

const TOO_DEEP = 'it is nested too deep to be a desired state'
const STACK_ENDED = /call stack|stack overflow/i

/** A pre-shared key is never in the document: it says in which file it is. */
const { secret: _, ...attachment } = DesiredAttachment.properties
const DocumentAttachment = Type.Object(
  {
    ...attachment,
    pskFile: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 4096,
        description: 'file with the pre-shared key, beside the document',
      }),
    ),
  },
  { additionalProperties: false },
)
const Document = Type.Object(
  {
    ...DesiredState.properties,
    attachments: Type.Optional(
      Type.Record(Type.String({ pattern: SHOWN_NAME }), DocumentAttachment, {
        maxProperties: 1000,
        additionalProperties: false,
      }),
    ),
  },
  { additionalProperties: false },
)
export type Document = Type.Static<typeof Document>

const whole = Compile(Document as TSchema)
const anything = Type.Unknown()
/** For what is wrong with a document, part by part. */
const validators = {
  whole: Compile(
    Type.Object(
      {
        ...Document.properties,
        clients: Type.Optional(anything),
        routes: Type.Optional(anything),
        attachments: Type.Optional(anything),
      },
      { additionalProperties: false },
    ),
  ) as Validator,
  client: Compile(DesiredClient) as Validator,
  route: Compile(DesiredRoute) as Validator,
  attachment: Compile(DocumentAttachment) as Validator,
  mapping: Compile(Type.Object({})) as Validator,
  list: Compile(Document.properties.routes) as Validator,
  names: Compile(
    Type.Record(Type.String({ pattern: SHOWN_NAME }), anything, {
      maxProperties: MAX_CLIENTS,
      additionalProperties: false,
    }),
  ) as Validator,
}

export interface DocumentProblem {
  /** From 1; 0 for the document as a whole. */
  readonly line: number
  readonly message: string
}

export interface ReadDocument {
  readonly document: Document | undefined
  readonly problems: DocumentProblem[]
  /** The line on which a place of the document begins. */
  lineOf(path: readonly string[]): number
}

/** Never throws, whatever the text is. */
export function readDocument(text: string): ReadDocument {
  const lines = new LineCounter()
  const problems: DocumentProblem[] = []
  const failed = (problem: DocumentProblem): ReadDocument => ({
    document: undefined,
    problems: [...problems, problem],
    lineOf: () => 0,
  })
  let parsed: ReturnType<typeof parseDocument>
  try {
    parsed = parseDocument(text, {
      lineCounter: lines,
      stringKeys: true,
      prettyErrors: false,
      merge: false,
      // Its own check compares each key of a map with each: 40,000 clients would take minutes.
      uniqueKeys: false,
    })
  } catch {
    // Nests so deep that the stack ends.
    return failed({ line: 0, message: TOO_DEEP })
  }
  const lineAt = (offset: number) => lines.linePos(offset).line
  const faults = [...parsed.errors, ...parsed.warnings]
  if (faults.some(({ message }) => STACK_ENDED.test(message))) return failed({ line: 0, message: TOO_DEEP })
  for (const { pos, message } of faults) problems.push({ line: lineAt(pos[0]), message: plain(message) })
  const lineOf = (path: readonly string[]) => lineOfNode(parsed.contents, path, lineAt)
  if (problems.length > 0) return { document: undefined, problems: problems.slice(0, MAX_PROBLEMS), lineOf }
  try {
    visit(parsed, {
      Map: (_key, map) => {
        for (const key of repeatedKeys(map))
          problems.push({ line: startOf(key, lineAt), message: 'the same key twice' })
      },
      Alias: (_key, { range }) => {
        problems.push({
          line: lineAt(range?.[0] ?? 0),
          message: 'aliases (*) are not read here; write it out',
        })
      },
    })
    if (problems.length > 0) return { document: undefined, problems: problems.slice(0, MAX_PROBLEMS), lineOf }
    const value: unknown = parsed.toJS({ maxAliasCount: 0 })
    if (value === null)
      return failed({ line: 0, message: 'it is empty; `overmesh export` writes one to begin with' })
    if (whole.Check(value)) return { document: value as Document, problems, lineOf }
    return { document: undefined, problems: schemaProblems(value, lineOf), lineOf }
  } catch {
    return failed({ line: 0, message: TOO_DEEP })
  }
}

interface SchemaError {
  keyword: string
  instancePath: string
  message: string
  params: Record<string, unknown>
}

/** A part at a time: of one value, errors are found up to a number that a schema's library sets. */
function schemaProblems(value: unknown, lineOf: (path: readonly string[]) => number): DocumentProblem[] {
  const problems: DocumentProblem[] = []
  for (const [path, part, validator] of partsOf(value))
    for (const [place, message] of partProblems(path, part, validator))
      problems.push({ line: lineOf(place), message })
  const all = problems.sort((a, b) => a.line - b.line)
  return all.length > 0 ? all.slice(0, MAX_PROBLEMS) : [{ line: 0, message: 'it is no desired state' }]
}

type Part = readonly [path: string[], value: unknown, validator: Validator]

function* partsOf(value: unknown): Generator<Part> {
  yield [[], value, validators.whole]
  if (!isMapping(value)) return
  const { clients, routes, attachments } = value
  for (const [name, validator] of [
    ['clients', validators.client],
    ['attachments', validators.attachment],
  ] as const) {
    const section = value[name]
    if (isMapping(section))
      for (const [key, each] of Object.entries(section)) yield [[name, key], each, validator]
    else if (section !== undefined) yield [[name], section, validators.mapping]
  }
  if (Array.isArray(routes))
    for (const [index, each] of routes.entries()) yield [['routes', `${index}`], each, validators.route]
  else if (routes !== undefined) yield [['routes'], routes, validators.list]
  for (const [name, section] of Object.entries({ clients, attachments }))
    if (isMapping(section)) yield [[name], section, validators.names]
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function* partProblems(
  prefix: readonly string[],
  value: unknown,
  validator: Validator,
): Generator<[path: string[], message: string]> {
  const said = new Set<string>()
  for (const error of validator.Errors(value) as unknown as SchemaError[]) {
    const own = error.instancePath
      .split('/')
      .slice(1)
      .map(part => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    const path = [...prefix, ...own]
    const shown = placeOf(path)
    if (error.keyword === 'additionalProperties') {
      for (const name of asList(error.params.additionalProperties)) {
        const place = [...path, name]
        said.add(placeOf(place))
        yield [place, isNamed(path) ? notAName(name) : `${placeOf(place)} is not known here`]
      }
      continue
    }
    // Of a choice, what each of its forms wants says more than that none fits; of a field that is not known nothing does.
    if (error.keyword === 'anyOf' || error.keyword === 'boolean' || said.has(shown)) continue
    said.add(shown)
    const missing = error.keyword === 'required' ? asList(error.params.requiredProperties).join(', ') : ''
    const what = missing ? `lacks ${missing}` : `${error.message}${hint(value, own, error)}`
    yield [path, `${shown || 'it'} ${what}`]
  }
}

function isNamed(path: readonly string[]): boolean {
  return path.length === 1 && (path[0] === 'clients' || path[0] === 'attachments')
}

function notAName(text: string): string {
  return `"${text.slice(0, 80)}" is no name; use a-z, 0-9, "-", "." and "_"`
}

/** A number or a truth value where text is meant is what YAML makes of it without quotes. */
function hint(value: unknown, path: readonly string[], { message }: SchemaError): string {
  if (!/string/.test(message)) return ''
  const found = path.reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], value)
  return typeof found === 'number' || typeof found === 'boolean' ? '; put it in quotes' : ''
}

function placeOf(path: readonly string[]): string {
  return path
    .map((part, index) => (/^\d+$/.test(part) ? `[${part}]` : index === 0 ? part : `.${part}`))
    .join('')
}

/** Of the key that leads there, or as near to it as the document goes. */
function lineOfNode(root: unknown, path: readonly string[], lineAt: (offset: number) => number): number {
  let node = root
  let line = 0
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => (isScalar(key) ? String(key.value) : String(key)) === part)
      if (pair === undefined) break
      line = startOf(pair.key, lineAt) || line
      node = pair.value
    } else if (isSeq(node)) {
      node = node.items[Number(part)]
      line = startOf(node, lineAt) || line
    } else break
  }
  return line
}

function startOf(node: unknown, lineAt: (offset: number) => number): number {
  const range = (node as Node | null | undefined)?.range
  return range ? lineAt(range[0]) : 0
}

function asList(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : value === undefined ? [] : [String(value)]
}

function repeatedKeys({ items }: YAMLMap): unknown[] {
  const seen = new Set<string>()
  return items.flatMap(({ key }) => {
    const name = isScalar(key) ? String(key.value) : String(key)
    if (seen.has(name)) return [key]
    seen.add(name)
    return []
  })
}

/** One line, without what is for programmers. */
function plain(message: string): string {
  return message.replace(/\s+/g, ' ').slice(0, 300)
}

const HEAD = `# The desired state of an overmesh. Compare with \`overmesh diff FILE\`, apply with \`overmesh import FILE\`.
# What is absent at the top level is left alone; a field that is absent below it has its default.
# Pre-shared keys are not in it: \`pskFile: PATH\` at an attachment brings a new one.
`

export function writeDocument(desired: Document | DesiredState): string {
  return HEAD + stringify(desired, { lineWidth: 0, aliasDuplicateObjects: false, version: '1.2' })
}
