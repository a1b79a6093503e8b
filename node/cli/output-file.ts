// The file a credential is written to: reserved before the credential exists, so that a key is never made and then
// lost to a path that cannot be written; readable by its owner only; never over another file unless told to.
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { CommandError } from './errors.ts'

export class OutputFile {
  readonly path: string
  readonly #handle: FileHandle
  readonly #temporary: string | undefined

  private constructor(path: string, handle: FileHandle, temporary?: string) {
    this.path = path
    this.#handle = handle
    this.#temporary = temporary
  }

  /** @throws {CommandError} when the file exists (without `force`) or cannot be created */
  static async reserve(path: string, force: boolean): Promise<OutputFile> {
    const temporary = force ? join(dirname(path), `.${basename(path)}.${process.pid}.tmp`) : undefined
    try {
      return new OutputFile(path, await open(temporary ?? path, 'wx', 0o600), temporary)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'EEXIST') {
        throw new CommandError(`${temporary ?? path} exists; choose another file, or replace it with --force`)
      }
      if (code === 'ENOENT') throw new CommandError(`there is no directory ${dirname(path)}; create it first`)
      throw new CommandError(`cannot write ${path} (${message}); choose another file`, { cause: error })
    }
  }

  async write(content: Uint8Array): Promise<void> {
    await this.#handle.writeFile(content)
    await this.#handle.sync()
    await this.#handle.close()
    if (this.#temporary !== undefined) await rename(this.#temporary, this.path)
  }

  /** Gives the reservation back. */
  async discard(): Promise<void> {
    await this.#handle.close().catch(() => {})
    await rm(this.#temporary ?? this.path, { force: true })
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
    await file.write(result.content).catch((error: Error) => {
      throw new CommandError(`${path} could not be written (${error.message}); ${again}`, { cause: error })
    })
    return result
  } catch (error) {
    await file.discard()
    throw error
  }
}
