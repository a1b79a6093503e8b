// Routes as a document has them: one for each prefix and what it goes through.
import { formatCidr, parseCidr } from '../../state/address.ts'
import { formatCidr6, parseCidr6 } from '../../state/address6.ts'
import { Routes } from '../routes.ts'
import type { DesiredRoute } from '../service-desired.ts'
import { type Draft, differences } from './draft.ts'
import { addedRoutes } from './export.ts'

export function planRoutes(draft: Draft): void {
  const wanted = draft.desired.routes
  if (wanted === undefined) return
  const routes = new Routes(draft.home)
  const current = new Map(addedRoutes(draft.home).map(each => [keyOf(each.route), each]))
  const named = new Set<string>()
  for (const [index, want] of wanted.entries()) {
    const path = ['routes', index]
    const name = nameOf(want)
    const key = keyOf(want)
    if (named.has(key)) draft.problem(path, `${name} is in the document twice`)
    named.add(key)
    if (draft.leaving.has(want.via)) {
      draft.problem(path, `${want.via} is not in the document, and --prune is to remove it`)
      continue
    }
    const before = current.get(key)
    const details = before ? differences(compared(before.route), compared(want)) : []
    // What is so already need not be what could be added now: its client may have been revoked.
    if (before && details.length === 0) continue
    const drafted = draft.attempt(path, () => routes.draft(want, draft.pending))
    if (drafted === undefined) continue
    const client = /^client:(.*)$/.exec(want.via)?.[1]
    if (client !== undefined && hasSubnet(draft, client, drafted.value.cidr)) {
      draft.problem(
        path,
        `${drafted.value.cidr} is a subnet of client ${client} already, and so has its route`,
      )
      continue
    }
    const createdAt = before?.value.createdAt ?? drafted.value.createdAt
    draft.ops.push({ kind: 'route', id: drafted.id, value: { ...drafted.value, createdAt } })
    if (before) draft.change('change', 'route', name, details)
    else
      draft.change('add', 'route', name, differences(compared({ cidr: '', via: want.via }), compared(want)))
  }
  for (const [key, { id, route }] of current) {
    if (named.has(key)) continue
    const name = nameOf(route)
    if (!draft.prune) draft.change('extra', 'route', name)
    else {
      draft.ops.push({ kind: 'route', id, value: null })
      draft.change('remove', 'route', name)
    }
  }
}

function hasSubnet({ desired, home }: Draft, client: string, cidr: string): boolean {
  const want = desired.clients?.[client]
  const subnets = want ? (want.subnets ?? []) : (home.views.clientByName(client)?.value.subnets ?? [])
  return subnets.includes(cidr)
}

function nameOf({ cidr, via }: DesiredRoute): string {
  const [four, six] = [parseCidr(cidr), parseCidr6(cidr)]
  return `${four ? formatCidr(four) : six ? formatCidr6(six) : cidr} via ${via}`
}

const NAMED_EXIT = /^internet:/

/** The way to the Internet at a named controller is the route through it with NAT. */
function keyOf({ cidr, via }: DesiredRoute): string {
  return nameOf({ cidr, via: via.replace(NAMED_EXIT, 'controller:') })
}

function compared({ metric = 0, nat = false, probe, via }: DesiredRoute) {
  const isMasqueraded = NAMED_EXIT.test(via) || (nat && via !== 'internet')
  return { via, metric, ...(isMasqueraded && { nat: true }), ...(probe !== undefined && { probe }) }
}
