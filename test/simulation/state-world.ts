// Controllers with their replicas on a simulated network, clock and disk, all from one seed.
import { MemoryStore } from '../../state/memory-store.ts'
import type { Delta } from '../../state/offer.ts'
import { encodeRecord } from '../../state/record.ts'
import { Replica } from '../../state/replica.ts'
import type { Vector } from '../../state/vector.ts'
import { Views } from '../../state/views.ts'
import {
  controllerOp,
  type Identity,
  identity,
  meshOp,
  START,
  seeded,
  seededBytes,
  trust,
} from '../unit/state/samples.ts'

type Message =
  | { kind: 'gossip'; records: readonly Uint8Array[] }
  /** `own`: the sender's controller record, which proves itself, so that nobody is a stranger for long. */
  | { kind: 'vector'; vector: Vector; hash: string; own: readonly Uint8Array[] }
  | { kind: 'delta'; delta: Delta }
  | { kind: 'buckets'; hashes: readonly string[] }
  | { kind: 'repair'; records: readonly Uint8Array[] }

interface Flight {
  readonly at: number
  readonly order: number
  readonly from: Node
  readonly to: Node
  readonly message: Message
}

/** Bytes of records in one delta: small, so that answers come in pieces. */
const DELTA_BYTES = 3000

export class Node {
  readonly index: number
  readonly identity: Identity
  /** How far its clock is off, ms. */
  readonly skew: number
  store = new MemoryStore()
  backup: MemoryStore | undefined
  /** An earlier state of this very disk, which was never set back to a copy. */
  earlier: MemoryStore | undefined
  wasSetBack = false
  replica: Replica | undefined
  views: Views | undefined
  /** Nodes in different groups do not hear each other. */
  group = 0

  constructor(index: number, skew: number) {
    this.index = index
    this.identity = identity(index)
    this.skew = skew
  }

  get isUp(): boolean {
    return this.replica !== undefined
  }
}

export class World {
  readonly next: () => number
  readonly nodes: Node[] = []
  time = START
  /** Chances of 1000 that a message is lost or comes twice. */
  loss = 100
  duplication = 100
  #flights: Flight[] = []
  #order = 0
  readonly #random: (size: number) => Uint8Array

  constructor(seed: number) {
    this.next = seeded(seed)
    this.#random = seededBytes(this.next)
  }

  /** An integer from 0 to below `limit`. */
  pick(limit: number): number {
    return this.next() % limit
  }

  chance(ofThousand: number): boolean {
    return this.pick(1000) < ofThousand
  }

  choose<T>(list: readonly T[]): T | undefined {
    return list.length === 0 ? undefined : list[this.pick(list.length)]
  }

  get up(): Node[] {
    return this.nodes.filter(node => node.isUp)
  }

  async found(skew: number): Promise<Node> {
    const node = new Node(0, skew)
    this.nodes.push(node)
    await this.start(node)
    await node.replica!.write([meshOp(), controllerOp(0)])
    return node
  }

  /** A new controller gets a full replica from `host`, writes its own record and hands it over. */
  async join(host: Node, skew: number): Promise<Node> {
    const node = new Node(this.nodes.length, skew)
    node.group = host.group
    this.nodes.push(node)
    await this.start(node)
    await this.introduce(node, host)
    return node
  }

  async introduce(node: Node, host: Node): Promise<void> {
    await this.copy(node, host)
    await node.replica!.write([controllerOp(node.index)])
    await host.replica!.absorb(node.replica!.missingFor(host.replica!.vector())!)
  }

  /** A full replica from `host`, as over a connection that loses nothing. */
  async copy(node: Node, host: Node): Promise<void> {
    for (let more = true; more; ) {
      const delta = host.replica!.missingFor(node.replica!.vector())!
      await node.replica!.absorb(delta)
      more = delta.more
    }
  }

  async start(node: Node): Promise<void> {
    const replica = await Replica.open({
      store: node.store,
      identity: node.identity,
      trust,
      now: () => this.time + node.skew,
      random: this.#random,
    })
    node.replica = replica
    node.views = new Views(replica)
    replica.onChange(({ changes, cause }) => {
      if (cause !== 'written') return
      const records = changes.flatMap(({ after }) => (after === undefined ? [] : [encodeRecord(after)]))
      for (const peer of this.up) if (peer !== node) this.#send(node, peer, { kind: 'gossip', records })
    })
  }

  /** The process is gone; what its disk has stays. */
  crash(node: Node): void {
    node.views?.close()
    node.replica = undefined
    node.views = undefined
  }

  /** Delivers what arrives until then. */
  async advance(ms: number): Promise<void> {
    const end = this.time + ms
    for (;;) {
      this.#flights.sort((a, b) => a.at - b.at || a.order - b.order)
      const flight = this.#flights[0]
      if (flight === undefined || flight.at > end) break
      this.#flights.shift()
      this.time = Math.max(this.time, flight.at)
      await this.#deliver(flight)
    }
    this.time = end
    for (const node of this.up) await node.replica!.poll()
  }

  /** One node tells a peer what it has accounted for. */
  compare(from: Node, to: Node): void {
    const replica = from.replica!
    const record = replica.record('controller', from.identity.id)
    const own = record === undefined ? [] : [encodeRecord(record)]
    this.#send(from, to, { kind: 'vector', vector: replica.vector(), hash: replica.hash(), own })
  }

  #send(from: Node, to: Node, message: Message): void {
    const copies = this.chance(this.loss) ? 0 : this.chance(this.duplication) ? 2 : 1
    for (let i = 0; i < copies; i++) {
      const at = this.time + 1 + this.pick(300)
      this.#flights.push({ at, order: this.#order++, from, to, message })
    }
  }

  async #deliver({ from, to, message }: Flight): Promise<void> {
    const { replica } = to
    if (replica === undefined || from.group !== to.group || !from.isUp) return
    if (message.kind === 'vector') await replica.receive(message.own)
    if (!admits(to, from)) return
    switch (message.kind) {
      case 'gossip':
        await replica.receive(message.records)
        break
      case 'delta':
        await replica.absorb(message.delta)
        break
      case 'repair':
        await replica.repair(message.records)
        break
      case 'buckets':
        this.#send(to, from, { kind: 'repair', records: replica.differing(message.hashes, DELTA_BYTES) })
        break
      case 'vector': {
        await replica.hear(from.identity.id, message.vector)
        const delta = replica.missingFor(message.vector, DELTA_BYTES)!
        const isEqual = JSON.stringify(replica.vector()) === JSON.stringify(message.vector)
        if (isEqual && replica.hash() !== message.hash)
          this.#send(to, from, { kind: 'buckets', hashes: replica.buckets() })
        if (delta.records.length > 0 || Object.keys(delta.known).length > 0) {
          this.#send(to, from, { kind: 'delta', delta })
        }
      }
    }
  }
}

/** A wiped controller knows nobody and listens to whom it was told to join. */
function admits(node: Node, peer: Node): boolean {
  const views = node.views!
  return views.isAdmitted(peer.identity.id) || views.controllers().length === 0
}
