// Short commands: run, wait, look at what came out.
import { execFile, spawnSync } from 'node:child_process'

export interface CommandResult {
  code: number
  stdout: string
  stderr: string
}

export class CommandError extends Error {
  override name = 'CommandError'
  readonly result: CommandResult
  constructor(argv: readonly string[], result: CommandResult) {
    super(`${argv.join(' ')}: exit ${result.code}\n${result.stderr}${result.stdout}`.trim())
    this.result = result
  }
}

export interface CommandOptions {
  /** Milliseconds until it is killed. @default 60000 */
  timeout?: number
  input?: string
  cwd?: string
  env?: NodeJS.ProcessEnv
}

/** Runs a command to its end and returns its exit status (128 + signal as a shell has it) and output. */
export function attempt(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const { timeout = 60_000, input, cwd, env } = options
  return new Promise((resolve, reject) => {
    const child = execFile(
      argv[0],
      argv.slice(1),
      { timeout, cwd, env, maxBuffer: 256 << 20, killSignal: 'SIGKILL' },
      (error, stdout, stderr) => {
        if (error && typeof error.code === 'string') reject(error)
        else resolve({ code: error ? ((error.code as number | undefined) ?? 137) : 0, stdout, stderr })
      },
    )
    child.stdin?.on('error', () => {}) // a command may end before it has read its input
    child.stdin?.end(input ?? '')
  })
}

/** Runs a command that must succeed; throws a {@link CommandError} with its output otherwise. */
export async function run(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await attempt(argv, options)
  if (result.code !== 0) throw new CommandError(argv, result)
  return result.stdout
}

/** For clean-up at exit, when nothing can be awaited any more; failures do not matter then. */
export function runNow(...argv: string[]): string {
  return spawnSync(argv[0], argv.slice(1), { encoding: 'utf8' }).stdout ?? ''
}
