// A directory of clientpacks, each as NAME.ovpn. Which are to come is written down in it before any credential is made: what
// was cut short is finished by the same command, as a client that is there already would not be given a pack otherwise.
import { mkdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { ControllerService, Pack } from '../service.ts'
import { CommandError, UsageError } from './errors.ts'
import { intoFile, removeStale } from './output-file.ts'

/** Of names in the list. */
const NAME = /^[a-z0-9][a-z0-9._~-]{0,80}$/

/** @throws {UsageError} when what an option says is no name of a directory */
export function checkDirectory(option: string, path: string): void {
  if (path === '') throw new UsageError(`${option} is empty; give a directory`)
  if (path === '-') throw new UsageError(`${option} takes a directory; give one, ./- for one of that name`)
}

export class PackDirectory {
  readonly #path: string
  readonly #names: readonly string[]
  readonly #force: boolean
  /** Clients of an earlier run that have no pack yet. */
  readonly #unfinished: readonly string[]

  private constructor(path: string, names: readonly string[], force: boolean, unfinished: readonly string[]) {
    this.#path = path
    this.#names = names
    this.#force = force
    this.#unfinished = unfinished
  }

  /**
   * Looks, and changes nothing.
   * @param names of clients that are to have a pack there
   * @throws {CommandError} when one is there already
   */
  static async open(path: string, names: readonly string[], force: boolean): Promise<PackDirectory> {
    for (const name of force ? [] : names) {
      const file = join(path, `${name}.ovpn`)
      if (await stat(file).catch(() => undefined))
        throw new CommandError(
          `${file} exists, so nothing was changed; choose another directory, or replace files with --force`,
        )
    }
    const unfinished = (await unfinishedIn(path)).filter(name => !names.includes(name))
    return new PackDirectory(path, names, force, unfinished)
  }

  /** Before any credential is made. @throws {CommandError} when nothing can be written there */
  async begin(): Promise<void> {
    if (this.#names.length === 0) return
    await mkdir(this.#path, { recursive: true, mode: 0o700 }).catch((error: Error) => {
      throw new CommandError(`cannot make ${this.#path} (${error.message}); nothing was changed`, {
        cause: error,
      })
    })
    const content = Buffer.from(`${[...this.#unfinished, ...this.#names].join('\n')}\n`)
    await intoFile(listOf(this.#path), true, 'nothing was changed', async () => ({ content }))
  }

  fileOf(name: string): string {
    return join(this.#path, `${name}.ovpn`)
  }

  /** @param again how to get the pack should it not be written */
  async write(name: string, again: string, produce: () => Promise<Pack>): Promise<void> {
    await intoFile(this.fileOf(name), this.#force, again, produce)
  }

  /** Writes what an earlier run did not, of clients that are still there; returns their names. All is done then. */
  async finish(service: Pick<ControllerService, 'clients' | 'packClient'>): Promise<string[]> {
    const clients = this.#unfinished.length === 0 ? [] : await service.clients()
    const there = new Set(clients.flatMap(({ name, revoked }) => (revoked ? [] : [name])))
    const names = this.#unfinished.filter(name => there.has(name))
    for (const name of names)
      await intoFile(this.fileOf(name), true, packAgain(name), () => service.packClient(name, 'ovpn'))
    await removeStale(this.#path)
    await rm(listOf(this.#path), { force: true })
    return names
  }
}

export function packAgain(name: string): string {
  return `make it with \`overmesh client pack ${name}\``
}

function listOf(path: string): string {
  return join(path, '.unfinished')
}

/** Names in the list that have no file, or one that is older than the list. */
async function unfinishedIn(path: string): Promise<string[]> {
  const list = await stat(listOf(path)).catch(() => undefined)
  if (list === undefined) return []
  const names = (await readFile(listOf(path), 'utf8')).split('\n').filter(name => NAME.test(name))
  const made = await Promise.all(names.map(name => stat(join(path, `${name}.ovpn`)).catch(() => undefined)))
  return names.filter((_, index) => (made[index]?.mtimeMs ?? 0) < list.mtimeMs)
}
