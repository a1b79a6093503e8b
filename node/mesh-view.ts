// The mesh as an operator asks about it: the other controllers, how far they are, and where a write is kept.
import type { ControllerId, ControllerValue } from '../state/kinds.ts'
import { addressesOf } from './addresses.ts'
import type { Home } from './home.ts'
import type { MeshRuntime } from './mesh-runtime.ts'
import type { ControllerLink, StoredOn, Verification } from './service.ts'
import type { ControllerEntry } from './service-membership.ts'

/** ms that a write waits for the controllers that are connected to say that they have it. */
const STORED_MS = 500

/** Every controller of the mesh, this one too. @param mesh undefined when no controller runs */
export function listControllers(
  { id, views, replica }: Home,
  mesh: MeshRuntime | undefined,
): ControllerLink[] {
  const links = new Map(mesh?.links().map(link => [link.peer, link]))
  const peers = new Map(mesh?.peers().map(peer => [peer.id, peer]))
  return views.controllers().map(({ id: controller, value }) => {
    const self = controller === id
    const link = links.get(controller)
    const peer = peers.get(controller)
    const presence = mesh?.core.presence
    const facts = presence?.isLiving(controller) ? presence.of(controller)?.facts : undefined
    return {
      id: controller,
      name: value.name,
      self,
      link: {
        up: self ? mesh !== undefined : (link?.up ?? false),
        rttMs: link?.up ? round(link.rttMs) : 0,
        lossPercent: self ? 0 : (link?.lossPercent ?? (mesh ? 100 : 0)),
        mtu: link?.up ? link.mtu : 0,
      },
      connected: self ? mesh !== undefined : (peer?.connected ?? false),
      draining: facts?.draining ?? false,
      holdsRootKey: facts?.holdsRootKey ?? false,
      version: facts?.version ?? '',
      protocol: peer?.protocol ?? 0,
      stateHash: self ? replica.hash() : (peer?.stateHash ?? ''),
      behind: peer?.behind ?? 0,
    }
  })
}

/** The controllers as they are registered, with those of `removed` at the end. */
export function listEntries(
  home: Home,
  mesh: MeshRuntime | undefined,
  removed: readonly { id: ControllerId; value: ControllerValue; by: ControllerId }[],
): ControllerEntry[] {
  const { replica } = home
  const seen = new Map(listControllers(home, mesh).map(each => [each.id, each]))
  const entry = (id: ControllerId, value: ControllerValue, by?: ControllerId): ControllerEntry => {
    const now = seen.get(id)
    return {
      id,
      name: value.name,
      self: id === home.id,
      ...addressesOf(home.mesh, value.address),
      public: value.publicEndpoints,
      mesh: value.meshEndpoints,
      joinedAt: new Date(value.joinedAt).toISOString(),
      up: now !== undefined && (now.connected || now.link.up),
      behind: now?.behind ?? 0,
      draining: now?.draining ?? false,
      holdsRootKey: now?.holdsRootKey ?? false,
      version: now?.version ?? '',
      removedAt: value.removedAt === undefined ? null : new Date(value.removedAt).toISOString(),
      removedBy: by === undefined ? null : (replica.get('controller', by)?.name ?? by),
    }
  }
  return [
    ...home.views.controllers().map(({ id, value }) => entry(id, value)),
    ...removed.map(({ id, value, by }) => entry(id, value, by)),
  ]
}

/** How the peers' records compare with those here. */
export function comparePeers(home: Home, mesh: MeshRuntime | undefined): Verification['peers'] {
  const stateHash = home.replica.hash()
  return listControllers(home, mesh)
    .filter(({ self }) => !self)
    .map(peer => ({ name: peer.name, stateHash: peer.stateHash, equal: peer.stateHash === stateHash }))
}

/**
 * On how many of the mesh's controllers the latest write is on disk. This one counts as long as it is of the mesh.
 * @param waitMs longest wait for the controllers that are connected to say that they have it
 */
export async function storedOn(
  { id, views, replica }: Home,
  mesh: MeshRuntime | undefined,
  waitMs = STORED_MS,
): Promise<StoredOn> {
  const of = views.controllers().length
  const self = views.isAdmitted(id) ? 1 : 0
  const { sequence } = replica
  if (mesh === undefined) return { controllers: self, of }
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, waitMs)
  try {
    const others = await mesh.core.stored({ sequence }, promise)
    return { controllers: Math.min(of, self + others), of }
  } finally {
    clearTimeout(timer)
    resolve()
  }
}

const round = (value: number): number => Math.round(value * 1000) / 1000
