// A client without a TUN: answers pings at its overlay address and pings another one. The tunnel is passed in.
import { parseIpv4 } from '../../state/address.ts'
import { parseAddress6 } from '../../state/address6.ts'
import { answerEcho } from '../vpn/client-echo.ts'
import { answerEcho6 } from '../vpn/client-echo6.ts'
import { type Ping, Pinger, type PingSummary } from './pinger.ts'

/** What is known of a connection. */
export interface Connection {
  /** Our overlay address. */
  address: string
  /** Our IPv6 address, if the overlay has IPv6. */
  address6?: string
  /** The controller, `HOST:PORT`. */
  remote: string
  tls: string
  cipher: string
  keyDerivation: string
  /** Prefixes that the controller routes through the tunnel. */
  routes: string[]
  /** What the controller pushed, in its words. */
  options: string[]
}

/** What the tunnel tells. */
export interface TunnelEvents {
  /** Also after every reconnection. */
  connected(connection: Connection): void
  /** The controller pushed other options. */
  updated(connection: Connection): void
  /** An IP packet out of the tunnel; the bytes are the tunnel's, to be used before the call returns. */
  packet(bytes: Uint8Array): void
  /** The connection is lost or not yet there, and the tunnel tries again. */
  retrying(reason: string): void
  /** The controller's last word, or that of the tunnel: it does not try again. */
  ended(reason: string): void
}

export interface Tunnel {
  send(packet: Uint8Array): void
  close(): Promise<void>
}

export interface ProberInit {
  open: (events: TunnelEvents) => Tunnel
  /** Overlay address to ping, IPv4 or IPv6. */
  ping?: string
  /** @default Infinity */
  count?: number
  /** Between pings, ms. @default 1000 */
  interval?: number
  /** u16 that tells our pings from those of others. */
  identifier: number
  connected?: (connection: Connection, afterMs: number) => void
  updated?: (connection: Connection) => void
  retrying?: (reason: string) => void
  answered?: (ping: Ping) => void
}

/** Reasons remembered; packs name a few controllers. */
const MAX_TOLD = 1000

export type ProberState = 'connecting' | 'connected' | 'ended'

export class Prober {
  state: ProberState = 'connecting'
  connection: Connection | undefined
  /** From the start to the first connection, ms. */
  connectMs: number | undefined
  /** Connections lost. */
  losses = 0
  /** Pings of others answered. */
  echoes = 0
  /** Why the tunnel ended, once it did. */
  reason: string | undefined
  /** Why the latest attempt came to nothing; undefined once there was a connection. */
  lastRefusal: string | undefined
  /** All pings were sent and answered or given up (true), or the tunnel ended (false). */
  readonly finished: Promise<boolean>

  readonly #init: ProberInit
  readonly #tunnel: Tunnel
  readonly #started = performance.now()
  /** Since the last connection. */
  readonly #told = new Set<string>()
  readonly #finish: (complete: boolean) => void
  #pinger: Pinger | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(init: ProberInit) {
    this.#init = init
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.finished = promise
    this.#finish = resolve
    this.#tunnel = init.open({
      connected: connection => this.#connected(connection),
      updated: connection => {
        this.connection = connection
        init.updated?.(connection)
      },
      packet: bytes => this.#packet(bytes),
      retrying: reason => {
        if (this.state === 'connected') this.losses++
        if (this.state !== 'ended') this.state = 'connecting'
        if (this.connection === undefined) this.lastRefusal = reason
        // One line for each way in which it fails: it is tried about once a second.
        if (!this.#told.has(reason)) init.retrying?.(reason)
        if (this.#told.size < MAX_TOLD) this.#told.add(reason)
      },
      ended: reason => {
        this.reason = reason
        this.#end()
      },
    })
  }

  /** Undefined when nothing is pinged, or nothing was yet. */
  get summary(): PingSummary | undefined {
    return this.#pinger?.summary()
  }

  async close(): Promise<void> {
    this.#end()
    await this.#tunnel.close()
  }

  #connected(connection: Connection): void {
    const first = this.connection === undefined
    this.state = 'connected'
    this.connection = connection
    this.lastRefusal = undefined
    this.#told.clear()
    this.connectMs ??= performance.now() - this.#started
    this.#init.connected?.(connection, this.connectMs)
    const { ping, count = Number.POSITIVE_INFINITY, interval = 1000, identifier, answered } = this.#init
    if (!first || ping === undefined) return
    const from = parseIpv4(ping) === undefined ? connection.address6 : connection.address
    if (from === undefined) {
      this.reason = `${ping} cannot be pinged: the overlay has no IPv6; ping an IPv4 address`
      this.#end()
      return
    }
    this.#pinger = new Pinger({
      from,
      to: ping,
      count,
      interval,
      identifier,
      answered,
      send: packet => this.#tunnel.send(packet),
    })
    this.#poll()
  }

  #poll = (): void => {
    const pinger = this.#pinger
    if (pinger === undefined || this.state === 'ended') return
    clearTimeout(this.#timer)
    const now = performance.now()
    const next = pinger.poll(now)
    if (pinger.done(now)) this.#finish(true)
    else this.#timer = setTimeout(this.#poll, Math.max(0, next - now))
  }

  #packet(bytes: Uint8Array): void {
    if (this.#pinger?.receive(bytes, performance.now())) {
      if (this.#pinger.done(performance.now())) this.#poll()
      return
    }
    const answer = this.connection && answerTo(bytes, this.connection)
    if (answer === undefined) return
    this.echoes++
    this.#tunnel.send(answer)
  }

  #end(): void {
    this.state = 'ended'
    clearTimeout(this.#timer)
    this.#finish(false)
  }
}

function answerTo(bytes: Uint8Array, { address, address6 }: Connection): Uint8Array | undefined {
  const own6 = address6 === undefined ? undefined : parseAddress6(address6)
  return answerEcho(bytes, parseIpv4(address)!) ?? (own6 && answerEcho6(bytes, own6))
}
