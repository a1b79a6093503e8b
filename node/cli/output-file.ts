// A file that a command writes: there whole or not at all, readable by its owner only, and never over another one unless
// told to. It is made beside its place before what goes into it exists, so that a key is never made and then lost to a path
// that cannot be written.
import { type FileHandle, link, lstat, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { CommandError, UsageError } from './errors.ts'

/** Of `link` on file systems that have none, such as those of memory sticks. */
const NO_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']

const TEMPORARY = /^\.(.+)\.(\d+)\.tmp$/

/**
 * Where `--out` says that something goes: a file, or undefined for standard output, which is `-` as well.
 * @throws {UsageError} when it is empty, or `--force` has nothing to replace
 */
export function outputPath({ out, force }: { out?: string; force?: boolean }): string | undefined {
  if (out === '') throw new UsageError('--out is empty; give a file')
  const path = out === '-' ? undefined : out
  if (force && path === undefined) throw new UsageError('--force replaces a file; give --out FILE')
  return path
}

export class OutputFile {
  readonly path: string
  /** What is written, until it is put in its place. */
  readonly temporary: string
  readonly #handle: FileHandle
  readonly #force: boolean

  private constructor(path: string, temporary: string, handle: FileHandle, force: boolean) {
    this.path = path
    this.temporary = temporary
    this.#handle = handle
    this.#force = force
  }

  /** @throws {CommandError} when something is there that may not be replaced, {UsageError} when it is no name of a file */
  static async refuseOccupied(path: string, force: boolean): Promise<void> {
    if (path === '') throw new UsageError('--out is empty; give a file')
    if (path === '-') throw new UsageError(`this goes to a file only; give one, ./- for a file of that name`)
    await removeStale(dirname(path), basename(path))
    const found = await lstat(path).catch(() => undefined)
    if (found === undefined) return
    if (!found.isFile()) throw new CommandError(`${path} is there, and no plain file; choose another`)
    if (!force) throw occupied(path)
  }

  /** @throws {CommandError} when the file exists (without `force`) or cannot be created, {UsageError} when it is no name of one */
  static async reserve(path: string, force: boolean): Promise<OutputFile> {
    await OutputFile.refuseOccupied(path, force)
    const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`)
    try {
      return new OutputFile(path, temporary, await open(temporary, 'wx', 0o600), force)
    } catch (error) {
      throw cannot(path, error)
    }
  }

  /** @throws {CommandError} when it cannot be written, and whatever `content` throws */
  async write(content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
    for await (const bytes of content) await this.#attempt(() => this.#handle.writeFile(bytes))
    await this.#attempt(() => this.#handle.sync())
  }

  /** Puts what was written in its place. @throws {CommandError} when it cannot be */
  place(): Promise<void> {
    return this.#attempt(async () => {
      await this.#handle.close()
      if (this.#force) await rename(this.temporary, this.path)
      else await placeNew(this.temporary, this.path)
      const directory = await open(dirname(this.path), 'r')
      await directory.sync().finally(() => directory.close())
    })
  }

  /** Gives the reservation back. */
  async discard(): Promise<void> {
    await this.#handle.close().catch(() => {})
    await rm(this.temporary, { force: true })
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      const why = code === 'EEXIST' ? 'another file is there by now' : message
      throw new CommandError(`${this.path} could not be written (${why})`, { cause: error })
    }
  }
}

/**
 * Runs `produce` with the place for its result reserved, and writes the result there.
 * @param again what to do when the result exists but could not be written
 */
export async function intoFile<T extends { content: Uint8Array }>(
  path: string,
  force: boolean,
  again: string,
  produce: () => Promise<T>,
): Promise<T> {
  const file = await OutputFile.reserve(path, force)
  try {
    const result = await produce()
    try {
      await file.write([result.content])
      await file.place()
    } catch (error) {
      throw new CommandError(`${(error as Error).message}; ${again}`, { cause: error })
    }
    return result
  } finally {
    await file.discard()
  }
}

/** A link, unlike a new name, is never made over a file that came meanwhile. */
async function placeNew(from: string, to: string): Promise<void> {
  try {
    await link(from, to)
    await rm(from)
  } catch (error) {
    if (!NO_LINKS.includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    await (await open(to, 'wx', 0o600)).close()
    await rename(from, to)
  }
}

/** Removes what earlier runs left that were killed: of one file, or of all in the directory. */
export async function removeStale(directory: string, file?: string): Promise<void> {
  const names = await readdir(directory).catch(() => [] as string[])
  for (const name of names) {
    const [, of, pid] = TEMPORARY.exec(name) ?? []
    if (of !== undefined && (file === undefined || file === of) && !isAlive(Number(pid)))
      await rm(join(directory, name), { force: true })
  }
}

function isAlive(pid: number): boolean {
  if (pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function occupied(path: string): CommandError {
  return new CommandError(`${path} exists; choose another file, or replace it with --force`)
}

function cannot(path: string, error: unknown): CommandError {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return new CommandError(`there is no directory ${dirname(path)}; create it first`)
  return new CommandError(`cannot write ${path} (${message}); choose another file`, { cause: error })
}
