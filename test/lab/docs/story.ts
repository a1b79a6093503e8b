// A page lived through: every command of it runs, in order, on the hosts of a lab, as a reader would type it as root.
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { attempt } from '../command.ts'
import { NODE } from '../controller.ts'
import type { Host } from '../host.ts'
import type { Lab } from '../lab.ts'
import { type Command, commandsOf, withoutComment } from './blocks.ts'

const TOP = join(import.meta.dirname, '../../..')

/** A name that pages use, and the host that it means. */
export type Names = Readonly<Record<string, Host>>

/** Commands that stay in the foreground until interrupted, and how to see that they work. */
const FOREGROUND: [RegExp, RegExp][] = [
  [/^overmesh up\b/, /^ready$/m],
  [/^openvpn --config \S+$/, /Initialization Sequence Completed/],
]
/** Commands that follow something: they are looked at for a moment. */
const FOLLOWING = /^(overmesh events\b.*--follow|journalctl\b.*-f\b)/
const LOOK_SECONDS = 2
const COMMAND_SECONDS = 60

export class Story {
  readonly #lab: Lab
  readonly #hosts: ReadonlyMap<string, Host>
  readonly #first: Host
  /** Where commands run on every host, so that a file made on one is there on another. */
  readonly directory: string
  readonly #tools: string
  readonly #names: string
  #token = ''

  /** @param first where blocks run that name no host */
  constructor(lab: Lab, hosts: ReadonlyMap<string, Host>, first: Host, names: Names = {}) {
    this.#lab = lab
    this.#hosts = hosts
    this.#first = first
    this.directory = join(lab.directory, 'desk')
    this.#tools = join(lab.directory, 'bin')
    this.#names = join(lab.directory, 'hosts')
    mkdirSync(this.directory)
    mkdirSync(this.#tools)
    const lines = Object.entries(names).map(([name, host]) => `${host.ip4} ${name}`)
    writeFileSync(this.#names, `127.0.0.1 localhost\n${lines.join('\n')}\n`)
    this.#tool('overmesh', `exec '${NODE}' '${join(TOP, 'node/cli/overmesh.js')}' "$@"`)
    for (const name of ['npx', 'sudo']) this.#tool(name, 'exec "$@"')
  }

  /** A file that the page takes for granted. */
  write(name: string, text: string): void {
    writeFileSync(join(this.directory, name), text, { mode: 0o600 })
  }

  /** Runs a command on a host. @throws Error that names the line of the page when it fails */
  async run(command: Command, page: string): Promise<void> {
    const host = command.where === '' ? this.#first : this.#hosts.get(command.where)
    const place = `${page}:${command.line}`
    if (host === undefined) throw new Error(`${place}: there is no host "${command.where}" in the lab`)
    const text = withoutComment(command.text)
      .replace(/^sudo /, '')
      .replaceAll('npx overmesh', 'overmesh')
      .replaceAll(/\bTOKEN\b/g, this.#token)
    if (text === '' || text === 'sudo -s') return
    const foreground = FOREGROUND.find(([pattern]) => pattern.test(text))
    if (foreground) {
      const name = `${text.slice(0, 30)} ${host.name} ${command.line}`
      const started = await this.#lab.spawn(name, this.#on(host, text), this.#environment(host))
      await started.waitFor(foreground[1], 30)
      return
    }
    const follows = FOLLOWING.test(text)
    const line = follows ? `timeout --signal INT ${LOOK_SECONDS} ${text}` : text
    const { code, stdout, stderr } = await attempt(this.#on(host, line), {
      timeout: COMMAND_SECONDS * 1000,
      env: this.#environment(host),
    })
    if (code !== 0 && !(follows && code === 124))
      throw new Error(`${place}: ${text}\nexit ${code}\n${stderr}${stdout}`)
    if (/^overmesh invite\b/.test(text)) this.#token = stdout.trimEnd().split('\n').at(-1)!
  }

  /** All commands of a page that a lab can run. */
  async live(page: string): Promise<number> {
    const commands = commandsOf(readFileSync(join(TOP, page), 'utf8')).filter(
      each => each.where !== 'elsewhere',
    )
    for (const command of commands) await this.run(command, page)
    return commands.length
  }

  /** Names are resolved as the lab has them; the machine's own files stay as they are, as the mount is the command's alone. */
  #on(host: Host, text: string): string[] {
    const script = `mount --bind '${this.#names}' /etc/hosts && cd '${this.directory}' && ${text}`
    return host.command('bash', '-euo', 'pipefail', '-c', script)
  }

  #environment(host: Host): NodeJS.ProcessEnv {
    return {
      ...process.env,
      PATH: `${this.#tools}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
      OVERMESH_DATA: join(this.#lab.directory, `data-${host.name}`),
      NO_COLOR: '1',
    }
  }

  #tool(name: string, script: string): void {
    const file = join(this.#tools, name)
    writeFileSync(file, `#!/bin/sh\n${script}\n`)
    chmodSync(file, 0o755)
  }
}
