// The libp2p node of a controller: TCP, noise, yamux, gossipsub and what they need, set up for few peers that all know each
// other.
import { createHash, type KeyObject } from 'node:crypto'
import { type GossipSub, gossipsub, StrictNoSign } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type { ConnectionGater, Libp2p, PeerId, ServiceMap, StreamHandler, Topology } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { MAX_GOSSIP_BYTES } from '../transport.ts'
import { type HostPort, listenAddress } from './endpoints.ts'
import { libp2pKey } from './identity.ts'

export interface NodeInit {
  privateKey: KeyObject
  listen: readonly HostPort[]
  gater: ConnectionGater
  topic: string
  /** Gossip goes to these peers, and is taken from them, and from nobody else. */
  mayGossip: (peer: PeerId) => boolean
}

interface Services extends ServiceMap {
  pubsub: GossipSub
}
export type MeshNode = Libp2p<Services>

/** Peers of one mesh at most, and strangers that are at the door. */
const MAX_CONNECTIONS = 1024
const MAX_PENDING = 256
/** New connections a second from one address. */
const INBOUND_RATE = 100
/** ms for TCP to answer; a lost SYN is repeated after a second. */
const CONNECT_MS = 2500
const DIAL_MS = 6000
/** Over this gossipsub ends a peer's gossip in silence, so it has to be far above any frame. */
const MAX_RPC_BYTES = 4 * 2 ** 20

/** Without gossip, for one join. */
export function createPlainNode(privateKey: KeyObject): Promise<Libp2p> {
  return createLibp2p({
    ...common(privateKey, []),
    services: { identify: identify() },
  })
}

export async function createMeshNode(init: NodeInit): Promise<MeshNode> {
  const { privateKey, listen, gater, topic, mayGossip } = init
  const idOf = (data: Uint8Array): Uint8Array => createHash('sha256').update(data).digest()
  return createLibp2p<Services>({
    ...common(privateKey, listen),
    connectionGater: gater,
    services: {
      identify: identify(),
      ping: ping({ maxInboundStreams: 16, maxOutboundStreams: 16 }),
      pubsub: components =>
        gossipsub({
          // What is gossiped is signed by its author already.
          globalSignaturePolicy: StrictNoSign,
          msgIdFn: message => idOf(message.data),
          fastMsgIdFn: message =>
            createHash('sha256')
              .update(message.data ?? '')
              .digest('base64'),
          allowedTopics: [topic],
          floodPublish: false,
          doPX: false,
          fallbackToFloodsub: false,
          emitSelf: false,
          allowPublishToZeroTopicPeers: true,
          ignoreDuplicatePublishError: true,
          maxInboundDataLength: MAX_RPC_BYTES,
          maxOutboundBufferSize: 4 * MAX_RPC_BYTES,
          // Many controllers may stand behind one address.
          scoreParams: { IPColocationFactorWeight: 0 },
          dataTransform: {
            inboundTransform: (_topic, data) => {
              if (data.length > MAX_GOSSIP_BYTES) throw new Error('a gossiped frame that is too long')
              return data
            },
            outboundTransform: (_topic, data) => data,
          },
        })({
          privateKey: components.privateKey,
          peerId: components.peerId,
          peerStore: components.peerStore,
          connectionManager: components.connectionManager,
          logger: components.logger,
          registrar: guarded(components.registrar, mayGossip),
        }),
    },
  })
}

function common(privateKey: KeyObject, listen: readonly HostPort[]) {
  return {
    privateKey: libp2pKey(privateKey),
    addresses: { listen: listen.map(listenAddress) },
    transports: [
      tcp({
        inboundSocketInactivityTimeout: 0,
        outboundSocketInactivityTimeout: 0,
        backlog: MAX_PENDING,
        dialOpts: { noDelay: true },
        listenOpts: { noDelay: true },
      }),
    ],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux({ maxEarlyStreams: 32 })],
    // Dead peers are noticed by the heartbeats of the mesh.
    connectionMonitor: { enabled: false },
    connectionManager: {
      maxConnections: MAX_CONNECTIONS,
      maxIncomingPendingConnections: MAX_PENDING,
      inboundConnectionThreshold: INBOUND_RATE,
      maxParallelDials: 64,
      dialTimeout: DIAL_MS,
      addressDialTimeout: CONNECT_MS,
      inboundUpgradeTimeout: DIAL_MS,
      // The mesh dials by itself, for ever.
      reconnectRetries: 0,
    },
  }
}

type Registrar = Parameters<ReturnType<typeof gossipsub>>[0]['registrar']

/** A registrar that shows only some peers: gossipsub would tell everything to any peer that speaks its protocol. */
function guarded(registrar: Registrar, admits: (peer: PeerId) => boolean): Registrar {
  const handle: Registrar['handle'] = (protocol, handler, options) => {
    const guard: StreamHandler = (stream, connection) => {
      if (admits(connection.remotePeer)) return handler(stream, connection)
      stream.abort(new Error('not admitted'))
    }
    return registrar.handle(protocol, guard, options)
  }
  const register: Registrar['register'] = (protocol, topology, options) => {
    const { onConnect, ...rest } = topology
    const guard: Topology = {
      ...rest,
      onConnect: (peer, connection) => (admits(peer) ? onConnect?.(peer, connection) : undefined),
    }
    return registrar.register(protocol, guard, options)
  }
  return new Proxy(registrar, {
    get(target, name) {
      if (name === 'handle') return handle
      if (name === 'register') return register
      const value = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
