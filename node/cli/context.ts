// What every command starts with: its data directory or the address of an API, its output, and the controller it talks to.

import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { StateError } from '../../state/errors.ts'
import { RemoteController } from '../api/remote.ts'
import { apiSocketPath, socketState } from '../api/socket.ts'
import type { ControllerService } from '../service.ts'
import { steadyNow } from '../steady-clock.ts'
import { CommandError, UsageError } from './errors.ts'
import { Output } from './output.ts'
import { type RemoteOptions, remoteAddress, remoteEndpoint } from './remote-options.ts'

/** ms to wait for whoever has the data directory open, and between two tries. */
export const LOCK_PATIENCE_MS = 5000
const LOCK_RETRY_MS = 50

export interface GlobalOptions extends RemoteOptions {
  data?: string
  json?: boolean
}

export class Context {
  readonly output: Output
  readonly #options: GlobalOptions

  constructor(options: GlobalOptions) {
    if (options.data === '') throw new UsageError('--data is empty; give a directory')
    if (options.data !== undefined && options.api !== undefined) {
      throw new UsageError('--data names a controller of this machine and --api another; give one of them')
    }
    this.#options = options
    this.output = new Output(options.json === true)
  }

  /** @throws {UsageError} when the command was to go to another machine */
  get dataDir(): string {
    if (remoteAddress(this.#options) === undefined) return dataDirectory(this.#options.data)
    const how =
      this.#options.api === undefined ? 'unset OVERMESH_API, or name it with --data' : 'leave out --api'
    throw new UsageError(`this command works on a data directory of this machine; ${how}`)
  }

  /** Where the controller is, for people. */
  get place(): string {
    return remoteAddress(this.#options) ?? this.dataDir
  }

  static of(command: Command): Context {
    return new Context(command.optsWithGlobals<GlobalOptions>())
  }

  /** The controller that the command is for, if it runs: that of the data directory, or the one that `--api` or OVERMESH_API names. */
  async reach(): Promise<RemoteController | undefined> {
    const endpoint = await remoteEndpoint(this.#options)
    return endpoint === undefined ? this.running() : new RemoteController(endpoint)
  }

  /** The running controller of the data directory, or undefined. @throws {CommandError} when it is another user's */
  async running(): Promise<RemoteController | undefined> {
    const path = apiSocketPath(this.dataDir)
    const state = await socketState(path)
    if (state === 'denied') {
      throw new CommandError(
        `no permission to reach the controller on ${path}; run as the user that runs it (sudo, if that is root)`,
      )
    }
    return state === 'live' ? new RemoteController(path) : undefined
  }

  /** For commands that mean nothing without a running controller. */
  async needRunning(): Promise<RemoteController> {
    const remote = await this.reach()
    if (remote === undefined) {
      throw new CommandError(
        `no controller is running on ${this.dataDir}; start it with \`overmesh up\`, or name its directory with --data`,
      )
    }
    return remote
  }

  /**
   * The running controller, or else the data directory itself, opened for as long as `use` takes.
   * @param says that `use` tells what was found wrong at opening
   */
  async withService<T>(
    use: (service: ControllerService) => Promise<T>,
    { says = false }: { says?: boolean } = {},
  ): Promise<T> {
    const until = steadyNow() + LOCK_PATIENCE_MS
    for (;;) {
      const remote = await this.reach()
      if (remote !== undefined) return use(remote)
      // Loaded only now: a command that asks a running controller starts in half the time without the store.
      const { openOffline } = await import('../offline.ts')
      const opened = await openOffline(this.dataDir).catch((error: unknown) => {
        // Another command has it for a moment, or a controller is starting and will answer soon.
        const locked = error instanceof StateError && error.code === 'STORE_LOCKED'
        if (!locked || steadyNow() >= until) throw error
      })
      if (!opened) {
        await new Promise(resolve => setTimeout(resolve, LOCK_RETRY_MS))
        continue
      }
      if (!says) for (const notice of opened.notices) this.output.note(`attention: ${notice}`)
      try {
        return await use(opened.service)
      } finally {
        await opened.close()
      }
    }
  }
}

/** `--data`, else OVERMESH_DATA, else `/var/lib/overmesh` for root and `~/.overmesh` for others; absolute. */
export function dataDirectory(
  option: string | undefined,
  env = process.env,
  uid = process.getuid?.(),
): string {
  const chosen = option ?? env.OVERMESH_DATA
  if (option === '') throw new UsageError('--data is empty; give a directory')
  if (chosen) return resolve(chosen)
  return uid === 0 ? '/var/lib/overmesh' : join(homedir(), '.overmesh')
}
