// What a controller offers its operator about its own API over TCP.
import { type Static, Type } from 'typebox'

const Text = (description: string, maxLength = 255) => Type.String({ description, maxLength })

export const MAX_API_LISTEN = 16
export const MAX_API_NAMES = 32

export const ApiState = Type.Object({
  listen: Type.Array(Text('host:port, TCP, that it is to listen on'), {
    description: 'as set for good; empty: the API is on the unix socket only',
  }),
  listening: Type.Array(Text('host:port, TCP'), {
    description: 'where it does now; empty when it does not run',
  }),
  names: Type.Array(Text('further host name or address that the certificate is for')),
  certificate: Type.Union(
    [
      Type.Object({
        names: Type.Array(Text('host name or address')),
        expiresAt: Text('ISO 8601, UTC', 32),
        renewsAt: Text('ISO 8601, UTC', 32),
      }),
      Type.Null(),
    ],
    { description: 'what it shows; null while it listens nowhere' },
  ),
  rootCertificate: Text('certificate of the mesh root, PEM: what users of the API trust', 16_384),
  rootFingerprint: Text('SHA-256 of it, lower-case hexadecimal'),
})
export type ApiState = Static<typeof ApiState>

export const ChangeApi = Type.Object(
  {
    listen: Type.Optional(
      Type.Array(Text('ADDRESS:PORT or [ADDRESS]:PORT'), {
        maxItems: MAX_API_LISTEN,
        description: 'none: the API over TCP is off',
      }),
    ),
    names: Type.Optional(Type.Array(Text('host name or address'), { maxItems: MAX_API_NAMES })),
  },
  { additionalProperties: false },
)
export type ChangeApi = Static<typeof ChangeApi>

export interface ApiService {
  api(): Promise<ApiState>
  /** Of this controller, at once and for good. */
  changeApi(change: ChangeApi): Promise<ApiState>
}
