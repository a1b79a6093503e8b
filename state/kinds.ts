// What the mesh remembers: one schema per kind of record, the single source of validation and of types.
import { createHash } from 'node:crypto'
import { type Static, type TSchema, Type } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import { formatCidr, parseCidr, parseIpv4 } from './address.ts'
import {
  formatAddress6,
  formatCidr6,
  parseAddress6,
  parseCidr6,
  routeProblem6,
  siteProblem6,
  subnet6Problem,
} from './address6.ts'
import { MAX_TIME } from './clock.ts'

declare const controllerIdBrand: unique symbol
declare const clientIdBrand: unique symbol
declare const serialBrand: unique symbol

/** First 20 hex digits of SHA-256 over the controller's raw Ed25519 public key. */
export type ControllerId = string & { readonly [controllerIdBrand]: true }
/** 16 random hex digits. */
export type ClientId = string & { readonly [clientIdBrand]: true }
/** Certificate serial number: lower-case hex without leading zeros, at most 20 octets (RFC 5280 section 4.1.2.2). */
export type Serial = string & { readonly [serialBrand]: true }

const NAME = '^[a-z0-9][a-z0-9._-]{0,62}$'
const NAME_EXPRESSION = new RegExp(NAME)
const SERIAL = '^[1-9a-f][0-9a-f]{0,39}$'
const SERIAL_EXPRESSION = new RegExp(SERIAL)
const CONTROLLER_ID = '^[0-9a-f]{20}$'
const CONTROLLER_ID_EXPRESSION = new RegExp(CONTROLLER_ID)
const CLIENT_ID = '^[0-9a-f]{16}$'
const CLIENT_ID_EXPRESSION = new RegExp(CLIENT_ID)

const Name = Type.String({ pattern: NAME })
const ControllerIdText = Type.Unsafe<ControllerId>(Type.String({ pattern: CONTROLLER_ID }))
const ClientIdText = Type.Unsafe<ClientId>(Type.String({ pattern: CLIENT_ID }))
const SerialText = Type.Unsafe<Serial>(Type.String({ pattern: SERIAL }))
const Fingerprint = Type.String({
  pattern: '^[0-9a-f]{64}$',
  description: 'SHA-256 of the DER, lower-case hex',
})
const Address = Type.String({ minLength: 7, maxLength: 15 })
/** IPv4 or IPv6. */
const AnyAddress = Type.String({ minLength: 2, maxLength: 39 })
const Prefix = Type.String({ minLength: 9, maxLength: 18 })
/** IPv4 or IPv6. */
const AnyPrefix = Type.String({ minLength: 4, maxLength: 43 })
const Time = Type.Integer({ minimum: 0, maximum: MAX_TIME, description: 'milliseconds since 1970' })
const Endpoint = Type.String({
  pattern: '^[\\x21-\\x7e]{1,253}:[0-9]{1,5}$',
  description: 'host:port or [ipv6]:port',
})
const Pem = Type.String({ pattern: '^-----BEGIN [\\s\\S]*-----\\s*$', maxLength: 16_384 })
const Text = (maxLength: number) => Type.String({ maxLength })
const closed = { additionalProperties: false } as const

const Mesh = Type.Object(
  {
    name: Name,
    subnet: Prefix,
    subnet6: Type.Optional(Type.String({ pattern: '^[0-9a-f:]{2,39}/[0-9]{1,3}$' })),
    /** Prefix length of the blocks in which addresses are handed out. */
    blockLength: Type.Integer({ minimum: 8, maximum: 32 }),
    rootCertificate: Pem,
    rootFingerprint: Fingerprint,
    createdAt: Time,
  },
  closed,
)

const Controller = Type.Object(
  {
    name: Name,
    /** Raw Ed25519 public key, hex. */
    publicKey: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    /** The issuing CA's certificate, signed by the mesh root; more certificates may follow. */
    certificateChain: Pem,
    address: Address,
    /** Where clients and other controllers dial: UDP, the best first. */
    publicEndpoints: Type.Array(Endpoint, { maxItems: 16 }),
    /** Where libp2p listens: TCP. */
    meshEndpoints: Type.Array(Endpoint, { maxItems: 16 }),
    joinedAt: Time,
    /** Present once the controller was taken out for good; no later write of it counts. */
    removedAt: Type.Optional(Time),
  },
  closed,
)

const Client = Type.Object(
  {
    name: Name,
    address: Address,
    /** Networks behind the client; admitted as sources of its packets. */
    subnets: Type.Array(AnyPrefix, { maxItems: 256 }),
    tags: Type.Record(Type.String({ pattern: '^[A-Za-z0-9._-]{1,63}$' }), Text(255), {
      maxProperties: 64,
      additionalProperties: false,
    }),
    enabled: Type.Boolean(),
    /** Of the one certificate that is good now. */
    serial: SerialText,
    fingerprint: Fingerprint,
    issuer: ControllerIdText,
    createdAt: Time,
    /** When the certificate ends. */
    expiresAt: Time,
    /** Controllers that its clientpack names first. */
    prefer: Type.Optional(Type.Array(ControllerIdText, { minItems: 1, maxItems: 64 })),
    /** Names the list of controllers in its latest clientpack. */
    packedFor: Type.Optional(Type.String({ pattern: '^[0-9a-f]{16}$' })),
  },
  closed,
)

const Lease = Type.Union([
  Type.Object({ holder: ClientIdText, holderKind: Type.Literal('client') }, closed),
  Type.Object({ holder: ControllerIdText, holderKind: Type.Literal('controller') }, closed),
])

const Revocation = Type.Object(
  {
    client: ClientIdText,
    /** `superseded` after a rekey; otherwise what the person said, or `revoked`. */
    reason: Text(200),
    at: Time,
    /** The certificate that came in its place, if it was superseded. */
    successor: Type.Optional(
      Type.Object(
        { serial: SerialText, fingerprint: Fingerprint, issuer: ControllerIdText, expiresAt: Time },
        closed,
      ),
    ),
  },
  closed,
)

const Via = Type.Union([
  Type.Object({ kind: Type.Literal('client'), id: ClientIdText }, closed),
  Type.Object({ kind: Type.Literal('controller'), id: ControllerIdText }, closed),
  Type.Object({ kind: Type.Literal('attachment'), id: Type.String({ pattern: CLIENT_ID }) }, closed),
  /** Whichever controller that carries packets to the Internet is nearest; always masqueraded there. */
  Type.Object({ kind: Type.Literal('internet') }, closed),
])

const Route = Type.Object(
  {
    cidr: AnyPrefix,
    via: Via,
    metric: Type.Integer({ minimum: 0, maximum: 65_535 }),
    createdAt: Time,
    /** The controller gives packets its own address. */
    nat: Type.Optional(Type.Boolean()),
    /** With NAT at a controller, whether that was named as the way to the Internet; if absent, the prefix tells. */
    exit: Type.Optional(Type.Boolean()),
    /** An address in the prefix that has to answer pings. */
    probe: Type.Optional(AnyAddress),
  },
  closed,
)

const Proposal = Type.String({ pattern: '^[a-z0-9-]{1,120}$' })

const Attachment = Type.Object(
  {
    name: Name,
    /** Address or host name of the remote device, or `%any` for one that dials in from anywhere. */
    remote: Type.String({ pattern: '^(%any|[A-Za-z0-9.:-]{1,253})$' }),
    localId: Type.Optional(Text(255)),
    remoteId: Type.Optional(Text(255)),
    authentication: Type.Union([
      Type.Object(
        { method: Type.Literal('psk'), sealed: Type.String({ pattern: '^[A-Za-z0-9+/=]{1,2048}$' }) },
        closed,
      ),
      Type.Object({ method: Type.Literal('certificate'), remoteAuthority: Pem }, closed),
    ]),
    ikeVersion: Type.Union([Type.Literal(1), Type.Literal(2)]),
    ikeProposals: Type.Array(Proposal, { maxItems: 16 }),
    espProposals: Type.Array(Proposal, { maxItems: 16 }),
    localSubnets: Type.Array(Prefix, { minItems: 1, maxItems: 64 }),
    remoteSubnets: Type.Array(Prefix, { minItems: 1, maxItems: 64 }),
    dpdSeconds: Type.Integer({ minimum: 0, maximum: 3600 }),
    ikeLifetimeSeconds: Type.Integer({ minimum: 60, maximum: 2_592_000 }),
    childLifetimeSeconds: Type.Integer({ minimum: 30, maximum: 2_592_000 }),
    initiate: Type.Boolean(),
    /** ESP goes in UDP though no NAT is between; where it is absent, only behind one. */
    natTraversal: Type.Optional(Type.Literal('always')),
    /** Preferred controllers, the best first. */
    controllers: Type.Array(ControllerIdText, { maxItems: 64 }),
    enabled: Type.Boolean(),
    createdAt: Time,
  },
  closed,
)

const Setting = Type.Object(
  {
    value: Type.Union([Type.Boolean(), Type.Integer(), Text(4096), Type.Array(Text(255), { maxItems: 256 })]),
  },
  closed,
)

/** What a token of the API lets its bearer do, each more than the one before. */
export const SCOPES = ['read', 'operate', 'admin'] as const
export type Scope = (typeof SCOPES)[number]

/** Lets programs use the API over TCP; good only while the controller that wrote it is admitted. */
const Token = Type.Object(
  {
    name: Name,
    scope: Type.Union([Type.Literal('read'), Type.Literal('operate'), Type.Literal('admin')]),
    /** SHA-256 of the secret, which is random, lower-case hex. */
    hash: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    createdAt: Time,
    expiresAt: Time,
    /** Present once it was revoked. */
    revokedAt: Type.Optional(Time),
  },
  closed,
)

/** Schema of the value of each kind. */
export const SCHEMAS = {
  mesh: Mesh,
  controller: Controller,
  client: Client,
  lease: Lease,
  revocation: Revocation,
  route: Route,
  attachment: Attachment,
  setting: Setting,
  token: Token,
} as const

export type Kind = keyof typeof SCHEMAS
/** Value type of each kind. */
export type Values = { [K in Kind]: Static<(typeof SCHEMAS)[K]> }
export type MeshValue = Values['mesh']
export type ControllerValue = Values['controller']
export type ClientValue = Values['client']
export type LeaseValue = Values['lease']
export type RevocationValue = Values['revocation']
export type RouteValue = Values['route']
export type AttachmentValue = Values['attachment']
export type SettingValue = Values['setting']
export type TokenValue = Values['token']

export const KINDS = Object.keys(SCHEMAS) as readonly Kind[]

/** Longest id of any kind: a route's. */
export const MAX_ID_LENGTH = 80

const ID_PATTERNS: Record<Kind, RegExp> = {
  mesh: /^[0-9a-f]{16,40}$/,
  controller: new RegExp(CONTROLLER_ID),
  client: new RegExp(CLIENT_ID),
  lease: /^[0-9.]{7,15}$/,
  revocation: SERIAL_EXPRESSION,
  route:
    /^(?:[0-9./]{9,18}|[0-9a-f:./]{4,43})\|(?:internet|(?:client|controller|attachment):[0-9a-f]{16,20})$/,
  attachment: new RegExp(CLIENT_ID),
  setting: NAME_EXPRESSION,
  token: new RegExp(CLIENT_ID),
}

const validators = Object.fromEntries(
  KINDS.map(kind => [kind, Compile(SCHEMAS[kind] as TSchema)]),
) as unknown as Record<Kind, Validator>

export function isKind(value: unknown): value is Kind {
  return typeof value === 'string' && Object.hasOwn(SCHEMAS, value)
}

export function isControllerId(value: unknown): value is ControllerId {
  return typeof value === 'string' && CONTROLLER_ID_EXPRESSION.test(value)
}

export function isClientId(value: unknown): value is ClientId {
  return typeof value === 'string' && CLIENT_ID_EXPRESSION.test(value)
}

/** A name of a mesh, controller, client, attachment or setting: up to 63 of `a-z 0-9 . _ -`, letter or digit first. */
export function isName(text: string): boolean {
  return NAME_EXPRESSION.test(text)
}

/** @param publicKey raw Ed25519 public key, 32 bytes */
export function controllerIdOf(publicKey: Uint8Array): ControllerId {
  return createHash('sha256').update(publicKey).digest('hex').slice(0, 20) as ControllerId
}

/** @param random fills with random bytes */
export function newClientId(random: (size: number) => Uint8Array): ClientId {
  return Buffer.from(random(8)).toString('hex') as ClientId
}

/** Serial number from hex text in any case, with or without leading zeros and colons. Undefined when it is none. */
export function parseSerial(text: string): Serial | undefined {
  if (text.length > 80) return undefined
  const plain = text.toLowerCase().replaceAll(':', '').replace(/^0+/, '')
  return SERIAL_EXPRESSION.test(plain) ? (plain as Serial) : undefined
}

/** The id under which a route is kept: one per prefix and next hop. */
export function routeId(route: Pick<RouteValue, 'cidr' | 'via'>): string {
  const { cidr, via } = route
  return via.kind === 'internet' ? `${cidr}|internet` : `${cidr}|${via.kind}:${via.id}`
}

/** What is wrong with the id, in words; undefined when nothing is. */
export function idProblem(kind: Kind, id: string): string | undefined {
  if (id.length > MAX_ID_LENGTH || !ID_PATTERNS[kind].test(id)) return `"${id.slice(0, 80)}" is no ${kind} id`
  if (kind === 'lease' && parseIpv4(id) === undefined) return `"${id}" is no IPv4 address`
  return undefined
}

/** What is wrong with a value or its id, in words; undefined when both are good. Never throws. */
export function valueProblem(kind: Kind, id: string, value: unknown): string | undefined {
  const validator = validators[kind]
  if (!validator.Check(value)) {
    const [first] = validator.Errors(value)
    return `${kind}${first?.instancePath ?? ''} ${first?.message ?? 'does not fit its schema'}`
  }
  return idProblem(kind, id) ?? MEANING[kind]?.(id, value as never)
}

/** What a schema cannot say. */
const MEANING: { [K in Kind]?: (id: string, value: Values[K]) => string | undefined } = {
  mesh: (_id, value) => prefixProblem(value.subnet) ?? subnet6ProblemOf(value.subnet6),
  controller: (id, value) => {
    if (controllerIdOf(Buffer.from(value.publicKey, 'hex')) !== id)
      return 'the controller id is not that of its key'
    return (
      addressProblem(value.address) ??
      firstProblem([...value.publicEndpoints, ...value.meshEndpoints], portProblem)
    )
  },
  client: (_id, value) => addressProblem(value.address) ?? firstProblem(value.subnets, anyPrefixProblem),
  route: (id, value) =>
    (value.cidr.includes(':') ? route6Problem(value) : route4Problem(value)) ??
    (routeId(value) === id ? undefined : `route id "${id}" is not that of its value`),
  attachment: (_id, value) => firstProblem([...value.localSubnets, ...value.remoteSubnets], prefixProblem),
}

function route4Problem({ cidr, probe }: RouteValue): string | undefined {
  return prefixProblem(cidr) ?? (probe === undefined ? undefined : addressProblem(probe))
}

function route6Problem({ cidr, via, probe }: RouteValue): string | undefined {
  if (via.kind === 'attachment') return 'IPv6 is not routed via attachments'
  return (
    prefix6Problem(cidr) ??
    routeProblem6(parseCidr6(cidr)!) ??
    (probe === undefined ? undefined : address6Problem(probe))
  )
}

function firstProblem(texts: string[], check: (text: string) => string | undefined): string | undefined {
  for (const text of texts) {
    const problem = check(text)
    if (problem !== undefined) return problem
  }
  return undefined
}

function addressProblem(text: string): string | undefined {
  return parseIpv4(text) === undefined ? `"${text}" is no IPv4 address` : undefined
}

function address6Problem(text: string): string | undefined {
  const address = parseAddress6(text)
  const isPlain = address !== undefined && formatAddress6(address) === text
  return isPlain ? undefined : `"${text}" is no IPv6 address as RFC 5952 writes it`
}

/** One prefix has one text: records that mean the same must be the same bytes. */
function prefixProblem(text: string): string | undefined {
  const cidr = parseCidr(text)
  if (cidr === undefined) return `"${text}" is no IPv4 prefix`
  return formatCidr(cidr) === text ? undefined : `"${text}" has host bits; the prefix is ${formatCidr(cidr)}`
}

function anyPrefixProblem(text: string): string | undefined {
  if (!text.includes(':')) return prefixProblem(text)
  return prefix6Problem(text) ?? siteProblem6(parseCidr6(text)!)
}

function prefix6Problem(text: string): string | undefined {
  const cidr = parseCidr6(text)
  if (cidr === undefined) return `"${text}" is no IPv6 prefix`
  return formatCidr6(cidr) === text ? undefined : `"${text}" is not as ${formatCidr6(cidr)} is written`
}

function subnet6ProblemOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  return prefix6Problem(text) ?? subnet6Problem(parseCidr6(text)!)
}

function portProblem(text: string): string | undefined {
  const port = Number(text.slice(text.lastIndexOf(':') + 1))
  return port >= 1 && port <= 65_535 ? undefined : `"${text}" has no port between 1 and 65535`
}
