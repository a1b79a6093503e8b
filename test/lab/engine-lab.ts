// The lab of a controller's IKE daemon alone: it runs on `here`, and plain strongSwan on `there`, each with a subnet behind it.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { EngineOrders, EngineTunnel } from './engine-end.ts'
import type { Host } from './host.ts'
import type { Lab } from './lab.ts'
import { PlainStrongSwan } from './plain-strongswan.ts'
import type { LabProcess } from './process.ts'

export const SECRET = 'a secret of the two ends'
export const ID = '0123456789abcdef'

/** What the site has set otherwise than it should. */
export interface SiteSettings {
  secret?: string
  version?: 1 | 2
  ike?: string
  esp?: string
  remote?: string
  id?: string
  /** A further network of the site, in a child SA of its own: `net-2`. */
  further?: string
}

export class EngineLab {
  readonly here: Host
  readonly there: Host
  readonly directory: string
  site!: PlainStrongSwan
  engine!: LabProcess
  readonly #file: string
  /** Of the engine alone: its /etc/hosts and /etc/resolv.conf; undefined where it has those of this machine. */
  #names: { hosts: string; resolver: string } | undefined
  #orders: EngineOrders = { tunnels: [] }
  #count = 0

  private constructor(lab: Lab, here: Host, there: Host) {
    this.here = here
    this.there = there
    this.directory = join(lab.directory, 'ipsec')
    this.#file = join(lab.directory, 'orders.json')
  }

  /** @param names `silent`: the engine has no DNS but a resolver that never answers, and knows the names of `know` alone */
  static async create(lab: Lab, names?: 'silent'): Promise<EngineLab> {
    const made = new EngineLab(lab, await lab.host('here'), await lab.host('there'))
    if (names === 'silent') await made.#silence()
    await lan(made.here, '10.77.0.1/16')
    await lan(made.there, '10.50.0.1/24')
    await made.restartSite()
    await made.startEngine()
    return made
  }

  /** Of the site. */
  configuration(settings: SiteSettings = {}): string {
    const { secret = SECRET, version = 2, remote = '10.77.0.0/16', id = 'site', further } = settings
    // Of its own defaults, strongSwan offers but the first by IKEv1.
    const usual = version === 1 ? 'aes256-sha256-modp2048' : 'default'
    const { ike = usual, esp = usual } = settings
    const child = (name: string, network: string) => `${name} {
        local_ts = ${network}
        remote_ts = ${remote}
        esp_proposals = ${esp}
      }`
    return `connections {
  mesh {
    version = ${version}
    remote_addrs = ${this.here.ip4}
    proposals = ${ike}
    keyingtries = 0
    local {
      auth = psk
      id = ${id}
    }
    remote {
      auth = psk
      id = mesh
    }
    children {
      ${child('net', '10.50.0.0/24')}
      ${further === undefined ? '' : child('net-2', further)}
    }
  }
}
secrets {
  ike-mesh {
    id-1 = mesh
    secret = "${secret}"
  }
}`
  }

  tunnel(changes: Partial<EngineTunnel> = {}): EngineTunnel {
    return {
      id: ID,
      name: 'branch',
      remote: this.there.ip4,
      localId: 'mesh',
      remoteId: 'site',
      secret: SECRET,
      ikeVersion: 2,
      ikeProposals: [],
      espProposals: [],
      localSubnets: ['10.77.0.0/16'],
      remoteSubnets: ['10.50.0.0/24'],
      dpdSeconds: 2,
      ikeLifetimeSeconds: 3600,
      childLifetimeSeconds: 1200,
      encapsulate: false,
      initiate: false,
      takesOver: false,
      ...changes,
    }
  }

  /** Starts the engine, which has the tunnels that were told last. */
  async startEngine(awaited = /engine: state running user ipsec0/): Promise<void> {
    this.#write()
    const script = new URL('engine-end.ts', import.meta.url).pathname
    const init = JSON.stringify({ directory: this.directory, file: this.#file })
    const command = [process.execPath, script, init]
    this.engine = await this.here.spawn(`engine-${++this.#count}`, [...this.#ownNames(), ...command])
    await this.engine.waitFor(awaited)
  }

  /** From now on the engine finds the site under this name. */
  know(name: string): void {
    writeFileSync(this.#names!.hosts, `${this.there.ip4} ${name}\n`)
  }

  async restartSite(): Promise<void> {
    this.site = await PlainStrongSwan.start(this.there, { configuration: this.configuration() })
  }

  /** What a controller's gateway does. */
  async route(): Promise<void> {
    await this.here.ip('route', 'replace', '10.50.0.0/24', 'dev', 'ipsec0', 'src', '10.77.0.1')
  }

  /** These tunnels and no others. */
  async set(...tunnels: EngineTunnel[]): Promise<void> {
    this.#orders = { tunnels }
    const mark = this.engine.mark()
    this.#write()
    await this.engine.waitFor(/engine: set at/, 10, mark)
  }

  /** Sets them, and waits for the first to come up. */
  async up(...tunnels: EngineTunnel[]): Promise<void> {
    const mark = this.engine.mark()
    await this.set(...tunnels)
    await this.engine.waitFor(new RegExp(`up ${tunnels[0].id}`), 10, mark)
  }

  /** An order, and its outcome. */
  async order(what: 'initiate' | 'terminate' | 'sas', timeoutMs = 8000): Promise<string> {
    const number = ++this.#count
    const mark = this.engine.mark()
    this.#orders = { ...this.#orders, order: { number, what, tunnel: ID, timeoutMs } }
    this.#write()
    const done = await this.engine.waitFor(new RegExp(`done ${number} (.*) at \\d+`), 15, mark)
    return done[1]
  }

  /** The site is set otherwise, and leaves what it tried before. */
  async setSite(settings: SiteSettings): Promise<void> {
    await this.site.swanctl('--terminate', '--ike', 'mesh', '--force').catch(() => undefined)
    await this.site.load(this.configuration(settings))
  }

  /** The site dials; what comes of it is for the engine to say. */
  async siteDials(): Promise<void> {
    await this.site.swanctl('--initiate', '--child', 'net', '--timeout', '2').catch(() => undefined)
  }

  /** Kills charon alone, and waits for the tunnel to be up again. @returns ms that took */
  async killCharon(): Promise<number> {
    const mark = this.engine.mark()
    const killedAt = Date.now()
    process.kill(this.charonPid(), 'SIGKILL')
    const [, upAt] = await this.engine.waitFor(new RegExp(`up ${ID} at (\\d+)`), 15, mark)
    return Number(upAt) - killedAt
  }

  charonPid(): number {
    return JSON.parse(readFileSync(join(this.directory, 'charon.pid'), 'utf8')).pid
  }

  async #silence(): Promise<void> {
    const { directory } = this.here.lab
    this.#names = { hosts: join(directory, 'hosts'), resolver: join(directory, 'resolv.conf') }
    writeFileSync(this.#names.hosts, '')
    // Together longer than the daemon may take for an answer.
    writeFileSync(this.#names.resolver, `nameserver ${this.there.ip4}\noptions timeout:6 attempts:2\n`)
    const chain = 'chain inet silent input { type filter hook input priority filter; }'
    await this.there.exec('nft', `add table inet silent; add ${chain}`)
    await this.there.exec('nft', 'add rule inet silent input udp dport 53 drop')
  }

  /** What comes before a command so that it has names of its own; each that runs on a host has mounts of its own. */
  #ownNames(): string[] {
    if (this.#names === undefined) return []
    const { hosts, resolver } = this.#names
    const mounts = `mount --bind '${hosts}' /etc/hosts && mount --bind '${resolver}' /etc/resolv.conf`
    return ['sh', '-c', `${mounts} && exec "$0" "$@"`]
  }

  #write(): void {
    writeFileSync(`${this.#file}.new`, JSON.stringify(this.#orders))
    renameSync(`${this.#file}.new`, this.#file)
  }
}

async function lan(host: Host, address: string): Promise<void> {
  await host.ip('link', 'add', 'lan', 'type', 'bridge')
  await host.ip('address', 'add', address, 'dev', 'lan')
  await host.ip('link', 'set', 'lan', 'up')
}
