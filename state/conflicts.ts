// What two halves of a mesh did without knowing of each other, found in the records once they are together.
import type { ClientId, ControllerId } from './kinds.ts'
import type { Records, Views } from './views.ts'

export type Conflict =
  /** Several clients of one name; the oldest keeps it, the others are shown under the names given. */
  | {
      readonly kind: 'name'
      readonly name: string
      readonly clients: readonly { id: ClientId; shownAs: string }[]
      readonly message: string
    }
  /** Several holders of one address; the lease decides. `holder` is undefined when the lease is gone. */
  | {
      readonly kind: 'address'
      readonly address: string
      readonly holder: ClientId | ControllerId | undefined
      readonly losers: readonly (ClientId | ControllerId)[]
      readonly message: string
    }

/** All conflicts, names first, in the order of names and addresses. */
export function findConflicts(views: Views, records: Records): readonly Conflict[] {
  return [...nameConflicts(views), ...addressConflicts(views, records)]
}

function nameConflicts(views: Views): Conflict[] {
  const conflicts: Conflict[] = []
  for (const { name, clients } of views.sharedNames()) {
    const shown = clients.map(client => ({ id: client.id, shownAs: client.name }))
    const others = shown.slice(1).map(({ shownAs }) => shownAs)
    const message = `${clients.length} clients are named ${name}; the newer are shown as ${others.join(', ')}; add those again under other names`
    conflicts.push({ kind: 'name', name, clients: shown, message })
  }
  return conflicts.sort((a, b) => compareText((a as { name: string }).name, (b as { name: string }).name))
}

function addressConflicts(views: Views, records: Records): Conflict[] {
  const losers = new Map<string, { id: ClientId | ControllerId; name: string }[]>()
  const note = (address: string, loser: { id: ClientId | ControllerId; name: string }) => {
    const list = losers.get(address)
    if (list === undefined) losers.set(address, [loser])
    else list.push(loser)
  }
  for (const { id } of records.all('client')) {
    const { name, value } = views.client(id)!
    // Whose certificate was revoked has given its address up.
    if (records.has('revocation', value.serial)) continue
    if (records.get('lease', value.address)?.holder !== id) {
      note(value.address, { id: id as ClientId, name })
    }
  }
  for (const { id, value } of views.controllers()) {
    if (records.get('lease', value.address)?.holder !== id) note(value.address, { id, name: value.name })
  }
  return [...losers]
    .sort(([a], [b]) => compareText(a, b))
    .map(([address, list]) => {
      list.sort((a, b) => compareText(a.id, b.id))
      const holder = records.get('lease', address)?.holder
      const holderName = holder === undefined ? 'nobody' : nameOf(views, records, holder)
      const message = `${address} is held by ${holderName}; ${remedies(views, list).join('; ')}`
      return { kind: 'address', address, holder, losers: list.map(({ id }) => id), message }
    })
}

/** What those who have lost an address can do. */
function remedies(views: Views, losers: readonly { id: string; name: string }[]): string[] {
  const namesOf = (areControllers: boolean) =>
    losers.filter(({ id }) => views.isAdmitted(id) === areControllers).map(({ name }) => name)
  const [clients, controllers] = [namesOf(false), namesOf(true)]
  const words: string[] = []
  if (clients.length > 0)
    words.push(
      `${clients.join(', ')} cannot connect: \`overmesh client revoke\` that, and \`client add\` it again`,
    )
  if (controllers.length > 0)
    words.push(
      `stop controller ${controllers.join(', ')} and start it again with \`overmesh up\`, and it takes another`,
    )
  return words
}

function nameOf(views: Views, records: Records, holder: string): string {
  return views.client(holder)?.name ?? records.get('controller', holder)?.name ?? holder
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
