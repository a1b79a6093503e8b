// One simulated controller: what outlasts its process, and the process with everything real in it but disk, network and
// clock.

import { type Way, waysTo } from '../../mesh/backbone/topology.ts'
import { MeshCore, type MeshEvent, type MeshTiming } from '../../mesh/core.ts'
import { sameUp } from '../../mesh/presence-update.ts'
import type { ChangeSet } from '../../state/change-feed.ts'
import { StateError } from '../../state/errors.ts'
import type { ClientId, ControllerId } from '../../state/kinds.ts'
import { MemoryStore } from '../../state/memory-store.ts'
import { encodeRecord } from '../../state/record.ts'
import { Replica } from '../../state/replica.ts'
import { Views } from '../../state/views.ts'
import { type Identity, identity, trust } from '../unit/state/samples.ts'
import type { Appointment, Clockwork } from './clockwork.ts'
import { hasExit, isGateway } from './mesh-ways.ts'
import { SimDisk } from './sim-disk.ts'
import type { Port, SimNetwork } from './sim-network.ts'

/** ms between two turns of a process at most. */
const LONGEST_TURN = 1000
/** ms between two looks at the links. */
const LINK_TURN = 300

export interface SimHost {
  readonly clockwork: Clockwork
  readonly network: SimNetwork
  readonly timing: Partial<MeshTiming>
  readonly few: number | undefined
  repairs: number
  /** Records changed at a controller. */
  changed(controller: SimController, set: ChangeSet): void
  /** A session ended because the client is elsewhere by now. */
  superseded(controller: SimController, client: ClientId): void
}

export class SimController {
  readonly index: number
  readonly identity: Identity
  /** How far its clock is off, ms. */
  skew: number
  platter = new MemoryStore()
  /** An old copy of its disk, and who was admitted then. */
  backup: MemoryStore | undefined
  backedUpWith: ReadonlySet<SimController> = new Set()
  process: SimProcess | undefined
  isStarting = false
  /** It sends its clients elsewhere, which all are told. */
  isDraining = false
  /** Its disk was set back at some time. */
  wasRestored = false
  readonly #host: SimHost

  constructor(host: SimHost, index: number, skew: number) {
    this.#host = host
    this.index = index
    this.skew = skew
    this.identity = identity(index)
  }

  get id(): ControllerId {
    return this.identity.id
  }

  get isUp(): boolean {
    return this.process !== undefined
  }

  get now(): number {
    return this.#host.clockwork.time + this.skew
  }

  async start(): Promise<void> {
    if (this.isUp || this.isStarting) return
    this.isStarting = true
    const { clockwork } = this.#host
    const disk = new SimDisk(clockwork, this.platter)
    const replica = await Replica.open({
      store: disk,
      identity: this.identity,
      trust,
      now: () => this.now,
      random: clockwork.bytes,
    })
    this.process = new SimProcess(this.#host, this, replica, disk)
    this.isStarting = false
    clockwork.note(`c${this.index} started`)
  }

  /** Begins to drain, or ends that. */
  drain(isDraining: boolean): void {
    if (this.process === undefined || this.isDraining === isDraining) return
    this.isDraining = isDraining
    this.process.core.presence.refresh()
    this.#host.clockwork.note(`c${this.index} drains: ${isDraining}`)
  }

  /** At once: by a signal, or, with the power gone, without a word to anyone. */
  crash(isPower: boolean, keepsUnwritten: boolean): void {
    const { process } = this
    if (process === undefined) return
    this.process = undefined
    this.isDraining = false
    this.#host.clockwork.note(`c${this.index} crashed`)
    process.end(isPower)
    void process.disk.crash(keepsUnwritten)
  }
}

export class SimProcess {
  readonly replica: Replica
  readonly views: Views
  readonly core: MeshCore
  readonly disk: SimDisk
  readonly port: Port
  readonly events: MeshEvent[] = []
  readonly #host: SimHost
  readonly #controller: SimController
  #turn: Appointment | undefined
  #linkTurn: Appointment | undefined
  #hops: Map<ControllerId, Way> | undefined

  constructor(host: SimHost, controller: SimController, replica: Replica, disk: SimDisk) {
    this.#host = host
    this.#controller = controller
    this.replica = replica
    this.disk = disk
    this.views = new Views(replica)
    const { id, identity: own } = controller
    this.core = new MeshCore({
      id,
      privateKey: own.privateKey,
      replica,
      views: this.views,
      transport: {
        send: (peer, frame) => {
          if (isOfType(frame, 'buckets')) host.repairs++
          return this.port.send(peer, frame)
        },
        publish: frame => this.port.publish(frame),
        disconnect: (peer, reason) => this.port.disconnect(peer, reason),
      },
      now: () => controller.now,
      random: host.clockwork.bytes,
      boot: controller.now,
      facts: () => ({
        version: 'simulated',
        startedAt: 0,
        draining: controller.isDraining,
        holdsRootKey: controller.index === 0,
        gateway: isGateway(controller.index),
        gateway6: isGateway(controller.index),
        exit4: hasExit(controller.index),
        exit6: hasExit(controller.index),
        failing: [],
        ipsec: false,
        attachments: [],
        stateHash: replica.hash(),
        records: replica.count,
      }),
      reaches: peer => this.#ways().has(peer),
      timing: host.timing,
      few: host.few,
    })
    this.port = host.network.attach(id, {
      handler: this.core,
      peers: () => this.#others(),
      standing: peer => {
        const value = replica.get('controller', peer)
        return value === undefined ? 'unknown' : value.removedAt === undefined ? 'admitted' : 'removed'
      },
      farewell: peer => {
        const removal = replica.record('controller', peer)
        const remover = removal && replica.record('controller', removal.author)
        return [remover, removal].flatMap(record => (record ? [encodeRecord(record)] : []))
      },
      introduction: () => {
        const own = replica.record('controller', id)
        return own && encodeRecord(own)
      },
      onIntroduced: async record => {
        await replica.receive([record]).catch(error => this.#failed(error))
      },
      onFarewell: records => void replica.receive(records).catch(error => this.#failed(error)),
      now: () => controller.now,
    })
    this.#listen()
    this.port.start()
    this.#schedule(0)
    this.#look()
  }

  /** The sessions here. */
  get sessions(): ReadonlyMap<ClientId, unknown> {
    return this.core.presence.own.sessions
  }

  /** The way to another controller, as this one sees it. */
  wayTo(peer: ControllerId): Way | undefined {
    return this.#ways().get(peer)
  }

  end(isPower: boolean): void {
    const { clockwork } = this.#host
    clockwork.cancel(this.#turn)
    clockwork.cancel(this.#linkTurn)
    this.core.onDeadline = () => {}
    this.port.stop(isPower)
    this.core.close()
    this.views.close()
  }

  #listen(): void {
    const { core, replica } = this
    core.onDeadline = () => this.#schedule(0)
    core.onEvent = event => this.events.push(event)
    core.onFailure = error => this.#failed(error)
    core.presence.onChange = () => {
      this.#hops = undefined
    }
    core.presence.onSuperseded = client => {
      core.presence.sessionDown(client)
      this.#host.superseded(this.#controller, client)
    }
    replica.onChange(set => {
      if (set.changes.some(({ kind }) => kind === 'controller')) this.port.peersChanged()
      this.#host.changed(this.#controller, set)
    })
  }

  /** A disk that fails, or too much to do, is told and lived with; anything else is a mistake. */
  #failed(error: unknown): void {
    if (!(error instanceof StateError)) this.#host.clockwork.fail(error)
  }

  #others(): ControllerId[] {
    const { id } = this.#controller
    if (!this.views.isAdmitted(id)) return []
    return this.views.controllers().flatMap(each => (each.id === id ? [] : [each.id]))
  }

  #schedule(delay: number): void {
    const { clockwork } = this.#host
    if (this.#turn?.run && this.#turn.at <= clockwork.time + delay) return
    clockwork.cancel(this.#turn)
    this.#turn = clockwork.after(delay, () => {
      this.#turn = undefined
      const next = Math.min(this.core.poll(), this.#controller.now + LONGEST_TURN)
      this.#schedule(Math.max(1, next - this.#controller.now))
    })
  }

  /** Links are up where packets pass both ways and the other end runs: what probes would find. */
  #look(): void {
    const { clockwork, network } = this.#host
    const { id } = this.#controller
    const links = this.#others().map(peer => ({
      peer,
      up: network.port(peer) !== undefined && network.passes(id, peer) && network.passes(peer, id),
      rtt: 1,
      loss: 0,
    }))
    const before = this.core.presence.own.links
    if (!sameUp(links, before)) {
      this.core.presence.setLinks(links)
      this.#hops = undefined
      this.core.presence.reconsider()
    }
    this.#linkTurn = clockwork.after(LINK_TURN, () => this.#look())
  }

  #ways(): Map<ControllerId, Way> {
    if (this.#hops === undefined) {
      const { presence } = this.core
      const own = presence.own.links.map(({ peer, up, rtt }) => ({ peer, up, rttMs: rtt }))
      const told = [...presence.all()].map(each => [each.controller, each.links] as const)
      this.#hops = waysTo(this.#controller.id, own, told)
    }
    return this.#hops
  }
}

/** Whether an encoded frame, a pair of its type and what it says, is of this type: without reading all of it. */
function isOfType(frame: Uint8Array, type: string): boolean {
  return Buffer.from(frame.buffer, frame.byteOffset + 2, type.length).toString('latin1') === type
}
