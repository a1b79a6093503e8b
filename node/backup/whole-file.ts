// A file that is there whole or not at all: written beside its place, synced, checked, and only then put there.
import { type FileHandle, link, lstat, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { BackupError } from './error.ts'

export interface WholeFileInit {
  path: string
  /** Replaces a file that is there. */
  force: boolean
  /** Mode 0600. */
  content: AsyncIterable<Uint8Array>
}

/**
 * @param check is given the path of what was written, before it is put in its place
 * @throws BackupError when a file is there, or it cannot be written; what was there stays
 */
export async function writeWhole<T>(
  { path, force, content }: WholeFileInit,
  check: (written: string) => Promise<T>,
): Promise<T> {
  await removeStale(path)
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`)
  try {
    const file = await open(temporary, 'wx', 0o600).catch(error => {
      throw cannot(path, error)
    })
    try {
      for await (const bytes of content) await writeAll(file, path, bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    const checked = await check(temporary)
    await put(temporary, path, force)
    return checked
  } finally {
    await rm(temporary, { force: true })
  }
}

/** Before anything is made that would go there. @throws BackupError */
export async function refuseOccupied(path: string, force: boolean): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  if (!found.isFile()) throw new BackupError('refused', `${path} is no file; name another`)
  if (!force) throw occupied(path)
}

async function writeAll(file: FileHandle, path: string, bytes: Uint8Array): Promise<void> {
  try {
    await file.writeFile(bytes)
  } catch (error) {
    throw cannot(path, error)
  }
}

async function put(temporary: string, path: string, force: boolean): Promise<void> {
  try {
    // A link, unlike a new name, is never made over a file that came meanwhile.
    if (force) await rename(temporary, path)
    else await link(temporary, path)
    const directory = await open(dirname(path), 'r')
    await directory.sync().finally(() => directory.close())
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'EEXIST' ? occupied(path) : cannot(path, error)
  }
}

/** What earlier runs left that were killed. */
async function removeStale(path: string): Promise<void> {
  const directory = dirname(path)
  const names = await readdir(directory).catch(() => [] as string[])
  for (const name of names) {
    const [, pid] = name.startsWith(`.${basename(path)}.`) ? (/\.(\d+)\.tmp$/.exec(name) ?? []) : []
    if (name === `.${basename(path)}.${pid}.tmp` && !isAlive(Number(pid)))
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

function occupied(path: string): BackupError {
  return new BackupError('refused', `${path} exists; choose another file, or replace it with --force`)
}

function cannot(path: string, error: unknown): BackupError {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOENT')
    return new BackupError('refused', `there is no directory ${dirname(path)}; create it first`)
  return new BackupError('refused', `cannot write ${path} (${message}); choose another file`, {
    cause: error,
  })
}
