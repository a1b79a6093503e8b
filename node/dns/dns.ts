// DNS on a running controller: on its kernel's sockets at its overlay addresses where it has a TUN, by the switch where it has none,
// and off where the operator wants none.
import type { Logger } from 'pino'
import { cidrContains, formatIpv4, type OverlayAddress, parseIpv4 } from '../../state/address.ts'
import { gatewayOf } from '../../state/allocator.ts'
import type { Home } from '../home.ts'
import { IcmpLimiter as SourceLimiter } from '../switch/icmp-limiter.ts'
import type { Switch } from '../switch/switch.ts'
import { readDatagram, writeDatagram } from './datagram.ts'
import { DNS_PORT } from './forwarders.ts'
import { meshDomain } from './names.ts'
import { OverlayNames } from './overlay-names.ts'
import { type DnsCounters, Responder } from './responder.ts'
import { dnsSettings } from './settings.ts'
import { listenTcp } from './tcp-listener.ts'
import { type DnsListener, listenUdp } from './udp-listener.ts'
import { Upstream } from './upstream.ts'

export interface DnsInit {
  home: Home
  network: Pick<Switch, 'tun' | 'onQuery' | 'sendPacket'>
  logger: Logger
  /** Takes what is wrong now, undefined when nothing is. */
  warn: (warning: string | undefined) => void
  random: (size: number) => Uint8Array
  /** ms */
  now: () => number
}

/** Queries a second of one address, and of all: a stub resolver asks some tens when a page is opened. */
const LIMITS = { perSourcePerSecond: 100, perSourceBurst: 200, perSecond: 2000, burst: 1000 }
/** ms after which addresses that could not be had are tried again. */
const RETRY_MS = 10_000

export class Dns {
  readonly #init: DnsInit
  readonly #names: OverlayNames | undefined
  readonly #upstream: Upstream
  readonly #responder: Responder
  readonly #addresses: readonly OverlayAddress[]
  #listeners: DnsListener[] = []
  /** Starting and stopping, one after the other. */
  #work: Promise<void> = Promise.resolve()
  #retry: NodeJS.Timeout | undefined
  #problem: string | undefined
  #stopped = false

  constructor(init: DnsInit) {
    this.#init = init
    const { home, random, now } = init
    const { mesh, replica, views, controller } = home
    const domain = meshDomain(mesh.value.name)
    const { subnet, subnet6 } = mesh
    if (domain !== undefined)
      this.#names = new OverlayNames({ records: replica, views, domain, subnet, subnet6 })
    this.#addresses = [gatewayOf(mesh.subnet), parseIpv4(controller.address)!]
    this.#upstream = new Upstream({ servers: () => dnsSettings(home).forwarders })
    const limiter = new SourceLimiter(LIMITS)
    this.#responder = new Responder({
      names: () => (dnsSettings(home).enabled ? this.#names : undefined),
      admits: source => this.#admits(source),
      mayAsk: source => limiter.take(source, now()),
      forwards: () => dnsSettings(home).forwarders.length > 0,
      ask: (query, tcp, accepts) => this.#upstream.ask(query, tcp, accepts),
      random,
    })
  }

  get counters(): DnsCounters {
    return this.#responder.counters
  }

  /** By what clients can ask here now. */
  get serves(): ('udp' | 'tcp')[] {
    if (!this.#wanted) return []
    if (this.#init.network.tun === null) return ['udp']
    return this.#listeners.length > 0 ? ['udp', 'tcp'] : []
  }

  /** Resolves when queries are answered, or it is known why not. Never throws: a mesh works without names. */
  start(): Promise<void> {
    const { network } = this.#init
    if (network.tun === null) network.onQuery = packet => void this.#answerPacket(packet)
    this.review()
    return this.#work
  }

  /** Makes what listens what the settings want. */
  review(): void {
    if (this.#init.network.tun === null) return
    this.#work = this.#work.then(() => (this.#wanted ? this.#listen() : this.#unlisten()))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#retry)
    this.#init.network.onQuery = () => {}
    this.#upstream.close()
    this.review()
    await this.#work
    this.#names?.close()
  }

  get #wanted(): boolean {
    return !this.#stopped && dnsSettings(this.#init.home).enabled
  }

  /** All sockets or none: clients that ask by UDP are to be answered by TCP, too. */
  async #listen(): Promise<void> {
    if (this.#listeners.length > 0) return
    const answer = this.#responder.answer.bind(this.#responder)
    try {
      for (const address of this.#addresses) {
        const host = formatIpv4(address)
        this.#listeners.push(await listenUdp(host, DNS_PORT, answer))
        this.#listeners.push(await listenTcp(host, DNS_PORT, answer))
      }
      this.#tell(undefined)
    } catch (error) {
      await this.#close()
      this.#tell(reasonOf(error))
      this.#retry ??= setTimeout(() => {
        this.#retry = undefined
        this.review()
      }, RETRY_MS)
    }
  }

  async #unlisten(): Promise<void> {
    await this.#close()
    this.#tell(undefined)
  }

  async #close(): Promise<void> {
    const listeners = this.#listeners
    this.#listeners = []
    await Promise.all(listeners.map(each => each.close()))
  }

  /** Once for each time that it begins. */
  #tell(problem: string | undefined): void {
    if (problem === this.#problem) return
    this.#problem = problem
    this.#init.warn(problem)
    if (problem !== undefined) this.#init.logger.warn(problem)
  }

  /** The overlay's own addresses, and those behind its clients: nobody else is a client of this server. */
  #admits(source: number): boolean {
    const { mesh, views } = this.#init.home
    if (cidrContains(mesh.subnet, source)) return true
    return views
      .prefixes()
      .some(({ cidr, via }) => via.kind === 'client' && cidr.length > 0 && cidrContains(cidr, source))
  }

  async #answerPacket(packet: Uint8Array): Promise<void> {
    const query = readDatagram(packet)
    if (query === undefined) return
    const { source, destination, sourcePort, destinationPort } = query
    const payload = await this.#responder.answer(query.payload, source, false)
    if (payload === undefined || this.#stopped) return
    const id = Buffer.from(this.#init.random(2)).readUInt16BE()
    this.#init.network.sendPacket(
      writeDatagram(
        {
          source: destination,
          destination: source,
          sourcePort: destinationPort,
          destinationPort: sourcePort,
          payload,
        },
        id,
      ),
    )
  }
}

function reasonOf(error: unknown): string {
  const { code, address, message } = error as NodeJS.ErrnoException & { address?: string }
  if (code === 'EADDRINUSE')
    return `no DNS for clients here: another program has port ${DNS_PORT} of ${address}; keep it off the overlay's addresses, or turn DNS off with \`overmesh dns off\``
  if (code === 'EACCES')
    return `no DNS for clients here: no permission for port ${DNS_PORT}; run as root, or turn DNS off with \`overmesh dns off\``
  return `no DNS for clients here (${message})`
}
