// The backbone as one controller sees it: a link to every admitted peer, and the way to those it has none to.
import type { ControllerId } from '../../state/kinds.ts'
import type { PresentLink } from '../presence-types.ts'
import { BackboneLink } from './link.ts'
import type { LinkPath, LinkPlane } from './link-plane.ts'
import { type Way, waysTo } from './topology.ts'

export interface BackbonePeer {
  readonly id: ControllerId
  /** `host:port`, UDP. */
  readonly endpoints: readonly string[]
}

export interface BackboneInit {
  readonly id: ControllerId
  readonly plane: LinkPlane
  /** Overlay bytes that a link carries at most. */
  readonly mtu: number
  /** How long one key of a link is sent with, ms. @default KEY_LIFE */
  readonly keyLife?: number
  /** Admitted controllers but this one. */
  readonly peers: () => Iterable<BackbonePeer>
  /** Where this controller may be reached, `host:port`, UDP. */
  readonly endpoints: () => readonly string[]
  /** The paths to an endpoint, its name resolved; none when there is no socket that fits. */
  readonly paths: (endpoint: string) => Promise<readonly LinkPath[]>
  /** Sends on the channel to a peer; false when there is none. */
  readonly send: (peer: ControllerId, payload: Uint8Array) => boolean
  /** What every controller says of its links. */
  readonly told: () => Iterable<readonly [ControllerId, readonly PresentLink[]]>
  /** Names for links of this controller, each used once. */
  readonly newPort: () => number
  /** ms of a clock that nobody sets back or ahead, about those since 1970: exchanges of keys are named by it. */
  readonly now: () => number
  /** From 0 to below 1. */
  readonly random: () => number
}

export interface LinkFacts {
  readonly peer: ControllerId
  /** Names it in the data plane; another one for each time that it is opened. */
  readonly port: number
  readonly up: boolean
  readonly rttMs: number
  readonly lossPercent: number
  readonly mtu: number
  readonly path: LinkPath | undefined
}

export interface NextHop {
  readonly peer: ControllerId
  /** Name of the link that leads there. */
  readonly port: number
  /** Links on the way: 1 for a direct one. */
  readonly hops: number
  /** Grows with the round trip; see `Way`. */
  readonly cost: number
}

/** ms between two resolutions of a peer's endpoints while its link is down. */
const RESOLVE_TURN = 10_000
const MAX_PATHS = 16

interface Entry {
  readonly link: BackboneLink
  /** What the peer said of itself. */
  told: readonly string[]
  resolvedAt: number
  /** Its endpoints are being resolved, and are to be once more after that. */
  isResolving: boolean
  isStale: boolean
}

export class Backbone {
  /** A link went up or down, or the way to a controller changed. */
  onChange: () => void = () => {}
  /** One link went up or down. */
  onLink: (peer: ControllerId, up: boolean) => void = () => {}
  /** `poll` is due earlier than it said. */
  onDeadline: () => void = () => {}
  readonly #init: BackboneInit
  readonly #entries = new Map<ControllerId, Entry>()
  readonly #byPort = new Map<number, ControllerId>()
  #hops: Map<ControllerId, Way> | undefined
  badMessages = 0

  constructor(init: BackboneInit) {
    this.#init = init
    this.peersChanged()
  }

  // --- What happens

  /** The records changed: links to new peers are made, those to removed ones closed. */
  peersChanged(): void {
    const wanted = new Set<ControllerId>()
    for (const { id } of this.#init.peers()) {
      wanted.add(id)
      if (!this.#entries.has(id)) this.#add(id)
    }
    for (const [id, { link }] of this.#entries) {
      if (wanted.has(id)) continue
      link.close()
      this.#entries.delete(id)
      this.#byPort.delete(link.port)
    }
    this.topologyChanged()
  }

  /** A channel to the peer is open. */
  connected(peer: ControllerId): void {
    const entry = this.#entries.get(peer)
    if (!entry) return
    void this.#resolve(peer, entry)
    entry.link.connected(this.#init.now())
    this.onDeadline()
  }

  disconnected(peer: ControllerId): void {
    this.#entries.get(peer)?.link.disconnected()
  }

  receive(peer: ControllerId, payload: Uint8Array): void {
    const entry = this.#entries.get(peer)
    if (entry === undefined || !entry.link.receive(payload, this.#init.now())) this.badMessages++
    this.onDeadline()
  }

  /** The data plane says that a link went up or down. */
  linkChanged(port: number, up: boolean): void {
    const peer = this.#byPort.get(port)
    const entry = peer && this.#entries.get(peer)
    if (!entry || entry.link.up === up) return
    entry.link.up = up
    this.topologyChanged()
    this.onLink(peer, up)
    this.onDeadline()
  }

  rekeyNeeded(port: number): void {
    const peer = this.#byPort.get(port)
    if (peer) this.#entries.get(peer)?.link.rekey(this.#init.now())
  }

  floated(port: number, path: LinkPath): void {
    const peer = this.#byPort.get(port)
    if (peer) this.#entries.get(peer)?.link.floated(path)
  }

  /** Whether a port is a link of ours. */
  owns(port: number): boolean {
    return this.#byPort.has(port)
  }

  /** Whom the link of that name leads to. */
  peerOf(port: number): ControllerId | undefined {
    return this.#byPort.get(port)
  }

  /** The name of the link to a peer, up or not. */
  portTo(peer: ControllerId): number | undefined {
    return this.#entries.get(peer)?.link.port
  }

  /** Others told something new of their links. */
  topologyChanged(): void {
    this.#hops = undefined
    this.onChange()
  }

  /** Runs timers; when to call again, by the same clock. */
  poll(): number {
    const now = this.#init.now()
    let next = Number.POSITIVE_INFINITY
    for (const [peer, entry] of this.#entries) {
      if (!entry.link.up && entry.link.isOpen && now - entry.resolvedAt >= RESOLVE_TURN) {
        void this.#resolve(peer, entry)
      }
      next = Math.min(next, entry.link.poll(now))
    }
    return next
  }

  close(): void {
    for (const { link } of this.#entries.values()) link.close()
    this.#entries.clear()
    this.#byPort.clear()
  }

  // --- What follows

  /** All links, up or not. */
  links(): LinkFacts[] {
    return [...this.#entries].map(([peer, { link }]) => {
      const state = link.isOpen ? this.#init.plane.linkStats(link.port) : undefined
      return {
        peer,
        port: link.port,
        up: link.up,
        rttMs: link.up ? (state?.rttMs ?? 0) : 0,
        lossPercent: link.up ? (state?.lossPercent ?? 0) : 100,
        mtu: state?.mtu ?? 0,
        path: link.path,
      }
    })
  }

  /** The way to a controller: its own link, or the link to one that leads there; undefined when none does. */
  nextHop(to: ControllerId): NextHop | undefined {
    const way = this.#ways().get(to)
    const entry = way && this.#entries.get(way.first)
    return entry ? { peer: way.first, port: entry.link.port, hops: way.hops, cost: way.cost } : undefined
  }

  reaches(id: ControllerId): boolean {
    return this.#ways().has(id)
  }

  #ways(): Map<ControllerId, Way> {
    this.#hops ??= waysTo(this.#init.id, this.links(), this.#init.told())
    return this.#hops
  }

  #add(peer: ControllerId): void {
    const { id, plane, mtu, endpoints, random, send, newPort, keyLife } = this.#init
    const port = newPort()
    const entry: Entry = {
      told: [],
      resolvedAt: Number.NEGATIVE_INFINITY,
      isResolving: false,
      isStale: false,
      link: new BackboneLink({
        id,
        peer,
        port,
        mtu,
        plane,
        endpoints,
        random,
        keyLife,
        send: payload => send(peer, payload),
        told: told => {
          entry.told = told
          void this.#resolve(peer, entry)
        },
      }),
    }
    this.#entries.set(peer, entry)
    this.#byPort.set(port, peer)
  }

  /** One at a time for each peer, which may tell endpoints as often as it likes, of names that nobody resolves. */
  async #resolve(peer: ControllerId, entry: Entry): Promise<void> {
    entry.isStale = entry.isResolving
    if (entry.isResolving) return
    entry.isResolving = true
    entry.resolvedAt = this.#init.now()
    const known = [...this.#init.peers()].find(({ id }) => id === peer)?.endpoints ?? []
    const endpoints = [...new Set([...known, ...entry.told])].slice(0, MAX_PATHS)
    const found = await Promise.all(endpoints.map(each => this.#init.paths(each).catch(() => [])))
    entry.isResolving = false
    if (this.#entries.get(peer) !== entry) return
    entry.link.setCandidates(found.flat().slice(0, MAX_PATHS))
    if (entry.isStale) await this.#resolve(peer, entry)
  }
}
