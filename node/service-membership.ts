// What a controller offers its operator about who is a controller of the mesh.
import { type Static, Type } from 'typebox'
import type { StoredOn as Stored } from './service.ts'

const Text = (description: string, maxLength = 255) => Type.String({ description, maxLength })
const StoredOn = Type.Object({ controllers: Type.Integer(), of: Type.Integer() })

export const InviteRequest = Type.Object(
  {
    ttlSeconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 30 * 86_400,
        description: 'how long the token is good; default 3600',
      }),
    ),
  },
  { additionalProperties: false },
)

/** The token is a secret: whoever has it becomes a controller. */
export const Invitation = Type.Object({
  token: Text('for `overmesh join`, once', 4096),
  expiresAt: Text('ISO 8601, UTC'),
  endpoints: Type.Array(Text('host:port, TCP, that the newcomer dials')),
})
export type Invitation = Static<typeof Invitation>

export const ControllerEntry = Type.Object({
  id: Text('controller id'),
  name: Text('name'),
  self: Type.Boolean(),
  address: Text('overlay address'),
  address6: Type.Optional(Text('its IPv6 address, if the overlay has IPv6')),
  public: Type.Array(Text('host:port, UDP')),
  mesh: Type.Array(Text('host:port, TCP')),
  joinedAt: Text('ISO 8601, UTC'),
  up: Type.Boolean({ description: 'it is reached from here now' }),
  behind: Type.Number({ description: 'records it is known to lack' }),
  draining: Type.Boolean(),
  holdsRootKey: Type.Boolean({ description: 'controllers can be invited there' }),
  version: Text('version of Overmesh; empty when it is not reached'),
  removedAt: Type.Union([Text('ISO 8601, UTC'), Type.Null()]),
  removedBy: Type.Union([Text('name'), Type.Null()]),
})
export type ControllerEntry = Static<typeof ControllerEntry>

export const Removal = Type.Object({
  controller: Text('name'),
  clients: Type.Array(Text('client whose credential it issued, useless from now on')),
  storedOn: StoredOn,
})
export type Removal = Omit<Static<typeof Removal>, 'storedOn'> & { storedOn: Stored }

export interface MembershipService {
  /** A token with which one machine becomes a controller. */
  invite(ttlSeconds?: number): Promise<Invitation>
  /** @param all those that were removed, too */
  controllers(all?: boolean): Promise<ControllerEntry[]>
  removeController(name: string): Promise<Removal>
  /** Takes this controller out for good. */
  leave(): Promise<Removal>
}
