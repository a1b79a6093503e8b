// A small internet of one's own: hosts in network namespaces, joined by a bridge in a namespace of its own (a bridge of the machine
// itself would be filtered by Docker's rules). Nothing of it touches the machine's network, and nothing of it stays.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { run } from './command.ts'
import { Host } from './host.ts'
import { deleteNamespaceNow, namespaceName, sweepStaleLabs } from './namespaces.ts'
import { LabProcess } from './process.ts'

export class Lab {
  readonly name: string
  /** For packs, data directories and logs; removed at the end. */
  readonly directory: string
  readonly processes: LabProcess[] = []
  readonly hosts = new Map<string, Host>()
  readonly #switch: string
  readonly #cleanUp = (): void => this.#removeNow()
  readonly #interrupted = (signal: NodeJS.Signals): void => {
    this.#removeNow()
    process.exit(signal === 'SIGINT' ? 130 : 143)
  }

  private constructor(name: string) {
    this.name = name
    this.directory = mkdtempSync(join(tmpdir(), `overmesh-lab-${name}-`))
    this.#switch = namespaceName(name, 'switch')
  }

  /** @param name short, of letters and digits */
  static async create(name: string): Promise<Lab> {
    sweepStaleLabs()
    const lab = new Lab(name)
    process.once('exit', lab.#cleanUp)
    process.once('SIGINT', lab.#interrupted)
    process.once('SIGTERM', lab.#interrupted)
    await run(['ip', 'netns', 'add', lab.#switch])
    await run(['ip', '-n', lab.#switch, 'link', 'add', 'bridge', 'type', 'bridge', 'forward_delay', '0'])
    await run(['ip', '-n', lab.#switch, 'link', 'set', 'bridge', 'up'])
    return lab
  }

  /**
   * Adds a host with one interface, `eth0`, on the bridge.
   * @param name at most 15 letters, digits and dashes: it also names the bridge's end of the cable
   */
  async host(name: string): Promise<Host> {
    const number = this.hosts.size + 10
    const host = new Host({
      lab: this,
      name,
      namespace: namespaceName(this.name, name),
      switchNamespace: this.#switch,
      ip4: `192.0.2.${number}`,
      ip6: `2001:db8::${number.toString(16)}`,
    })
    this.hosts.set(name, host)
    await host.plugIn()
    return host
  }

  /** Runs ip(8) or bridge(8) on the switch that joins the hosts. */
  onSwitch(program: 'ip' | 'bridge', ...args: string[]): Promise<string> {
    return run([program, '-n', this.#switch, ...args])
  }

  /** Starts a program on the machine itself or, by {@link Host.spawn}, on a host. */
  async spawn(name: string, argv: readonly string[], env?: NodeJS.ProcessEnv): Promise<LabProcess> {
    const logFile = join(this.directory, `${name.replaceAll(/[^\w.-]/g, '_')}.log`)
    const started = await LabProcess.start(argv, { name, logFile, env, cwd: this.directory })
    this.processes.push(started)
    return started
  }

  /** What every program said last: for the report of a test that failed. */
  logs(lines = 30): string {
    return this.processes
      .map(each => `--- ${each.name} (${each.running ? 'running' : 'ended'})\n${each.tail(lines)}`)
      .join('\n')
  }

  /** Ends every program, removes hosts and files. */
  async close(): Promise<void> {
    await Promise.all(this.processes.map(each => each.stop()))
    this.#removeNow()
    process.off('exit', this.#cleanUp)
    process.off('SIGINT', this.#interrupted)
    process.off('SIGTERM', this.#interrupted)
  }

  #removeNow(): void {
    for (const { namespace } of this.hosts.values()) deleteNamespaceNow(namespace)
    deleteNamespaceNow(this.#switch)
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** Waits until something holds, looking again and again; throws with its description after `seconds`. */
export async function until(
  description: string,
  holds: () => boolean | undefined | Promise<boolean | undefined>,
  seconds = 15,
  everySeconds = 0.1,
): Promise<number> {
  const started = performance.now()
  const elapsed = (): number => (performance.now() - started) / 1000
  while (!(await holds())) {
    if (elapsed() > seconds) throw new Error(`not within ${seconds} s: ${description}`)
    await sleep(everySeconds * 1000)
  }
  return elapsed()
}

export { sleep }
