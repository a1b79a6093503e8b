// Sessions as an operator sees them: those of this controller with all that is known of them, those of others as they
// tell them.
import type { MeshCore } from '../mesh/core.ts'
import { formatIpv4 } from '../state/address.ts'
import { addressesOf } from './addresses.ts'
import type { Home } from './home.ts'
import type { Session } from './service.ts'
import { formatRemote } from './switch/path.ts'
import type { Switch } from './switch/switch.ts'
import type { ServerSession } from './vpn/session.ts'

/** All sessions of the mesh, one of each client, in the order of the clients' names. */
export function listSessions(
  home: Home,
  local: Iterable<ServerSession>,
  network: Switch | undefined,
  core: MeshCore | undefined,
  isBehind: (session: ServerSession) => boolean,
): Session[] {
  const here = [...local].map(session => ({
    ...describe(session, home, network),
    routesBehind: isBehind(session),
  }))
  const known = new Set(here.map(each => each.client))
  const elsewhere = core ? remoteSessions(home, core).filter(each => !known.has(each.client)) : []
  return [...here, ...elsewhere].sort((a, b) => (a.client < b.client ? -1 : a.client > b.client ? 1 : 0))
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

/** What passed through them, and how, is known to their controllers alone. */
function remoteSessions({ id, views, replica, mesh }: Home, { presence }: MeshCore): Session[] {
  const sessions: Session[] = []
  for (const { controller, sessions: told } of presence.entries()) {
    if (controller === id) continue
    const name = replica.get('controller', controller)?.name ?? controller
    for (const { client, since, remote } of told.values()) {
      const view = views.client(client)
      if (view === undefined || presence.where(client)?.controller !== controller) continue
      sessions.push({
        client: view.name,
        ...addressesOf(mesh, view.value.address),
        controller: name,
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
      })
    }
  }
  return sessions
}
