// Sessions as an operator sees them: those of this controller with all that is known of them, those of others as they
// tell them.
import type { MeshCore } from '../mesh/core.ts'
import type { PresentSession } from '../mesh/presence-types.ts'
import { formatIpv4 } from '../state/address.ts'
import type { ClientId, ControllerId } from '../state/kinds.ts'
import type { ClientView } from '../state/views.ts'
import { addressesOf } from './addresses.ts'
import type { ClientSessions } from './client-sessions.ts'
import type { Home } from './home.ts'
import type { Session } from './service.ts'
import { formatRemote } from './switch/path.ts'
import type { Switch } from './switch/switch.ts'
import type { ServerSession } from './vpn/session.ts'

/** What sessions are described from. */
export interface SessionSources {
  readonly home: Home
  /** The sessions of this controller that count. */
  readonly local: Pick<ClientSessions, 'all' | 'of'>
  /** Undefined before the start. */
  readonly network: Switch | undefined
  readonly core: MeshCore | undefined
  /** Whether the client was told other routes than there are now. */
  readonly isBehind: (session: ServerSession) => boolean
}

/** All sessions of the mesh, one of each client, in the order of the clients' names. */
export function listSessions(sources: SessionSources): Session[] {
  const here = [...sources.local.all()].map(session => localSession(session, sources))
  const known = new Set(here.map(each => each.client))
  const elsewhere = remoteSessions(sources).filter(each => !known.has(each.client))
  return [...here, ...elsewhere].sort((a, b) => (a.client < b.client ? -1 : a.client > b.client ? 1 : 0))
}

/** A client's session in the mesh: one among thousands is not looked for in the list of all. */
export function sessionOf(client: ClientId, sources: SessionSources): Session | undefined {
  const { home, local, core } = sources
  const here = local.of(client)
  if (here !== undefined) return localSession(here, sources)
  const where = core?.presence.where(client)
  const view = where && home.views.client(client)
  return where === undefined || view === undefined || where.controller === home.id
    ? undefined
    : remoteSession(view, where.controller, where.session, home)
}

function localSession(session: ServerSession, { home, network, isBehind }: SessionSources): Session {
  return { ...describe(session, home, network), routesBehind: isBehind(session) }
}

function describe(
  session: ServerSession,
  home: Home,
  network: Switch | undefined,
): Omit<Session, 'routesBehind'> {
  const stats = network?.portStats(session.peerId)
  return {
    client: session.name,
    ...addressesOf(home.mesh, formatIpv4(session.address)),
    controller: home.config.controller,
    since: new Date(session.openedAt).toISOString(),
    remote: formatRemote(session.path),
    rxBytes: stats?.rxBytes ?? 0,
    txBytes: stats?.txBytes ?? 0,
    rxPackets: stats?.rxPackets ?? 0,
    txPackets: stats?.txPackets ?? 0,
    lastReceived: stats?.lastReceived ? new Date(stats.lastReceived).toISOString() : null,
    cipher: session.cipher,
    keyDerivation: session.derivation,
    tls: session.tlsVersion,
    version: session.version,
  }
}

function remoteSessions({ home, core }: SessionSources): Session[] {
  if (core === undefined) return []
  const { presence } = core
  const sessions: Session[] = []
  for (const { controller, sessions: told } of presence.entries()) {
    if (controller === home.id) continue
    for (const session of told.values()) {
      const view = home.views.client(session.client)
      if (view === undefined || presence.where(session.client)?.controller !== controller) continue
      sessions.push(remoteSession(view, controller, session, home))
    }
  }
  return sessions
}

/** What passed through it, and how, is known to its controller alone. */
function remoteSession(
  view: ClientView,
  controller: ControllerId,
  { since, remote }: PresentSession,
  { replica, mesh }: Home,
): Session {
  return {
    client: view.name,
    ...addressesOf(mesh, view.value.address),
    controller: replica.get('controller', controller)?.name ?? controller,
    since: new Date(since).toISOString(),
    remote,
    rxBytes: 0,
    txBytes: 0,
    rxPackets: 0,
    txPackets: 0,
    lastReceived: null,
    cipher: '',
    keyDerivation: '',
    tls: '',
    version: '',
    routesBehind: false,
  }
}
