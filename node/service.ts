// What one controller offers to its operator: the contract between the controller on one side and the HTTP API and
// the command line on the other. The schemas are the single source of the API's validation, its OpenAPI document
// and the types below.
import { type Static, Type } from 'typebox'
import type { ApiService } from './service-api.ts'
import type { BackupService } from './service-backup.ts'
import type { CaptureService } from './service-capture.ts'
import { type DesiredService, SHOWN_NAME } from './service-desired.ts'
import type { DnsService } from './service-dns.ts'
import type { AttachmentService } from './service-ipsec.ts'
import type { MembershipService } from './service-membership.ts'
import type { ObservationService } from './service-observation.ts'
import type { TokenService } from './service-tokens.ts'
import type { WebhookService } from './service-webhooks.ts'

export { ServiceError } from './service-error.ts'

const Text = (description: string, maxLength = 255) => Type.String({ description, maxLength })
const Instant = (description: string) =>
  Type.String({ description: `${description}, ISO 8601, UTC`, maxLength: 32 })

/** A name of a mesh, controller or client. */
export const Name = Type.String({
  description: 'lower-case letters, digits, "-", "." and "_", starting with a letter or digit',
  pattern: '^[a-z0-9][a-z0-9._-]{0,62}$',
})

/** A client as it is shown and called: of several with one name, all but the oldest have digits of their id behind it. */
export const ShownName = Type.String({
  description:
    'name of a client, as `GET /v1/clients` has it: one that shares its name has a "~" and digits behind it',
  pattern: SHOWN_NAME,
})

/** A client's live VPN connection to one controller. */
export const Session = Type.Object({
  client: ShownName,
  address: Text('overlay address'),
  address6: Type.Optional(Text('its IPv6 address, if the overlay has IPv6')),
  controller: Name,
  since: Instant('when the session was admitted'),
  remote: Text('address and port the client sends from'),
  rxBytes: Type.Number({ description: 'overlay bytes received from the client' }),
  txBytes: Type.Number({ description: 'overlay bytes sent to the client' }),
  rxPackets: Type.Number(),
  txPackets: Type.Number(),
  lastReceived: Type.Union([Instant('last authenticated packet'), Type.Null()]),
  cipher: Text('data-channel cipher'),
  keyDerivation: Text('tls-ekm or prf'),
  tls: Text('TLS version'),
  version: Text('what the client says it is (IV_VER, IV_PLAT)'),
  routesBehind: Type.Boolean({
    description: 'it was told other routes than there are now; known of sessions on this controller',
  }),
})
export type Session = Static<typeof Session>

/** When connected clients that must reconnect for it are told of other routes. */
export const RouteUpdates = Type.Object(
  {
    over: Type.Union([Type.Integer({ minimum: 0, maximum: 86_400 }), Type.Literal('later')], {
      description:
        'seconds over which they are spread, 0 for at once; or `later`: when they connect again, or by a refresh',
    }),
  },
  { additionalProperties: false },
)
export type RouteUpdates = Static<typeof RouteUpdates>

export const RefreshRequest = Type.Object(
  {
    clients: Type.Optional(
      Type.Array(ShownName, { minItems: 1, maxItems: 200, description: 'all that are behind if absent' }),
    ),
    over: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 86_400,
        description: 'seconds over which they are spread; default 0',
      }),
    ),
  },
  { additionalProperties: false },
)
export type RefreshRequest = Static<typeof RefreshRequest>

/** How widely a write is kept: on this many controllers' disks when it was answered, of all in the mesh. */
export const StoredOn = Type.Object({ controllers: Type.Integer(), of: Type.Integer() })
export type StoredOn = Static<typeof StoredOn>

/** A client and its current credential. Never holds a secret. */
export const Client = Type.Object({
  name: ShownName,
  address: Text('overlay address'),
  address6: Type.Optional(Text('its IPv6 address, if the overlay has IPv6')),
  subnets: Type.Array(Text('CIDR behind the client'), { maxItems: 64 }),
  enabled: Type.Boolean(),
  revoked: Type.Boolean(),
  serial: Text('serial number of the current certificate, hexadecimal'),
  issuer: Text('name of the controller that issued the credential'),
  issuerRemoved: Type.Boolean({
    description: 'that controller was taken out of the mesh, and the credential with it',
  }),
  tags: Type.Record(Type.String(), Type.String()),
  createdAt: Instant('when the client was added'),
  expiresAt: Instant('when the certificate expires'),
  prefer: Type.Array(Name, { description: 'controllers that its pack names first' }),
  packStale: Type.Boolean({
    description: 'its latest pack does not list the controllers that there are now',
  }),
  session: Type.Union([Session, Type.Null()]),
  storedOn: Type.Optional(StoredOn),
  notes: Type.Optional(Type.Array(Text('what else comes of its subnets, told when it is added', 1024))),
})
export type Client = Static<typeof Client>

export const Route = Type.Object({
  cidr: Text('prefix'),
  via: Text('client:NAME, controller:NAME, attachment:NAME, internet or internet:NAME'),
  metric: Type.Number(),
  nat: Type.Boolean({ description: 'packets get the address of the controller that sends them on' }),
  probe: Type.Union([Text('address that has to answer pings'), Type.Null()]),
  state: Type.Union([Type.Literal('active'), Type.Literal('standby'), Type.Literal('down')], {
    description: 'in use; up, but another is better; not up',
  }),
  why: Text('why it is down; empty when it is not', 1024),
  at: Type.Union([Text('name of the controller that packets leave by'), Type.Null()]),
})
export type Route = Static<typeof Route>

export const AddRoute = Type.Object(
  {
    cidr: Text('prefix'),
    via: Text('client:NAME, controller:NAME, internet or internet:NAME'),
    nat: Type.Optional(
      Type.Boolean({
        description: 'the controller gives packets its own address; default false, internet: true',
      }),
    ),
    probe: Type.Optional(Text('address in the prefix that has to answer pings for the route to be used')),
    default: Type.Optional(
      Type.Boolean({ description: 'a prefix as large as the Internet is meant, though not via internet' }),
    ),
    metric: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 65_535,
        description: 'of several ways the lowest that is up is used',
      }),
    ),
  },
  { additionalProperties: false },
)
export type AddRoute = Static<typeof AddRoute>

export const RouteChange = Type.Object({
  cidr: Text('prefix'),
  changed: Type.Integer({ description: 'routes added or removed' }),
  notes: Type.Array(Text('what else comes of it', 1024)),
  storedOn: StoredOn,
})
export type RouteChange = Static<typeof RouteChange>

export const Conflict = Type.Object({
  kind: Text('what clashes: address or name'),
  id: Text('the address or name'),
  winner: Text('who holds it'),
  loser: Text('who lost it'),
  message: Text('in words, and what to do', 1024),
})
export type Conflict = Static<typeof Conflict>

export const ControllerLink = Type.Object({
  id: Text('controller id'),
  name: Name,
  self: Type.Boolean(),
  link: Type.Object(
    {
      up: Type.Boolean(),
      rttMs: Type.Number(),
      lossPercent: Type.Number(),
      mtu: Type.Integer({
        description: 'longest overlay packet that passes in one piece, bytes; 0 while down',
      }),
    },
    { description: 'the backbone link to it' },
  ),
  connected: Type.Boolean({ description: 'records and presence are exchanged with it directly' }),
  draining: Type.Boolean({ description: 'it takes no clients now' }),
  holdsRootKey: Type.Boolean({ description: 'controllers can be invited there' }),
  version: Text('version of Overmesh it runs; empty when it is not reached'),
  protocol: Type.Integer({
    description: 'version of the mesh protocol spoken with it; 0 while not connected',
  }),
  stateHash: Text('hash of its records'),
  behind: Type.Number({ description: 'records it is known to lack' }),
})
export type ControllerLink = Static<typeof ControllerLink>

export const Certificate = Type.Object({
  subject: Text('common name'),
  expiresAt: Instant('end of validity'),
  renewsAt: Type.Union([Instant('when it is renewed'), Type.Null()]),
  keyPresent: Type.Boolean({ description: 'the private key is on this machine' }),
})

export const Status = Type.Object({
  mesh: Type.Object({
    id: Text('mesh id'),
    name: Name,
    subnet: Text('overlay subnet'),
    subnet6: Type.Optional(Text('IPv6 side of it')),
  }),
  controller: Type.Object({
    id: Text('controller id'),
    name: Name,
    uptimeSeconds: Type.Number(),
    version: Text('version of Overmesh'),
    pid: Type.Number(),
    address: Text('overlay address of this controller'),
    address6: Type.Optional(Text('its IPv6 address, if the overlay has IPv6')),
    gateway: Text('overlay address at which every controller answers'),
    gateway6: Type.Optional(Text('its IPv6 address, if the overlay has IPv6')),
    listen: Type.Array(Text('UDP address clients reach it on')),
    public: Type.Array(Text('host:port written into clientpacks')),
    tun: Type.Union([Text('name of its TUN interface'), Type.Null()]),
    meshListen: Type.Array(Text('TCP address other controllers reach it on')),
    api: Type.Array(Text('TCP address its API is reached on; none unless it was enabled')),
    draining: Type.Boolean({ description: 'it takes no clients now' }),
    running: Type.Boolean({ description: 'false when read from the data directory of a stopped controller' }),
  }),
  stateHash: Text('equal on two controllers exactly when their records are'),
  records: Type.Number(),
  controllers: Type.Array(ControllerLink),
  sessions: Type.Array(Session),
  routes: Type.Array(Route),
  attachments: Type.Array(
    Type.Object({
      name: Text('name'),
      controller: Type.Union([Name, Type.Null()], { description: 'null while it is not up' }),
      state: Text('up, connecting, down or disabled'),
      since: Type.Union([Instant('when it came up there'), Type.Null()]),
    }),
  ),
  conflicts: Type.Array(Conflict),
  stalePacks: Type.Array(Text('client whose pack does not list the controllers that there are now')),
  certificates: Type.Object({ root: Certificate, issuing: Certificate, server: Certificate }),
  counters: Type.Record(Type.String(), Type.Number(), {
    description: 'packets and events by name, dropped ones by reason',
  }),
  warnings: Type.Array(Text('what needs an operator', 1024)),
})
export type Status = Static<typeof Status>

export const AddClient = Type.Object(
  {
    name: Name,
    ip: Type.Optional(Text('overlay address; the next free one if absent')),
    subnets: Type.Optional(Type.Array(Text('CIDR'), { maxItems: 64 })),
    tags: Type.Optional(Type.Record(Type.String({ maxLength: 63 }), Type.String({ maxLength: 255 }))),
    days: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 36500, description: 'validity of the certificate' }),
    ),
    prefer: Type.Optional(
      Type.Array(Name, { maxItems: 64, description: 'controllers that it is to try first, in this order' }),
    ),
  },
  { additionalProperties: false },
)
export type AddClient = Static<typeof AddClient>

export interface PackOptions {
  /** Protects a .p12. */
  password?: string
  /** Names of controllers that the pack is to list first; kept for later packs. */
  prefer?: readonly string[]
  /** What the host of a zip may do beside the overlay once it is sealed; see seal/exceptions.ts. */
  allow?: readonly string[]
}

export const PackFormat = Type.Union([Type.Literal('ovpn'), Type.Literal('p12'), Type.Literal('zip')])
export type PackFormat = Static<typeof PackFormat>

/** A credential handed over once: holds a private key. */
export interface Pack {
  client: Client
  format: PackFormat
  /** Proposed file name, such as `web.ovpn`. */
  fileName: string
  content: Uint8Array
}

export const StateRecord = Type.Object({
  kind: Type.String(),
  id: Type.String(),
  value: Type.Unknown({ description: 'as its author wrote it' }),
  understood: Type.Union([Type.Literal('whole'), Type.Literal('part'), Type.Literal('nothing')], {
    description: 'by this version: of what it does not understand it keeps all and acts on nothing',
  }),
  stamp: Text('hybrid logical clock, wall-clock part as ISO 8601 with its counter'),
  author: Text('controller that wrote it'),
  incarnation: Type.String(),
  sequence: Type.Number(),
})
export type StateRecord = Static<typeof StateRecord>

export const Verification = Type.Object({
  ok: Type.Boolean(),
  stateHash: Type.String(),
  records: Type.Number(),
  problems: Type.Array(Text('what is wrong, and what to do', 1024)),
  peers: Type.Array(Type.Object({ name: Name, stateHash: Type.String(), equal: Type.Boolean() })),
})
export type Verification = Static<typeof Verification>

export const Drained = Type.Object({
  draining: Type.Boolean(),
  sessions: Type.Integer({ description: 'clients that are still here' }),
})
export type Drained = Static<typeof Drained>

export const Event = Type.Object(
  { seq: Type.Number(), at: Instant('when'), type: Type.String() },
  { additionalProperties: true },
)
export type Event = Static<typeof Event>

/** Which events are wanted. */
export interface EventFilter {
  /** Those after this number only, the first ones first; all of them if no event here has so high a number. */
  since?: number
  /** Names of types, or `session-*` for all that begin so. */
  types?: readonly string[]
}

export interface ClientService {
  clients(): Promise<Client[]>
  client(name: string): Promise<Client>
  addClient(request: AddClient): Promise<Pack>
  packClient(name: string, format: PackFormat, options?: PackOptions): Promise<Pack>
  /** Ends the live session, if any; no new one is admitted until `enableClient`. */
  disableClient(name: string, reason?: string): Promise<Client>
  enableClient(name: string): Promise<Client>
  /** For good: the certificate never works again and the address is free for another client. */
  revokeClient(name: string, reason?: string): Promise<Client>
  /** A new key and certificate for the same client and address; the old pack is useless from then on. */
  rekeyClient(name: string, days?: number): Promise<Pack>
}

/**
 * One controller, as its operator sees it. Every method may throw a {@link ServiceError}. A write returns when it is
 * on disk. Implemented by a running controller and, for all that needs none, by its data directory opened offline.
 */
export interface ControllerService
  extends ClientService,
    MembershipService,
    DnsService,
    AttachmentService,
    BackupService,
    CaptureService,
    DesiredService,
    TokenService,
    ApiService,
    ObservationService,
    WebhookService {
  /** False when this is the data directory alone: `sessions` is empty then, `kick` is refused. */
  readonly running: boolean
  status(): Promise<Status>
  sessions(): Promise<Session[]>
  routes(): Promise<Route[]>
  /** Ends the live session, on whichever controller it is; the client may come back at once. */
  kickClient(name: string): Promise<{ kicked: boolean }>
  addRoute(route: AddRoute): Promise<RouteChange>
  /** Removes what was added for the prefix, all of it or that through `via`. */
  removeRoute(cidr: string, via?: string): Promise<RouteChange>
  routeUpdates(): Promise<RouteUpdates>
  setRouteUpdates(updates: RouteUpdates): Promise<RouteUpdates>
  /** Tells clients, on whichever controllers they are, the routes that there are now; those that know them are left alone. */
  refreshClients(request: RefreshRequest): Promise<{ storedOn: StoredOn }>
  /** Sends the clients of this controller to others and takes no new ones. */
  drain(): Promise<Drained>
  /** Takes clients again. */
  serve(): Promise<Drained>
  records(kind?: string): Promise<StateRecord[]>
  verify(): Promise<Verification>
  /** The latest events, oldest first, at most `limit` (default 1,000). */
  events(limit?: number, filter?: EventFilter): Promise<Event[]>
  /** Calls back for every event from now on, until the returned function is called. */
  follow(callback: (event: Event) => void): () => void
}
