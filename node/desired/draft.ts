// A plan in the making: what is found to be written, said, or wrong.
import type { OverlayAddress } from '../../state/address.ts'
import { StateError } from '../../state/errors.ts'
import type { ClientId, Serial } from '../../state/kinds.ts'
import type { Op } from '../../state/writing.ts'
import type { Home } from '../home.ts'
import type { DesiredChange, DesiredState, Reconciliation } from '../service-desired.ts'
import { ServiceError } from '../service-error.ts'

/** What a new client is given before its record is written. */
export interface Issued {
  readonly serial: Serial
  readonly fingerprint: string
  readonly notAfter: number
}

export interface Newcomer {
  readonly id: ClientId
  readonly name: string
  readonly address: OverlayAddress
}

/** What was chosen for those that are new: the same when it is planned again. */
export interface Allotted {
  readonly clients: Map<string, Newcomer>
  /** Ids by name. */
  readonly attachments: Map<string, string>
  readonly issued: Map<string, Issued>
}

export interface Plan {
  readonly changes: DesiredChange[]
  readonly problems: Reconciliation['problems']
  /** Records of new clients are among them once they were issued. */
  readonly ops: Op[]
  readonly newcomers: Newcomer[]
  /** Serial numbers. */
  readonly revoked: Serial[]
}

/** A plan in the making. */
export class Draft implements Plan {
  readonly changes: DesiredChange[] = []
  readonly problems: Reconciliation['problems'] = []
  readonly ops: Op[] = []
  readonly newcomers: Newcomer[] = []
  readonly revoked: Serial[] = []
  readonly home: Home
  readonly desired: DesiredState
  readonly prune: boolean
  readonly allotted: Allotted
  /** Clients and attachments that are to be; see `Pending` of routes. */
  readonly pending = {
    clients: new Map<string, ClientId>(),
    attachments: new Map<string, string>(),
    sites: new Map<string, readonly string[]>(),
  }
  /** `client:NAME` and `attachment:NAME` of those that are to go. */
  readonly leaving = new Set<string>()

  constructor(home: Home, desired: DesiredState, prune: boolean, allotted: Allotted) {
    this.home = home
    this.desired = desired
    this.prune = prune
    this.allotted = allotted
  }

  problem(path: readonly (string | number)[], message: string): void {
    this.problems.push({ path: path.map(String), message })
  }

  /** What is refused becomes a problem of that place. */
  attempt<T>(path: readonly (string | number)[], work: () => T): T | undefined {
    try {
      return work()
    } catch (error) {
      if (!(error instanceof ServiceError || error instanceof StateError)) throw error
      this.problem(path, error.message)
      return undefined
    }
  }

  change(
    action: DesiredChange['action'],
    kind: DesiredChange['kind'],
    name: string,
    details: string[] = [],
  ): void {
    this.changes.push({ action, kind, name, details })
  }
}

/** What is not the same in two objects, a line for each field. */
export function differences(before: object, after: object): string[] {
  const [old, fresh] = [before as Record<string, unknown>, after as Record<string, unknown>]
  return [...new Set([...Object.keys(old), ...Object.keys(fresh)])].flatMap(key =>
    canonical(old[key]) === canonical(fresh[key])
      ? []
      : [`${key}: ${shown(old[key])} → ${shown(fresh[key])}`],
  )
}

/** Where the order of keys makes no difference. */
function canonical(value: unknown): string | undefined {
  const isMap = typeof value === 'object' && value !== null && !Array.isArray(value)
  return JSON.stringify(isMap ? Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)) : value)
}

function shown(value: unknown): string {
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return 'none'
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}
