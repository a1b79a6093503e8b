// An endpoint and its clients on a simulated network under a simulated clock: packets get lost, doubled and overtaken by a
// seeded random source. TLS is real, so its own random bytes differ from run to run, and nothing else does.
import { randomBytes } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { Path } from '../../../node/switch/path.ts'
import {
  type ClientInit,
  type ClientSettings,
  type Connected,
  DEFAULT_PROTO,
  VpnClient,
} from '../../../node/vpn/client.ts'
import type { ClientEnd } from '../../../node/vpn/client-end.ts'
import { DATA_CIPHERS } from '../../../node/vpn/data-keys.ts'
import type { VpnEndpoint } from '../../../node/vpn/endpoint.ts'
import { PING } from '../../../node/vpn/in-tunnel.ts'
import { OPCODE, opcodeOf } from '../../../node/vpn/packet.ts'
import { parseProfile } from '../../../node/vpn/profile.ts'
import { checkServer } from '../../../node/vpn/server-check.ts'
import { contextOf } from '../../../node/vpn/udp-client.ts'
import { JavaScriptPlane } from './javascript-plane.ts'
import type { EndpointOptions, PackOptions, World } from './world.ts'

/** Turns of the event loop after which TLS has said what it has to say. */
const QUIET_TURNS = 6
const STEP_MS = 10

export interface Weather {
  /** From 0 to 1, of control packets; of data packets with `dataLoss`. */
  loss?: number
  dataLoss?: number
  duplicates?: number
  /** Packets that get lost in any case. */
  drop?: (packet: Uint8Array) => boolean
  /** ms; each packet takes as long as it likes up to this. */
  delay?: number
}

/** Mulberry32: from 0 to below 1, repeatable. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export class SimulatedClient {
  vpn: VpnClient
  readonly packets: Uint8Array[] = []
  readonly sent: Uint8Array[] = []
  connection: Connected | undefined
  end: ClientEnd | undefined
  path: Path
  /** Changes count from the next handshake on. */
  readonly settings: ClientSettings
  readonly #init: ClientInit

  constructor(network: SimulatedNetwork, pack: string, port: number, settings: Partial<ClientSettings>) {
    const profile = parseProfile(pack)
    this.path = { socket: 0, remote: '192.0.2.1', port, local: '', ifindex: 0 }
    this.settings = {
      key: profile.tlsCryptV2,
      context: contextOf(profile),
      checkServer: certificate => checkServer(profile, certificate),
      ciphers: DATA_CIPHERS,
      proto: DEFAULT_PROTO,
      earlyNegotiation: true,
      pollMs: 60_000,
      handshakeMs: 60_000,
      renegotiationMs: 0,
      pingMs: undefined,
      pingRestartMs: 0,
      ...settings,
    }
    this.#init = {
      settings: this.settings,
      now: () => network.now,
      random: randomBytes,
      send: packet => {
        this.sent.push(packet)
        network.toServer(this.path, packet)
      },
      connected: connection => {
        this.connection = connection
      },
      updated: connection => {
        this.connection = connection
      },
      packet: bytes => this.packets.push(bytes),
      ended: end => {
        this.end = end
      },
      stirred() {},
    }
    this.vpn = new VpnClient(this.#init)
  }

  /** Begins anew from another port, as stock clients do. */
  restart(port: number): void {
    this.vpn.close()
    this.end = undefined
    this.connection = undefined
    this.path = { ...this.path, port }
    this.vpn = new VpnClient(this.#init)
    this.vpn.start()
  }
}

export class SimulatedNetwork {
  now = Date.now()
  readonly plane: JavaScriptPlane
  readonly endpoint: VpnEndpoint
  readonly log: string[]
  readonly clients: SimulatedClient[] = []
  weather: Weather
  readonly #world: World
  readonly #random: () => number
  #queue: { at: number; deliver: () => void }[] = []
  #nextPort = 1000

  constructor(world: World, weather: Weather = {}, options: EndpointOptions = {}, seed = 1) {
    this.#world = world
    this.weather = weather
    this.#random = seededRandom(seed)
    this.plane = new JavaScriptPlane((path, packet) => this.#toClient(path, packet))
    const { endpoint, log } = world.endpoint(this.plane, { now: () => this.now, ...options })
    this.endpoint = endpoint
    this.log = log
    this.plane.onExit = peerId => endpoint.portExit(peerId)
  }

  client(name: string, settings: Partial<ClientSettings> = {}, pack: PackOptions = {}): SimulatedClient {
    const client = new SimulatedClient(this, this.#world.pack(name, pack), this.#nextPort++, settings)
    this.clients.push(client)
    client.vpn.start()
    return client
  }

  restart(client: SimulatedClient): void {
    client.restart(this.#nextPort++)
  }

  toServer(path: Path, packet: Uint8Array): void {
    this.#carry(packet, bytes => {
      if (opcodeOf(bytes[0]) === OPCODE.dataV2) this.plane.receive(bytes)
      else this.endpoint.receive(path, bytes)
    })
  }

  /** Lets time pass until it is so; false when it was not within `seconds`. */
  async run(seconds: number, so: () => boolean = () => false): Promise<boolean> {
    const end = this.now + seconds * 1000
    let nextPing = this.now
    while (!so()) {
      if (this.now >= end) return false
      this.now += STEP_MS
      const due = this.#queue.filter(({ at }) => at <= this.now)
      this.#queue = this.#queue.filter(({ at }) => at > this.now)
      for (const { deliver } of due) deliver()
      for (const { vpn } of this.clients) if (vpn.deadline() <= this.now) vpn.poll()
      this.endpoint.poll()
      if (this.now >= nextPing) {
        nextPing = this.now + 1000
        for (const peerId of this.plane.ports.keys()) this.plane.sendTo(peerId, PING)
      }
      if (due.length > 0) for (let i = 0; i < QUIET_TURNS; i++) await setImmediate()
      else await setImmediate()
    }
    return true
  }

  #toClient(path: Path, packet: Uint8Array): void {
    const client = this.clients.find(each => each.path.port === path.port && each.path.remote === path.remote)
    if (client) this.#carry(packet, bytes => client.vpn.receive(bytes))
  }

  #carry(packet: Uint8Array, deliver: (bytes: Uint8Array) => void): void {
    const { loss = 0, dataLoss = 0, duplicates = 0, delay = 0, drop } = this.weather
    if (drop?.(packet)) return
    const data = opcodeOf(packet[0]) === OPCODE.dataV2
    if (this.#random() < (data ? dataLoss : loss)) return
    const copies = !data && this.#random() < duplicates ? 2 : 1
    for (let i = 0; i < copies; i++) {
      const bytes = Uint8Array.from(packet)
      this.#queue.push({ at: this.now + 1 + this.#random() * delay, deliver: () => deliver(bytes) })
    }
  }
}
