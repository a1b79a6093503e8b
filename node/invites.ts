// Open invitations, each a file in the data directory: what was handed out and not used yet. A secret itself is kept
// nowhere.
import { randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { basename } from 'node:path'
import { inviteKey } from '../mesh/admission/proof.ts'
import { INVITE_ID_BYTES, SECRET_BYTES } from '../mesh/admission/token.ts'
import type { DataDirectory } from './data-directory.ts'
import { ServiceError } from './service-error.ts'

export interface Invite {
  /** Hex. */
  readonly id: string
  /** See `inviteKey`. */
  readonly key: Uint8Array
  /** ms since 1970 */
  readonly expiresAt: number
  /** Somebody has come by it. */
  readonly used: boolean
}

export interface NewInvite {
  readonly id: Uint8Array
  readonly secret: Uint8Array
  readonly expiresAt: number
}

/** Open at once. */
export const MAX_INVITES = 100
/** Kept of those that are over, and for how long, ms. */
const MAX_OVER = 1000
const KEPT_MS = 86_400_000
const ID = /^[0-9a-f]{16}$/

export class Invites {
  readonly #directory: DataDirectory
  readonly #open = new Map<string, Invite>()

  private constructor(directory: DataDirectory) {
    this.#directory = directory
  }

  static async open(directory: DataDirectory): Promise<Invites> {
    const invites = new Invites(directory)
    for (const name of await readdir(directory.invites).catch(() => [])) {
      const id = basename(name, '.json')
      if (!ID.test(id)) continue
      const text = await directory.readIfThere(directory.invite(id))
      const invite = text === undefined ? undefined : read(id, text)
      if (invite) invites.#open.set(id, invite)
      else await directory.remove(directory.invite(id))
    }
    return invites
  }

  /** Whether anyone may come, if only to be told that the invitation was used. @param now ms since 1970 */
  any(now: number): boolean {
    for (const { expiresAt } of this.#open.values()) if (expiresAt > now) return true
    return false
  }

  /** @throws ServiceError when too many are open */
  async add(now: number, ttlMs: number): Promise<NewInvite> {
    await this.#sweep(now)
    const open = [...this.#open.values()].filter(({ used, expiresAt }) => !used && expiresAt > now)
    if (open.length >= MAX_INVITES) {
      throw new ServiceError(
        'refused',
        `${MAX_INVITES} invitations are open already; they end by themselves when their time is over`,
      )
    }
    const id = randomBytes(INVITE_ID_BYTES)
    const secret = randomBytes(SECRET_BYTES)
    const invite = { id: id.toString('hex'), key: inviteKey(secret), expiresAt: now + ttlMs, used: false }
    await this.#keep(invite)
    this.#open.set(invite.id, invite)
    return { id, secret, expiresAt: invite.expiresAt }
  }

  /** Undefined for one that was never made here, or is long over. It may have expired, or been used. */
  get(id: string): Invite | undefined {
    return this.#open.get(id)
  }

  /** Uses an invitation up; false when that has happened already. On disk before this resolves. */
  async take(id: string): Promise<boolean> {
    const invite = this.#open.get(id)
    if (invite === undefined || invite.used) return false
    const used = { ...invite, used: true }
    // At once, so that of two who come together one is too late.
    this.#open.set(id, used)
    try {
      await this.#keep(used)
    } catch (error) {
      // Nobody has come by it.
      if (this.#open.get(id) === used) this.#open.set(id, invite)
      throw error
    }
    return true
  }

  async #keep({ id, key, expiresAt, used }: Invite): Promise<void> {
    const kept = { key: Buffer.from(key).toString('hex'), expiresAt, used }
    await this.#directory.write(this.#directory.invite(id), `${JSON.stringify(kept)}\n`)
  }

  /** Those that are over stay for a while, so that who comes late or twice is told so. */
  async #sweep(now: number): Promise<void> {
    const over = [...this.#open.values()]
      .filter(({ used, expiresAt }) => used || expiresAt <= now)
      .sort((a, b) => b.expiresAt - a.expiresAt)
    for (const [place, { id, expiresAt }] of over.entries()) {
      if (place < MAX_OVER && now < expiresAt + KEPT_MS) continue
      this.#open.delete(id)
      await this.#directory.remove(this.#directory.invite(id))
    }
  }
}

function read(id: string, text: string): Invite | undefined {
  try {
    const { key, expiresAt, used } = JSON.parse(text) as Record<'key' | 'expiresAt' | 'used', unknown>
    if (typeof key !== 'string' || !/^[0-9a-f]{64}$/.test(key) || !Number.isSafeInteger(expiresAt))
      return undefined
    return { id, key: Buffer.from(key, 'hex'), expiresAt: expiresAt as number, used: used === true }
  } catch {
    return undefined
  }
}
