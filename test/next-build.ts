// The next version of Overmesh as it might be: this checkout with a new field, a new form and a new kind of record, with
// more to say between controllers, and with a higher version of the protocol. For tests of two versions side by side.
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const TOP = join(import.meta.dirname, '..')

type Edit = readonly [file: string, from: string, to: string]

const EDITS: readonly Edit[] = [
  [
    'mesh/versions.ts',
    'PROTOCOL: VersionRange = { lowest: 1, highest: 1 }',
    'PROTOCOL: VersionRange = { lowest: 1, highest: 2 }',
  ],
  [
    'mesh/versions.ts',
    'JOINING: VersionRange = { lowest: 1, highest: 1 }',
    'JOINING: VersionRange = { lowest: 1, highest: 2 }',
  ],
  // Every message says more, and there is one more.
  [
    'mesh/messages.ts',
    'const { type, ...fields } = frame\n  return encode([type, fields])',
    'const { type, ...fields } = frame\n  return encode([type, { ...fields, next: { more: [true] } }])',
  ],
  [
    'mesh/messages.ts',
    'const { type, ...fields } = statement\n  return encode([type, fields])',
    'const { type, ...fields } = statement\n  return encode([type, { ...fields, next: true }])',
  ],
  [
    'mesh/core.ts',
    '    this.#exchange.tellAll(id)\n',
    "    this.#exchange.tellAll(id)\n    this.#send(id, { type: 'next' } as never)\n    this.#fanOut.publish(this.#statements.sign({ type: 'next', at: now } as never))\n",
  ],
  // Clients have notes and groups, and groups are a kind of record.
  [
    'state/kinds.ts',
    '    /** Controllers that its clientpack names first. */',
    '    note: Type.Optional(Text(255)),\n    /** Controllers that its clientpack names first. */',
  ],
  [
    'state/kinds.ts',
    'const Setting = Type.Object(',
    'const Group = Type.Object({ members: Type.Array(ClientIdText, { maxItems: 64 }) }, closed)\n\nconst Setting = Type.Object(',
  ],
  ['state/kinds.ts', '  setting: Setting,\n', '  setting: Setting,\n  group: Group,\n'],
  [
    'state/kinds.ts',
    '  setting: NAME_EXPRESSION,\n',
    '  setting: NAME_EXPRESSION,\n  group: NAME_EXPRESSION,\n',
  ],
  [
    'state/kinds.ts',
    'value: Type.Union([Type.Boolean(),',
    'value: Type.Union([Type.Object({ nested: Type.Boolean() }, closed), Type.Boolean(),',
  ],
  [
    'node/clients.ts',
    "          { kind: 'client', id, value },\n",
    "          { kind: 'client', id, value: { ...value, note: 'by ' + this.#home.config.controller } as never },\n          { kind: 'group', id: request.name, value: { members: [id] } } as never,\n",
  ],
]

/** Parts of that build, as modules beside those of this checkout. */
export interface Build {
  readonly Replica: typeof import('../state/replica.ts').Replica
  readonly Views: typeof import('../state/views.ts').Views
  readonly MeshCore: typeof import('../mesh/core.ts').MeshCore
}

/** Its version: one minor version above this checkout's. */
export function nextVersion(): string {
  const [major, minor] = manifest().version.split('.').map(Number)
  return `${major}.${minor + 1}.0`
}

/** Makes that build in a directory that is not there yet; its launcher. */
export function makeNextBuild(directory: string): string {
  mkdirSync(directory)
  for (const each of ['node', 'mesh', 'state'])
    cpSync(join(TOP, each), join(directory, each), { recursive: true })
  symlinkSync(join(TOP, 'node_modules'), join(directory, 'node_modules'))
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ ...manifest(), version: nextVersion() }))
  for (const [file, from, to] of EDITS) {
    const path = join(directory, file)
    const text = readFileSync(path, 'utf8')
    if (text.split(from).length !== 2) throw new Error(`${file} does not say once: ${from}`)
    writeFileSync(
      path,
      text.replace(from, () => to),
    )
  }
  return join(directory, 'node/cli/overmesh.js')
}

/** The same, loaded into this process. */
export async function loadNextBuild(directory: string): Promise<Build> {
  makeNextBuild(directory)
  const load = (file: string) => import(pathToFileURL(join(directory, file)).href)
  const [{ Replica }, { Views }, { MeshCore }] = [
    await load('state/replica.ts'),
    await load('state/views.ts'),
    await load('mesh/core.ts'),
  ]
  return { Replica, Views, MeshCore }
}

function manifest(): { version: string } {
  return JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8'))
}
