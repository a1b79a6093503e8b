// Whether clients know of the routes and the resolver that there are now: those of this controller are told when routes change, and of those of
// others, their controllers say who is behind.
import type { MeshCore } from '../mesh/core.ts'
import type { Change } from '../state/batch.ts'
import type { ClientId, SettingValue } from '../state/kinds.ts'
import { behindAt } from './behind-elsewhere.ts'
import type { ClientSessions } from './client-sessions.ts'
import { isDnsSetting } from './dns/settings.ts'
import type { Home } from './home.ts'
import type { OverlayRoutes } from './overlay-routes.ts'
import { ROUTE_REFRESH, ROUTE_UPDATES, readRefresh, readRouteUpdates } from './route-settings.ts'
import { RouteUpdates } from './route-updates.ts'
import { steadyNow } from './steady-clock.ts'
import type { ServerSession } from './vpn/session.ts'

export interface RouteNewsInit {
  home: Home
  clients: Pick<ClientSessions, 'all' | 'push'>
  routes: Pick<OverlayRoutes, 'revision'>
  /** By which other controllers are asked; undefined before the mesh was started. */
  core: () => Pick<MeshCore, 'presence' | 'inquiries'> | undefined
}

export class RouteNews {
  readonly #init: RouteNewsInit
  readonly #updates: RouteUpdates<ServerSession>
  /** The revision of the routes that `#updates` knows of. */
  #told = 0

  constructor(init: RouteNewsInit) {
    const { home, clients } = init
    this.#init = init
    this.#updates = new RouteUpdates({
      sessions: () => clients.all(),
      push: session => clients.push(session),
      over: () => {
        const { over } = readRouteUpdates(home)
        return over === 'later' ? undefined : over
      },
      now: steadyNow,
      random: Math.random,
    })
  }

  /** What clients are told follows from few of the records: the others come and go by the thousand. */
  recordsChanged(changes: readonly Change[]): void {
    const settings = changes.filter(({ kind }) => kind === 'setting')
    const wish = settings.findLast(({ id }) => id === ROUTE_REFRESH)?.after?.value
    const refresh = wish ? readRefresh((wish as SettingValue).value) : undefined
    if (refresh) this.#updates.refresh(refresh)
    const told = this.#init.routes.revision
    if (told === this.#told && !settings.some(({ id }) => id === ROUTE_UPDATES || isDnsSetting(id))) return
    this.#told = told
    this.#updates.changed()
  }

  isBehind(session: ServerSession): boolean {
    return this.#updates.isBehind(session)
  }

  /** Clients here that have not heard of the routes that there are now. */
  behind(): ClientId[] {
    return [...this.#init.clients.all()]
      .filter(session => this.#updates.isBehind(session))
      .map(({ client }) => client as ClientId)
  }

  /** Clients of other controllers that are behind, as those say now. */
  async behindElsewhere(): Promise<ReadonlySet<ClientId>> {
    const core = this.#init.core()
    if (core === undefined) return new Set()
    const others = [...core.presence.entries()].filter(
      ({ controller, sessions }) => controller !== this.#init.home.id && sessions.size > 0,
    )
    return behindAt(
      others.map(({ controller }) => controller),
      core.inquiries,
    )
  }

  /** Runs timers; when to call again, by the steady clock. */
  poll(): number {
    return this.#updates.poll()
  }
}
