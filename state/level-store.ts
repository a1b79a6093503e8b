// Records on disk: LevelDB, every batch fsynced, and a witness beside it.
//
// LevelDB loses the tail of a truncated log without a word. So the number of the last acknowledged batch also goes to a
// file of its own, and a database that ends before it is noticed at the next start.
import { constants } from 'node:fs'
import { access, type FileHandle, mkdir, open, readdir, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { crc32 } from 'node:zlib'
import { type BatchOperation, Level } from 'level'
import { StateError } from './errors.ts'
import { type Damage, type RecordStore, type StoreBatch, type StoreContents, seal, unseal } from './store.ts'

type Database = Level<string, Uint8Array>
type Operation = BatchOperation<Database, string, Uint8Array>

const RECORD = 'r!'
const NOTE = 'n!'
const ASIDE = 'q!'
/** Sorts above every key with the prefixes above. */
const PREFIX_END = '"'

const WITNESS_FILE = 'witness'
const DATABASE_DIRECTORY = 'records'

/** LevelDB gives up its lock when the same process fails to open it twice, so no second try may reach it. */
const openPaths = new Set<string>()

export class LevelStore implements RecordStore {
  readonly #path: string
  readonly #database: Database
  readonly #witness: Witness

  private constructor(path: string, database: Database, witness: Witness) {
    this.#path = path
    this.#database = database
    this.#witness = witness
  }

  /**
   * @param directory holds the database and its witness and nothing else; made when missing
   * @param create false: a store that is not there is an error rather than an empty one
   * @throws StateError STORE_LOCKED, STORE_DAMAGED, STORE_UNUSABLE
   */
  static async open(directory: string, { create }: { create: boolean }): Promise<LevelStore> {
    const path = resolve(directory)
    if (openPaths.has(path)) throw locked(path)
    openPaths.add(path)
    try {
      await mkdir(path, { recursive: true, mode: 0o700 })
      const location = join(path, DATABASE_DIRECTORY)
      const isNew = await refuseHalf(path, location, create)
      const database: Database = new Level(location, { keyEncoding: 'utf8', valueEncoding: 'view' })
      await database.open({ createIfMissing: isNew, errorIfExists: false }).catch((error: unknown) => {
        throw explain(error, path)
      })
      return new LevelStore(path, database, await Witness.open(join(path, WITNESS_FILE)))
    } catch (error) {
      openPaths.delete(path)
      throw error
    }
  }

  async scan(): Promise<StoreContents> {
    const damaged: Damage[] = []
    return {
      records: await this.#read(RECORD, damaged),
      notes: await this.#read(NOTE, damaged),
      damaged,
      setAside: (await this.#database.keys({ gt: ASIDE, lt: ASIDE[0] + PREFIX_END, limit: 10_000 }).all())
        .length,
      witnessed: this.#witness.number,
    }
  }

  async commit(batch: StoreBatch): Promise<void> {
    const operations: Operation[] = []
    for (const { key, bytes, reason } of batch.setAside) {
      operations.push({ type: 'put', key: `${ASIDE}${batch.number}/${key}`, value: aside(bytes, reason) })
      operations.push({ type: 'del', key: RECORD + key }, { type: 'del', key: NOTE + key })
    }
    for (const key of batch.remove) operations.push({ type: 'del', key: RECORD + key })
    for (const name of batch.dropNotes) operations.push({ type: 'del', key: NOTE + name })
    for (const [key, bytes] of batch.put)
      operations.push({ type: 'put', key: RECORD + key, value: seal(key, bytes) })
    for (const [key, bytes] of batch.notes)
      operations.push({ type: 'put', key: NOTE + key, value: seal(key, bytes) })
    try {
      await this.#database.batch(operations, { sync: true })
      await this.#witness.write(batch.number)
    } catch (error) {
      throw new StateError(
        'STORE_FAILED',
        `writing to ${this.#path} failed (${reasonOf(error)}); look at the disk, then start the controller again`,
        error,
      )
    }
  }

  async close(): Promise<void> {
    await this.#database.close()
    await this.#witness.close()
    openPaths.delete(this.#path)
  }

  async #read(prefix: string, damaged: Damage[]): Promise<Map<string, Uint8Array>> {
    const opened = new Map<string, Uint8Array>()
    try {
      for await (const [name, sealed] of this.#database.iterator({
        gt: prefix,
        lt: prefix[0] + PREFIX_END,
      })) {
        const key = name.slice(prefix.length)
        const bytes = unseal(key, sealed)
        if (bytes === undefined) damaged.push({ key, bytes: sealed, reason: 'checksum does not fit' })
        else opened.set(key, bytes)
      }
    } catch (error) {
      throw explain(error, this.#path)
    }
    return opened
  }
}

/**
 * Two slots written in turn, each with its own checksum: a torn write spoils one of them. Not fsynced: a witness that
 * is behind does no harm, one that is ahead gives a lost log away.
 */
class Witness {
  readonly #file: FileHandle
  #number: number

  private constructor(file: FileHandle, number: number) {
    this.#file = file
    this.#number = number
  }

  static async open(path: string): Promise<Witness> {
    const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600)
    const bytes = await readFile(path)
    let number = 0
    for (let slot = 0; slot < 2; slot++)
      number = Math.max(number, readSlot(bytes.subarray(slot * SLOT_BYTES)))
    return new Witness(file, number)
  }

  get number(): number {
    return this.#number
  }

  async write(number: number): Promise<void> {
    const slot = new DataView(new ArrayBuffer(SLOT_BYTES))
    slot.setFloat64(0, number)
    slot.setUint32(8, crc32(new Uint8Array(slot.buffer, 0, 8)))
    await this.#file.write(new Uint8Array(slot.buffer), 0, SLOT_BYTES, (number % 2) * SLOT_BYTES)
    this.#number = number
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

const SLOT_BYTES = 12

function readSlot(bytes: Uint8Array): number {
  if (bytes.length < SLOT_BYTES) return 0
  const slot = new DataView(bytes.buffer, bytes.byteOffset)
  return slot.getUint32(8) === crc32(bytes.subarray(0, 8)) ? slot.getFloat64(0) : 0
}

/** Returns whether the database is to be made. LevelDB would make a new one over the remains of an old one. */
async function refuseHalf(path: string, location: string, create: boolean): Promise<boolean> {
  const files = await readdir(location).catch(() => [] as string[])
  const hasDatabase = files.includes('CURRENT')
  if (hasDatabase) return false
  if (files.some(name => /^MANIFEST-|\.ldb$|\.log$|\.sst$/.test(name))) {
    throw new StateError('STORE_DAMAGED', `the state in ${path} is damaged (CURRENT is missing); ${RESTORE}`)
  }
  const isExpected = !create || (await exists(join(path, WITNESS_FILE)))
  if (isExpected) throw new StateError('STORE_DAMAGED', `there is no state in ${path}; ${RESTORE}`)
  return true
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

function explain(error: unknown, path: string): StateError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  const code = (cause as { code?: unknown }).code
  if (code === 'LEVEL_LOCKED') return locked(path, error)
  const remedy = OF_THE_MACHINE.find(([reason]) => reason.test(reasonOf(cause)))?.[1]
  if (remedy !== undefined) {
    const message = `the state in ${path} cannot be used (${reasonOf(cause)}); nothing was changed; ${remedy}`
    return new StateError('STORE_UNUSABLE', message, error)
  }
  const message = `the state in ${path} cannot be read (${reasonOf(cause)}); nothing was changed; ${RESTORE}`
  return new StateError('STORE_DAMAGED', message, error)
}

function locked(path: string, cause?: unknown): StateError {
  return new StateError(
    'STORE_LOCKED',
    `${path} is in use by another overmesh process; stop that one first`,
    cause,
  )
}

/** As strerror(3) words them at the end of what LevelDB says: not the store is wrong, but what it lies on. */
const OF_THE_MACHINE: readonly [reason: RegExp, remedy: string][] = [
  [/: (No space left on device|Disk quota exceeded)$/, 'make room on its disk'],
  [/: Read-only file system$/, 'its file system is mounted read-only'],
  [
    /: (Permission denied|Operation not permitted)$/,
    'run as the owner of all that is in it, or give it back to them',
  ],
  [/: Too many open files( in system)?$/, 'raise the limit of open files'],
]

const RESTORE = 'put a backup in its place, or move it away and join the mesh again'

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The damaged bytes as found, after the reason and a zero byte. */
function aside(bytes: Uint8Array, reason: string): Uint8Array {
  return Buffer.concat([Buffer.from(`${reason}\0`), bytes])
}
