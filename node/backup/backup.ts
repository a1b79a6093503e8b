// Makes a backup of a controller, whether it runs or not: all that is needed to be this controller again.
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import { encodeRecord, isTombstone } from '../../state/record.ts'
import type { Snapshot } from '../../state/replica.ts'
import type { Home } from '../home.ts'
import { BATCH_BYTES, type Entry, encodeEntry, isSafePath, MAX_FILE_BYTES, type Manifest } from './archive.ts'
import { BackupError } from './error.ts'
import { type Cost, seal } from './sealed-stream.ts'

/**
 * What stays out, of the top of the data directory: records go as records; an invitation that was used since must not be
 * good again; what happened, and what runs, is of this machine and its time.
 */
const LEFT_OUT = /^(state|run|invites|events\.jsonl(\.\d+)?|restored\.json)$/
const TEMPORARY = /\.tmp$/
/** Directories within directories. */
const MAX_DEPTH = 8

/**
 * The bytes of a backup. What it says is of one moment: every credential that a record speaks of has its key in it, if it
 * is here.
 * @throws BackupError, DataDirectoryError, StateError while it is read
 */
export async function makeBackup(
  home: Home,
  passphrase: string,
  cost?: Cost,
): Promise<AsyncIterable<Uint8Array>> {
  // Keys are written before the records that speak of them, so they are read after.
  const snapshot = await home.replica.snapshot()
  return seal(encoded(entries(home, snapshot)), passphrase, cost)
}

async function* encoded(entries: AsyncIterable<Entry>): AsyncGenerator<Uint8Array> {
  for await (const entry of entries) yield encodeEntry(entry)
}

async function* entries(home: Home, snapshot: Snapshot): AsyncGenerator<Entry> {
  yield { type: 'manifest', manifest: manifestOf(home, snapshot) }
  let files = 0
  for await (const path of filesOf(home.directory.root)) {
    const content = await contentOf(home.directory.root, path)
    if (content === undefined) continue
    files++
    yield { type: 'file', path, content }
  }
  let batch: Uint8Array[] = []
  let size = 0
  for (const record of snapshot.records) {
    const bytes = encodeRecord(record)
    batch.push(bytes)
    size += bytes.length
    if (size < BATCH_BYTES) continue
    yield { type: 'records', records: batch }
    batch = []
    size = 0
  }
  if (batch.length > 0) yield { type: 'records', records: batch }
  yield { type: 'end', files, records: snapshot.records.length }
}

function manifestOf(home: Home, { records, incarnation }: Snapshot): Manifest {
  const { mesh, config, id, directory } = home
  const live = records.filter(record => !isTombstone(record))
  return {
    createdAt: Date.now(),
    version: packageJson.version,
    meshId: mesh.id,
    meshName: mesh.value.name,
    subnet: mesh.value.subnet,
    controllerId: id,
    controllerName: config.controller,
    incarnation,
    holdsRootKey: existsSync(directory.rootKey),
    controllers: live.filter(each => each.kind === 'controller' && each.value?.removedAt === undefined)
      .length,
    clients: live.filter(({ kind }) => kind === 'client').length,
    records: live.length,
  }
}

/** Paths of all files that belong into a backup, below `root`. */
async function* filesOf(root: string, below: readonly string[] = []): AsyncGenerator<string> {
  const listed = await readdir(join(root, ...below), { withFileTypes: true })
  for (const entry of listed.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (below.length === 0 && LEFT_OUT.test(entry.name)) continue
    const parts = [...below, entry.name]
    if (entry.isDirectory() && parts.length < MAX_DEPTH) yield* filesOf(root, parts)
    else if (entry.isFile() && !TEMPORARY.test(entry.name)) yield parts.join('/')
  }
}

/** Undefined for a file that has gone meanwhile, as the key of a credential does that was revoked. */
async function contentOf(root: string, path: string): Promise<Uint8Array | undefined> {
  if (!isSafePath(path))
    throw new BackupError(
      'refused',
      `${join(root, path)} has a name that no file of Overmesh has; move it away first`,
    )
  let content: Buffer
  try {
    content = await readFile(join(root, path))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  if (content.length <= MAX_FILE_BYTES) return content
  throw new BackupError(
    'refused',
    `${join(root, path)} is too large to be a file of Overmesh; move it away first`,
  )
}
