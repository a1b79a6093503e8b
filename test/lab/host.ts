// One machine of the lab: a network namespace with one interface. Everything that happens to a real one can happen to it:
// its cable is pulled, its address changes, packets of one direction vanish.
import { attempt, type CommandOptions, type CommandResult, run } from './command.ts'
import { inRoot } from './debian-suite.ts'
import type { Lab } from './lab.ts'
import type { LabProcess } from './process.ts'

export interface HostInit {
  lab: Lab
  name: string
  namespace: string
  switchNamespace: string
  ip4: string
  ip6: string
}

export class Host {
  readonly lab: Lab
  readonly name: string
  readonly namespace: string
  /** The current underlay addresses. */
  ip4: string
  readonly ip6: string
  readonly #switchNamespace: string

  constructor(init: HostInit) {
    this.lab = init.lab
    this.name = init.name
    this.namespace = init.namespace
    this.#switchNamespace = init.switchNamespace
    this.ip4 = init.ip4
    this.ip6 = init.ip6
  }

  /** Makes the namespace, the cable to the bridge and the addresses. Called by the lab. */
  async plugIn(): Promise<void> {
    const { namespace, name } = this
    await run(['ip', 'netns', 'add', namespace])
    const cable = ['link', 'add', 'name', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace]
    await this.#onSwitch(...cable)
    await this.#onSwitch('link', 'set', 'dev', name, 'master', 'bridge', 'up')
    await this.ip('link', 'set', 'lo', 'up')
    await this.ip('address', 'add', `${this.ip4}/24`, 'dev', 'eth0')
    // Without duplicate address detection, which would hold the address back for a second.
    await this.ip('address', 'add', `${this.ip6}/64`, 'dev', 'eth0', 'nodad')
    await this.ip('link', 'set', 'eth0', 'up')
  }

  /** The command line that runs a command on this host. The program keeps the pid of what is started. */
  command(...argv: string[]): string[] {
    return ['ip', 'netns', 'exec', this.namespace, ...argv]
  }

  /** Runs a command on this host; throws if it fails. */
  exec(...argv: string[]): Promise<string> {
    return run(this.command(...argv))
  }

  /** Runs a command on this host and returns how it ended. */
  attempt(argv: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return attempt(this.command(...argv), options)
  }

  /** Starts a program on this host. */
  spawn(name: string, argv: readonly string[], env?: NodeJS.ProcessEnv): Promise<LabProcess> {
    return this.lab.spawn(name, this.command(...argv), env)
  }

  /** Starts a program of another Debian on this host. @param root by `fetchDebian` */
  spawnIn(name: string, root: string, argv: readonly string[]): Promise<LabProcess> {
    return this.spawn(name, inRoot(root, argv))
  }

  ip(...args: string[]): Promise<string> {
    return run(['ip', '-n', this.namespace, ...args])
  }

  async setMtu(bytes: number): Promise<void> {
    await this.ip('link', 'set', 'eth0', 'mtu', String(bytes))
    await this.#onSwitch('link', 'set', 'dev', this.name, 'mtu', String(bytes))
  }

  /** Pulls the cable out, or puts it back; the host itself does not see it, as behind a switch. */
  async cable(state: 'in' | 'out'): Promise<void> {
    await this.#onSwitch(
      'link',
      'set',
      'dev',
      this.name,
      ...(state === 'in' ? ['master', 'bridge'] : ['nomaster']),
    )
  }

  /** Gives the host another address, the way a laptop gets one in another network. */
  async moveTo(ip4: string): Promise<void> {
    // The new one goes together with the first, of whose network it is the second, and comes back: by one command, since until then
    // there is no way out.
    const changes = [`add ${ip4}/24`, `delete ${this.ip4}/24`, `replace ${ip4}/24`]
    const input = changes.map(each => `address ${each} dev eth0\n`).join('')
    await run(['ip', '-n', this.namespace, '-batch', '-'], { input })
    this.ip4 = ip4
  }

  /** Drops what arrives from another host here: a cut of one direction only. */
  async refuseFrom(other: Host): Promise<void> {
    await this.exec('nft', 'add table inet lab')
    await this.exec('nft', 'add chain inet lab input { type filter hook input priority 0; }')
    await this.exec('nft', `add rule inet lab input ip saddr ${other.ip4} drop`)
    await this.exec('nft', `add rule inet lab input ip6 saddr ${other.ip6} drop`)
  }

  /** Undoes every {@link refuseFrom}. */
  async acceptAll(): Promise<void> {
    await this.attempt(['nft', 'delete table inet lab'])
  }

  async #onSwitch(...args: string[]): Promise<void> {
    await run(['ip', '-n', this.#switchNamespace, ...args])
  }
}
