// One client of the demonstration: added by the real command, connected as a probe in this process.
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { DemoController } from './demo-controller.ts'
import type { PingSummary } from './pinger.ts'
import { Prober } from './prober.ts'
import { openTunnel } from './tunnel.ts'

const INTERVAL = 1000

export class DemoClient {
  readonly name: string
  readonly address: string
  readonly packFile: string
  /** Name of the client it pings. */
  peer = ''
  readonly #pack: string
  #prober: Prober | undefined

  private constructor(name: string, address: string, packFile: string, pack: string) {
    this.name = name
    this.address = address
    this.packFile = packFile
    this.#pack = pack
  }

  /** Adds a client that prefers this controller; its clientpack is beside the controller's data. */
  static async add(controller: DemoController, name: string): Promise<DemoClient> {
    const packFile = join(dirname(controller.dataDir), `${name}.ovpn`)
    const words = ['client', 'add', name, '--prefer', controller.name, '--out', packFile, '--json']
    const client = JSON.parse(await controller.run(...words))
    return new DemoClient(name, client.address, packFile, await readFile(packFile, 'utf8'))
  }

  /** Connects, and pings `peer` from then on. */
  connect(peer: DemoClient): void {
    this.peer = peer.name
    this.#prober = new Prober({
      open: events => openTunnel({ pack: this.#pack }, events),
      ping: peer.address,
      interval: INTERVAL,
      identifier: 1,
    })
  }

  /** Of the controller it is connected to, `HOST:PORT`; undefined while it is not. */
  get remote(): string | undefined {
    return this.#prober?.state === 'connected' ? this.#prober.connection?.remote : undefined
  }

  get state(): string {
    return this.#prober?.reason ?? this.#prober?.state ?? 'waiting'
  }

  get answered(): number {
    return this.summary.received
  }

  get summary(): PingSummary {
    return (
      this.#prober?.summary ?? {
        target: this.peer,
        sent: 0,
        received: 0,
        errors: 0,
        lossPercent: 0,
        rttMs: null,
      }
    )
  }

  async close(): Promise<void> {
    await this.#prober?.close()
  }
}
