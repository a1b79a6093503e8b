// The overmesh command as a process of its own, as a user meets it.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ApiServer, startApi } from '../../../node/api/server.ts'
import { apiSocketPath } from '../../../node/api/socket.ts'
import type { ControllerService } from '../../../node/service.ts'

export const LAUNCHER = fileURLToPath(new URL('../../../node/cli/overmesh.js', import.meta.url))

export interface Result {
  code: number | null
  stdout: string
  stderr: string
}

export interface RunOptions {
  dataDir?: string
  env?: Record<string, string>
  cwd?: string
  input?: string
  /** File descriptor. @default a pipe */
  stderr?: number | 'pipe'
  /** What bash does before in the same process, such as `UNREAD`. */
  first?: string
}

/** Nobody reads standard output any more. */
export const UNREAD = 'exec > >(:); wait $!'

export function start(args: string[], options: RunOptions = {}): ChildProcess {
  const { dataDir, env, cwd, stderr = 'pipe', first } = options
  const { NO_COLOR, FORCE_COLOR, OVERMESH_DEBUG, ...inherited } = process.env
  const [program, ...before] =
    first === undefined ? [process.execPath] : ['bash', '-c', `${first}; exec "$0" "$@"`, process.execPath]
  return spawn(program, [...before, LAUNCHER, ...args], {
    cwd,
    env: { ...inherited, OVERMESH_DATA: dataDir ?? '/nonexistent/overmesh', ...env },
    stdio: ['pipe', 'pipe', stderr],
  })
}

export async function run(args: string[], options: RunOptions = {}): Promise<Result> {
  const child = start(args, options)
  const result: Result = { code: null, stdout: '', stderr: '' }
  child.stdout!.setEncoding('latin1').on('data', text => {
    result.stdout += text
  })
  child.stderr!.setEncoding('utf8').on('data', text => {
    result.stderr += text
  })
  child.stdin!.end(options.input ?? '')
  result.code = await new Promise(resolve => child.once('close', resolve))
  return result
}

/** A temporary data directory on which `service` answers as its running controller. */
export class Served implements AsyncDisposable {
  readonly dataDir: string
  readonly #api: ApiServer

  private constructor(dataDir: string, api: ApiServer) {
    this.dataDir = dataDir
    this.#api = api
  }

  static async open(service: ControllerService): Promise<Served> {
    const dataDir = mkdtempSync(join(tmpdir(), 'overmesh-cli-'))
    return new Served(dataDir, await startApi({ service, socketPath: apiSocketPath(dataDir) }))
  }

  run(...args: string[]): Promise<Result> {
    return run(args, { dataDir: this.dataDir, cwd: this.dataDir })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#api.close()
    rmSync(this.dataDir, { recursive: true, force: true })
  }
}
