// The file that a capture goes to: its owner's alone, written as packets come, and sound whenever that ends.
import { constants } from 'node:fs'
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { CommandError } from './errors.ts'

export class CaptureFile {
  readonly path: string
  readonly #handle: FileHandle
  /** What is written instead until `begin`, where a file is to be replaced. */
  #temporary: string | undefined
  /** Bytes of whole blocks; -1 where nothing can be taken back: a pipe or a device. */
  #sound: number

  private constructor(path: string, handle: FileHandle, isRegular: boolean, temporary?: string) {
    this.path = path
    this.#handle = handle
    this.#sound = isRegular ? 0 : -1
    this.#temporary = temporary
  }

  /** @throws {CommandError} when the file exists (without `force`) or cannot be created; pipes and devices are written to */
  static async create(path: string, force: boolean): Promise<CaptureFile> {
    try {
      const found = await stat(path).catch(() => undefined)
      if (found?.isDirectory()) throw new CommandError(`${path} is a directory; name a file in it`)
      if (found !== undefined && !found.isFile())
        return new CaptureFile(path, await openOther(path, found.isFIFO()), false)
      const temporary =
        force && found !== undefined
          ? join(dirname(path), `.${basename(path)}.${process.pid}.tmp`)
          : undefined
      return new CaptureFile(path, await open(temporary ?? path, 'wx', 0o600), true, temporary)
    } catch (error) {
      if (error instanceof CommandError) throw error
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'EEXIST')
        throw new CommandError(`${path} exists; choose another file, or replace it with --force`)
      if (code === 'ENOENT') throw new CommandError(`there is no directory ${dirname(path)}; create it first`)
      if (code === 'ENXIO') throw new CommandError(`nobody reads the pipe ${path}; start its reader first`)
      throw new CommandError(`cannot write ${path} (${message}); choose another file`, { cause: error })
    }
  }

  /** The capture has begun: a file that is to be replaced is, from now on. */
  async begin(): Promise<void> {
    if (this.#temporary !== undefined) await rename(this.#temporary, this.path)
    this.#temporary = undefined
  }

  /** Takes whole blocks. @throws {CommandError} when they do not fit; what came before is still a sound file */
  async write(blocks: Uint8Array): Promise<void> {
    try {
      await this.#handle.writeFile(blocks)
      if (this.#sound >= 0) this.#sound += blocks.length
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (this.#sound < 0 && code === 'EPIPE')
        throw new CommandError(`whoever read ${this.path} has stopped; the capture is ended`)
      if (this.#sound >= 0) await this.#handle.truncate(this.#sound).catch(() => {})
      throw new CommandError(
        `${this.path} could not be written (${message}); what was captured before is in it`,
        { cause: error },
      )
    }
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }

  /** For a capture that never began. */
  async discard(): Promise<void> {
    await this.close()
    if (this.#sound === 0) await rm(this.#temporary ?? this.path, { force: true })
  }
}

/** A pipe that nobody reads would keep us waiting, and one that does not wait loses what its reader is too slow for. */
async function openOther(path: string, isPipe: boolean): Promise<FileHandle> {
  if (!isPipe) return open(path, constants.O_WRONLY)
  const asked = await open(path, constants.O_WRONLY | constants.O_NONBLOCK)
  try {
    return await open(path, constants.O_WRONLY)
  } finally {
    await asked.close()
  }
}
