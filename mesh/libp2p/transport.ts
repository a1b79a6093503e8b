// The mesh's transport over libp2p: one connection and one channel of frames to each admitted peer, gossipsub for what
// everyone is to know, and a door at which newcomers may knock.
import type { KeyObject } from 'node:crypto'
import { TopicValidatorResult } from '@libp2p/gossipsub'
import type { Connection, PeerId, Stream } from '@libp2p/interface'
import type { ControllerId } from '../../state/kinds.ts'
import { decodeRecord } from '../../state/record.ts'
import { MAX_NEWCOMER_FRAME_BYTES } from '../admission/messages.ts'
import type { Transport, TransportHandler } from '../transport.ts'
import type { VersionRange } from '../versions.ts'
import { Dialer } from './dialer.ts'
import { DOUBLE, Doubles } from './doubles.ts'
import { dialAddresses, formatEndpoint, type HostPort, readEndpoint } from './endpoints.ts'
import { type FrameStream, Libp2pFrameStream } from './frame-stream.ts'
import { type Greeting, greet, hear, welcome } from './greeting.ts'
import type { Resolve } from './host-addresses.ts'
import { controllerOf, peerIdOf, publicKeyOf } from './identity.ts'
import { createMeshNode, type MeshNode } from './node.ts'

export interface MeshPeer {
  readonly id: ControllerId
  /** Raw Ed25519 public key, hex. */
  readonly publicKey: string
  /** `host:port`, TCP. */
  readonly endpoints: readonly string[]
}

export type Standing = 'admitted' | 'removed' | 'unknown'

/** What is done for those who are not of the mesh yet. */
export interface JoinHandler {
  /** Whether anyone may knock now. */
  open(): boolean
  /** Serves one newcomer; the stream is closed when this resolves. */
  serve(stream: FrameStream, publicKey: Uint8Array): Promise<void>
}

export interface Libp2pTransportInit {
  readonly privateKey: KeyObject
  readonly id: ControllerId
  readonly meshId: string
  readonly listen: readonly HostPort[]
  readonly handler: TransportHandler
  /** Admitted controllers but this one. */
  readonly peers: () => Iterable<MeshPeer>
  readonly standing: (id: ControllerId) => Standing
  /** Signed records that show a removed controller that it was. */
  readonly farewell: (id: ControllerId) => Uint8Array[]
  readonly joins?: JoinHandler
  /** The record of this controller, for a peer whose records are older than it. */
  readonly introduction: () => Uint8Array | undefined
  /** A controller that is not known here shows its record; resolves when that was judged. */
  readonly onIntroduced: (record: Uint8Array) => Promise<void>
  /** Someone was turned away. */
  readonly onRefused: (peer: string, reason: string) => void
  /** An admitted controller and this one share no version of the protocol. */
  readonly onIncompatible?: (peer: ControllerId, reason: string) => void
  /** Version of Overmesh that runs here. */
  readonly software: string
  /** Versions of the protocol that are spoken here. @default PROTOCOL */
  readonly versions?: VersionRange
  /** A peer says that this controller was removed, and shows it. */
  readonly onFarewell: (records: Uint8Array[], peer: ControllerId) => void
  /** Finds the addresses of a host. @default by the system */
  readonly resolve?: Resolve
  /** ms that someone who is not admitted may stay without joining. @default 10000 */
  readonly strangerMs?: number
  readonly now: () => number
  readonly random: () => number
}

/** The mesh's port cannot be listened on. */
export class MeshListenError extends Error {
  override name = 'MeshListenError'
  readonly code = 'MESH_LISTEN'
}

/** How a channel and a join begin, up to the versions that both ends tell: see mesh/versions.ts. */
export const CHANNEL_PROTOCOL = '/overmesh/channel/1'
export const JOIN_PROTOCOL = '/overmesh/join/1'
/** ms between two looks at who is to be dialled. */
const DIAL_TURN = 100
/** ms for a peer to say who it is once it is connected, and for a newcomer to join. */
const GREETING_MS = 5000
const JOIN_MS = 600_000
const STRANGER_MS = 10_000
/** Newcomers served at once: whoever can reach the port may try to take all places. */
const MAX_JOINS = 16
/** Connections of those who are not known here, to say who they are, or to join: members of the mesh must find room beside them. */
const MAX_STRANGERS = 64
/** Bytes of what a stranger says. */
const MAX_GREETING_BYTES = 2 ** 17
const STOP_MS = 2000

export class Libp2pTransport implements Transport {
  readonly #init: Libp2pTransportInit
  readonly #topic: string
  readonly #dialer: Dialer
  readonly #doubles = new Doubles()
  readonly #channels = new Map<ControllerId, Libp2pFrameStream>()
  /** Peers that are being greeted. */
  readonly #greeting = new Set<ControllerId>()
  #node!: MeshNode
  #timer: NodeJS.Timeout | undefined
  /** Over which newcomers are served. */
  readonly #joining = new Set<Connection>()
  #stopped = false

  private constructor(init: Libp2pTransportInit) {
    this.#init = init
    this.#topic = `overmesh/${init.meshId}`
    this.#dialer = new Dialer({
      id: init.id,
      now: init.now,
      random: init.random,
      dial: peer => this.#dial(peer),
    })
  }

  /** @throws MeshListenError when it cannot listen */
  static async start(init: Libp2pTransportInit): Promise<Libp2pTransport> {
    const transport = new Libp2pTransport(init)
    await transport.#start()
    return transport
  }

  async #start(): Promise<void> {
    const { privateKey, listen } = this.#init
    try {
      this.#node = await createMeshNode({
        privateKey,
        listen,
        topic: this.#topic,
        mayGossip: peer => this.#standing(peer) === 'admitted',
        gater: {
          denyDialPeer: peer => this.#standing(peer) !== 'admitted',
          denyInboundEncryptedConnection: peer => this.#denies(peer),
          denyOutboundEncryptedConnection: peer => this.#standing(peer) !== 'admitted',
        },
      })
    } catch (error) {
      const where = listen.map(formatEndpoint).join(', ')
      throw new MeshListenError(
        `cannot listen on ${where} (TCP) for other controllers: ${listenProblem(error)}; ` +
          'end what uses it (`overmesh doctor` says how to find it)',
        { cause: error },
      )
    }
    const node = this.#node
    node.addEventListener('connection:open', ({ detail }) => void this.#connected(detail))
    node.addEventListener('connection:close', ({ detail }) => this.#lost(detail))
    await node.handle(CHANNEL_PROTOCOL, (stream, connection) => this.#channel(stream, connection), {
      maxInboundStreams: 2,
      maxOutboundStreams: 2,
    })
    await node.handle(JOIN_PROTOCOL, (stream, connection) => this.#join(stream, connection), {
      maxInboundStreams: 1,
    })
    node.services.pubsub.topicValidators.set(this.#topic, (peer, { data }) => {
      const verdict =
        this.#standing(peer) === 'admitted' ? this.#init.handler.gossip(Uint8Array.from(data)) : 'ignore'
      return VERDICTS[verdict]
    })
    node.services.pubsub.subscribe(this.#topic)
    this.peersChanged()
    this.#timer = setInterval(() => this.#dialer.poll(), DIAL_TURN)
    this.#timer.unref()
  }

  // --- Transport

  send(peer: ControllerId, frame: Uint8Array): boolean {
    return this.#channels.get(peer)?.send(frame) ?? false
  }

  publish(frame: Uint8Array): void {
    if (this.#stopped) return
    this.#node.services.pubsub.publish(this.#topic, frame).catch(() => {
      // A peer whose queue is full misses it: anti-entropy brings it.
    })
  }

  disconnect(peer: ControllerId, reason: string): void {
    this.#channels.get(peer)?.abort(reason)
    for (const connection of this.#connections(peer)) cut(connection, reason)
  }

  /** The records changed: new peers are dialled, those that are out are let go. */
  peersChanged(): void {
    const missing: ControllerId[] = []
    for (const { id } of this.#init.peers()) if (!this.#channels.has(id)) missing.push(id)
    this.#dialer.setMissing(missing)
  }

  /** A peer is likely to answer now. */
  nudge(peer: ControllerId): void {
    this.#dialer.nudge(peer)
  }

  /** Where it listens. */
  addresses(): HostPort[] {
    return this.#node.getMultiaddrs().flatMap(address => {
      const [, , host, , port] = address.toString().split('/')
      return readEndpoint(formatEndpoint({ host, port: Number(port) })) ?? []
    })
  }

  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    clearInterval(this.#timer)
    for (const connection of this.#node.getConnections()) cut(connection, 'stopping')
    await Promise.race([this.#node.stop(), new Promise(resolve => setTimeout(resolve, STOP_MS).unref())])
  }

  // --- Connections

  #standing(peer: PeerId): Standing {
    const id = controllerOf(peer)
    return id === undefined ? 'unknown' : this.#init.standing(id)
  }

  #denies(peer: PeerId): boolean {
    if (this.#standing(peer) !== 'unknown') return false
    const strangers = this.#node
      .getConnections()
      .filter(each => this.#standing(each.remotePeer) === 'unknown' && !this.#joining.has(each))
    const isFull = strangers.length >= MAX_STRANGERS
    if (this.#init.joins?.open()) {
      // A newcomer says at once what it wants: who has been here for longest is none.
      if (isFull) cut(oldest(strangers), 'others want to join')
      return false
    }
    if (controllerOf(peer) !== undefined && !isFull) return false
    this.#init.onRefused(controllerOf(peer) ?? peer.toString().slice(0, 80), 'it is not admitted')
    return true
  }

  #connections(peer: ControllerId): Connection[] {
    return this.#node
      .getConnections()
      .filter(({ remotePeer, status }) => status === 'open' && controllerOf(remotePeer) === peer)
  }

  async #dial(id: ControllerId): Promise<boolean> {
    const peer = [...this.#init.peers()].find(each => each.id === id)
    if (peer === undefined || this.#stopped || this.#connections(id).length > 0) return false
    try {
      const peerId = peerIdOf(Buffer.from(peer.publicKey, 'hex'))
      const addresses = await dialAddresses(peer.endpoints, peerId.toString(), this.#init.resolve)
      if (addresses.length === 0) return false
      await this.#node.dial(addresses)
      return true
    } catch {
      return false
    }
  }

  async #connected(connection: Connection): Promise<void> {
    const id = controllerOf(connection.remotePeer)
    if (id === undefined || this.#standing(connection.remotePeer) !== 'admitted') {
      const timer = setTimeout(() => {
        if (this.#joining.has(connection) || connection.status !== 'open') return
        if (!this.#init.joins?.open()) this.#init.onRefused(id ?? '', 'it is not admitted')
        cut(connection, 'nothing to do here')
      }, this.#init.strangerMs ?? STRANGER_MS)
      timer.unref()
      return
    }
    const all = this.#connections(id)
    if (all.length > 1) {
      if (this.#doubles.second(id, this.#init.now())) {
        this.#init.onRefused(id, DOUBLE)
        if (this.#channels.has(id)) {
          // The one that is here stays, or neither of them would do any work.
          cut(connection, 'another one is here')
          return
        }
      }
      // Both dialled at once. Closing one would end gossip in one direction: begin anew, one of us dials first.
      for (const each of all) cut(each, 'two connections at once')
      return
    }
    if (connection.direction === 'inbound') {
      const timer = setTimeout(() => {
        if (!this.#channels.has(id) && connection.status === 'open') cut(connection, 'no channel was opened')
      }, GREETING_MS)
      timer.unref()
      return
    }
    try {
      const signal = AbortSignal.timeout(GREETING_MS)
      const stream = new Libp2pFrameStream(await connection.newStream(CHANNEL_PROTOCOL, { signal }))
      await this.#open(id, connection, stream, await within(GREETING_MS, greet(stream, this.#init)))
    } catch (error) {
      cut(connection, error instanceof Error ? error.message : String(error))
    }
  }

  async #channel(raw: Stream, connection: Connection): Promise<void> {
    const id = controllerOf(connection.remotePeer)
    const standing = this.#standing(connection.remotePeer)
    if (id === undefined || this.#greeting.has(id)) {
      raw.abort(new Error('not admitted'))
      return
    }
    this.#greeting.add(id)
    try {
      if (standing === 'unknown') {
        await this.#introduced(id, new Libp2pFrameStream(raw, MAX_GREETING_BYTES))
        // Whoever is of the mesh now comes anew, and is let in to everything.
        cut(connection, 'come again')
        return
      }
      const stream = new Libp2pFrameStream(raw)
      const removal = standing === 'removed' ? this.#init.farewell(id) : undefined
      const greeting = await within(GREETING_MS, welcome(stream, this.#init, removal))
      if (removal === undefined) await this.#open(id, connection, stream, greeting)
      else {
        this.#init.onRefused(id, 'it was removed from the mesh')
        await stream.close()
        await connection.close()
      }
    } catch (error) {
      cut(connection, error instanceof Error ? error.message : String(error))
    } finally {
      this.#greeting.delete(id)
    }
  }

  /** A replica that was set back to before a peer joined does not know it: the peer's own record shows that it may come. */
  async #introduced(id: ControllerId, stream: FrameStream): Promise<void> {
    const greeting = await within(GREETING_MS, hear(stream, this.#init))
    if ('introduction' in greeting && greeting.introduction) {
      const decoded = decodeRecord(greeting.introduction)
      if (decoded.ok && decoded.record.kind === 'controller' && decoded.record.id === id)
        await this.#init.onIntroduced(greeting.introduction)
    }
    if (this.#init.standing(id) === 'admitted') return
    this.#init.onRefused(id, 'problem' in greeting ? greeting.problem : 'it is not admitted')
  }

  /** Both have said who they are. */
  async #open(
    id: ControllerId,
    connection: Connection,
    stream: Libp2pFrameStream,
    greeting: Greeting,
  ): Promise<void> {
    if ('farewell' in greeting) {
      this.#init.onFarewell(greeting.farewell, id)
      cut(connection, 'this controller was removed')
      return
    }
    if ('problem' in greeting) {
      this.#init.onRefused(id, greeting.problem)
      if (greeting.isVersion) this.#init.onIncompatible?.(id, greeting.problem)
      cut(connection, greeting.problem)
      return
    }
    if (this.#stopped || this.#channels.has(id)) {
      cut(connection, 'a second channel')
      return
    }
    if (stream.ended) {
      // The peer changed its mind between its greeting and now: its end was told before anyone listened.
      cut(connection, 'the channel ended')
      return
    }
    const { handler } = this.#init
    this.#channels.set(id, stream)
    stream.onEnd = () => {
      if (this.#channels.get(id) !== stream) return
      this.#channels.delete(id)
      handler.disconnected(id)
      if (connection.status === 'open') cut(connection, 'the channel ended')
      if (!this.#stopped) this.peersChanged()
    }
    this.peersChanged()
    handler.connected(id, greeting.version)
    stream.handOver(frame => handler.frame(id, frame))
  }

  #lost(connection: Connection): void {
    const id = controllerOf(connection.remotePeer)
    if (id === undefined || this.#connections(id).length > 0) return
    this.#channels.get(id)?.abort('the connection ended')
  }

  async #join(raw: Stream, connection: Connection): Promise<void> {
    const key = publicKeyOf(connection.remotePeer)
    const { joins, onRefused } = this.#init
    if (!joins?.open() || key === undefined || this.#joining.size >= MAX_JOINS) {
      raw.abort(new Error('nobody is invited'))
      if (key) onRefused(controllerOf(connection.remotePeer)!, 'it wants to join, and nobody is invited')
      return
    }
    const stream = new Libp2pFrameStream(raw, MAX_NEWCOMER_FRAME_BYTES)
    this.#joining.add(connection)
    try {
      await within(JOIN_MS, joins.serve(stream, key))
      await stream.close()
    } catch {
      stream.abort('the join failed')
    } finally {
      this.#joining.delete(connection)
      // As an admitted controller it comes anew.
      setTimeout(() => void connection.close().catch(() => {}), 500).unref()
    }
  }
}

function oldest(connections: readonly Connection[]): Connection {
  return connections.reduce((a, b) => (b.timeline.open < a.timeline.open ? b : a))
}

/** At once, whatever state it is in. */
function cut(connection: Connection, reason: string): void {
  try {
    connection.abort(new Error(reason))
  } catch {
    // Something under it was closed already.
  }
}

const VERDICTS = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
} as const

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error('it took too long')), ms)
  try {
    return await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}

function listenProblem(error: unknown): string {
  const text = messagesOf(error).join('; ')
  if (/EADDRINUSE/.test(text)) return 'the address is in use'
  if (/EADDRNOTAVAIL/.test(text)) return 'this machine does not have the address'
  if (/EACCES/.test(text)) return 'a port below 1024 needs root'
  return text.split('\n')[0]
}

function messagesOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [String(error)]
  const inner = error instanceof AggregateError ? error.errors.flatMap(messagesOf) : []
  return [error.message, ...inner, ...(error.cause === undefined ? [] : messagesOf(error.cause))]
}
