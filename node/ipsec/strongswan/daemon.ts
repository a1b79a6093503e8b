// The daemon's process: started as a child that ends with this process, found again when it outlived it, and ended.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

const STOP_MS = 5000
const LOOK_MS = 20
const APPARMOR_PROFILES = '/sys/kernel/security/apparmor/profiles'
/** Longest line of its log that is looked at, characters. */
const MAX_LINE = 2000

export interface DaemonInit {
  readonly program: string
  readonly configuration: string
  readonly pidFile: string
  readonly onLine: (line: string) => void
  readonly onEnd: (how: string) => void
}

export class Daemon {
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  #running = true

  constructor({ program, configuration, pidFile, onLine, onEnd }: DaemonInit) {
    const [command, ...args] = commandLine(program)
    // In a session of its own: what a terminal's Ctrl-C means is for the controller to say.
    this.#child = spawn(command, args, {
      cwd: '/',
      detached: true,
      env: { STRONGSWAN_CONF: configuration, PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    if (this.#child.pid !== undefined) writePidFile(pidFile, this.#child.pid)
    const lines = createInterface({ input: this.#child.stderr! })
    lines.on('line', line => onLine(line.slice(0, MAX_LINE)))
    this.#ended = new Promise(resolve => {
      const end = (how: string): void => {
        if (!this.#running) return
        this.#running = false
        rmSync(pidFile, { force: true })
        resolve()
        onEnd(how)
      }
      this.#child.once('error', error => end(error.message))
      // Not `close`: a descendant may hold the pipe open for longer.
      this.#child.once('exit', (code, signal) => end(signal ? `killed by ${signal}` : `status ${code}`))
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  get isRunning(): boolean {
    return this.#running
  }

  /**
   * Tells the remote ends that their tunnels end, and ends; killed when it takes more than 5 s.
   * @returns whether it ended in order, and took with it what it had installed
   */
  async stop(): Promise<boolean> {
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.kill(), STOP_MS)
    await this.#ended
    clearTimeout(timer)
    return this.#child.exitCode === 0
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

/**
 * With setpriv (util-linux), the daemon gets a SIGTERM when this process dies, however it does. Where AppArmor has a profile
 * for the daemon, that confines it to the system's own configuration: ours runs without.
 */
function commandLine(program: string): string[] {
  const confined = (readText(APPARMOR_PROFILES) ?? '').includes('charon')
  const unconfined = 'printf "exec unconfined" > /proc/self/attr/exec 2>/dev/null; exec "$0"'
  const daemon = confined ? ['/bin/sh', '-c', unconfined, program] : [program]
  return existsSync('/usr/bin/setpriv')
    ? ['/usr/bin/setpriv', '--pdeathsig', 'TERM', '--', ...daemon]
    : daemon
}

interface PidFile {
  readonly pid: number
  /** When it was started, in the kernel's ticks since it booted: another process may have the number by now. */
  readonly startTime: string
  readonly boot: string | undefined
}

function writePidFile(path: string, pid: number): void {
  const entry: PidFile = { pid, startTime: startTime(pid) ?? '', boot: bootId() }
  writeFileSync(path, JSON.stringify(entry), { mode: 0o600 })
}

/** Ends the daemon that a controller of the same data directory left behind. */
export async function endOrphan(pidFile: string): Promise<void> {
  const orphan = readPidFile(pidFile)
  const lives = (): boolean =>
    orphan !== undefined && orphan.boot === bootId() && startTime(orphan.pid) === orphan.startTime
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    if (!lives()) break
    try {
      process.kill(orphan!.pid, signal)
    } catch {
      break // It ended just now.
    }
    for (let waited = 0; lives() && waited < STOP_MS; waited += LOOK_MS) await sleep(LOOK_MS)
  }
  rmSync(pidFile, { force: true })
}

function readPidFile(path: string): PidFile | undefined {
  try {
    const { pid, startTime, boot } = JSON.parse(readFileSync(path, 'utf8'))
    return Number.isSafeInteger(pid) && pid > 1 && typeof startTime === 'string' && startTime !== ''
      ? { pid, startTime, boot }
      : undefined
  } catch {
    return undefined
  }
}

/** Field 22 of /proc/PID/stat (proc(5)); undefined for one that has ended. */
function startTime(pid: number): string | undefined {
  // The command's name may hold spaces: fields are counted from behind its closing parenthesis.
  const fields = readText(`/proc/${pid}/stat`)?.split(') ').at(-1)?.split(' ')
  return fields?.[0] === 'Z' ? undefined : fields?.[19]
}

const bootId = (): string | undefined => readText('/proc/sys/kernel/random/boot_id')?.trim()

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
