// The clientpack: one `.ovpn` file with everything a stock client needs (openvpn(8), INLINE FILE SUPPORT). OpenVPN 2.5 to
// 2.7 and OpenVPN 3 take it; 2.4 knows no tls-crypt-v2. The text follows from the arguments alone.
import { parseSerial } from '../../state/kinds.ts'
import { parseIpv4, parseIpv6 } from '../net/ip.ts'
import { PkiError } from './errors.ts'
import { checkMesh, checkName, serverCommonName } from './names.ts'

export interface Remote {
  /** Name, IPv4 or IPv6 address; the latter without brackets. */
  host: string
  /** UDP. */
  port: number
}

/** How soon a client gives up on a controller, in whole seconds. */
export interface PackTimers {
  /** Without any answer from a controller, before the next is tried. @default 1 */
  pollSeconds?: number
  /** The pause between attempts, once all controllers were tried five times in vain. @default 1 */
  retrySeconds?: number
}

export interface ClientpackRequest {
  meshName: string
  meshId: string
  clientName: string
  /** Overlay address. */
  address: string
  /** Name of the controller that makes the pack. */
  madeBy: string
  /** Milliseconds since 1970. */
  madeAt: number
  /** End of the certificate, milliseconds since 1970. */
  expiresAt: number
  /** Of the certificate, hex. */
  serial: string
  /** Controllers, the first to try first. */
  remotes: readonly Remote[]
  /** Each client starts with another controller. @default false */
  remoteRandom?: boolean
  timers?: PackTimers
  /** PEM of the mesh root. */
  root: string
  /** PEM of the client's certificate. */
  certificate: string
  /** PEM of the certificates between it and the root. */
  chain: string
  /** PEM of the client's private key, PKCS#8. */
  privateKey: string
  /** PEM of the client's tls-crypt-v2 key. */
  tlsCryptV2: string
}

/** OpenVPN 2.x refuses a configuration with more (`CONNECTION_LIST_SIZE`). */
export const MAX_REMOTES = 64
/** How long a handshake may take before the client goes on to the next controller. */
const HANDSHAKE_SECONDS = 10

const HOST = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,252}$/
const PEM =
  /^(?:-----BEGIN [A-Za-z0-9 -]{1,64}-----\n(?:[A-Za-z0-9+/=]+\n)+-----END [A-Za-z0-9 -]{1,64}-----(?:\n+|$)){1,8}$/

/** The text of the `.ovpn` file. Holds a private key. @throws PkiError BAD_ARGUMENT */
export function formatClientpack(request: ClientpackRequest): string {
  const { root, certificate, chain, privateKey, tlsCryptV2 } = request
  return [
    ...head(request),
    '',
    ...options(request),
    '',
    ...remoteLines(request.remotes),
    '',
    ...inline('ca', root),
    ...inline('cert', certificate + chain),
    ...inline('key', privateKey),
    ...inline('tls-crypt-v2', tlsCryptV2),
    '',
  ].join('\n')
}

/** @throws PkiError */
function head(request: ClientpackRequest): string[] {
  const { meshName, meshId, clientName, address, madeBy, madeAt, expiresAt, serial } = request
  checkMesh(meshName, meshId)
  checkName('client', clientName)
  checkName('controller', madeBy)
  if (parseIpv4(address) === undefined) throw bad(`"${address.slice(0, 80)}" is no overlay address`)
  if (parseSerial(serial) === undefined) throw bad(`"${serial.slice(0, 80)}" is no serial number`)
  return [
    '# Overmesh clientpack. It holds a private key: whoever has this file is this client.',
    `# mesh     ${meshName} ${meshId}`,
    `# client   ${clientName}`,
    `# address  ${address}`,
    `# made     ${instant(madeAt)} by ${madeBy}`,
    `# expires  ${instant(expiresAt)}`,
    `# serial   ${serial}`,
    `# For OpenVPN 2.5 and newer and OpenVPN 3. As root: openvpn --config ${clientName}.ovpn`,
  ]
}

function options({ meshName, meshId, remoteRandom, timers = {} }: ClientpackRequest): string[] {
  const { pollSeconds = 1, retrySeconds = 1 } = timers
  return [
    'client',
    'dev tun',
    'proto udp',
    'nobind',
    'persist-tun',
    // Controllers are reached beside a default route through the overlay, also where they are known by name.
    'allow-pull-fqdn',
    'remote-cert-tls server',
    `verify-x509-name ${serverCommonName(meshName, meshId)} name`,
    'tls-version-min 1.2',
    'data-ciphers AES-256-GCM:CHACHA20-POLY1305',
    'auth-nocache',
    'resolv-retry infinite',
    // No pause before the next controller. Only after five rounds does a pause begin, doubling up to the second value.
    `connect-retry 0 ${wholeSeconds(retrySeconds)}`,
    `server-poll-timeout ${wholeSeconds(pollSeconds)}`,
    // A handshake whose controller dies in the midst of it: openvpn would wait for its end for a minute.
    `hand-window ${HANDSHAKE_SECONDS}`,
    'explicit-exit-notify 1',
    ...(remoteRandom ? ['remote-random'] : []),
    'verb 3',
  ]
}

/** Not in <connection> blocks: openvpn3 24 looks for a remote outside of these only. @throws PkiError */
function remoteLines(remotes: readonly Remote[]): string[] {
  if (remotes.length === 0) {
    throw bad('no controller has a public address; start one with --public, or set it with init')
  }
  if (remotes.length > MAX_REMOTES) throw bad(`a clientpack lists at most ${MAX_REMOTES} controllers`)
  return remotes.map(({ host, port }) => {
    if (parseIpv6(host) === undefined && !HOST.test(host)) {
      throw bad(`"${host.slice(0, 80)}" is neither an address nor a host name`)
    }
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw bad(`${port} is no UDP port`)
    return `remote ${host} ${port} udp`
  })
}

/** @throws PkiError when the text could be more than PEM */
function inline(tag: string, pem: string): string[] {
  if (!PEM.test(pem)) throw bad(`what is to be <${tag}> of the clientpack is not PEM`)
  return [`<${tag}>`, pem.trimEnd(), `</${tag}>`]
}

function wholeSeconds(value: number): number {
  if (!Number.isInteger(value) || value < 1 || value > 3600) {
    throw bad(`${value} is no timer of a clientpack; give whole seconds from 1 to 3600`)
  }
  return value
}

const instant = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`

const bad = (message: string): PkiError => new PkiError('BAD_ARGUMENT', message)
