// Controllers as processes on loopback, and what the tests of this folder do with them.
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { RemoteController } from '../../../node/api/remote.ts'
import { apiSocketPath } from '../../../node/api/socket.ts'
import { type Result, run, start } from '../cli/run.ts'
import { ownPort } from '../own-ports.ts'

export const PASSPHRASE = 'correct horse battery staple'

/** Directories, ports and processes that go with it. */
export class World implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'overmesh-backup-'))
  /** A file with the passphrase. */
  readonly pass = join(this.directory, 'pass')
  readonly #running = new Set<ChildProcess>()

  constructor() {
    writeFileSync(this.pass, `${PASSPHRASE}\n`, { mode: 0o600 })
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  cli(controller: string, ...args: string[]): Promise<Result> {
    return run(args, { dataDir: this.path(controller), cwd: this.directory })
  }

  async good(controller: string, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.cli(controller, ...args)
    assert.equal(code, 0, `${args.join(' ')}: ${stderr}`)
    return stdout
  }

  async json<T>(controller: string, ...args: string[]): Promise<T> {
    return JSON.parse(await this.good(controller, ...args, '--json')) as T
  }

  /** Of one that runs: no process for each question. */
  api(controller: string): RemoteController {
    return new RemoteController(apiSocketPath(this.path(controller)))
  }

  async init(controller: string): Promise<void> {
    const [udp, tcp] = [await ownPort(), await ownPort()]
    await this.good(
      controller,
      ...['init', '--name', 'prod', '--subnet', '10.77.0.0/24', '--controller', controller],
      ...['--listen', `127.0.0.1:${udp}`, '--mesh-listen', `127.0.0.1:${tcp}`],
    )
  }

  /** Makes it a controller of the mesh of another, which runs. */
  async join(controller: string, inviter: string): Promise<void> {
    const token = (await this.good(inviter, 'invite')).trim()
    const [udp, tcp] = [await ownPort(), await ownPort()]
    const listen = ['--listen', `127.0.0.1:${udp}`, '--mesh-listen', `127.0.0.1:${tcp}`]
    await this.good(controller, 'join', token, '--controller', controller, ...listen)
  }

  /** A controller that says it is ready, or that ended and its log. */
  async up(controller: string): Promise<{ child: ChildProcess; log: string[]; ready: boolean }> {
    const child = start(['up', '--no-tun'], { dataDir: this.path(controller) })
    this.#running.add(child)
    const log: string[] = []
    createInterface({ input: child.stderr! }).on('line', line => log.push(line))
    const closed = once(child, 'close')
    const line = await Promise.race([once(createInterface({ input: child.stdout! }), 'line'), closed])
    return { child, log, ready: line[0] === 'ready' }
  }

  async kill(child: ChildProcess): Promise<void> {
    if (child.exitCode === null && child.signalCode === null) {
      const closed = once(child, 'close')
      child.kill('SIGKILL')
      await closed
    }
    this.#running.delete(child)
  }

  backup(controller: string, file: string): Promise<string> {
    return this.good(controller, 'backup', this.path(file), '--passphrase-file', this.pass)
  }

  restore(controller: string, file: string): Promise<string> {
    return this.good(controller, 'restore', this.path(file), '--passphrase-file', this.pass)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#running) await this.kill(child)
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** Asks until the answer is good. */
export async function until<T>(
  ask: () => Promise<T>,
  isGood: (answer: T) => boolean,
  ms = 30_000,
): Promise<T> {
  const end = Date.now() + ms
  for (;;) {
    const answer = await ask()
    if (isGood(answer)) return answer
    if (Date.now() > end) assert.fail(`never became so; last: ${JSON.stringify(answer)}`)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}
