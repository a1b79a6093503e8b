// What a controller offers its operator about the mesh as one document: what is to be, what is, and the way from one to
// the other. Never holds a secret, but for new pre-shared keys on their way in.
import { type Static, Type } from 'typebox'
import { NatTraversal } from './service-ipsec.ts'

const closed = { additionalProperties: false } as const
const Text = (description: string, maxLength = 255) => Type.String({ description, maxLength })
const Name = Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,62}$' })
/** As it is shown: with digits of its id behind it where two have one name. */
export const SHOWN_NAME = '^[a-z0-9][a-z0-9._~-]{0,80}$'
const Prefixes = (description: string) => Type.Array(Text(description, 43), { maxItems: 64 })

export const DESIRED_VERSION = 1

export const DesiredClient = Type.Object(
  {
    address: Type.Optional(Text('overlay address; if absent the one it has, or the next free one', 15)),
    subnets: Type.Optional(Prefixes('network behind the client')),
    tags: Type.Optional(
      Type.Record(Type.String({ pattern: '^[A-Za-z0-9._-]{1,63}$' }), Text('value'), {
        maxProperties: 64,
        additionalProperties: false,
      }),
    ),
    enabled: Type.Optional(Type.Boolean({ description: 'default true' })),
    prefer: Type.Optional(
      Type.Array(Name, { maxItems: 64, description: 'controllers that its pack names first' }),
    ),
  },
  closed,
)
export type DesiredClient = Static<typeof DesiredClient>

export const DesiredRoute = Type.Object(
  {
    cidr: Text('prefix', 43),
    via: Text('client:NAME, controller:NAME, attachment:NAME, internet or internet:NAME', 100),
    metric: Type.Optional(Type.Integer({ minimum: 0, maximum: 65_535, description: 'default 0' })),
    nat: Type.Optional(Type.Boolean({ description: 'the controller gives packets its own address' })),
    probe: Type.Optional(Text('address that has to answer pings', 39)),
    default: Type.Optional(
      Type.Boolean({ description: 'a prefix as large as the Internet is meant, though not via internet' }),
    ),
  },
  closed,
)
export type DesiredRoute = Static<typeof DesiredRoute>

const Seconds = (minimum: number, maximum: number) => Type.Integer({ minimum, maximum })

export const DesiredAttachment = Type.Object(
  {
    remote: Text('address or host name of the device, or any'),
    secret: Type.Optional(
      Type.String({ maxLength: 1024, description: 'pre-shared key, base64; if absent the one it has' }),
    ),
    authority: Type.Optional(
      Type.String({ maxLength: 16_384, description: "authority of the device's certificate, PEM" }),
    ),
    localId: Type.Optional(Text('identity of the controllers')),
    remoteId: Type.Optional(Text('identity of the device')),
    ikeVersion: Type.Optional(Type.Union([Type.Literal(1), Type.Literal(2)])),
    ikeProposals: Type.Optional(Type.Array(Text('algorithms', 120), { maxItems: 16 })),
    espProposals: Type.Optional(Type.Array(Text('algorithms', 120), { maxItems: 16 })),
    localSubnets: Type.Optional(Type.Array(Text('prefix; default: the overlay', 18), { maxItems: 64 })),
    remoteSubnets: Type.Array(Text('prefix at the site', 18), { minItems: 1, maxItems: 64 }),
    dpdSeconds: Type.Optional(Seconds(0, 3600)),
    ikeLifetimeSeconds: Type.Optional(Seconds(60, 2_592_000)),
    childLifetimeSeconds: Type.Optional(Seconds(30, 2_592_000)),
    initiate: Type.Optional(Type.Boolean()),
    natTraversal: Type.Optional(NatTraversal),
    controllers: Type.Optional(Type.Array(Name, { maxItems: 64 })),
    enabled: Type.Optional(Type.Boolean({ description: 'default true' })),
  },
  closed,
)
export type DesiredAttachment = Static<typeof DesiredAttachment>

export const MAX_CLIENTS = 100_000
const MAX_ROUTES = 10_000

/** What is absent at the top is left alone; what is absent further down is as a new one would have it. */
export const DesiredState = Type.Object(
  {
    version: Type.Literal(DESIRED_VERSION),
    mesh: Name,
    dns: Type.Optional(
      Type.Object(
        {
          enabled: Type.Optional(Type.Boolean()),
          forwarders: Type.Optional(Type.Array(Text('ADDRESS or ADDRESS:PORT'), { maxItems: 64 })),
        },
        closed,
      ),
    ),
    routeUpdates: Type.Optional(
      Type.Union([Seconds(0, 86_400), Type.Literal('later')], {
        description: 'seconds over which clients learn of other routes, or later',
      }),
    ),
    clients: Type.Optional(
      Type.Record(Type.String({ pattern: SHOWN_NAME }), DesiredClient, {
        maxProperties: MAX_CLIENTS,
        additionalProperties: false,
      }),
    ),
    routes: Type.Optional(Type.Array(DesiredRoute, { maxItems: MAX_ROUTES })),
    attachments: Type.Optional(
      Type.Record(Type.String({ pattern: SHOWN_NAME }), DesiredAttachment, {
        maxProperties: 1000,
        additionalProperties: false,
      }),
    ),
  },
  closed,
)
export type DesiredState = Static<typeof DesiredState>

export const ReconcileRequest = Type.Object(
  {
    desired: DesiredState,
    prune: Type.Optional(Type.Boolean({ description: 'also removes what the document does not name' })),
    dryRun: Type.Optional(Type.Boolean({ description: 'says what would change, and changes nothing' })),
  },
  closed,
)
export type ReconcileRequest = Static<typeof ReconcileRequest>

export const DesiredChange = Type.Object({
  action: Type.Union(
    [Type.Literal('add'), Type.Literal('change'), Type.Literal('remove'), Type.Literal('extra')],
    {
      description: 'extra: the document does not name it, and it stays',
    },
  ),
  kind: Type.Union([
    Type.Literal('client'),
    Type.Literal('route'),
    Type.Literal('attachment'),
    Type.Literal('dns'),
    Type.Literal('routeUpdates'),
  ]),
  name: Text('of what'),
  details: Type.Array(Text('what changes', 8192)),
})
export type DesiredChange = Static<typeof DesiredChange>

export const Reconciliation = Type.Object({
  changes: Type.Array(DesiredChange),
  problems: Type.Array(
    Type.Object({
      path: Type.Array(Type.String(), { description: 'where in the document' }),
      message: Text('what is wrong', 1024),
    }),
    { description: 'with any of them, nothing is done' },
  ),
  applied: Type.Boolean(),
  storedOn: Type.Optional(Type.Object({ controllers: Type.Integer(), of: Type.Integer() })),
})
export type Reconciliation = Static<typeof Reconciliation>

export interface DesiredService {
  /** The mesh as it is, as a document that would change nothing. */
  desiredState(): Promise<DesiredState>
  /** Makes the mesh as the document has it, all of it or nothing. */
  reconcile(request: ReconcileRequest): Promise<Reconciliation>
}
