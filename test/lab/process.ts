// A long-running program in the lab: its output is kept, can be waited for, and is shown when a test fails.
import { type ChildProcess, spawn } from 'node:child_process'
import { appendFileSync, readFileSync } from 'node:fs'

export interface LabProcessOptions {
  /** Shown in messages, unique within a lab. */
  name: string
  logFile: string
  cwd?: string
  env?: NodeJS.ProcessEnv
}

/** Seconds that a program is given to end after SIGTERM. */
const STOP_SECONDS = 8

export class LabProcess {
  readonly name: string
  readonly pid: number
  /** Standard output and standard error, in the order in which they arrived. */
  output = ''
  /** Resolves when the program has ended and its output is complete. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  #running = true
  readonly #child: ChildProcess
  readonly #watchers = new Set<() => void>()

  private constructor(child: ChildProcess, options: LabProcessOptions) {
    this.name = options.name
    this.pid = child.pid!
    this.#child = child
    const collect = (chunk: string): void => {
      this.output += chunk
      appendFileSync(options.logFile, chunk)
      for (const watcher of this.#watchers) watcher()
    }
    child.stdout?.setEncoding('utf8').on('data', collect)
    child.stderr?.setEncoding('utf8').on('data', collect)
    this.ended = new Promise(resolve => {
      child.once('close', (code, signal) => {
        this.#running = false
        for (const watcher of this.#watchers) watcher()
        resolve({ code, signal })
      })
    })
  }

  static async start(argv: readonly string[], options: LabProcessOptions): Promise<LabProcess> {
    const { cwd, env } = options
    const child = spawn(argv[0], argv.slice(1), { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    return new LabProcess(child, options)
  }

  get running(): boolean {
    return this.#running
  }

  /** A place in the output, to wait for what comes after it. */
  mark(): number {
    return this.output.length
  }

  /** How often a pattern stands in the output, from a mark on. */
  count(pattern: RegExp, since = 0): number {
    return [...this.output.slice(since).matchAll(new RegExp(pattern, 'g'))].length
  }

  /** Waits until the output has a match, and returns it. Throws after `seconds` or when the program ends without one. */
  async waitFor(pattern: RegExp, seconds = 20, since = 0): Promise<RegExpExecArray> {
    const look = (): RegExpExecArray | null => new RegExp(pattern).exec(this.output.slice(since))
    const found = await new Promise<RegExpExecArray | string>(resolve => {
      const settle = (result: RegExpExecArray | string): void => {
        clearTimeout(timer)
        this.#watchers.delete(check)
        resolve(result)
      }
      const check = (): void => {
        const match = look()
        if (match) settle(match)
        else if (!this.#running) settle('ended')
      }
      const timer = setTimeout(() => settle(`did not say within ${seconds} s`), seconds * 1000)
      this.#watchers.add(check)
      check()
    })
    if (typeof found !== 'string') return found
    throw new Error(`${this.name} ${found}: ${pattern}\n${this.tail()}`)
  }

  /** The last lines of the output. */
  tail(lines = 40): string {
    return this.output.trimEnd().split('\n').slice(-lines).join('\n')
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#running) this.#child.kill(signal)
  }

  /** Asks it to end, and insists after a while. */
  async stop(
    signal: NodeJS.Signals = 'SIGTERM',
  ): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    this.signal(signal)
    const timer = setTimeout(() => this.signal('SIGKILL'), STOP_SECONDS * 1000)
    const end = await this.ended
    clearTimeout(timer)
    return end
  }

  /** Kills it where it stands. */
  async kill(): Promise<void> {
    this.signal('SIGKILL')
    await this.ended
  }

  /** CPU time of the program and all its threads so far, in seconds (proc(5), `stat`). */
  cpuSeconds(): number {
    return cpuSecondsOf(this.pid)
  }

  /** Resident memory in bytes (proc(5), `VmRSS`). */
  residentBytes(): number {
    const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))
    return Number(line?.[1] ?? 0) * 1024
  }
}

/** USER_HZ, the unit of CPU time in /proc: 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100

/** CPU time of a process and all its threads so far, in seconds (proc(5), `stat`). */
export function cpuSecondsOf(pid: number): number {
  // The command's name may hold spaces: fields are counted from behind its closing parenthesis.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}
