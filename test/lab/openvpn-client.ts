// A stock OpenVPN client on a host, as a user would run it, with what its log tells.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Host } from './host.ts'
import { until } from './lab.ts'
import type { LabProcess } from './process.ts'

/** One TLS handshake that ended well: the first of a connection, and one for each renegotiation. */
const HANDSHAKE = /Control Channel: TLSv/
const CONNECTED = /Initialization Sequence Completed/

export interface OpenvpnOptions {
  /** Further options, as on the command line; they win over the pack. */
  args?: string[]
  /** The TUN interface. @default 'tun0' */
  dev?: string
  /** @default 3 */
  verbosity?: number
  /** Of the Debian whose client it is, by `fetchDebian`. @default the machine's own */
  root?: string
}

export class OpenvpnClient {
  readonly host: Host
  readonly dev: string
  readonly process: LabProcess
  private constructor(host: Host, dev: string, process: LabProcess) {
    this.host = host
    this.dev = dev
    this.process = process
  }

  /** Starts a client, not yet connected. */
  static async start(host: Host, pack: string, options: OpenvpnOptions = {}): Promise<OpenvpnClient> {
    const { args = [], dev = 'tun0', verbosity = 3, root } = options
    const argv = [
      'openvpn',
      '--config',
      pack,
      '--dev',
      dev,
      '--dev-type',
      'tun',
      '--verb',
      String(verbosity),
      ...args,
    ]
    const name = `openvpn ${host.name} ${dev}`
    const process = root === undefined ? host.spawn(name, argv) : host.spawnIn(name, root, argv)
    return new OpenvpnClient(host, dev, await process)
  }

  /** Starts a client and waits until it is connected. */
  static async connect(host: Host, pack: string, options: OpenvpnOptions = {}): Promise<OpenvpnClient> {
    const client = await OpenvpnClient.start(host, pack, options)
    await client.connected()
    return client
  }

  get pid(): number {
    return this.process.pid
  }

  /** Waits until it is connected (again, when told since which mark of the log). */
  async connected(seconds = 20, since = 0): Promise<void> {
    await this.process.waitFor(CONNECTED, seconds, since)
  }

  /** Waits for a line of its log. */
  says(pattern: RegExp, seconds = 20, since = 0): Promise<RegExpExecArray> {
    return this.process.waitFor(pattern, seconds, since)
  }

  mark(): number {
    return this.process.mark()
  }

  get handshakes(): number {
    return this.process.count(HANDSHAKE)
  }

  /** How often it had to connect. One means that the first connection held. */
  get connections(): number {
    return this.process.count(CONNECTED)
  }

  /** The overlay address, as the kernel has it on the interface. */
  async address(): Promise<string> {
    let address = ''
    await until(`${this.process.name} has an address on ${this.dev}`, async () => {
      const out = await this.host.ip('-json', '-4', 'address', 'show', 'dev', this.dev)
      address = JSON.parse(out)[0]?.addr_info?.[0]?.local ?? ''
      return address !== ''
    })
    return address
  }

  /** Ends it; it says good-bye to the server. */
  async stop(): Promise<void> {
    await this.process.stop()
  }
}

/** A pack with another text between `<tag>` and `</tag>`. */
export function replaceInline(pack: string, tag: string, content: string): string {
  const block = new RegExp(`<${tag}>[^]*?</${tag}>`)
  if (!block.test(pack)) throw new Error(`the pack has no <${tag}>`)
  return pack.replace(block, () => `<${tag}>\n${content.trim()}\n</${tag}>`)
}

/** The text between `<tag>` and `</tag>` of a pack. */
export function inline(pack: string, tag: string): string {
  const match = new RegExp(`<${tag}>\\n([^]*?)\\n?</${tag}>`).exec(pack)
  if (!match) throw new Error(`the pack has no <${tag}>`)
  return match[1]
}

/** Writes a changed copy of a pack, and returns its path. */
export function writePack(host: Host, name: string, text: string): string {
  const path = join(host.lab.directory, name)
  writeFileSync(path, text, { mode: 0o600 })
  return path
}
