// What must hold of a mesh that is well again.
import { MESH_TIMING } from '../../mesh/core-types.ts'
import { FEW } from '../../mesh/fan-out.ts'
import type { ClientId } from '../../state/kinds.ts'
import { EVIL } from './hostile.ts'
import type { MeshWorld } from './mesh-world.ts'
import type { SimController, SimProcess } from './sim-controller.ts'

/** Everyone has a channel to everyone else. */
export function areConnected(members: readonly SimController[]): boolean {
  return members.every(({ process, id }) => {
    const others = members.filter(other => other.id !== id)
    return process !== undefined && others.every(other => process.core.isConnected(other.id))
  })
}

export function areEqual(members: readonly SimController[]): boolean {
  return new Set(members.map(({ process }) => process?.replica.hash())).size === 1
}

/** Where every client is, by what its controllers themselves know: the newest session. */
function truth(processes: readonly SimProcess[]): Map<ClientId, { at: string; since: number }> {
  const newest = new Map<ClientId, { at: string; since: number }>()
  for (const { core } of processes) {
    const { controller: at, sessions } = core.presence.own
    for (const { client, since } of sessions.values()) {
      const other = newest.get(client)
      const isNewer = !other || since > other.since || (since === other.since && at > other.at)
      if (isNewer) newest.set(client, { at, since })
    }
  }
  return newest
}

/** Why presence is not what it should be, in words; undefined when it is. */
export function presenceProblem(members: readonly SimController[]): string | undefined {
  const up = members.filter(each => each.isUp)
  const where = truth(up.map(each => each.process!))
  for (const { index, process } of up) {
    const { presence } = process!.core
    for (const { id, index: other, isDraining } of up) {
      const told = presence.of(id)?.facts.draining
      if (told !== isDraining)
        return `c${index} believes c${other} to drain: ${told}, and it is ${isDraining}`
    }
    for (const client of presence.own.sessions.keys()) {
      if (where.get(client)?.at !== presence.own.controller)
        return `c${index} keeps ${client}, which is elsewhere`
    }
    for (const client of new Set([...where.keys(), ...presence.clients()])) {
      const found = presence.where(client)
      const told = found && `${found.controller} since ${found.session.since}`
      const right = where.get(client)
      const should = right && `${right.at} since ${right.since}`
      if (told !== should) return `c${index} believes ${client} to be at ${told}, and it is at ${should}`
    }
  }
  return undefined
}

/** No two usable credentials hold one address. */
export function addressProblem({ views }: SimProcess): string | undefined {
  const holders = new Map<number, string>()
  for (const client of views.clients()) {
    const credential = views.standing(client)
    if (!credential.usable) continue
    const other = holders.get(credential.address)
    if (other !== undefined) return `${client.value.address} is held by ${other} and by ${client.id}`
    holders.set(credential.address, client.id)
  }
  return undefined
}

/** ms in which a revocation counts wherever its author can be heard, and how far its author's clock may be ahead. */
const REVOCATION_LIMIT = 1000
const HOUR = 3_600_000

/** A controller whose clock is far ahead revokes a client: all refuse it at once, and end its session. */
export async function checkRevocation(world: MeshWorld): Promise<void> {
  const { clockwork, members, network } = world
  network.loss = 0
  const by = clockwork.choose(members)!
  const { views } = by.process!
  const client = clockwork.choose(views.clients().filter(each => views.standing(each).usable))
  if (client === undefined) return
  by.skew = clockwork.pick(HOUR)
  const { id, value } = client
  const revocation = { client: id, reason: 'revoked' as const, at: by.now }
  await world.within(world.write(by, [{ kind: 'revocation', id: value.serial, value: revocation }]))
  // Gossip may have stopped somewhere, in silence: then a comparison brings it.
  const { unequal = MESH_TIMING.unequal, heartbeat = MESH_TIMING.heartbeat } = world.timing
  const isGossiped = members.length > (world.few ?? FEW) + 1
  const limit = REVOCATION_LIMIT + (isGossiped ? unequal + heartbeat : 0)
  const isOut = ({ process }: SimController) =>
    !process!.views.credential(value.serial).usable && !process!.sessions.has(id)
  if ((await clockwork.until(() => members.every(isOut), limit)) !== undefined) return
  const late = members.filter(each => !isOut(each)).map(({ index }) => `c${index}`)
  throw new Error(`${late.join(', ')} still let in whom c${by.index} revoked ${limit} ms ago`)
}

/** ms beyond a heartbeat in which all know that a controller drains, and of 1000 tellings how many are lost meanwhile. */
const DRAIN_LIMIT = 1000
const DRAIN_LOSS = 600

/** What controllers say of themselves is known everywhere soon, however much of what they gossip is lost. */
export async function checkDrain(world: MeshWorld): Promise<void> {
  const { clockwork, members, network } = world
  const { heartbeat = MESH_TIMING.heartbeat } = world.timing
  network.loss = DRAIN_LOSS
  const by = clockwork.choose(members)!
  for (let turns = 0; turns < 4; turns++) {
    by.drain(!by.isDraining)
    const limit = DRAIN_LIMIT + heartbeat
    const isKnown = () => presenceProblem(members) === undefined
    if ((await clockwork.until(isKnown, limit)) === undefined) throw new Error(presenceProblem(members))
  }
  network.loss = 0
}

/** Everything that is wrong in the end, in words. */
export function* problems(world: MeshWorld): Iterable<string> {
  const { members } = world
  const [first] = members
  for (const controller of members) {
    const name = `c${controller.index}`
    const { process } = controller
    if (!process) {
      yield `${name} is down`
      continue
    }
    const { replica, views, port } = process
    const reference = first.process!
    if (replica.hash() !== reference.replica.hash()) yield `${name} differs from c${first.index}`
    if (replica.held > 0 && world.lies === 0) yield `${name} holds ${replica.held} records back`
    if (!Buffer.from(views.routingTable()).equals(reference.views.routingTable())) yield `routes of ${name}`
    const conflicts = JSON.stringify(views.conflicts())
    if (conflicts !== JSON.stringify(reference.views.conflicts())) yield `conflicts of ${name}`
    const address = addressProblem(process)
    if (address) yield `${name}: ${address}`
    for (const serial of world.revoked) {
      if (views.credential(serial).usable) yield `${name} lets the revoked ${serial} in`
    }
    for (const { id, value } of views.clients()) {
      if (replica.get('revocation', value.serial)?.reason === 'superseded')
        yield `${name} has no certificate of ${id} after a rekey`
    }
    for (const problem of world.broken(process)) yield `${name}: ${problem}`
    for (const problem of world.stolen(process)) yield `${name}: ${problem}`
    for (const client of process.sessions.keys()) {
      const view = views.client(client)
      if (!view || !views.standing(view).usable) yield `${name} has a session of ${client}, which may not`
    }
    if (port.rejected > 0) yield `${name} rejected ${port.rejected} frames of honest controllers`
    for (const { id, index } of world.removed) {
      if (process.core.isConnected(id)) yield `${name} still talks to c${index}, which was removed`
      if (process.core.presence.of(id)) yield `${name} still has the presence of c${index}, which was removed`
    }
    for (const record of replica.all('setting'))
      if (record.id.startsWith('evil')) yield `${name}: ${record.id}`
    const ids = new Set<string>(world.controllers.map(({ id }) => id))
    for (const { id, value } of replica.all('controller'))
      if (value.name === 'evil' || !ids.has(id)) yield `${name} believes a lie about the controller ${id}`
    for (const { controller, facts } of process.core.presence.all())
      if (facts.version === EVIL) yield `${name} believes a lie about where ${controller} is`
  }
  for (const { index, id, process } of world.removed) {
    if (process?.replica.get('controller', id)?.removedAt === undefined)
      yield `c${index} does not know that it was removed`
  }
  const presence = presenceProblem(members)
  if (presence) yield presence
  // What was accounted for and is missing: only a disk that was set back brings that about, a removal, after which all is
  // asked for anew, or a lie about it.
  const isPlain = !world.isDeceived && !world.hasRemoved && !world.controllers.some(each => each.wasRestored)
  if (isPlain && world.repairs > 0)
    yield `${world.repairs} times records were missing that were accounted for`
  yield* world.overstated
}
