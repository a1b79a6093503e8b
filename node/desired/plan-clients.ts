// Clients as a document has them: who is new, who changes, who goes.
import { randomBytes } from 'node:crypto'
import { formatIpv4, type OverlayAddress, parseIpv4 } from '../../state/address.ts'
import { type AddressView, checkAddress, nextAddress } from '../../state/allocator.ts'
import { type ClientValue, newClientId } from '../../state/kinds.ts'
import type { ClientView } from '../../state/views.ts'
import { restoredNotice } from '../backup/settling.ts'
import { Clients, checkTags, releaseOf, replacing } from '../clients.ts'
import { controllerIds } from '../controller-names.ts'
import { nameTaken, newNameProblem } from '../new-names.ts'
import { packedFor } from '../pack-list.ts'
import type { DesiredClient } from '../service-desired.ts'
import { type Draft, differences, type Newcomer } from './draft.ts'
import { controllerNames } from './export.ts'

type Settings = Pick<ClientValue, 'subnets' | 'tags' | 'enabled' | 'prefer'>

export function planClients(draft: Draft): void {
  const wanted = draft.desired.clients
  if (wanted === undefined) return
  const { views } = draft.home
  const clients = new Clients(draft.home)
  const current = new Map(
    views.clients().flatMap(client => (clients.isRevoked(client) ? [] : [[client.name, client] as const])),
  )
  const freed = new Set<number>()
  for (const client of current.values()) {
    if (Object.hasOwn(wanted, client.name)) continue
    if (draft.prune) revoke(draft, client, freed)
    else draft.change('extra', 'client', client.name)
  }
  const fresh: [string, DesiredClient, Settings][] = []
  for (const [name, want] of Object.entries(wanted)) {
    const path = ['clients', name]
    const settings = readSettings(draft, clients, path, want)
    const client = current.get(name)
    if (client) draft.pending.clients.set(name, client.id)
    if (settings === undefined) continue
    if (client) change(draft, client, want, settings)
    else {
      const problem = newNameProblem(name) ?? bearerProblem(draft, clients, name)
      if (problem === undefined) fresh.push([name, want, settings])
      else draft.problem(path, problem)
    }
  }
  addAll(draft, fresh, freed)
}

/** Others may have the name, shown under another: one that stays would be shown under it from then on. */
function bearerProblem({ home, leaving }: Draft, clients: Clients, name: string): string | undefined {
  const bearer = home.views
    .namesakes(name)
    .find(each => !clients.isRevoked(each) && !leaving.has(`client:${each.name}`))
  return bearer && nameTaken(bearer)
}

function readSettings(
  draft: Draft,
  clients: Clients,
  path: string[],
  want: DesiredClient,
): Settings | undefined {
  const subnets = draft.attempt([...path, 'subnets'], () => clients.checkSubnets(want.subnets ?? []))
  const tags = draft.attempt([...path, 'tags'], () => checkTags(want.tags ?? {}))
  const prefer = draft.attempt([...path, 'prefer'], () => controllerIds(draft.home, want.prefer ?? []))
  if (subnets === undefined || tags === undefined || prefer === undefined) return undefined
  return { subnets, tags, enabled: want.enabled ?? true, prefer }
}

function change(
  draft: Draft,
  { id, name, value }: ClientView,
  want: DesiredClient,
  settings: Settings,
): void {
  const { home } = draft
  if (want.address !== undefined && parseIpv4(want.address) !== parseIpv4(value.address)) {
    draft.problem(
      ['clients', name, 'address'],
      `client ${name} has ${value.address}, and its credential is for that alone; revoke it first to give it another`,
    )
    return
  }
  const view = ({ prefer, ...rest }: Settings) => ({ ...rest, prefer: controllerNames(home, prefer ?? []) })
  const { subnets, tags, enabled, prefer } = value
  const details = differences(view({ subnets, tags, enabled, prefer }), view(settings))
  if (details.length === 0) return
  const { prefer: _, ...before } = value
  draft.ops.push({ kind: 'client', id, value: { ...before, ...withoutNone(settings) } })
  draft.change('change', 'client', name, details)
}

function withoutNone({ prefer = [], ...rest }: Settings): Settings {
  return prefer.length > 0 ? { ...rest, prefer } : rest
}

function revoke(draft: Draft, client: ClientView, freed: Set<number>): void {
  const { id, name, value } = client
  const at = Date.now()
  const reason = 'not in the imported document'
  draft.ops.push({ kind: 'revocation', id: value.serial, value: { client: id, reason, at } })
  const release = releaseOf(draft.home.replica, client)
  draft.ops.push(...release)
  if (release.length > 0) freed.add(parseIpv4(value.address)!)
  draft.revoked.push(value.serial)
  draft.leaving.add(`client:${name}`)
  draft.change('remove', 'client', name, ['revoked for good'])
}

/** Those that name their address come first, so that it is not given to another. */
function addAll(
  draft: Draft,
  fresh: readonly [string, DesiredClient, Settings][],
  freed: ReadonlySet<number>,
): void {
  if (fresh.length === 0) return
  const notice = restoredNotice(draft.home)
  if (notice !== undefined) {
    draft.problem(['clients'], notice)
    return
  }
  const addresses = draft.home.views.addresses()!
  const taken = new Set<number>()
  const byHand: AddressView = {
    ...addresses,
    isLeased: each => taken.has(each) || (addresses.isLeased(each) && !freed.has(each)),
  }
  const next: AddressView = { ...addresses, isLeased: each => taken.has(each) || addresses.isLeased(each) }
  const isNamed = ([name, want]: readonly [string, DesiredClient, Settings]) =>
    want.address !== undefined || draft.allotted.clients.has(name)
  for (const entry of [...fresh.filter(isNamed), ...fresh.filter(each => !isNamed(each))]) {
    const [name, want, settings] = entry
    const address = addressFor(draft, name, want, byHand, next)
    if (address === undefined) continue
    taken.add(address)
    const known = draft.allotted.clients.get(name)
    const newcomer: Newcomer = known ?? { id: newClientId(randomBytes), name, address }
    draft.allotted.clients.set(name, newcomer)
    draft.pending.clients.set(name, newcomer.id)
    draft.newcomers.push(newcomer)
    draft.change('add', 'client', name, [
      formatIpv4(address),
      ...differences({ enabled: true }, named(draft, settings)),
    ])
    write(draft, newcomer, settings)
  }
}

function addressFor(
  draft: Draft,
  name: string,
  want: DesiredClient,
  byHand: AddressView,
  next: AddressView,
): OverlayAddress | undefined {
  const path = ['clients', name, 'address']
  const chosen =
    want.address === undefined ? draft.allotted.clients.get(name)?.address : parseIpv4(want.address)
  if (chosen === undefined && want.address !== undefined) {
    draft.problem(path, `"${want.address}" is no IPv4 address`)
    return undefined
  }
  if (chosen !== undefined) {
    const check = checkAddress(byHand, chosen)
    if (check.ok) return chosen
    draft.problem(path, check.message)
    return undefined
  }
  const allocation = nextAddress(next, draft.home.id)
  if (allocation.ok) return allocation.address
  draft.problem(['clients', name], allocation.message)
  return undefined
}

function named({ home }: Draft, { subnets, tags, enabled, prefer }: Settings): object {
  const names = controllerNames(home, prefer ?? [])
  return {
    ...(subnets.length > 0 && { subnets }),
    ...(Object.keys(tags).length > 0 && { tags }),
    enabled,
    ...(names.length > 0 && { prefer: names }),
  }
}

function write(draft: Draft, { id, name, address }: Newcomer, settings: Settings): void {
  const issued = draft.allotted.issued.get(name)
  if (issued === undefined) return
  const { home } = draft
  const text = formatIpv4(address)
  for (const client of home.views.namesakes(name)) draft.ops.push(...replacing(home.replica, client))
  const value: ClientValue = {
    name,
    address: text,
    ...withoutNone(settings),
    serial: issued.serial,
    fingerprint: issued.fingerprint,
    issuer: home.id,
    createdAt: Date.now(),
    expiresAt: issued.notAfter,
    packedFor: packedFor(home),
  }
  draft.ops.push({ kind: 'client', id, value })
  draft.ops.push({ kind: 'lease', id: text, value: { holder: id, holderKind: 'client' } })
}
