// One controller of the demonstration: a process of its own, run by the real command.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { closeSync, openSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { RemoteController } from '../api/remote.ts'
import { apiSocketPath, socketState } from '../api/socket.ts'
import { CommandError } from './errors.ts'

const LAUNCHER = join(import.meta.dirname, 'overmesh.js')
/** From the start of the process to `ready`, ms. */
const START_LIMIT = 30_000
/** From SIGTERM to the end of the process, ms. */
const STOP_LIMIT = 10_000

export interface DemoControllerInit {
  /** Of the whole demonstration. */
  directory: string
  name: string
  signal: AbortSignal
}

/** How a controller comes to its mesh: it founds one, or one that runs lets it in. */
export type DemoMesh = { name: string; subnet: string } | { joins: DemoController }

export class DemoController {
  readonly name: string
  readonly dataDir: string
  /** UDP address of clients. */
  readonly listen: string
  readonly service: RemoteController
  readonly #init: DemoControllerInit
  #child: ChildProcess | undefined
  #gone: Promise<void> = Promise.resolve()

  private constructor(init: DemoControllerInit, listen: string) {
    this.name = init.name
    this.dataDir = join(init.directory, init.name)
    this.listen = listen
    this.service = new RemoteController(apiSocketPath(this.dataDir))
    this.#init = init
    // Whatever ends this process ends the controller with it.
    process.once('exit', () => this.#child?.kill('SIGKILL'))
  }

  /** Makes a controller, of a mesh of its own or of another's, and runs it until it is ready. @throws {CommandError} */
  static async start(init: DemoControllerInit, mesh: DemoMesh): Promise<DemoController> {
    const controller = new DemoController(init, `127.0.0.1:${await freeUdpPort()}`)
    const addresses = ['--listen', controller.listen, '--public', controller.listen]
    addresses.push('--mesh-listen', `127.0.0.1:${await freeTcpPort()}`, '--controller', init.name)
    if ('joins' in mesh) {
      const token = (await mesh.joins.run('invite')).trimEnd().split('\n').at(-1)!
      await controller.run('join', token, ...addresses)
    } else {
      await controller.run('init', '--name', mesh.name, '--subnet', mesh.subnet, ...addresses)
    }
    await controller.up()
    return controller
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Runs it until it is ready. @throws {CommandError} with the end of its log */
  async up(): Promise<void> {
    const logFile = join(this.#init.directory, `${this.name}.log`)
    const log = openSync(logFile, 'a', 0o600)
    // In a process group of its own: Ctrl-C reaches this process alone, which then ends the others in order.
    const child = spawn(process.execPath, [LAUNCHER, '--data', this.dataDir, 'up', '--no-tun'], {
      stdio: ['pipe', 'pipe', log],
      detached: true,
    })
    // Not 'ignore': where a container keeps /dev/null from others than root, that would fail.
    child.stdin?.end()
    closeSync(log)
    this.#child = child
    this.#gone = new Promise(resolve => child.once('exit', () => resolve()))
    try {
      await ready(child, this.#init.signal)
    } catch (error) {
      await this.stop()
      const last = (await readFile(logFile, 'utf8')).trimEnd().split('\n').at(-1)
      throw new CommandError(
        `controller ${this.name} did not start (${(error as Error).message}); its log says: ${last}`,
      )
    }
  }

  /** Ends it without warning, as a machine that loses its power. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#gone
  }

  /** A command of its operator; its standard output. */
  run(...args: string[]): Promise<string> {
    return overmesh(this.dataDir, args)
  }

  /** Ends it and waits for its end; false when it had to be killed. */
  async stop(): Promise<boolean> {
    const child = this.#child
    if (!child || !this.running) return true
    child.kill('SIGTERM')
    let killed = false
    const timer = setTimeout(() => {
      killed = child.kill('SIGKILL')
    }, STOP_LIMIT)
    await this.#gone
    clearTimeout(timer)
    return !killed
  }
}

/**
 * An empty directory for a demonstration, in place of that of an earlier one.
 * @throws {CommandError} when one runs there
 */
export async function makeDirectory(say: (line: string) => void): Promise<string> {
  const directory = join(process.env.HOME ? homedir() : tmpdir(), '.overmesh-demo')
  if ((await socketState(apiSocketPath(join(directory, 'alpha')))) === 'live') {
    throw new CommandError(`a demonstration is already running in ${directory}; end it first`)
  }
  await rm(directory, { recursive: true, force: true })
  await mkdir(directory, { recursive: true, mode: 0o700 })
  say(`everything is in ${directory}, made anew`)
  return directory
}

async function overmesh(dataDir: string, args: string[]): Promise<string> {
  try {
    const command = [LAUNCHER, '--data', dataDir, ...args]
    return (await promisify(execFile)(process.execPath, command, { maxBuffer: 1 << 20 })).stdout
  } catch (error) {
    const { stderr } = error as { stderr?: string }
    throw new CommandError(stderr?.trim().replace(/^overmesh: /, '') || (error as Error).message)
  }
}

/** Waits for the line `ready`. */
async function ready(child: ChildProcess, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  createInterface({ input: child.stdout! }).on('line', line => {
    if (line === 'ready') resolve()
  })
  const timer = setTimeout(() => reject(new Error(`not ready within ${START_LIMIT / 1000} s`)), START_LIMIT)
  const interrupted = () => reject(new Error('interrupted'))
  child.once('exit', code => reject(new Error(`it ended with status ${code}`)))
  child.once('error', reject)
  signal.addEventListener('abort', interrupted)
  if (signal.aborted) interrupted()
  try {
    await promise
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', interrupted)
  }
}

function freeUdpPort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4').once('error', reject)
    socket.bind(0, '127.0.0.1', () => {
      const { port } = socket.address()
      socket.close(() => resolve(port))
    })
  })
}

function freeTcpPort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0))
    })
  })
}
