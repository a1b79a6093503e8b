// Debian's openvpn as the hub of a small network: what Overmesh is compared with. Configured as its manual advises today:
// tls-crypt-v2, P-256, TLS 1.3, AES-256-GCM, no compression, clients reach each other inside the server.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.ts'
import type { Host } from './host.ts'
import type { LabProcess } from './process.ts'
import { StrangersPki } from './strangers-pki.ts'

export interface StockServerInit {
  /** @default '10.88.0.0/16' */
  network?: [address: string, mask: string]
  /** @default 1194 */
  port?: number
  /** Further options of the server, one a string. */
  options?: string[]
  /** @default 1420, as Overmesh pushes it */
  tunMtu?: number
  /** One whose clients this one takes, too. */
  like?: StockServer
}

export class StockServer {
  process: LabProcess
  readonly address: string
  readonly host: Host
  readonly #config: string
  readonly #pki: StrangersPki
  readonly #port: number
  readonly #tlsCryptServerKey: string

  private constructor(
    host: Host,
    process: LabProcess,
    pki: StrangersPki,
    port: number,
    address: string,
    key: string,
    config: string,
  ) {
    this.host = host
    this.#config = config
    this.process = process
    this.#pki = pki
    this.#port = port
    this.address = address
    this.#tlsCryptServerKey = key
  }

  static async start(host: Host, init: StockServerInit = {}): Promise<StockServer> {
    const { network = ['10.88.0.0', '255.255.0.0'], port = 1194, options = [], tunMtu = 1420, like } = init
    const directory = host.lab.directory
    const pki = like
      ? like.#pki
      : await StrangersPki.create(join(directory, `stock-${host.name}`), 'Stock CA')
    const server = await pki.issue('stock-server', { use: 'serverAuth' })
    const tlsCryptKey = like ? like.#tlsCryptServerKey : join(pki.directory, 'tls-crypt-v2-server.key')
    if (!like) await run(['openvpn', '--genkey', 'tls-crypt-v2-server', tlsCryptKey])
    const config = [
      `local ${host.ip4}`,
      `port ${port}`,
      'proto udp',
      'dev tun-stock',
      'dev-type tun',
      'topology subnet',
      `server ${network.join(' ')}`,
      'client-to-client',
      `ca ${pki.authority.certificateFile}`,
      `cert ${server.certificateFile}`,
      `key ${server.keyFile}`,
      'dh none',
      `tls-crypt-v2 ${tlsCryptKey}`,
      'data-ciphers AES-256-GCM:CHACHA20-POLY1305',
      `tun-mtu ${tunMtu}`,
      `push "tun-mtu ${tunMtu}"`,
      'keepalive 10 60',
      'max-clients 4096',
      'verb 3',
      ...options,
    ]
    const file = join(pki.directory, `server-${host.name}.conf`)
    writeFileSync(file, `${config.join('\n')}\n`)
    const process = await launch(host, file)
    const address = network[0].replace(/\d+$/, '1')
    return new StockServer(host, process, pki, port, address, tlsCryptKey, file)
  }

  /** Runs it again, after its end. */
  async restart(): Promise<void> {
    this.process = await launch(this.host, this.#config)
  }

  /** Issues a certificate and writes a profile with everything inline; returns its path. */
  async addClient(name: string): Promise<string> {
    const pair = await this.#pki.issue(name, { use: 'clientAuth' })
    const wrapKey = join(this.#pki.directory, `${name}.tls-crypt-v2`)
    await run([
      'openvpn',
      '--tls-crypt-v2',
      this.#tlsCryptServerKey,
      '--genkey',
      'tls-crypt-v2-client',
      wrapKey,
    ])
    const inline = (tag: string, text: string): string => `<${tag}>\n${text.trim()}\n</${tag}>`
    const profile = [
      'client',
      'dev tun',
      'proto udp',
      'nobind',
      `remote ${this.host.ip4} ${this.#port}`,
      'remote-cert-tls server',
      'verify-x509-name stock-server name',
      'persist-tun',
      'persist-key',
      'verb 3',
      inline('ca', this.#pki.authority.certificate),
      inline('cert', pair.certificate),
      inline('key', pair.key),
      inline('tls-crypt-v2', readFileSync(wrapKey, 'utf8')),
    ]
    const path = join(this.#pki.directory, `${name}.ovpn`)
    writeFileSync(path, `${profile.join('\n')}\n`)
    return path
  }
}

async function launch(host: Host, config: string): Promise<LabProcess> {
  const process = await host.spawn('stock openvpn server', ['openvpn', '--config', config])
  await process.waitFor(/Initialization Sequence Completed/)
  return process
}
