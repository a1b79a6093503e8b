// What a controller says under its signature, so that others can pass it on, and whether what they pass on is what it said.
import { type KeyObject, sign, verify } from 'node:crypto'
import type { ControllerId } from '../state/kinds.ts'
import { publicKeyFromRaw } from '../state/record.ts'
import { decodeStatement, encodeStatement, type Frame, type Statement } from './messages.ts'

export interface StatementsInit {
  readonly id: ControllerId
  /** Ed25519 */
  readonly privateKey: KeyObject
  readonly isAdmitted: (id: ControllerId) => boolean
  /** Raw Ed25519 public key, hex; undefined for a controller that is not known. */
  readonly publicKeyOf: (id: ControllerId) => string | undefined
}

export type SignedFrame = Frame & { type: 'signed' }

export type Checked =
  | { is: 'good'; statement: Statement }
  /** Said by this controller itself. */
  | { is: 'own' }
  /** Not of the mesh, as far as is known here. */
  | { is: 'unknown' }
  /** What its author said, in a way that only newer versions know. */
  | { is: 'foreign' }
  /** Not what its author said, or nothing that can be said. */
  | { is: 'bad' }

/** Public keys kept parsed. */
const MAX_KEYS = 4096

export class Statements {
  readonly #init: StatementsInit
  /** An id follows from its key, so an entry never goes stale. */
  readonly #keys = new Map<ControllerId, KeyObject>()

  constructor(init: StatementsInit) {
    this.#init = init
  }

  sign(statement: Statement): SignedFrame {
    const body = encodeStatement(statement)
    const signature = sign(null, body, this.#init.privateKey)
    return { type: 'signed', author: this.#init.id, signature, body }
  }

  check({ author, signature, body }: SignedFrame): Checked {
    if (author === this.#init.id) return { is: 'own' }
    if (!this.#init.isAdmitted(author)) return { is: 'unknown' }
    const key = this.#keyOf(author)
    const statement = key && verify(null, body, key, signature) ? decodeStatement(body) : undefined
    if (statement === undefined) return { is: 'bad' }
    return statement.type === 'foreign' ? { is: 'foreign' } : { is: 'good', statement }
  }

  #keyOf(id: ControllerId): KeyObject | undefined {
    const known = this.#keys.get(id)
    if (known) return known
    const raw = this.#init.publicKeyOf(id)
    if (raw === undefined) return undefined
    const key = publicKeyFromRaw(Buffer.from(raw, 'hex'))
    if (this.#keys.size < MAX_KEYS) this.#keys.set(id, key)
    return key
  }
}
