// What doctor asks of the machine it runs on; tests give answers of their own.
import { execFile } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { accessSync, constants, readFileSync, type Stats, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { release } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const SYSTEM_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

export type OpenedController =
  | { state: 'good'; notices: readonly string[] }
  /** There is no controller. */
  | { state: 'none' }
  /** Another process has it. */
  | { state: 'busy' | 'unusable'; problem: string }

export interface Machine {
  readonly platform: string
  readonly nodeVersion: string
  readonly kernel: string
  readonly uid: number
  /** The text of a file, undefined when it is not there or not ours to read. */
  read(path: string): string | undefined
  stat(path: string): Stats | undefined
  accessible(path: string): boolean
  /** The full path of a program, also of one that only root has in its PATH. */
  program(name: string): string | undefined
  /** Standard output of a command that succeeds within 3 s. */
  run(command: string, ...args: string[]): Promise<string | undefined>
  /** Opens the data directory of a controller that does not run, as its start would, and closes it. */
  openController(dataDir: string): Promise<OpenedController>
  /** Tries to bind a UDP port: undefined when that works, else the reason. */
  bindUdp(host: string, port: number): Promise<string | undefined>
  /** The same of a TCP port. */
  bindTcp(host: string, port: number): Promise<string | undefined>
}

export const thisMachine: Machine = {
  platform: process.platform,
  nodeVersion: process.versions.node,
  kernel: release(),
  uid: process.getuid?.() ?? -1,
  read(path) {
    return attempt(() => readFileSync(path, 'utf8'))
  },
  stat(path) {
    return attempt(() => statSync(path))
  },
  accessible(path) {
    return attempt(() => accessSync(path, constants.R_OK | constants.W_OK) ?? true) === true
  },
  program(name) {
    const directories = [...(process.env.PATH ?? '').split(':').filter(Boolean), ...SYSTEM_PATH]
    return directories
      .map(directory => join(directory, name))
      .find(path => attempt(() => accessSync(path, constants.X_OK) ?? true))
  },
  async run(command, ...args) {
    try {
      return (await promisify(execFile)(command, args, { timeout: 3000 })).stdout.trim()
    } catch {
      return undefined
    }
  },
  async openController(dataDir) {
    const [{ openOffline }, { DataDirectoryError }, { StateError }] = await Promise.all([
      import('../offline.ts'),
      import('../data-directory.ts'),
      import('../../state/errors.ts'),
    ])
    try {
      const { notices, close } = await openOffline(dataDir)
      await close()
      return { state: 'good', notices }
    } catch (error) {
      if (error instanceof DataDirectoryError && error.code === 'MISSING') return { state: 'none' }
      const isBusy = error instanceof StateError && error.code === 'STORE_LOCKED'
      return {
        state: isBusy ? 'busy' : 'unusable',
        problem: error instanceof Error ? error.message : String(error),
      }
    }
  },
  bindUdp(host, port) {
    return new Promise(resolve => {
      const socket = createSocket(host.includes(':') ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' })
      socket.once('error', (error: NodeJS.ErrnoException) => {
        socket.close()
        resolve(error.code ?? error.message)
      })
      socket.bind({ address: host, port, exclusive: true }, () => socket.close(() => resolve(undefined)))
    })
  },
  bindTcp(host, port) {
    return new Promise(resolve => {
      const server = createServer()
      server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      const options = { host, port, exclusive: true, ipv6Only: host.includes(':') }
      server.listen(options, () => server.close(() => resolve(undefined)))
    })
  },
}

function attempt<T>(ask: () => T): T | undefined {
  try {
    return ask()
  } catch {
    return undefined
  }
}
