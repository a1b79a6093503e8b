// What a client says of itself in key method 2. Source: OpenVPN src/openvpn/ssl.c (push_peer_info), ssl_ncp.c.
import { DATA_CIPHERS, type DataCipher } from './data-keys.ts'

/** Bits of IV_PROTO. */
export const IV_PROTO = {
  dataV2: 1 << 1,
  requestPush: 1 << 2,
  tlsKeyExport: 1 << 3,
  authPendingKeywords: 1 << 4,
  ncpP2p: 1 << 5,
  dnsOption: 1 << 6,
  ccExitNotify: 1 << 7,
  authFailedTemp: 1 << 8,
  dynamicTlsCrypt: 1 << 9,
  dataEpoch: 1 << 10,
  dnsOptionV2: 1 << 11,
  pushUpdate: 1 << 12,
} as const

/** Says that the client wants to be pushed the controllers that there are: see `REMOTES_VARIABLE`. */
export const TAKES_REMOTES = 'UV_OVERMESH'

/** Lines read at most; the rest is passed over. */
const MAX_LINES = 64
const MAX_VALUE = 256
const KEY = /^[A-Z][A-Z0-9_]{0,31}$/

export interface PeerInfo {
  /** IV_PROTO, 0 when absent. */
  proto: number
  /** IV_CIPHERS in the client's order, or what IV_NCP=2 stands for. */
  ciphers: string[]
  /** IV_MTU: largest tun-mtu the client can be pushed. */
  mtu?: number
  /** IV_VER */
  version: string
  /** IV_PLAT */
  platform: string
  /** See `TAKES_REMOTES`. */
  takesRemotes: boolean
  raw: ReadonlyMap<string, string>
}

/** Never fails: what is malformed is passed over. Values hold printable ASCII only. */
export function parsePeerInfo(text: string): PeerInfo {
  const raw = new Map<string, string>()
  for (const line of text.split('\n', MAX_LINES)) {
    const equals = line.indexOf('=')
    if (equals < 0) continue
    const key = line.slice(0, equals)
    if (KEY.test(key)) raw.set(key, printable(line.slice(equals + 1, equals + 1 + MAX_VALUE)))
  }
  const mtu = integer(raw.get('IV_MTU'))
  const listed = raw.get('IV_CIPHERS')?.split(':').filter(Boolean)
  return {
    proto: integer(raw.get('IV_PROTO')) ?? 0,
    ciphers: listed ?? (raw.get('IV_NCP') === '2' ? ['AES-256-GCM', 'AES-128-GCM'] : []),
    ...(mtu === undefined ? {} : { mtu }),
    version: raw.get('IV_VER') ?? '',
    platform: raw.get('IV_PLAT') ?? '',
    takesRemotes: raw.get(TAKES_REMOTES) === '1',
    raw,
  }
}

export function formatPeerInfo(values: Iterable<readonly [string, string]>): string {
  return [...values].map(([key, value]) => `${key}=${value}\n`).join('')
}

/**
 * The first of `preferred` that the client knows: by its peer info, or as the `cipher` of its options string, which
 * is all that a client without negotiation names. Undefined when there is none in common.
 */
export function chooseCipher<Name extends string>(
  preferred: readonly Name[],
  info: Pick<PeerInfo, 'ciphers'>,
  optionsCipher?: string,
): Name | undefined {
  return preferred.find(cipher => cipher === optionsCipher || info.ciphers.includes(cipher))
}

export function isDataCipher(name: string): name is DataCipher {
  return (DATA_CIPHERS as readonly string[]).includes(name)
}

/** The value of one comma-separated item of an options string: `cipher AES-256-GCM` → `AES-256-GCM`; '' for a flag. */
export function optionOf(options: string, name: string): string | undefined {
  for (const item of options.split(',')) {
    if (item === name) return ''
    if (item.startsWith(`${name} `)) return item.slice(name.length + 1)
  }
  return undefined
}

function integer(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-9]{1,9}$/.test(text) ? Number(text) : undefined
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '')
}
