// What a controller offers its operator about tokens: who may use the API over TCP.
import { type Static, Type } from 'typebox'

const Text = (description: string, maxLength = 255) => Type.String({ description, maxLength })
const Instant = (description: string) => Text(`${description}, ISO 8601, UTC`, 32)
const Name = Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,62}$' })
const StoredOn = Type.Object({ controllers: Type.Integer(), of: Type.Integer() })

export const TokenScope = Type.Union([Type.Literal('read'), Type.Literal('operate'), Type.Literal('admin')], {
  description:
    'read: look; operate: also work with what is there; admin: everything, keys and tokens included',
})
export type TokenScope = Static<typeof TokenScope>

/** 90 days. */
export const DEFAULT_TOKEN_SECONDS = 90 * 86_400
/** Ten years. */
export const MAX_TOKEN_SECONDS = 3650 * 86_400

/** Never holds the secret. */
export const Token = Type.Object({
  name: Name,
  id: Text('16 hexadecimal digits, which the token itself has as well', 16),
  scope: TokenScope,
  state: Type.Union(
    [Type.Literal('good'), Type.Literal('expired'), Type.Literal('revoked'), Type.Literal('void')],
    { description: 'void: the controller that made it was taken out of the mesh' },
  ),
  createdAt: Instant('when it was made'),
  createdBy: Text('name of the controller that made or revoked it'),
  expiresAt: Instant('when it ends'),
  revokedAt: Type.Union([Instant('when it was revoked'), Type.Null()]),
})
export type Token = Static<typeof Token>

export const AddToken = Type.Object(
  {
    name: Name,
    scope: TokenScope,
    ttlSeconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_TOKEN_SECONDS,
        description: `how long it is good; default ${DEFAULT_TOKEN_SECONDS}`,
      }),
    ),
  },
  { additionalProperties: false },
)
export type AddToken = Static<typeof AddToken>

export const NewToken = Type.Object({
  token: Token,
  secret: Text('what the bearer sends; shown this once and kept nowhere'),
  storedOn: StoredOn,
})
export type NewToken = Static<typeof NewToken>

export const RevokedTokens = Type.Object({ tokens: Type.Array(Token), storedOn: StoredOn })
export type RevokedTokens = Static<typeof RevokedTokens>

export interface TokenService {
  /** Those that are good, and those that ended not long ago. */
  tokens(): Promise<Token[]>
  addToken(request: AddToken): Promise<NewToken>
  /** Ends it on every controller, and what is open under it. @param name or id */
  revokeToken(name: string): Promise<RevokedTokens>
}
