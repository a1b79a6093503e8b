// Controllers in one process on 127.0.0.1: real libp2p, replicas in memory.
import { randomBytes } from 'node:crypto'
import { MeshCore, type MeshEvent } from '../../../mesh/core.ts'
import type { MeshTiming } from '../../../mesh/core-types.ts'
import { type JoinHandler, Libp2pTransport, type Standing } from '../../../mesh/libp2p/transport.ts'
import type { VersionRange } from '../../../mesh/versions.ts'
import type { ControllerId } from '../../../state/kinds.ts'
import { MemoryStore } from '../../../state/memory-store.ts'
import { encodeRecord } from '../../../state/record.ts'
import { Replica } from '../../../state/replica.ts'
import { Views } from '../../../state/views.ts'
import { ownPort } from '../own-ports.ts'
import { controllerOp, identity, MESH_ID, meshOp, trust } from '../state/samples.ts'

export interface RealNode {
  readonly index: number
  readonly id: ControllerId
  readonly replica: Replica
  readonly views: Views
  readonly core: MeshCore
  readonly transport: Libp2pTransport
  readonly events: MeshEvent[]
  readonly refused: string[]
  readonly incompatible: string[]
  readonly farewells: Uint8Array[][]
  readonly port: number
  stop(): Promise<void>
}

export interface NodeOptions {
  meshId?: string
  software?: string
  versions?: VersionRange
  port?: number
  store?: MemoryStore
  timing?: Partial<MeshTiming>
  /** Peers up to which news goes straight to each. */
  few?: number
  joins?: JoinHandler
  strangerMs?: number
}

export async function startNode(index: number, options: NodeOptions = {}): Promise<RealNode> {
  const { id, privateKey } = identity(index)
  const port = options.port ?? (await ownPort())
  const replica = await Replica.open({
    store: options.store ?? new MemoryStore(),
    identity: { id, privateKey },
    trust,
    now: Date.now,
    random: randomBytes,
  })
  const views = new Views(replica)
  const events: MeshEvent[] = []
  const refused: string[] = []
  const incompatible: string[] = []
  const farewells: Uint8Array[][] = []
  let transport: Libp2pTransport | undefined
  const core = new MeshCore({
    id,
    privateKey,
    replica,
    views,
    transport: {
      send: (peer, frame) => transport?.send(peer, frame) ?? false,
      publish: frame => transport?.publish(frame),
      disconnect: (peer, reason) => transport?.disconnect(peer, reason),
    },
    now: Date.now,
    random: randomBytes,
    boot: Date.now(),
    reaches: () => false,
    timing: options.timing,
    few: options.few,
    facts: () => ({
      version: 'test',
      startedAt: 0,
      draining: false,
      holdsRootKey: false,
      gateway: false,
      gateway6: false,
      exit4: false,
      exit6: false,
      failing: [],
      ipsec: false,
      attachments: [],
      stateHash: replica.hash(),
      records: replica.count,
    }),
  })
  core.onEvent = event => events.push(event)
  let timer: NodeJS.Timeout | undefined
  let isStopped = false
  const turn = () => {
    const next = core.poll()
    // The poll may have called for another turn already.
    clearTimeout(timer)
    if (!isStopped) timer = setTimeout(turn, Math.min(100, Math.max(1, next - Date.now())))
  }
  core.onDeadline = turn
  turn()
  const standing = (peer: ControllerId): Standing => {
    const value = replica.get('controller', peer)
    return value === undefined ? 'unknown' : value.removedAt === undefined ? 'admitted' : 'removed'
  }
  transport = await Libp2pTransport.start({
    privateKey,
    id,
    meshId: options.meshId ?? MESH_ID,
    listen: [{ host: '127.0.0.1', port }],
    handler: core,
    peers: () =>
      views
        .controllers()
        .filter(each => each.id !== id)
        .map(each => ({ id: each.id, publicKey: each.value.publicKey, endpoints: each.value.meshEndpoints })),
    standing,
    joins: options.joins,
    strangerMs: options.strangerMs,
    farewell: peer => {
      const record = replica.record('controller', peer)
      return record ? [encodeRecord(record)] : []
    },
    introduction: () => {
      const own = replica.record('controller', id)
      return own && encodeRecord(own)
    },
    onIntroduced: async record => {
      await replica.receive([record])
    },
    onRefused: (peer, reason) => refused.push(`${peer} ${reason}`),
    onFarewell: records => farewells.push(records),
    onIncompatible: (peer, reason) => incompatible.push(`${peer} ${reason}`),
    software: options.software ?? 'test',
    versions: options.versions,
    now: Date.now,
    random: Math.random,
  })
  const listening = transport
  replica.onChange(() => listening.peersChanged())
  return {
    index,
    id,
    replica,
    views,
    core,
    transport: listening,
    events,
    refused,
    incompatible,
    farewells,
    port,
    async stop() {
      isStopped = true
      clearTimeout(timer)
      core.onDeadline = () => {}
      await listening.stop()
      core.close()
      views.close()
      await replica.close()
    },
  }
}

/** Founds a mesh of so many controllers; each knows all others, nothing need be connected yet. */
export async function startMesh(
  count: number,
  options: NodeOptions = {},
  builds: readonly Pick<NodeOptions, 'software' | 'versions'>[] = [],
): Promise<RealNode[]> {
  const ports: number[] = []
  while (ports.length < count) ports.push(await ownPort())
  const nodes: RealNode[] = []
  for (const [index, port] of ports.entries())
    nodes.push(await startNode(index, { ...options, ...builds[index], port }))
  const endpoints = (index: number) => ({ meshEndpoints: [`127.0.0.1:${ports[index]}`] })
  await nodes[0].replica.write([meshOp(), controllerOp(0, endpoints(0))])
  for (const [index, node] of nodes.entries()) {
    if (index === 0) continue
    await node.replica.absorb(nodes[0].replica.missingFor(node.replica.vector())!)
    await node.replica.write([controllerOp(index, endpoints(index))])
  }
  // Each tells the founder of itself, as after a join, and hears of the others.
  for (const node of nodes.slice(1))
    await nodes[0].replica.absorb(node.replica.missingFor(nodes[0].replica.vector())!)
  for (const node of nodes.slice(1))
    await node.replica.absorb(nodes[0].replica.missingFor(node.replica.vector())!)
  return nodes
}

export async function until(what: string, holds: () => boolean, ms = 30_000): Promise<number> {
  const start = performance.now()
  while (!holds()) {
    if (performance.now() - start > ms) throw new Error(`not within ${ms} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  return performance.now() - start
}

export const areEqual = (nodes: readonly RealNode[]): boolean =>
  new Set(nodes.map(each => each.replica.hash())).size === 1

export const areConnected = (nodes: readonly RealNode[]): boolean =>
  nodes.every(node => nodes.every(other => other === node || node.core.isConnected(other.id)))
