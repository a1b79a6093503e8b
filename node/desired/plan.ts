// What it takes to make the mesh as a document has it: the records to write, in words too, or everything that is wrong
// with the document. Nothing is written here.
import { MAX_OPS } from '../../state/writing.ts'
import { formatForwarder } from '../dns/forwarders.ts'
import { dnsOps, dnsSettings } from '../dns/settings.ts'
import type { Home } from '../home.ts'
import { readRouteUpdates, routeUpdatesOp } from '../route-settings.ts'
import type { DesiredState } from '../service-desired.ts'
import { type Allotted, Draft, differences, type Plan } from './draft.ts'
import { planAttachments } from './plan-attachments.ts'
import { planClients } from './plan-clients.ts'
import { planRoutes } from './plan-routes.ts'

export function planDesired(home: Home, desired: DesiredState, prune: boolean, allotted: Allotted): Plan {
  const draft = new Draft(home, desired, prune, allotted)
  const { name } = home.mesh.value
  if (desired.mesh !== name)
    draft.problem(['mesh'], `this is mesh ${name}, and the document is of ${desired.mesh}`)
  planSettings(draft)
  planClients(draft)
  planAttachments(draft)
  planRoutes(draft)
  const count = draft.ops.length + (allotted.issued.size === 0 ? 2 * draft.newcomers.length : 0)
  if (count > MAX_OPS)
    draft.problem(
      [],
      `it takes ${count} records, and one import writes at most ${MAX_OPS}; import it in parts, larger by and by`,
    )
  return draft
}

function planSettings(draft: Draft): void {
  const { home, desired } = draft
  const { dns, routeUpdates } = desired
  if (dns !== undefined) {
    const before = dnsSettings(home)
    const now = { enabled: before.enabled, forwarders: before.forwarders.map(formatForwarder) }
    const ops = draft.attempt(['dns'], () => {
      const isSo = dns.enabled === now.enabled
      return dnsOps(home, { ...dns, enabled: isSo ? undefined : dns.enabled })
    })
    const details = differences(now, { ...now, ...dns })
    if (ops !== undefined && details.length > 0) {
      draft.ops.push(...ops)
      draft.change('change', 'dns', 'dns', details)
    }
  }
  const { over } = readRouteUpdates(home)
  if (routeUpdates !== undefined && routeUpdates !== over) {
    draft.ops.push(routeUpdatesOp({ over: routeUpdates }))
    draft.change('change', 'routeUpdates', 'routeUpdates', [`${over} → ${routeUpdates}`])
  }
}
