// Makes a data directory from a backup. Its configuration is written last, and a directory without that is no controller:
// whatever happens meanwhile, there is the whole of it or nothing.
import { createPrivateKey, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open as openFile, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Value } from 'typebox/value'
import { certificateTrust } from '../../state/authority.ts'
import { type ControllerId, controllerIdOf } from '../../state/kinds.ts'
import { LevelStore } from '../../state/level-store.ts'
import { type Incarnation, isSignedByAsync, rawPublicKey } from '../../state/record.ts'
import { Replica } from '../../state/replica.ts'
import { restoreRecords } from '../../state/restoring.ts'
import type { Op } from '../../state/writing.ts'
import { makeServerCertificate } from '../certificates.ts'
import { Config, DataDirectory, DataDirectoryError } from '../data-directory.ts'
import { type Relocation, relocatedConfig, relocatedRecord } from '../relocation.ts'
import { type Entry, type Manifest, readEntries } from './archive.ts'
import { BackupError } from './error.ts'
import { open } from './sealed-stream.ts'

export interface RestoreRequest {
  /** The backup. */
  file: string
  passphrase: string
  dataDir: string
  /** Where it is from now on, if not where it was. */
  relocation?: Relocation
}

export interface Restored {
  manifest: Manifest
  /** Records in the store, those of deletions included. */
  records: number
}

/** Files that are written at once. */
const AT_ONCE = 32

/** Reads a backup to its end. @throws BackupError when anything in it is not as it was written */
export async function readBackup(
  file: string,
  passphrase: string,
): Promise<Manifest & { bytes: number; files: number }> {
  const source = counted(file)
  let manifest: Manifest | undefined
  let files = 0
  for await (const entry of readEntries(open(source.bytes, passphrase))) {
    if (entry.type === 'manifest') manifest = entry.manifest
    if (entry.type === 'file') files++
  }
  return { ...manifest!, bytes: source.read(), files }
}

/**
 * @throws BackupError for what is wrong with the backup, DataDirectoryError for a directory that is not empty: nothing in
 * it is touched. After any error the directory is as empty as before.
 */
export async function restoreBackup(request: RestoreRequest): Promise<Restored> {
  const { file, passphrase, dataDir, relocation = {} } = request
  const entries = readEntries(open(counted(file).bytes, passphrase))
  const first = await entries.next()
  const { manifest } = first.value as Entry & { type: 'manifest' }
  const directory = new DataDirectory(dataDir)
  await begin(directory, manifest)
  try {
    const records = await fill(directory, manifest, entries, relocation)
    return { manifest, records }
  } catch (error) {
    await clear(directory)
    throw error
  }
}

async function fill(
  directory: DataDirectory,
  manifest: Manifest,
  entries: AsyncGenerator<Entry, void>,
  relocation: Relocation,
): Promise<number> {
  const files = new Files(directory)
  const store = await LevelStore.open(directory.state, { create: true })
  const id = manifest.controllerId as ControllerId
  let records: number
  try {
    records = await restoreRecords(store, recordsOf(entries, files), {
      id,
      incarnation: manifest.incarnation as Incarnation,
      copiedAt: manifest.createdAt,
      now: Date.now(),
      random: randomBytes,
    })
  } finally {
    await store.close()
  }
  await files.settled()
  if (files.config === undefined) throw incomplete('config.json')
  const config = relocatedConfig(readConfig(files.config), relocation)
  await tellOf(directory, manifest, config, relocation)
  await directory.writeConfig(config)
  return records
}

/**
 * Leaves a record of the restoring, the first under the new incarnation: should the controller that the backup is of be
 * running still, it learns that it has a double.
 */
async function tellOf(
  directory: DataDirectory,
  { controllerId, createdAt }: Manifest,
  config: Config,
  relocation: Relocation,
): Promise<void> {
  const privateKey = createPrivateKey(await directory.read(directory.identityKey))
  const id = controllerIdOf(rawPublicKey(privateKey))
  if (id !== controllerId || id !== config.controllerId) throw incomplete('identity.key')
  const replica = await Replica.open({
    store: await LevelStore.open(directory.state, { create: false }),
    identity: { id, privateKey },
    trust: certificateTrust(await directory.read(directory.rootCertificate)),
    now: Date.now,
    random: randomBytes,
    isSigned: isSignedByAsync,
  })
  try {
    const own = replica.get('controller', id)
    const [mesh] = replica.all('mesh')
    if (own === undefined || mesh === undefined) throw incomplete('the records of the mesh')
    if (own.removedAt !== undefined) return
    const value = [createdAt, Date.now()].map(time => new Date(time).toISOString())
    const ops: Op[] = [{ kind: 'setting', id: `restored.${id}`, value: { value } }]
    const moved = relocatedRecord(own, mesh.value, config, relocation)
    if (moved) ops.push({ kind: 'controller', id, value: moved })
    await replica.write(ops)
    if (moved) await makeServerCertificate(directory, mesh, moved, config, Date.now())
  } finally {
    await replica.close()
  }
}

async function* recordsOf(entries: AsyncGenerator<Entry, void>, files: Files): AsyncGenerator<Uint8Array[]> {
  for await (const entry of entries) {
    if (entry.type === 'records') yield entry.records
    else if (entry.type === 'file') await files.add(entry.path, entry.content)
  }
}

function readConfig(text: Uint8Array): Config {
  let config: unknown
  try {
    config = JSON.parse(Buffer.from(text).toString('utf8'))
  } catch {
    // Said below.
  }
  if (Value.Check(Config, config)) return config
  throw new BackupError('damaged', 'the configuration in the backup cannot be read; use another one')
}

/** The files of a backup on their way to the disk; the configuration is kept back. */
class Files {
  config: Uint8Array | undefined
  readonly #directory: DataDirectory
  readonly #made = new Set<string>()
  #writing: Promise<void>[] = []

  constructor(directory: DataDirectory) {
    this.#directory = directory
  }

  async add(path: string, content: Uint8Array): Promise<void> {
    const target = join(this.#directory.root, path)
    if (target === this.#directory.configFile) {
      this.config = Buffer.from(content)
      return
    }
    const parent = dirname(target)
    if (!this.#made.has(parent)) {
      await mkdir(parent, { recursive: true, mode: 0o700 })
      this.#made.add(parent)
    }
    const writing = writeSynced(target, Buffer.from(content))
    // Waited for in its turn; it may fail before that.
    writing.catch(() => {})
    this.#writing.push(writing)
    if (this.#writing.length >= AT_ONCE) await this.#written()
  }

  async settled(): Promise<void> {
    await this.#written()
    for (const path of [...this.#made, this.#directory.root]) await sync(path)
  }

  async #written(): Promise<void> {
    const writing = this.#writing
    this.#writing = []
    await Promise.all(writing)
  }
}

/** Claims an empty directory, or one in which a restore was cut short. */
async function begin(directory: DataDirectory, { createdAt }: Manifest): Promise<void> {
  if (await wasCutShort(directory)) await clear(directory)
  await directory.claim()
  const note = { createdAt, restoredAt: Date.now(), pid: process.pid }
  await writeFile(directory.restoredFile, `${JSON.stringify(note)}\n`, { flag: 'wx', mode: 0o600 })
  await sync(directory.root)
}

/** The directory was empty when the note was written, so all that is beside it came from the backup. */
async function wasCutShort(directory: DataDirectory): Promise<boolean> {
  if (await directory.initialised()) return false
  const text = await directory.readIfThere(directory.restoredFile).catch(() => undefined)
  if (text === undefined) return false
  const pid = pidIn(text)
  if (pid === undefined || pid === process.pid || !isAlive(pid)) return true
  throw new DataDirectoryError('NOT_EMPTY', `another restore is at work in ${directory.root}; wait for it`)
}

function pidIn(text: string): number | undefined {
  try {
    const { pid } = JSON.parse(text)
    return Number.isSafeInteger(pid) && pid > 1 ? pid : undefined
  } catch {
    return undefined
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** The note goes last: what is left after a crash is known for what it is. */
async function clear(directory: DataDirectory): Promise<void> {
  const names = (await readdir(directory.root)).map(name => join(directory.root, name))
  for (const path of names.filter(each => each !== directory.restoredFile))
    await rm(path, { recursive: true, force: true })
  await rm(directory.restoredFile, { force: true })
}

async function writeSynced(path: string, content: Uint8Array): Promise<void> {
  const file = await openFile(path, 'wx', 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function sync(path: string): Promise<void> {
  const directory = await openFile(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

function counted(file: string): { bytes: AsyncIterable<Uint8Array>; read: () => number } {
  const stream = createReadStream(file)
  async function* bytes(): AsyncGenerator<Uint8Array> {
    try {
      yield* stream
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'ENOENT') throw new BackupError('unreadable', `there is no file ${file}; name a backup`)
      throw new BackupError('unreadable', `cannot read ${file} (${message}); name a backup`, { cause: error })
    }
  }
  return { bytes: bytes(), read: () => stream.bytesRead }
}

function incomplete(what: string): BackupError {
  return new BackupError(
    'damaged',
    `the backup lacks ${what} or has that of another controller; use another one`,
  )
}
