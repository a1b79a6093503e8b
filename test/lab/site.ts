// A site with a router that does IPsec: plain strongSwan, told by `overmesh ipsec export` alone, and a host behind it.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Controller } from './controller.ts'
import type { Host } from './host.ts'
import { type Lab, until } from './lab.ts'
import { PlainStrongSwan } from './plain-strongswan.ts'
import { StrangersPki } from './strangers-pki.ts'

/** ms after which whatever ends a site that is elsewhere would have done so, and the site would be back (see GRACE_MS). */
const QUIET_MS = 4000

/** When a site came up or moved, ms since 1970, and to which controller. */
export interface Move {
  at: number
  controller: string
}

/** What an exported file says that the daemon's own settings must be, as it says it. */
function settingsIn(exported: string): string {
  const [, settings] = /^# {3}charon \{\n((?:# {5}.*\n)+)# {3}\}$/m.exec(exported)!
  return settings.replaceAll(/^# {5}/gm, '')
}

export class Site {
  readonly name: string
  readonly router: Host
  /** A host behind the router. */
  readonly inner: Host
  readonly address: string
  strongswan: PlainStrongSwan | undefined
  readonly #lab: Lab
  readonly #cidr: string

  private constructor(lab: Lab, name: string, router: Host, inner: Host, cidr: string, address: string) {
    this.#lab = lab
    this.name = name
    this.router = router
    this.inner = inner
    this.#cidr = cidr
    this.address = address
  }

  /** @param cidr network behind it, such as `192.168.20.0/24`; the router has its first address, the inner host its second */
  static async create(lab: Lab, name: string, cidr: string): Promise<Site> {
    const router = await lab.host(name)
    const inner = await lab.host(`${name}-in`)
    const prefix = cidr.replace(/\.\d+\/\d+$/, '')
    await router.ip(
      'link',
      'add',
      'name',
      'lan0',
      'type',
      'veth',
      'peer',
      'name',
      'eth1',
      'netns',
      inner.namespace,
    )
    await router.ip('address', 'add', `${prefix}.1/24`, 'dev', 'lan0')
    await router.ip('link', 'set', 'lan0', 'up')
    await inner.ip('address', 'add', `${prefix}.2/24`, 'dev', 'eth1')
    await inner.ip('link', 'set', 'eth1', 'up')
    // The inner host has no other way than its router.
    await inner.ip('link', 'set', 'eth0', 'down')
    await inner.ip('route', 'replace', 'default', 'via', `${prefix}.1`)
    await router.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1')
    return new Site(lab, name, router, inner, cidr, `${prefix}.2`)
  }

  /** The pre-shared key in a file. */
  get pskFile(): string {
    const file = join(this.#lab.directory, `${this.name}.psk`)
    writeFileSync(file, `${this.secret}\n`, { mode: 0o600 })
    return file
  }

  get secret(): string {
    return `a secret of "${this.name}", with 'quotes' & 32+ characters`
  }

  /** Adds it to the mesh as an attachment; returns what is said of it. */
  async attach(by: Controller, localSubnets: readonly string[], ...options: string[]): Promise<string> {
    const local = localSubnets.flatMap(each => ['--local-ts', each])
    return by.cli(
      ...['ipsec', 'add', this.name, '--remote', this.router.ip4, '--psk-file', this.pskFile],
      ...['--remote-ts', this.#cidr, '--dpd', '2', ...local, ...options],
    )
  }

  /** Starts the router's strongSwan with what a controller exports. */
  async start(by: Controller): Promise<PlainStrongSwan> {
    const configuration = await by.cli('ipsec', 'export', this.name, '--psk-file', this.pskFile)
    this.strongswan = await PlainStrongSwan.start(this.router, {
      configuration,
      settings: settingsIn(configuration),
    })
    return this.strongswan
  }

  /** Adds it with a certificate of an authority of its own, and starts it with what a controller exports, as its comments say. */
  async startWithCertificate(by: Controller, ...options: string[]): Promise<void> {
    const directory = join(this.#lab.directory, `authority-${this.name}`)
    mkdirSync(directory)
    const pki = await StrangersPki.create(directory, `${this.name} CA`)
    const device = await pki.issue(this.name, { use: 'clientAuth' })
    const authority = join(directory, 'given.pem')
    writeFileSync(authority, pki.authority.certificate)
    await by.cli(
      ...['ipsec', 'add', this.name, '--remote', 'any', '--ca-file', authority, '--remote-ts', this.#cidr],
      ...options,
    )
    const exported = await by.cli('ipsec', 'export', this.name)
    this.strongswan = await PlainStrongSwan.start(this.router, {
      configuration: '',
      settings: settingsIn(exported),
    })
    const put = (kind: string): string => {
      const path = join(this.strongswan!.directory, kind)
      mkdirSync(path)
      return path
    }
    copyFileSync(device.certificateFile, join(put('x509'), `${this.name}.pem`))
    writeFileSync(join(put('private'), `${this.name}.pem`), device.key, { mode: 0o600 })
    const [, file] = /^# Save as \/etc\/swanctl\/x509ca\/(\S+), without .*: the controllers'/m.exec(exported)!
    const root = /^# -----BEGIN[\s\S]*-----$/m.exec(exported)![0].replaceAll(/^# /gm, '')
    writeFileSync(join(put('x509ca'), file), `${root}\n`)
    await this.strongswan.load(exported)
  }

  /** Waits until the attachment is up, as a controller sees it: by which controller it is. */
  async isUp(seenBy: Controller, seconds = 15, by?: string): Promise<string> {
    let carrier = ''
    await until(
      `${this.name} is up${by === undefined ? '' : ` on ${by}`}`,
      async () => {
        const { attachments } = await seenBy.status()
        const found = attachments.find(each => each.name === this.name)
        carrier = found?.controller ?? ''
        return found?.state === 'up' && (by === undefined || carrier === by)
      },
      seconds,
    )
    return carrier
  }

  /** Waits until it has stayed for longer than it takes to settle where it is carried: the moves until then, as each of these saw them. */
  async settled(seenBy: readonly Controller[]): Promise<Move[][]> {
    let moves: Move[][] = []
    await until(
      `${this.name} moves no more`,
      async () => {
        moves = await Promise.all(seenBy.map(each => this.#moves(each)))
        return moves.every(each => each.length > 0 && Date.now() - each.at(-1)!.at > QUIET_MS)
      },
      20,
    )
    return moves
  }

  async #moves(seenBy: Controller): Promise<Move[]> {
    const lines = (await seenBy.cli('events', '--json', '--type', 'attachment-*')).trim().split('\n')
    return lines
      .map(line => JSON.parse(line) as { type: string; at: string; attachment: string; controller: string })
      .filter(each => each.attachment === this.name && /^attachment-(up|moved)$/.test(each.type))
      .map(({ at, controller }) => ({ at: Date.parse(at), controller }))
  }
}
