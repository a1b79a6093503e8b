// Webhooks as settings of the whole mesh, sealed, since addresses of webhooks are often secrets themselves.
import { randomBytes } from 'node:crypto'
import { patternProblem } from '../event-types.ts'
import type { EventType } from '../events.ts'
import type { Home } from '../home.ts'
import { openSecret, sealSecret } from '../ipsec/seal.ts'
import { ServiceError } from '../service-error.ts'
import { type AddWebhook, MAX_WEBHOOK_URL } from '../service-webhooks.ts'

export interface Hook {
  readonly name: string
  readonly url: string
  readonly types: readonly string[]
  readonly secret?: string
}

export const MAX_HOOKS = 16
/** Ids of the settings begin so. */
const PREFIX = 'webhook.'

export const DEFAULT_TYPES: readonly EventType[] = [
  'session-up',
  'session-down',
  'controller-up',
  'controller-down',
  'attachment-up',
  'attachment-down',
  'attachment-moved',
  'conflict-found',
  'conflict-resolved',
]

type HookHome = Pick<Home, 'replica' | 'tlsCryptKey'>

export function isHookId(kind: string, id: string): boolean {
  return kind === 'setting' && id.startsWith(PREFIX)
}

/** By name. What does not open, or is none, is left out. */
export function readHooks({ replica, tlsCryptKey }: HookHome): Hook[] {
  const hooks: Hook[] = []
  for (const { id, value } of replica.all('setting')) {
    if (!isHookId('setting', id) || typeof value.value !== 'string') continue
    const text = openSecret(tlsCryptKey, id, value.value)?.toString('utf8')
    const hook = text === undefined ? undefined : parseHook(id.slice(PREFIX.length), text)
    if (hook) hooks.push(hook)
  }
  return hooks.sort((a, b) => (a.name < b.name ? -1 : 1)).slice(0, MAX_HOOKS)
}

/** @throws ServiceError */
export async function addHook(home: HookHome, { name, url, types, secret }: AddWebhook): Promise<Hook> {
  const hook: Hook = { name, url: readUrl(url), types: types ?? DEFAULT_TYPES, ...(secret && { secret }) }
  for (const type of hook.types) {
    const problem = patternProblem(type)
    if (problem !== undefined) throw new ServiceError('invalid', problem)
  }
  if (secret !== undefined) signingKey(secret)
  const id = PREFIX + name
  const sealed = sealSecret(home.tlsCryptKey, id, Buffer.from(JSON.stringify(hook)), randomBytes)
  await home.replica.write(() => {
    const hooks = readHooks(home)
    if (hooks.some(each => each.name === name))
      throw new ServiceError(
        'exists',
        `there is a webhook ${name} already; choose another name, or \`overmesh webhook remove ${name}\` first`,
      )
    if (hooks.length >= MAX_HOOKS)
      throw new ServiceError(
        'refused',
        `there are ${MAX_HOOKS} webhooks, and no more are kept; remove one first`,
      )
    return [{ kind: 'setting', id, value: { value: sealed } }]
  })
  return hook
}

/** @throws ServiceError */
export async function removeHook(home: HookHome, name: string): Promise<Hook> {
  const hook = findHook(home, name)
  await home.replica.write(() => [{ kind: 'setting', id: PREFIX + name, value: null }])
  return hook
}

/** @throws ServiceError */
export function findHook(home: HookHome, name: string): Hook {
  const hook = readHooks(home).find(each => each.name === name)
  if (hook) return hook
  throw new ServiceError('not-found', `there is no webhook ${name}; see \`overmesh webhook list\``)
}

/** @throws ServiceError */
function readUrl(text: string): string {
  const url = URL.parse(text)
  if (url === null || !['http:', 'https:'].includes(url.protocol) || url.href.length > MAX_WEBHOOK_URL)
    throw new ServiceError('invalid', 'the address is none of http or https; write it as https://HOST/PATH')
  if (url.username !== '' || url.password !== '')
    throw new ServiceError(
      'invalid',
      'the address holds a user or a password; leave them out, and let a signature prove who sends (--secret-file)',
    )
  url.hash = ''
  return url.href
}

/** As it may be shown: whatever comes after the host, such addresses have as secrets. */
export function describeUrl(text: string): string {
  const { origin, pathname, search } = new URL(text)
  return `${origin}/${pathname === '/' && search === '' ? '' : '...'}`
}

/**
 * The key of a secret: with `whsec_` before it, it is base64, as the Standard Webhooks have it; else it is its own text.
 * @throws ServiceError
 */
export function signingKey(secret: string): Buffer {
  if (!secret.startsWith('whsec_')) return Buffer.from(secret)
  const text = secret.slice('whsec_'.length)
  const key = Buffer.from(text, 'base64')
  if (key.length > 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(text)) return key
  throw new ServiceError('invalid', 'a secret that begins with whsec_ goes on in base64; this one does not')
}

function parseHook(name: string, text: string): Hook | undefined {
  try {
    const { url, types, secret } = JSON.parse(text) as Partial<Hook>
    if (typeof url !== 'string' || !Array.isArray(types)) return undefined
    if (!types.every(type => typeof type === 'string')) return undefined
    if (secret !== undefined && typeof secret !== 'string') return undefined
    if (secret) signingKey(secret)
    return { name, url: readUrl(url), types, ...(secret && { secret }) }
  } catch {
    return undefined
  }
}
