// A peer that lies: what it sends must change nothing.
import { hash, sign } from 'node:crypto'
import { encodeFrame, encodeStatement, type Frame, type PresenceUpdate } from '../../mesh/messages.ts'
import { makeStamp } from '../../state/clock.ts'
import { MAX_LIVES } from '../../state/lives.ts'
import { encodeRecord, signRecord, type UnsignedRecord } from '../../state/record.ts'
import { mutate, Random } from '../fuzz/mutate.ts'
import { controllerValue, FOREIGN_CHAIN, identity } from '../unit/state/samples.ts'
import type { MeshWorld } from './mesh-world.ts'
import type { SimController } from './sim-controller.ts'

const TEN_YEARS = 10 * 365 * 86_400_000
/** What liars call their version. */
export const EVIL = 'evil'
/** Not of the mesh, and never will be. */
const STRANGER = 990

/** Sends one lie to `victim`, as if it came from `peer` or by gossip. */
export function attack(world: MeshWorld, victim: SimController, peer: SimController): void {
  const { clockwork, network } = world
  if (clockwork.chance(50)) {
    deceive(world, victim, peer)
    return
  }
  const lie = LIES[clockwork.pick(LIES.length)](world, peer)
  const port = victim.process?.port
  if (!lie || !port) return
  world.lies++
  clockwork.note(`a lie of ${lie.length} bytes to c${victim.index}`)
  // Statements count at once or never; all else is looked for in the end.
  const isBelieved = () =>
    [...victim.process!.core.presence.all()].some(({ facts }) => facts.version === EVIL)
  clockwork.after(0, () => {
    if (victim.process && isBelieved()) clockwork.fail(new Error(`c${victim.index} believes a lie`))
  })
  if (clockwork.chance(500)) {
    if (port.connected.includes(peer.id)) port.attendant.handler.frame(peer.id, lie)
  } else {
    const name = hash('sha1', lie)
    network.hostile.add(name)
    port.hear(name, lie, undefined)
  }
}

/**
 * Tells `victim` that it has everything up to some number of a controller's, or of more lives of it than are accounted for, or
 * asks it as one that has.
 */
function deceive(world: MeshWorld, victim: SimController, peer: SimController): void {
  const { clockwork } = world
  const { process } = victim
  const of = clockwork.choose(world.members.filter(each => each.isUp))
  if (!process || !of || !process.port.connected.includes(peer.id)) return
  const { incarnation } = of.process!.replica
  const claims = clockwork.chance(300)
    ? Object.fromEntries(Array.from({ length: MAX_LIVES + 1 }, (_, n) => [madeUpLife(world, of, n), [1, 9]]))
    : { [`${of.id}/${incarnation}`]: [1, 1 + clockwork.pick(clockwork.chance(500) ? 1e9 : 100)] }
  world.isDeceived = true
  clockwork.note(`c${victim.index} is deceived of c${of.index}`)
  const lie: Frame = clockwork.chance(500)
    ? { type: 'delta', records: [], known: claims, base: {}, more: false }
    : { type: 'vector', vector: claims, stateHash: '00'.repeat(32), answer: true }
  process.port.attendant.handler.frame(peer.id, encodeFrame(lie))
}

function madeUpLife({ clockwork }: MeshWorld, of: SimController, n: number): string {
  return `${of.id}/${makeStamp(clockwork.time, n)}`
}

type Lie = (world: MeshWorld, peer: SimController) => Uint8Array | undefined

const LIES: readonly Lie[] = [
  function noise({ clockwork }) {
    return clockwork.bytes(clockwork.pick(400))
  },
  function mutated(world, peer) {
    const { clockwork } = world
    const vector = peer.process?.replica.vector() ?? {}
    const corpus = [
      encodeFrame({ type: 'heartbeat', sent: 1, echo: 2, held: 3, boot: 4, version: 5 }),
      encodeFrame({ type: 'vector', vector, stateHash: 'ab'.repeat(32), answer: true }),
      encodeFrame({ type: 'records', records: someRecords(world, peer) }),
    ]
    return mutate(new Random(clockwork.next()), corpus).slice(0, 1024)
  },
  /** Someone's own record, with another value under the old signature. */
  function forged(world, peer) {
    const [bytes] = someRecords(world, peer)
    if (bytes === undefined) return undefined
    const changed = Uint8Array.from(bytes)
    changed[world.clockwork.pick(64)] ^= 1 << world.clockwork.pick(8)
    return encodeFrame({ type: 'records', records: [changed] })
  },
  function ofAStranger(world) {
    return sent(world, STRANGER, { id: 'evil-stranger' })
  },
  function foreignController(world) {
    const index = STRANGER + 1
    const value = controllerValue(index, { certificateChain: FOREIGN_CHAIN })
    return sent(world, index, { kind: 'controller', id: identity(index).id, value })
  },
  function fromTheFuture(world, peer) {
    const stamp = makeStamp(world.clockwork.time + TEN_YEARS, 0)
    return sent(world, peer.index, { id: 'evil-future', stamp })
  },
  /** Another controller's own record is that controller's to write. */
  function ofAnother(world, peer) {
    const other = world.clockwork.choose(world.members.filter(each => each !== peer))
    if (!other) return undefined
    const value = controllerValue(other.index, { name: 'evil' })
    return sent(world, peer.index, { kind: 'controller', id: other.id, value })
  },
  /** Someone else's presence under one's own signature. */
  function forgedPresence(world, peer) {
    const other = world.clockwork.choose(world.members.filter(each => each !== peer))
    if (!other) return undefined
    const { boot, version } = other.process?.core.presence.own ?? EMPTY
    const update = { ...EMPTY, boot, version: version + 1 }
    const body = encodeStatement({ type: 'presence', at: 1, update })
    const signature = sign(null, body, peer.identity.privateKey)
    return encodeFrame({ type: 'signed', author: other.id, signature, body })
  },
  function strangersPresence(world) {
    const body = encodeStatement({ type: 'presence', at: 1, update: EMPTY })
    const signature = world.clockwork.bytes(64)
    return encodeFrame({ type: 'signed', author: identity(STRANGER).id, signature, body })
  },
]

const EMPTY: PresenceUpdate = {
  boot: 2 ** 45,
  base: 0,
  version: 1,
  part: 0,
  parts: 1,
  facts: [EVIL, 0, false, false, '00'.repeat(32), 0, true, [], false, []],
  links: [],
  up: [],
  down: [],
}

function someRecords({ clockwork }: MeshWorld, peer: SimController): Uint8Array[] {
  const { process } = peer
  const all = process ? [...process.replica.all('client'), ...process.replica.all('controller')] : []
  const record = clockwork.choose(all)
  return record ? [encodeRecord(record)] : []
}

function sent({ clockwork }: MeshWorld, author: number, change: Record<string, unknown>): Uint8Array {
  const { id, privateKey } = identity(author)
  const record = {
    kind: 'setting',
    id: 'evil',
    value: { value: 'evil' },
    stamp: makeStamp(clockwork.time, 0),
    author: id,
    incarnation: 'f'.repeat(16),
    sequence: 1 + clockwork.pick(1000),
    term: 0,
    ...change,
  }
  const bytes = encodeRecord(signRecord(record as unknown as UnsignedRecord, privateKey))
  return encodeFrame({ type: 'records', records: [bytes] })
}
