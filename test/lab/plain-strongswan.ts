// strongSwan as a site runs it: its own daemon on a host of the lab, told by a swanctl.conf, in user space as the lab's kernels may
// have no ESP.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Host } from './host.ts'
import type { LabProcess } from './process.ts'

export interface PlainStrongSwanInit {
  /** The text of its swanctl.conf. */
  configuration: string
  /** Further lines of the section `charon` of its strongswan.conf. */
  settings?: string
}

const PLUGINS =
  'random nonce drbg openssl aes sha1 sha2 hmac kdf gcm pem pkcs1 pkcs8 x509 constraints pubkey kernel-libipsec kernel-netlink socket-default vici'

let started = 0

export class PlainStrongSwan {
  readonly process: LabProcess
  /** Private to it. */
  readonly directory: string
  readonly #host: Host

  private constructor(host: Host, directory: string, process: LabProcess) {
    this.#host = host
    this.directory = directory
    this.process = process
  }

  static async start(
    host: Host,
    { configuration, settings = '' }: PlainStrongSwanInit,
  ): Promise<PlainStrongSwan> {
    const name = `strongswan-${host.name}-${++started}`
    const directory = join(host.lab.directory, name)
    mkdirSync(directory, { mode: 0o700 })
    const conf = join(directory, 'strongswan.conf')
    writeFileSync(
      conf,
      `charon {
  load = ${PLUGINS}
  retransmit_timeout = 1.0
  retransmit_base = 1.4
  filelog {
    stderr {
      default = 1
      ike_name = yes
      flush_line = yes
    }
  }
  plugins {
    vici {
      socket = unix://${directory}/vici
    }
  }
  ${settings}
}
charon-systemd {
  journal {
    default = -1
  }
}
swanctl {
  load = random nonce openssl aes sha1 sha2 hmac pem pkcs1 pkcs8 x509 pubkey
}
`,
    )
    const process = await host.spawn(name, ['charon-systemd'], {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      STRONGSWAN_CONF: conf,
    })
    await process.waitFor(/spawning \d+ worker threads/)
    const site = new PlainStrongSwan(host, directory, process)
    await site.load(configuration)
    return site
  }

  /** Replaces all connections and secrets. */
  async load(configuration: string): Promise<void> {
    const file = join(this.directory, 'swanctl.conf')
    writeFileSync(file, configuration)
    await this.swanctl('--load-all', '--clear', '--file', file)
  }

  swanctl(...args: string[]): Promise<string> {
    const conf = join(this.directory, 'strongswan.conf')
    const uri = `unix://${this.directory}/vici`
    return this.#host.exec('env', `STRONGSWAN_CONF=${conf}`, 'swanctl', ...args, '--uri', uri)
  }

  /** Waits for a line of its log. */
  async said(pattern: RegExp, seconds = 10, since = 0): Promise<RegExpExecArray> {
    return this.process.waitFor(pattern, seconds, since)
  }

  async stop(): Promise<void> {
    await this.process.stop()
  }
}
