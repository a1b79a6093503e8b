// What a controller offers its operator about DNS in the overlay.
import { type Static, Type } from 'typebox'

const Text = (description: string, maxLength = 255) => Type.String({ description, maxLength })
const StoredOn = Type.Object({ controllers: Type.Integer(), of: Type.Integer() })

export const DnsState = Type.Object({
  enabled: Type.Boolean({ description: 'clients are told to ask here' }),
  domain: Type.Union([Text('below it are the names of clients and controllers'), Type.Null()], {
    description: 'null for a mesh whose name DNS cannot carry',
  }),
  server: Text('where clients ask: the gateway, at which every controller answers'),
  forwarders: Type.Array(Text('address of a resolver, with its port unless that is 53')),
  serves: Type.Array(Type.Union([Type.Literal('udp'), Type.Literal('tcp')]), {
    description: 'by what this controller answers now; empty when it does not run',
  }),
  storedOn: Type.Optional(StoredOn),
})
export type DnsState = Static<typeof DnsState>

export const ChangeDns = Type.Object(
  {
    enabled: Type.Optional(Type.Boolean()),
    forwarders: Type.Optional(
      Type.Array(Text('ADDRESS or ADDRESS:PORT'), {
        maxItems: 64,
        description: "who is asked what is not the overlay's; none: that is refused",
      }),
    ),
  },
  { additionalProperties: false },
)
export type ChangeDns = Static<typeof ChangeDns>

export interface DnsService {
  dns(): Promise<DnsState>
  /** For the whole mesh. */
  changeDns(change: ChangeDns): Promise<DnsState>
}
