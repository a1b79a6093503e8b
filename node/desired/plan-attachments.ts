// Attachments as a document has them. A pre-shared key that it does not bring stays as it is.
import { randomBytes } from 'node:crypto'
import { type AttachmentValue, isName, newClientId } from '../../state/kinds.ts'
import { Attachments, DEFAULTS, type Named } from '../ipsec/attachments.ts'
import { readSecret } from '../ipsec/check.ts'
import { openSecret } from '../ipsec/seal.ts'
import type { DesiredAttachment } from '../service-desired.ts'
import { ServiceError } from '../service-error.ts'
import { type Draft, differences } from './draft.ts'
import { controllerNames } from './export.ts'

export function planAttachments(draft: Draft): void {
  const wanted = draft.desired.attachments
  if (wanted === undefined) return
  const attachments = new Attachments(draft.home, () => undefined)
  const current = new Map(attachments.all().map(each => [each.name, each]))
  /** Who has which prefix, by name. */
  const sites = new Map<string, string>()
  for (const each of current.values()) if (!Object.hasOwn(wanted, each.name)) leave(draft, each, sites)
  for (const [name, want] of Object.entries(wanted)) {
    const before = current.get(name)
    if (before === undefined && !isName(name)) {
      draft.problem(['attachments', name], `"${name}" is no name; use a-z, 0-9, "-", "." and "_"`)
      continue
    }
    const id = before?.id ?? draft.allotted.attachments.get(name) ?? newClientId(randomBytes)
    draft.allotted.attachments.set(name, id)
    draft.pending.attachments.set(name, id)
    const value = draft.attempt(['attachments', name], () =>
      desiredValue(draft, attachments, id, name, want, before?.value),
    )
    draft.pending.sites.set(id, value?.remoteSubnets ?? want.remoteSubnets)
    if (value === undefined) continue
    for (const prefix of value.remoteSubnets) claim(draft, sites, prefix, name)
    write(draft, id, name, value, before)
  }
}

function leave(draft: Draft, { id, name, value }: Named, sites: Map<string, string>): void {
  if (!draft.prune) {
    for (const prefix of value.remoteSubnets) sites.set(prefix, name)
    draft.change('extra', 'attachment', name)
    return
  }
  draft.ops.push({ kind: 'attachment', id, value: null })
  draft.leaving.add(`attachment:${name}`)
  draft.change('remove', 'attachment', name)
  if (draft.desired.routes !== undefined) return
  // Routes through it go with it, as they do by `ipsec remove`.
  for (const route of draft.home.replica.all('route')) {
    const { via } = route.value
    if (via.kind === 'attachment' && via.id === id)
      draft.ops.push({ kind: 'route', id: route.id, value: null })
  }
}

function desiredValue(
  { home }: Draft,
  attachments: Attachments,
  id: string,
  name: string,
  want: DesiredAttachment,
  before: AttachmentValue | undefined,
): AttachmentValue {
  const { enabled = true, secret, ...settings } = want
  const base = {
    name: before?.name ?? name,
    ...DEFAULTS,
    controllers: [],
    enabled,
    createdAt: before?.createdAt ?? Date.now(),
    ...(before && { authentication: before.authentication }),
  }
  if (before === undefined && secret === undefined && settings.authority === undefined)
    throw new ServiceError(
      'invalid',
      'how does the site prove itself? give pskFile, or authority with a certificate',
    )
  const isSame =
    secret !== undefined && before !== undefined && hasSecret(home.tlsCryptKey, id, before, secret)
  const request = {
    ...settings,
    localSubnets: want.localSubnets ?? [home.mesh.value.subnet],
    ...(secret !== undefined && !isSame && { secret }),
  }
  return attachments.draft(id, name, request, base as unknown as AttachmentValue)
}

/** Sealing it anew would make other bytes of the same key. */
function hasSecret(
  key: Uint8Array,
  id: string,
  { authentication }: AttachmentValue,
  secret: string,
): boolean {
  if (authentication.method !== 'psk') return false
  return openSecret(key, id, authentication.sealed)?.equals(readSecret(secret)) === true
}

/** A prefix leads to one site. */
function claim(draft: Draft, sites: Map<string, string>, prefix: string, name: string): void {
  const other = sites.get(prefix)
  if (other === undefined) sites.set(prefix, name)
  else
    draft.problem(
      ['attachments', name, 'remoteSubnets'],
      `${prefix} is at the site of attachment ${other} already; IPsec cannot tell two sites with one prefix apart`,
    )
}

function write(
  draft: Draft,
  id: string,
  name: string,
  value: AttachmentValue,
  before: Named | undefined,
): void {
  if (before === undefined) {
    draft.ops.push({ kind: 'attachment', id, value })
    draft.change('add', 'attachment', name, [
      `${value.remote === '%any' ? 'any' : value.remote}: ${value.remoteSubnets.join(' ')}`,
    ])
    return
  }
  const details = differences(described(draft, before.value), described(draft, value))
  if (isOtherKey(before.value, value)) details.push('the pre-shared key is another')
  if (details.length === 0) return
  draft.ops.push({ kind: 'attachment', id, value })
  draft.change('change', 'attachment', name, details)
}

function isOtherKey({ authentication: old }: AttachmentValue, { authentication }: AttachmentValue): boolean {
  return old.method === 'psk' && authentication.method === 'psk' && old.sealed !== authentication.sealed
}

/** Without anything that is not to be seen. */
function described(
  { home }: Draft,
  { authentication, controllers, createdAt: _, name: __, ...rest }: AttachmentValue,
) {
  return {
    ...rest,
    controllers: controllerNames(home, controllers),
    authentication: authentication.method,
    ...(authentication.method === 'certificate' && { authority: authentication.remoteAuthority }),
  }
}
