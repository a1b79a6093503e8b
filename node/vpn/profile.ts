// A client's profile: what of an `.ovpn` file matters to a connection. Options about interfaces, routes, scripts and logs
// are passed over; those that would make it another connection than the one meant are refused.
import { type ConfigOption, ProfileError, readConfig } from './config-lines.ts'
import { parseTlsCryptV2ClientKey, type TlsCryptV2ClientKey } from './static-key.ts'

export { ProfileError } from './config-lines.ts'

export interface ProfileRemote {
  /** Name, IPv4 or IPv6 address; the latter without brackets. */
  host: string
  port: number
  /** Address family that is asked for; undefined for any. */
  family?: 4 | 6
}

/** How the certificate of a server has to be named: openvpn(8), --verify-x509-name. */
export interface ExpectedName {
  kind: 'subject' | 'name' | 'name-prefix'
  value: string
}

/** Durations are in ms. */
export interface Profile {
  remotes: ProfileRemote[]
  /** Start at a random remote and keep a shuffled order. */
  remoteRandom: boolean
  /** PEM: all certificates that a chain may end in. */
  ca: string
  /** PEM: the leaf first. */
  cert: string
  /** PEM */
  key: string
  tlsCryptV2: TlsCryptV2ClientKey
  expectedName: ExpectedName | undefined
  /** The certificate of the server must be one for servers. */
  serverOnly: boolean
  tlsVersionMin: 'TLSv1.2' | 'TLSv1.3'
  /** In order of preference; empty: all that are known here. */
  dataCiphers: string[]
  /** Without any answer, until the next remote is tried. @default 120,000 */
  pollMs: number
  /** Between attempts. @default 1,000 */
  retryMs: number
  /** What that grows to at most. @default 300,000 */
  maxRetryMs: number
  /** For a handshake. @default 60,000 */
  handshakeMs: number
  /** Between renegotiations that this end begins; 0 for never. @default 3,600,000 */
  renegotiationMs: number
  /** Undefined: as pushed. */
  pingMs: number | undefined
  /** Undefined: as pushed. */
  pingRestartMs: number | undefined
}

/** Certificates and keys that a profile must hold within itself. */
const BLOCKS = ['ca', 'cert', 'key', 'tls-crypt-v2'] as const
type Block = (typeof BLOCKS)[number]

/** Options that stand for another kind of connection. */
const UNSUPPORTED: ReadonlySet<string> = new Set([
  'secret',
  'tls-auth',
  'tls-crypt',
  'auth-user-pass',
  'pkcs11-id',
  'pkcs12',
  'http-proxy',
  'socks-proxy',
  'fragment',
  'comp-lzo',
  'compress',
  'tls-server',
  'server',
])

export const DEFAULT_PORT = 1194
/** As in OpenVPN (`CONNECTION_LIST_SIZE`). */
export const MAX_REMOTES = 64
/** A day: a longer timer is a slip. */
const MAX_SECONDS = 86_400

/** @throws ProfileError that names the line */
export function parseProfile(text: string): Profile {
  const blocks = new Map<Block, string>()
  const remotes: { option: ConfigOption; defaults: RemoteDefaults }[] = []
  const global: RemoteDefaults = { port: DEFAULT_PORT }
  const profile: Omit<Profile, 'remotes' | 'ca' | 'cert' | 'key' | 'tlsCryptV2'> = {
    remoteRandom: false,
    expectedName: undefined,
    serverOnly: false,
    tlsVersionMin: 'TLSv1.2',
    dataCiphers: [],
    pollMs: 120_000,
    retryMs: 1000,
    maxRetryMs: 300_000,
    handshakeMs: 60_000,
    renegotiationMs: 3_600_000,
    pingMs: undefined,
    pingRestartMs: undefined,
  }
  for (const option of readConfig(text)) {
    const { name, parameters, line, block } = option
    if (UNSUPPORTED.has(name)) throw new ProfileError(`${name} is not supported by this client`, line)
    if (isBlock(name)) {
      if (block === undefined) {
        throw new ProfileError(`${name} has to stand in the file itself, as <${name}>`, line)
      }
      blocks.set(name, block)
      continue
    }
    switch (name) {
      case 'connection':
        remotes.push(...readConnection(option, global))
        break
      case 'remote':
        remotes.push({ option, defaults: global })
        break
      case 'port':
      case 'rport':
        global.port = portOf(option, parameters[0])
        break
      case 'proto':
        global.family = familyOf(option, parameters[0])
        break
      case 'remote-random':
        profile.remoteRandom = true
        break
      case 'remote-cert-tls':
        if (parameters[0] !== 'server')
          throw new ProfileError('only remote-cert-tls server is for clients', line)
        profile.serverOnly = true
        break
      case 'verify-x509-name':
        profile.expectedName = expectedNameOf(option)
        break
      case 'tls-version-min':
        profile.tlsVersionMin = parameters[0] === '1.3' ? 'TLSv1.3' : 'TLSv1.2'
        break
      case 'data-ciphers':
      case 'ncp-ciphers':
        profile.dataCiphers = (parameters[0] ?? '').split(':').filter(Boolean).slice(0, 16)
        break
      case 'server-poll-timeout':
      case 'connect-timeout':
        profile.pollMs = Math.max(1000, secondsOf(option, 0))
        break
      case 'connect-retry':
        profile.retryMs = secondsOf(option, 0)
        if (parameters[1] !== undefined) profile.maxRetryMs = secondsOf(option, 1)
        break
      case 'hand-window':
        profile.handshakeMs = Math.max(1000, secondsOf(option, 0))
        break
      case 'reneg-sec':
        profile.renegotiationMs = secondsOf(option, 0)
        break
      case 'ping':
        profile.pingMs = secondsOf(option, 0)
        break
      case 'ping-restart':
        profile.pingRestartMs = secondsOf(option, 0)
        break
      default:
    }
  }
  if (remotes.length === 0) throw new ProfileError('no remote: nowhere to connect to')
  if (remotes.length > MAX_REMOTES) throw new ProfileError(`more than ${MAX_REMOTES} remotes`)
  const wrapped = requireBlock(blocks, 'tls-crypt-v2')
  const tlsCryptV2 = parseTlsCryptV2ClientKey(wrapped)
  if (!tlsCryptV2) throw new ProfileError('<tls-crypt-v2> holds no tls-crypt-v2 client key')
  return {
    ...profile,
    remotes: remotes.map(({ option, defaults }) => remoteOf(option, defaults)),
    ca: requireBlock(blocks, 'ca'),
    cert: requireBlock(blocks, 'cert'),
    key: requireBlock(blocks, 'key'),
    tlsCryptV2,
  }
}

/** What a `remote` without them takes from elsewhere, also from lines after it. */
interface RemoteDefaults {
  port: number
  family?: 4 | 6
}

function readConnection(option: ConfigOption, global: RemoteDefaults) {
  const { block = '', line } = option
  const inner = readConfig(block).map(each => ({ ...each, line: line + each.line }))
  const remotes = inner.filter(({ name }) => name === 'remote')
  if (remotes.length === 0) throw new ProfileError('<connection> without remote', line)
  const port = inner.find(({ name }) => name === 'port' || name === 'rport')
  const proto = inner.find(({ name }) => name === 'proto')
  if (!port && !proto) return remotes.map(remote => ({ option: remote, defaults: global }))
  const defaults: RemoteDefaults = {
    port: port ? portOf(port, port.parameters[0]) : DEFAULT_PORT,
    family: proto ? familyOf(proto, proto.parameters[0]) : undefined,
  }
  return remotes.map(remote => ({ option: remote, defaults }))
}

function remoteOf(option: ConfigOption, defaults: RemoteDefaults): ProfileRemote {
  const [host, port, proto] = option.parameters
  if (host === undefined || host.length > 255 || !/^[A-Za-z0-9_.:%-]+$/.test(host)) {
    throw new ProfileError('remote without a host', option.line)
  }
  const family = proto === undefined ? defaults.family : familyOf(option, proto)
  return {
    host,
    port: port === undefined ? defaults.port : portOf(option, port),
    ...(family === undefined ? {} : { family }),
  }
}

function portOf({ line }: ConfigOption, text: string | undefined): number {
  const port = /^[0-9]{1,5}$/.test(text ?? '') ? Number(text) : 0
  if (port < 1 || port > 65_535) throw new ProfileError(`"${shown(text)}" is no port`, line)
  return port
}

function familyOf({ line }: ConfigOption, proto: string | undefined): 4 | 6 | undefined {
  switch (proto) {
    case 'udp':
      return undefined
    case 'udp4':
      return 4
    case 'udp6':
      return 6
    default:
      throw new ProfileError(`"${shown(proto)}" is not supported by this client, only udp is`, line)
  }
}

/** In ms. */
function secondsOf({ name, parameters, line }: ConfigOption, index: number): number {
  const text = parameters[index] ?? ''
  const seconds = /^[0-9]{1,6}$/.test(text) ? Number(text) : Number.NaN
  if (!(seconds <= MAX_SECONDS))
    throw new ProfileError(`${name}: "${shown(text)}" is no time in seconds`, line)
  return seconds * 1000
}

function expectedNameOf({ parameters, line }: ConfigOption): ExpectedName {
  const [value, kind = 'subject'] = parameters
  if (!value) throw new ProfileError('verify-x509-name without a name', line)
  if (kind !== 'subject' && kind !== 'name' && kind !== 'name-prefix') {
    throw new ProfileError(`verify-x509-name: "${shown(kind)}" is not subject, name or name-prefix`, line)
  }
  return { kind, value }
}

function requireBlock(blocks: ReadonlyMap<Block, string>, name: Block): string {
  const block = blocks.get(name)
  if (block === undefined) throw new ProfileError(`no <${name}>`)
  return block
}

function isBlock(name: string): name is Block {
  return (BLOCKS as readonly string[]).includes(name)
}

function shown(text: string | undefined): string {
  return (text ?? '').replace(/[^\x20-\x7e]/g, '?').slice(0, 40)
}
