// What a controller offers its operator about attachments: sites that are reached by IPsec.
import { type Static, Type } from 'typebox'

const Text = (description: string, maxLength = 255) => Type.String({ description, maxLength })
const Nullable = <T extends Parameters<typeof Type.Union>[0][number]>(type: T, description: string) =>
  Type.Union([type, Type.Null()], { description })
const StoredOn = Type.Object({ controllers: Type.Integer(), of: Type.Integer() })
const Instant = (description: string) => Text(`${description}, ISO 8601, UTC`, 32)
const Name = Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,62}$' })

export const ChildSaEntry = Type.Object({
  name: Text('of the daemon'),
  state: Text('as IKE names it, such as INSTALLED'),
  spiIn: Text('security parameter index of what comes in, hexadecimal'),
  spiOut: Text('of what goes out'),
  encryption: Text('algorithms, with the key exchange of its keys'),
  localSubnets: Type.Array(Text('prefix')),
  remoteSubnets: Type.Array(Text('prefix')),
  bytesIn: Type.Number(),
  bytesOut: Type.Number(),
  packetsIn: Type.Number(),
  packetsOut: Type.Number(),
  ageSeconds: Type.Number(),
  rekeySeconds: Type.Optional(Type.Number({ description: 'until it is rekeyed' })),
  lifeSeconds: Type.Optional(Type.Number({ description: 'until it ends, had it not been' })),
})

export const IkeSaEntry = Type.Object({
  tunnel: Text("the attachment's id"),
  uniqueId: Text('of the daemon'),
  state: Text('as IKE names it, such as ESTABLISHED'),
  version: Type.Union([Type.Literal(1), Type.Literal(2)]),
  initiator: Type.Boolean({ description: 'the controller dialled' }),
  localHost: Text('address and UDP port'),
  remoteHost: Text('address and UDP port'),
  localId: Text('identity of the controller'),
  remoteId: Text('identity of the site'),
  encryption: Text('algorithms'),
  nat: Type.Boolean({
    description: 'NAT traversal: ESP goes in UDP, as a NAT is between or one end asks for it',
  }),
  ageSeconds: Type.Optional(Type.Number()),
  rekeySeconds: Type.Optional(Type.Number()),
  children: Type.Array(ChildSaEntry),
})
export type IkeSaEntry = Static<typeof IkeSaEntry>

export const NatTraversal = Type.Union([Type.Literal('auto'), Type.Literal('always')], {
  description: 'ESP goes in UDP where a NAT is between, or always',
})

export const AttachmentEntry = Type.Object({
  name: Text('name'),
  enabled: Type.Boolean(),
  state: Text('up, connecting, down or disabled'),
  controller: Nullable(Text('name'), 'the controller that carries it; null while it is not up'),
  since: Nullable(Instant('when it came up there'), 'null while it is not up'),
  problem: Nullable(
    Type.Object({ at: Instant('when'), text: Text('in plain words', 1024), controller: Text('where') }),
    'what went wrong last; null when nothing did since it was up',
  ),
  remote: Text('address or host name of the device, or any'),
  initiate: Type.Boolean({ description: 'a controller dials; otherwise the device does' }),
  natTraversal: NatTraversal,
  authentication: Text('psk or certificate'),
  localId: Nullable(Text('identity'), "the controllers', the same for all"),
  remoteId: Nullable(Text('identity'), "the device's"),
  ikeVersion: Type.Union([Type.Literal(1), Type.Literal(2)]),
  ikeProposals: Type.Array(Text('algorithms')),
  espProposals: Type.Array(Text('algorithms')),
  localSubnets: Type.Array(Text('prefix that the site reaches')),
  remoteSubnets: Type.Array(Text('prefix at the site')),
  dpdSeconds: Type.Integer(),
  ikeLifetimeSeconds: Type.Integer(),
  childLifetimeSeconds: Type.Integer(),
  controllers: Type.Array(Text('preferred controller, the best first')),
  createdAt: Instant('when it was added'),
})
export type AttachmentEntry = Static<typeof AttachmentEntry>

export const IkeDaemon = Type.Object(
  {
    state: Text('off, idle, starting, running or failed; idle: nothing may be carried here'),
    problem: Nullable(Text('why it does not run', 1024), 'null when it runs'),
    esp: Nullable(Text('kernel or user'), 'who does ESP'),
  },
  { description: 'the IKE daemon of this controller' },
)
export type IkeDaemon = Static<typeof IkeDaemon>

export const AttachmentDetail = Type.Object({
  ...AttachmentEntry.properties,
  engine: IkeDaemon,
  sas: Type.Array(IkeSaEntry, { description: 'of the controller that carries it, as far as it answers' }),
  storedOn: Type.Optional(StoredOn),
  notes: Type.Optional(Type.Array(Text('what comes of it', 1024))),
})
export type AttachmentDetail = Static<typeof AttachmentDetail>

/** More than there may be: what is too much is refused in words. */
const MAX_TEXT = 1024
const MAX_ITEMS = 256
const settings = {
  remote: Text('address or host name of the device, or any for one that dials in from anywhere'),
  /** Bytes in base64; never given back. */
  secret: Type.Optional(Type.String({ maxLength: 1024, description: 'pre-shared key, base64' })),
  authority: Type.Optional(
    Type.String({ maxLength: 16_384, description: "the authority of the device's certificate, PEM" }),
  ),
  localId: Type.Optional(Text('identity of the controllers; the mesh name unless given', MAX_TEXT)),
  remoteId: Type.Optional(Text("identity of the device; the attachment's name unless given", MAX_TEXT)),
  ikeVersion: Type.Optional(Type.Union([Type.Literal(1), Type.Literal(2)])),
  ikeProposals: Type.Optional(Type.Array(Text('algorithms', MAX_TEXT), { maxItems: MAX_ITEMS })),
  espProposals: Type.Optional(Type.Array(Text('algorithms', MAX_TEXT), { maxItems: MAX_ITEMS })),
  localSubnets: Type.Array(Text('prefix', 18), { maxItems: MAX_ITEMS }),
  remoteSubnets: Type.Array(Text('prefix', 18), { maxItems: MAX_ITEMS }),
  dpdSeconds: Type.Optional(Type.Integer({ minimum: 0, maximum: 3600 })),
  ikeLifetimeSeconds: Type.Optional(Type.Integer({ minimum: 60, maximum: 2_592_000 })),
  childLifetimeSeconds: Type.Optional(Type.Integer({ minimum: 30, maximum: 2_592_000 })),
  initiate: Type.Optional(Type.Boolean()),
  natTraversal: Type.Optional(NatTraversal),
  controllers: Type.Optional(Type.Array(Name, { maxItems: 64 })),
}
const closed = { additionalProperties: false } as const

export const AddAttachment = Type.Object({ name: Name, ...settings }, closed)
export type AddAttachment = Static<typeof AddAttachment>

export const ChangeAttachment = Type.Partial(Type.Object(settings, closed), closed)
export type ChangeAttachment = Static<typeof ChangeAttachment>

export const ExportFormat = Type.Union([Type.Literal('strongswan'), Type.Literal('sheet')])
export type ExportFormat = Static<typeof ExportFormat>

export const AttachmentExport = Type.Object({ fileName: Text('name'), content: Text('text', 65_536) })
export type AttachmentExport = Static<typeof AttachmentExport>

export interface AttachmentService {
  /** Of the controller that is asked. */
  ikeDaemon(): Promise<IkeDaemon>
  attachments(): Promise<AttachmentEntry[]>
  attachment(name: string): Promise<AttachmentDetail>
  addAttachment(request: AddAttachment): Promise<AttachmentDetail>
  changeAttachment(name: string, change: ChangeAttachment): Promise<AttachmentDetail>
  removeAttachment(name: string): Promise<{ name: string; storedOn: Static<typeof StoredOn> }>
  /** Enables it, and dials where this mesh is to dial. */
  attachmentUp(name: string): Promise<AttachmentDetail>
  /** Ends it everywhere, until `attachmentUp`. */
  attachmentDown(name: string): Promise<AttachmentDetail>
  exportAttachment(name: string, format: ExportFormat): Promise<AttachmentExport>
}
