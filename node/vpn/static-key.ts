// The text forms of OpenVPN's pre-shared keys: static keys (hex) and tls-crypt-v2 keys (PEM).
// Source: OpenVPN src/openvpn/crypto.c, tls_crypt.c, doc/tls-crypt-v2.txt.

export const STATIC_KEY_LENGTH = 256
export const SERVER_KEY_LENGTH = 128
/** Longest wrapped client key, its length field included. */
export const MAX_WKC_LENGTH = 1024
/** Shortest wrapped client key: tag, key, no metadata, length field. */
export const MIN_WKC_LENGTH = 32 + STATIC_KEY_LENGTH + 2

const STATIC_BEGIN = '-----BEGIN OpenVPN Static key V1-----'
const STATIC_END = '-----END OpenVPN Static key V1-----'
const SERVER_LABEL = 'OpenVPN tls-crypt-v2 server key'
const CLIENT_LABEL = 'OpenVPN tls-crypt-v2 client key'
/** No key file is longer; what is, is not read. */
const MAX_TEXT = 16_384

/** A client's tls-crypt-v2 key: the 256-byte key itself, and the same wrapped for the server. */
export interface TlsCryptV2ClientKey {
  kc: Uint8Array
  wkc: Uint8Array
}

/** Reads a static key file; text outside the markers is ignored. Undefined when malformed. */
export function parseStaticKey(text: string): Uint8Array | undefined {
  if (text.length > MAX_TEXT) return undefined
  const from = text.indexOf(STATIC_BEGIN)
  const to = text.indexOf(STATIC_END)
  if (from < 0 || to < from) return undefined
  const hex = text.slice(from + STATIC_BEGIN.length, to).replace(/\s+/g, '')
  if (hex.length !== 2 * STATIC_KEY_LENGTH || !/^[0-9a-fA-F]+$/.test(hex)) return undefined
  return Uint8Array.from(Buffer.from(hex, 'hex'))
}

export function formatStaticKey(key: Uint8Array): string {
  const lines =
    Buffer.from(key)
      .toString('hex')
      .match(/.{1,32}/g) ?? []
  return [STATIC_BEGIN, ...lines, STATIC_END, ''].join('\n')
}

export function parseTlsCryptV2ServerKey(text: string): Uint8Array | undefined {
  const bytes = parsePem(text, SERVER_LABEL)
  return bytes?.length === SERVER_KEY_LENGTH ? bytes : undefined
}

export function formatTlsCryptV2ServerKey(key: Uint8Array): string {
  return formatPem(SERVER_LABEL, key)
}

export function parseTlsCryptV2ClientKey(text: string): TlsCryptV2ClientKey | undefined {
  const bytes = parsePem(text, CLIENT_LABEL)
  if (!bytes || bytes.length < STATIC_KEY_LENGTH + MIN_WKC_LENGTH) return undefined
  const wkc = bytes.slice(STATIC_KEY_LENGTH)
  // The wrapped key ends with its own length: a file cut short is noticed here and not by a silent server.
  const length = (wkc[wkc.length - 2] << 8) | wkc[wkc.length - 1]
  if (length !== wkc.length || length > MAX_WKC_LENGTH) return undefined
  return { kc: bytes.slice(0, STATIC_KEY_LENGTH), wkc }
}

export function formatTlsCryptV2ClientKey({ kc, wkc }: TlsCryptV2ClientKey): string {
  return formatPem(CLIENT_LABEL, Buffer.concat([kc, wkc]))
}

function parsePem(text: string, label: string): Uint8Array | undefined {
  if (text.length > MAX_TEXT) return undefined
  const begin = `-----BEGIN ${label}-----`
  const from = text.indexOf(begin)
  const to = text.indexOf(`-----END ${label}-----`)
  if (from < 0 || to < from) return undefined
  const body = text.slice(from + begin.length, to).replace(/\s+/g, '')
  if (body.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(body)) return undefined
  return Uint8Array.from(Buffer.from(body, 'base64'))
}

function formatPem(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')
}
