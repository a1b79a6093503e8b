// The edge to this machine's kernel: nft and ip, run without a shell, and files of /proc. Tests give one of their own.
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'

/** What a command said; `code` is null where it could not be run or did not end in time. */
export interface CommandResult {
  readonly code: number | null
  readonly stdout: string
  /** Its standard error, or why it could not be run. */
  readonly stderr: string
  /** There is no such program. */
  readonly missing: boolean
}

export interface Kernel {
  run(program: 'nft' | 'ip', args: readonly string[], input?: string): Promise<CommandResult>
  /** The text of a file without the final line break; undefined when it cannot be read. */
  read(path: string): string | undefined
  /** Names in a directory; none when it cannot be read. */
  list(path: string): string[]
  /** @throws Error with an errno's name as `code` */
  write(path: string, text: string): void
  /** Where a symbolic link leads; undefined when it cannot be read. */
  link(path: string): string | undefined
}

const TIMEOUT_MS = 10_000
const MAX_OUTPUT = 32 << 20
/** Debian keeps administrators' commands out of other users' PATH. */
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export const thisKernel: Kernel = {
  run(program, args, input = '') {
    const PATH = process.env.PATH ? `${process.env.PATH}:${SYSTEM_PATH}` : SYSTEM_PATH
    const options = {
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
      maxBuffer: MAX_OUTPUT,
      env: { PATH, LC_ALL: 'C' },
    } as const
    return new Promise(resolve => {
      const child = execFile(program, args, options, (error, stdout, stderr) => {
        if (!error) return resolve({ code: 0, stdout, stderr, missing: false })
        const code = typeof error.code === 'number' ? error.code : null
        const reason = error.killed ? `did not end within ${TIMEOUT_MS / 1000} s` : error.message
        resolve({
          code,
          stdout,
          stderr: code === null ? reason : stderr,
          missing: (error.code as unknown) === 'ENOENT',
        })
      })
      child.stdin?.on('error', () => {}) // It may end before it has read everything; its exit status tells.
      child.stdin?.end(input)
    })
  },
  read(path) {
    try {
      return readFileSync(path, 'utf8').trimEnd()
    } catch {
      return undefined
    }
  },
  list(path) {
    try {
      return readdirSync(path)
    } catch {
      return []
    }
  },
  write(path, text) {
    writeFileSync(path, text)
  },
  link(path) {
    try {
      return readlinkSync(path)
    } catch {
      return undefined
    }
  },
}

/** The first line of what a failed command said, short enough for a message. */
export function reasonOf({ code, stderr }: CommandResult): string {
  const line = stderr.split('\n').find(each => each.trim() !== '') ?? `it ended with status ${code}`
  return line.trim().slice(0, 200)
}
