// How and when connected clients learn of other routes, as the records say it to all controllers.
import { type ClientId, isClientId } from '../state/kinds.ts'
import type { Op } from '../state/writing.ts'
import type { Home } from './home.ts'
import type { RouteUpdates } from './service.ts'

export const ROUTE_UPDATES = 'routes.updates'
export const ROUTE_REFRESH = 'routes.refresh'

/** Seconds over which clients that must reconnect are spread unless the operator says otherwise. */
export const DEFAULT_OVER = 10
const MAX_OVER = 86_400
const LATER = 'later'
const ALL = 'all'

/** A wish to have clients told now. */
export interface Refresh {
  /** Seconds. */
  readonly over: number
  /** All that are behind if undefined. */
  readonly clients: ReadonlySet<ClientId> | undefined
}

export function readRouteUpdates({ replica }: Pick<Home, 'replica'>): RouteUpdates {
  const value = replica.get('setting', ROUTE_UPDATES)?.value
  if (value === LATER) return { over: LATER }
  return { over: isOver(value) ? value : DEFAULT_OVER }
}

export function routeUpdatesOp({ over }: RouteUpdates): Op {
  return { kind: 'setting', id: ROUTE_UPDATES, value: { value: over } }
}

/** @param now ms; tells one wish from the next */
export function refreshOp(now: number, over: number, clients: readonly ClientId[] | undefined): Op {
  return {
    kind: 'setting',
    id: ROUTE_REFRESH,
    value: { value: [`${now}`, `${over}`, ...(clients ?? [ALL])] },
  }
}

/** Undefined for what is no wish. */
export function readRefresh(value: unknown): Refresh | undefined {
  if (!Array.isArray(value)) return undefined
  const [, seconds, ...clients] = value
  const over = Number(seconds)
  if (!isOver(over) || clients.length === 0) return undefined
  if (clients[0] === ALL) return { over, clients: undefined }
  return { over, clients: new Set(clients.filter(isClientId)) }
}

function isOver(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_OVER
}
