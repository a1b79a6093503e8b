// A device that is dialled has its new security association a moment before the end that dialled has, or much earlier when the
// answer is lost, and sends by it at once; charon drops what belongs to none. While a site moves here, its ESP of unknown SPIs goes
// round by this process and waits. For ESP that charon does itself, which is always in UDP.
import { createSocket, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { type Kernel, thisKernel } from '../../gateway/kernel.ts'
import { WaitingEsp } from './waiting-esp.ts'

const TABLE = 'overmesh_early'
const REMOVED = `add table inet ${TABLE}\ndelete table inet ${TABLE}\n`
const ESP_PORT = 4500
/** A dial is over by then (see RETRANSMIT); the kernel itself forgets a site that this process was killed before it could. */
const HOLD_SECONDS = 20
/** ms without a packet after which none is on its way to a socket any more. */
export const LINGER_MS = 250

/** What of UDP is needed; tests give their own. */
export interface EspSocket {
  readonly port: number
  send(packet: Uint8Array, host: string): void
  close(): void
}

export type Family = 4 | 6

export type OpenEspSocket = (
  family: Family,
  onPacket: (packet: Uint8Array, from: string) => void,
) => Promise<EspSocket>

interface Held {
  readonly addresses: readonly string[]
  readonly timer: NodeJS.Timeout
  /** Child SAs that are yet to come. */
  awaited: number
}

export class EarlyEsp {
  readonly #kernel: Pick<Kernel, 'run'>
  readonly #open: OpenEspSocket
  readonly #waiting = new WaitingEsp()
  /** Tunnels that are dialled. */
  readonly #held = new Map<string, Held>()
  /** SPIs that have their association. */
  readonly #known = new Set<string>()
  /** Addresses of devices whose packets may still come. */
  readonly #expected = new Set<string>()
  readonly #sockets = new Map<Family, EspSocket>()
  #closing: NodeJS.Timeout | undefined
  /** Packets that came to a socket. */
  #came = 0
  #turn: Promise<void> = Promise.resolve()

  constructor(kernel: Pick<Kernel, 'run'> = thisKernel, open: OpenEspSocket = openEspSocket) {
    this.#kernel = kernel
    this.#open = open
  }

  /** Removes what a controller that was killed left behind. */
  sweep(): Promise<void> {
    return this.#inTurn(async () => void (await this.#kernel.run('nft', ['-f', '-'], REMOVED)))
  }

  /**
   * A tunnel is about to be dialled. Resolves when its packets wait; without nft(8) all is as it would be.
   * @param addresses of the device
   * @param known SPIs of all associations that there are, but for those of tunnels that are held: their packets are not touched
   * @param awaited child SAs that come of it
   */
  async hold(
    tunnel: string,
    addresses: readonly string[],
    known: Iterable<string>,
    awaited: number,
  ): Promise<void> {
    clearTimeout(this.#held.get(tunnel)?.timer)
    const timer = setTimeout(() => void this.release(tunnel), HOLD_SECONDS * 1000)
    timer.unref()
    this.#held.set(tunnel, { addresses, timer, awaited })
    for (const address of addresses) this.#expected.add(address)
    for (const spi of known) this.#known.add(spi)
    await this.#inTurn(() => this.#apply())
  }

  /** Its child SA is yet to come, or cannot be taken yet. */
  isHeld(tunnel: string): boolean {
    return this.#held.has(tunnel)
  }

  /** A child SA is there, and what comes by it can be taken. @param end its address on this machine */
  installed(tunnel: string, spi: string, end: string): void {
    if (this.#held.size === 0) return
    this.#known.add(spi)
    for (const packet of this.#waiting.installed(spi, end)) this.#sendOn(packet, end)
    const held = this.#held.get(tunnel)
    if (held !== undefined && --held.awaited <= 0) void this.release(tunnel)
  }

  /** Nothing more comes of the dial. */
  async release(tunnel: string): Promise<void> {
    const held = this.#held.get(tunnel)
    if (held === undefined) return
    clearTimeout(held.timer)
    this.#held.delete(tunnel)
    await this.#inTurn(() => this.#apply())
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#held.keys()].map(tunnel => this.release(tunnel)))
    await this.#inTurn(async () => this.#close())
  }

  #inTurn(action: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(action)
    return this.#turn
  }

  /** Has the kernel do what is wanted now. */
  async #apply(): Promise<void> {
    clearTimeout(this.#closing)
    if (this.#held.size > 0) {
      for (const { addresses } of this.#held.values())
        for (const address of addresses) await this.#opened(familyOf(address))
      if (this.#sockets.size === 0) return
      const { code } = await this.#kernel.run('nft', ['-f', '-'], this.#ruleset())
      if (code !== 0) this.#close()
    } else if (this.#sockets.size > 0) {
      await this.#kernel.run('nft', ['-f', '-'], REMOVED)
      this.#closeWhenQuiet()
    }
  }

  /** A process that stood still has its timers before its packets: it looks for those once more. */
  #closeWhenQuiet(): void {
    const came = this.#came
    this.#closing = setTimeout(() => {
      setImmediate(() => {
        if (this.#held.size > 0) return
        if (this.#came === came) this.#close()
        else this.#closeWhenQuiet()
      })
    }, LINGER_MS)
    this.#closing.unref()
  }

  /** After the filters of this machine, for which the packets are what they were. */
  #ruleset(): string {
    const addresses = new Set([...this.#held.values()].flatMap(each => each.addresses))
    const unknown = `@th,64,32 != { ${['0', ...[...this.#known].map(spi => `0x${spi}`)].join(', ')} }`
    const parts = [...this.#sockets].map(([family, { port }]) => {
      const members = [...addresses].filter(each => familyOf(each) === family)
      const listed = members.map(each => `${each} timeout ${HOLD_SECONDS}s`).join(', ')
      const elements = listed === '' ? '' : `elements = { ${listed} }; `
      const ip = family === 4 ? 'ip' : 'ip6'
      return {
        set: `  set sites${family} { type ipv${family}_addr; flags timeout; ${elements}}\n`,
        rule: `    ${ip} saddr @sites${family} udp dport ${ESP_PORT} ${unknown} udp dport set ${port}\n`,
      }
    })
    return `${REMOVED}table inet ${TABLE} {
${parts.map(({ set }) => set).join('')}  chain input {
    type filter hook input priority security; policy accept;
${parts.map(({ rule }) => rule).join('')}  }
}
`
  }

  /** A machine without this family has no device of it. */
  async #opened(family: Family): Promise<void> {
    if (this.#sockets.has(family)) return
    const came = (packet: Uint8Array, from: string): void => {
      this.#came++
      const end = this.#expected.has(from) ? this.#waiting.came(packet) : undefined
      if (end !== undefined) this.#sendOn(packet, end)
    }
    const socket = await this.#open(family, came).catch(() => undefined)
    if (socket !== undefined) this.#sockets.set(family, socket)
  }

  #sendOn(packet: Uint8Array, end: string): void {
    this.#sockets.get(familyOf(end))?.send(packet, end)
  }

  #close(): void {
    clearTimeout(this.#closing)
    for (const socket of this.#sockets.values()) socket.close()
    this.#sockets.clear()
    this.#waiting.clear()
    this.#known.clear()
    this.#expected.clear()
  }
}

const familyOf = (address: string): Family => (isIPv6(address) ? 6 : 4)

/** Charon asks nobody where ESP came from: it may come from this machine. */
const openEspSocket: OpenEspSocket = (family, onPacket) =>
  new Promise((resolve, reject) => {
    const socket: Socket = createSocket({ type: `udp${family}`, ipv6Only: family === 6 })
    socket.once('error', reject)
    socket.on('message', (packet, { address }) => onPacket(packet, address))
    socket.bind(() => {
      socket.off('error', reject)
      socket.on('error', () => {}) // A packet that is lost is sent again by whoever misses it.
      socket.unref()
      resolve({
        port: socket.address().port,
        send: (packet, host) => socket.send(packet, ESP_PORT, host),
        close: () => socket.close(),
      })
    })
  })
