// The mesh as a running controller takes part in it: the core, its transport and the backbone, put together over one
// controller's data directory and switch.
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import type { Logger } from 'pino'
import { Backbone, type LinkFacts } from '../mesh/backbone/backbone.ts'
import { MeshCore, type PeerState } from '../mesh/core.ts'
import { HostAddresses } from '../mesh/libp2p/host-addresses.ts'
import { type JoinHandler, Libp2pTransport, type Standing } from '../mesh/libp2p/transport.ts'
import type { PresentFacts } from '../mesh/presence-types.ts'
import packageJson from '../package.json' with { type: 'json' }
import { isVoidAfter } from '../state/authority.ts'
import type { ControllerId, ControllerValue } from '../state/kinds.ts'
import { encodeRecord } from '../state/record.ts'
import type { EventLog } from './events.ts'
import type { Home } from './home.ts'
import type { PresentTerminator } from './ipsec/carriage.ts'
import { DEFAULT_MESH_PORT, meshEndpointsOf, pathsTo } from './mesh-endpoints.ts'
import { formatHostPort, parseHostPort } from './net/ip.ts'
import { OVERLAY_MTU } from './push.ts'
import { eachRemovedTheOther, findRemoval } from './removal.ts'
import { Reports } from './reports.ts'
import { steadyNow } from './steady-clock.ts'
import type { Path } from './switch/path.ts'
import type { Switch } from './switch/switch.ts'
import { LINK_IDS, PeerIds } from './vpn/peer-ids.ts'

export interface MeshRuntimeInit {
  home: Home
  network: Switch
  events: EventLog
  logger: Logger
  /** ms since 1970 */
  startedAt: number
  /** See `nextBoot`. */
  boot: number
  isDraining: () => boolean
  /** What `PresentFacts` says of the ways beyond the overlay. */
  reach: () => Pick<
    PresentFacts,
    'gateway' | 'gateway6' | 'exit4' | 'exit6' | 'failing' | 'ipsec' | 'attachments'
  >
  joins?: JoinHandler
}

/** ms between two tellings of the links' figures. */
const LINKS_TURN_MS = 2000
/** ms between two looks at timers at most. */
const LONGEST_TURN_MS = 1000

export class MeshRuntime {
  /** The way to some client or controller may have changed. */
  onRoutes: () => void = () => {}
  readonly core: MeshCore
  readonly backbone: Backbone
  readonly #init: MeshRuntimeInit
  readonly #ports = new PeerIds(randomBytes, LINK_IDS)
  readonly #hosts = new HostAddresses()
  readonly #reports: Reports
  readonly #stopFollowing: () => void
  /** Admitted controllers that share no version of the protocol with this one, or take it for removed, and why. */
  readonly #incompatible = new Map<ControllerId, string>()
  #transport: Libp2pTransport | undefined
  #timer: NodeJS.Timeout | undefined
  /** When `#timer` fires, and when the links' figures are told next, by the steady clock. */
  #nextTurn = 0
  #nextLinks = 0
  #stopped = false

  private constructor(init: MeshRuntimeInit) {
    this.#init = init
    const { home, network, events, logger } = init
    const { id, replica, views } = home
    this.#reports = new Reports({ events, logger, now: steadyNow, nameOf: peer => this.#nameOf(peer) })
    this.backbone = new Backbone({
      id,
      plane: network,
      mtu: OVERLAY_MTU,
      keyLife: home.config.lifetimes.sessionKeys * 1000,
      peers: () =>
        this.#others().map(({ id: peer, publicEndpoints }) => ({ id: peer, endpoints: publicEndpoints })),
      endpoints: () => home.controller.publicEndpoints,
      paths: endpoint => pathsTo(endpoint, network.addresses, this.#hosts.resolve),
      send: (peer, payload) => this.core.sendLink(peer, payload),
      told: () => this.#toldLinks(),
      newPort: () => this.#ports.next(steadyNow(), () => false),
      now: steadyNow,
      random: Math.random,
    })
    this.core = new MeshCore({
      id,
      privateKey: home.identityKey,
      replica,
      views,
      transport: {
        send: (peer, frame) => this.#transport?.send(peer, frame) ?? false,
        publish: frame => this.#transport?.publish(frame),
        disconnect: (peer, reason) => this.#transport?.disconnect(peer, reason),
      },
      now: Date.now,
      random: randomBytes,
      boot: init.boot,
      facts: () => ({
        version: packageJson.version,
        startedAt: init.startedAt,
        draining: init.isDraining(),
        holdsRootKey: existsSync(home.directory.rootKey),
        stateHash: replica.hash(),
        records: replica.count,
        ...init.reach(),
      }),
      reaches: peer => this.backbone.reaches(peer),
    })
    this.#connect()
    this.#stopFollowing = replica.onChange(({ changes }) => {
      if (changes.some(({ kind }) => kind === 'controller')) this.#controllersChanged()
    })
  }

  /** Listens for other controllers and begins to dial them. @throws MeshListenError */
  static async start(init: MeshRuntimeInit): Promise<MeshRuntime> {
    const runtime = new MeshRuntime(init)
    try {
      await runtime.#listen()
    } catch (error) {
      await runtime.stop()
      throw error
    }
    runtime.#schedule(0)
    return runtime
  }

  /** Where other controllers reach it, `host:port`, TCP. */
  listening(): string[] {
    return this.#transport?.addresses().map(formatHostPort) ?? []
  }

  /** Controllers that cannot be talked to until an operator does something about it, in words. */
  incompatible(): string[] {
    const { views, id } = this.#init.home
    if (!views.isAdmitted(id)) return []
    return [...this.#incompatible]
      .filter(([peer]) => views.isAdmitted(peer))
      .map(([peer, reason]) => `controller ${this.#nameOf(peer)} cannot be talked to: ${reason}`)
  }

  links(): LinkFacts[] {
    return this.backbone.links()
  }

  peers(): PeerState[] {
    return this.core.peers()
  }

  /** The other controllers within reach, as far as attachments are concerned. */
  terminating(): PresentTerminator[] {
    const { id: self } = this.#init.home
    return [...this.core.presence.entries()].flatMap(({ controller: id, facts }) =>
      id === self
        ? []
        : [{ id, draining: facts.draining, ipsec: facts.ipsec, attachments: facts.attachments }],
    )
  }

  /** Tells the others at once what `facts` and links have become. */
  tell(): void {
    this.core.presence.refresh()
  }

  // --- From the switch

  linkChanged(port: number, up: boolean): void {
    this.backbone.linkChanged(port, up)
  }

  /** False when the port is no link. */
  linkFloated(port: number, path: Path): boolean {
    if (!this.backbone.owns(port)) return false
    this.backbone.floated(port, path)
    return true
  }

  linkRekey(port: number): boolean {
    if (!this.backbone.owns(port)) return false
    this.backbone.rekeyNeeded(port)
    return true
  }

  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#stopFollowing()
    this.backbone.close()
    await this.#transport?.stop()
    this.core.close()
  }

  #connect(): void {
    const { core, backbone } = this
    const reports = this.#reports
    core.onDeadline = () => this.#schedule(0)
    core.onLink = (peer, payload) => backbone.receive(peer, payload)
    core.onPeer = (peer, connected) => {
      if (connected) this.#incompatible.delete(peer)
      if (connected) backbone.connected(peer)
      else backbone.disconnected(peer)
      if (!this.#stopped) reports.peer(peer, connected)
      this.onRoutes()
    }
    core.onEvent = event => reports.mesh(event)
    core.onFailure = error => reports.failure(error)
    core.presence.onChange = () => backbone.topologyChanged()
    backbone.onChange = () => this.onRoutes()
    backbone.onDeadline = () => this.#schedule(0)
    backbone.onLink = (peer, up) => {
      if (up) this.#transport?.nudge(peer)
      if (!this.#stopped) reports.link(peer, up)
      this.#tellLinks()
      core.presence.reconsider()
    }
  }

  async #listen(): Promise<void> {
    const { home, joins } = this.#init
    const { id, replica, identityKey } = home
    this.#transport = await Libp2pTransport.start({
      privateKey: identityKey,
      id,
      meshId: home.mesh.id,
      listen: [parseHostPort(home.config.meshListen, DEFAULT_MESH_PORT, 0)],
      handler: this.core,
      peers: () =>
        this.#others().map(({ id: peer, publicKey, meshEndpoints }) => ({
          id: peer,
          publicKey,
          endpoints: meshEndpoints,
        })),
      standing: peer => standingOf(replica.get('controller', peer)),
      farewell: peer => this.#farewell(peer),
      joins,
      introduction: () => {
        const own = replica.record('controller', id)
        return own && encodeRecord(own)
      },
      onIntroduced: async record => {
        await replica.receive([record])
      },
      onRefused: (peer, reason) => this.#reports.refused(peer, reason),
      onIncompatible: (peer, reason) => this.#incompatible.set(peer, reason),
      software: packageJson.version,
      resolve: this.#hosts.resolve,
      onFarewell: (records, peer) => {
        this.#farewelled(records, peer).catch(error => this.#reports.failure(error))
      },
      now: Date.now,
      random: Math.random,
    })
    await this.#publishEndpoints()
  }

  /** The record says where this controller listens, also when the system chose the port or the address has changed. */
  async #publishEndpoints(): Promise<void> {
    const { home } = this.#init
    const { host, port } = parseHostPort(home.config.meshListen, DEFAULT_MESH_PORT, 0)
    const actual = port === 0 ? (this.#transport?.addresses()[0]?.port ?? 0) : port
    const endpoints = meshEndpointsOf(formatHostPort({ host, port: actual }), home.controller.publicEndpoints)
    const same = endpoints.join() === home.controller.meshEndpoints.join()
    if (same || !home.views.isAdmitted(home.id)) return
    await home.replica.write(() => [
      { kind: 'controller', id: home.id, value: { ...home.controller, meshEndpoints: endpoints } },
    ])
  }

  /** The record that removed a controller, with that of who wrote it, whom it may not know. */
  #farewell(peer: ControllerId): Uint8Array[] {
    const { replica } = this.#init.home
    const removal = replica.record('controller', peer)
    const remover = removal && replica.record('controller', removal.author)
    return [remover, removal].flatMap(record => (record ? [encodeRecord(record)] : []))
  }

  /** Takes what shows that this controller was removed; or finds that whoever removed it had been removed itself. */
  async #farewelled(records: Uint8Array[], peer: ControllerId): Promise<void> {
    const { replica, views, id } = this.#init.home
    await replica.receive(records)
    if (!views.isAdmitted(id)) return
    const removal = findRemoval(records, id)
    const remover = removal && replica.record('controller', removal.author)
    if (removal === undefined || remover === undefined || !isVoidAfter(removal, remover)) return
    const reason = eachRemovedTheOther({
      peer: this.#nameOf(peer),
      remover: remover.value.name,
      at: removal.value.removedAt,
      before: remover.value.removedAt,
    })
    this.#incompatible.set(peer, reason)
    this.#reports.refused(peer, reason)
  }

  #others(): (ControllerValue & { id: ControllerId })[] {
    const { id: self, views } = this.#init.home
    if (!views.isAdmitted(self)) return []
    return views.controllers().flatMap(({ id, value }) => (id === self ? [] : [{ ...value, id }]))
  }

  *#toldLinks() {
    for (const { controller, links } of this.core.presence.all()) yield [controller, links] as const
  }

  #controllersChanged(): void {
    this.backbone.peersChanged()
    this.#transport?.peersChanged()
    this.onRoutes()
  }

  #nameOf(peer: string): string {
    return this.#init.home.replica.get('controller', peer)?.name ?? peer
  }

  #tellLinks(): void {
    this.#nextLinks = steadyNow() + LINKS_TURN_MS
    this.core.presence.setLinks(
      this.backbone.links().map(({ peer, up, rttMs, lossPercent }) => ({
        peer,
        up,
        rtt: Math.round(rttMs * 1000) / 1000,
        loss: lossPercent,
      })),
    )
  }

  /** Runs timers, at the latest in `delay` ms. */
  #schedule(delay: number): void {
    if (this.#stopped) return
    const due = steadyNow() + delay
    if (this.#timer && due >= this.#nextTurn) return
    clearTimeout(this.#timer)
    this.#nextTurn = due
    this.#timer = setTimeout(() => this.#turn(), delay)
  }

  #turn(): void {
    this.#timer = undefined
    if (this.#stopped) return
    if (steadyNow() >= this.#nextLinks) this.#tellLinks()
    // What others are told of is by the system's clock, which may be set.
    const core = this.core.poll() - Date.now()
    const next = Math.min(this.backbone.poll(), this.#nextLinks) - steadyNow()
    this.#schedule(Math.max(1, Math.min(core, next, LONGEST_TURN_MS)))
  }
}

function standingOf(controller: ControllerValue | undefined): Standing {
  if (controller === undefined) return 'unknown'
  return controller.removedAt === undefined ? 'admitted' : 'removed'
}
