// Controllers, records and replicas for tests, all from numbers, so that a run repeats itself exactly.
import { createHash, createPrivateKey, type KeyObject } from 'node:crypto'
import type { MeshTrust } from '../../../state/authority.ts'
import { makeStamp, type Stamp } from '../../../state/clock.ts'
import {
  type ClientId,
  type ClientValue,
  type ControllerId,
  type ControllerValue,
  controllerIdOf,
  type Kind,
  type MeshValue,
  type Serial,
  type Values,
} from '../../../state/kinds.ts'
import { MemoryStore } from '../../../state/memory-store.ts'
import { type Incarnation, type RecordOf, rawPublicKey, signRecord } from '../../../state/record.ts'
import { Replica } from '../../../state/replica.ts'
import type { RecordStore } from '../../../state/store.ts'
import { TOMBSTONE_ROUND_MS } from '../../../state/tombstones.ts'
import type { Op } from '../../../state/writing.ts'

export const START = Date.UTC(2026, 0, 1)
export const MESH_ID = '00112233445566778899'
const ROOT_FINGERPRINT = 'ab'.repeat(32)
const PEM = '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n'

export interface Identity {
  readonly id: ControllerId
  readonly privateKey: KeyObject
  readonly publicKey: string
}

/** mulberry32: a small random source that repeats itself. Yields integers below 2^32. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }
}

export function seededBytes(next: () => number): (size: number) => Uint8Array {
  return size => Uint8Array.from({ length: size }, () => next() & 255)
}

const identities = new Map<number, Identity>()

export function identity(index: number): Identity {
  let found = identities.get(index)
  if (found === undefined) {
    const seed = createHash('sha256').update(`controller ${index}`).digest()
    const prefix = Buffer.from('302e020100300506032b657004220420', 'hex')
    const privateKey = createPrivateKey({ key: Buffer.concat([prefix, seed]), format: 'der', type: 'pkcs8' })
    const raw = rawPublicKey(privateKey)
    found = { id: controllerIdOf(raw), privateKey, publicKey: Buffer.from(raw).toString('hex') }
    identities.set(index, found)
  }
  return found
}

/** Trusts every chain but the one that says it is foreign. */
export const trust: MeshTrust = {
  rootFingerprint: ROOT_FINGERPRINT,
  refuses: (_id, controller) =>
    controller.certificateChain.includes('FOREIGN') ? 'it is foreign' : undefined,
}

export const FOREIGN_CHAIN = PEM.replace('AA==', 'FOREIGN')

export function meshValue(subnet = '10.77.0.0/16', blockLength = 26): MeshValue {
  return {
    name: 'test',
    subnet,
    blockLength,
    rootCertificate: PEM,
    rootFingerprint: ROOT_FINGERPRINT,
    createdAt: START,
  }
}

export function controllerValue(index: number, change: Partial<ControllerValue> = {}): ControllerValue {
  return {
    name: `c${index}`,
    publicKey: identity(index).publicKey,
    certificateChain: PEM,
    address: `10.77.255.${index + 1}`,
    publicEndpoints: [`192.0.2.${index + 1}:1194`],
    meshEndpoints: [`192.0.2.${index + 1}:4001`],
    joinedAt: START,
    ...change,
  }
}

export function controllerOp(index: number, change: Partial<ControllerValue> = {}): Op {
  return { kind: 'controller', id: identity(index).id, value: controllerValue(index, change) }
}

export function meshOp(): Op {
  return { kind: 'mesh', id: MESH_ID, value: meshValue() }
}

export function clientId(index: number): ClientId {
  return index.toString(16).padStart(16, '0') as ClientId
}

export function serial(index: number): Serial {
  return (0x1000 + index).toString(16) as Serial
}

export function clientValue(index: number, change: Partial<ClientValue> = {}): ClientValue {
  return {
    name: `client-${index}`,
    address: `10.77.${index >> 8}.${index & 255}`,
    subnets: [],
    tags: {},
    enabled: true,
    serial: serial(index),
    fingerprint: 'cd'.repeat(32),
    issuer: identity(0).id,
    createdAt: START,
    expiresAt: START + 1e10,
    ...change,
  }
}

export function clientOp(index: number, change: Partial<ClientValue> = {}): Op {
  return { kind: 'client', id: clientId(index), value: clientValue(index, change) }
}

export function leaseOp(address: string, holder: number): Op {
  return { kind: 'lease', id: address, value: { holder: clientId(holder), holderKind: 'client' } }
}

export function revocationOp(index: number, reason = 'revoked'): Op {
  return { kind: 'revocation', id: serial(index), value: { client: clientId(index), reason, at: START } }
}

/** Of a rekey: one certificate takes the place of another, as one client's. */
export function supersedingOp(old: number, by: number, client = old): Op {
  const { fingerprint, expiresAt } = clientValue(by)
  const successor = { serial: serial(by), fingerprint, issuer: identity(0).id, expiresAt }
  const value = { client: clientId(client), reason: 'superseded', at: START, successor }
  return { kind: 'revocation', id: serial(old), value }
}

export function settingOp(id: string, value: string | number): Op {
  return { kind: 'setting', id, value: { value } }
}

export interface RecordSpec<K extends Kind> {
  readonly kind: K
  readonly id: string
  readonly value: Values[K] | null
  /** Index of the author. */
  readonly author: number
  readonly time?: number
  readonly count?: number
  readonly incarnation?: string
  readonly sequence?: number
  readonly term?: number
}

/** A signed record made by hand. */
export function record<K extends Kind>(spec: RecordSpec<K>): RecordOf<K> {
  const { author, time = START, count = 0, incarnation = '0'.repeat(16), sequence = 1, term = 0 } = spec
  const { id, privateKey } = identity(author)
  const stamp: Stamp = makeStamp(time, count)
  const { kind, value } = spec
  const body = {
    kind,
    id: spec.id,
    value,
    stamp,
    author: id,
    incarnation: incarnation as Incarnation,
    sequence,
    term,
  }
  return signRecord(body as never, privateKey) as RecordOf<K>
}

export interface Bench {
  time: number
  readonly store: RecordStore
  readonly replica: Replica
}

/** A replica of one controller; its clock stands still until `time` is moved. */
export async function openReplica(
  index: number,
  store: RecordStore = new MemoryStore(),
  time = START,
): Promise<Bench> {
  const { id, privateKey } = identity(index)
  const bench = { time, store } as { time: number; store: RecordStore; replica: Replica }
  const random = seededBytes(seeded(index))
  bench.replica = await Replica.open({
    store,
    identity: { id, privateKey },
    trust,
    now: () => bench.time,
    random,
  })
  return bench
}

/** A replica that has written the mesh and its own record. */
export async function foundMesh(store?: RecordStore): Promise<Bench> {
  const bench = await openReplica(0, store)
  await bench.replica.write([meshOp(), controllerOp(0)])
  return bench
}

/** Two halves of a mesh, each knows of the other, that do not hear each other yet. */
export async function twoHalves(): Promise<{ a: Bench; b: Bench }> {
  const [a, b] = [await foundMesh(), await openReplica(1)]
  await pull(b.replica, a.replica)
  await b.replica.write([controllerOp(1)])
  await exchange(a.replica, b.replica)
  return { a, b }
}

/** Both tell each other all they have, as often as it takes. */
export async function exchange(a: Replica, b: Replica): Promise<void> {
  await pull(a, b)
  await pull(b, a)
}

/** `to` asks `from` until there is nothing more. */
export async function pull(to: Replica, from: Replica, maxBytes?: number): Promise<number> {
  for (let round = 1; ; round++) {
    const vector = to.vector()
    await from.hear(to.id, vector)
    const delta = from.missingFor(vector, maxBytes)!
    await to.absorb(delta)
    if (!delta.more) return round
  }
}

/** Everybody has confirmed everything, and what was deleted is forgotten. */
export async function collect(...benches: Bench[]): Promise<void> {
  for (let round = 0; round < 2; round++)
    for (const one of benches)
      for (const other of benches) if (one !== other) await exchange(one.replica, other.replica)
  for (const bench of benches) {
    bench.time += 2 * TOMBSTONE_ROUND_MS
    await bench.replica.poll()
  }
}
