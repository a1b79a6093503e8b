// What may be in an attachment: everything else is refused with a reason.
import { X509Certificate } from 'node:crypto'
import { BlockList } from 'node:net'
import { cidrContains, cidrHasHostBits, formatCidr, parseCidr, parseIpv4 } from '../../state/address.ts'
import { parseIpv6 } from '../net/ip.ts'
import { DEFAULT_LENGTH } from '../push.ts'
import { readPrefix, unroutable } from '../route-check.ts'
import { ServiceError } from '../service-error.ts'

type Cidr = NonNullable<ReturnType<typeof parseCidr>>

const HOST_NAME =
  /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\.?$/i
const LOOKS_NUMERIC = /^[\d.]+$/
/** No quotes, braces or control characters: it goes into files of other programs. */
const IDENTITY =
  /^[^\s"'{}#\\\u0000-\u001f\u007f](?:[^"'{}#\\\u0000-\u001f\u007f]{0,253}[^\s"'{}#\\\u0000-\u001f\u007f])?$/
/** Keywords of algorithms; https://docs.strongswan.org/docs/latest/config/proposals.html */
const ALGORITHM =
  /^(3des|(aes|camellia)(128|192|256)?(ctr|gmac|ccm(8|12|16|64|96|128)|gcm(8|12|16|64|96|128))?|chacha20poly1305|md5|sha1|sha2?_?(256|384|512)(_96)?|aesxcbc|aescmac|prf(md5|sha1|sha256|sha384|sha512|aesxcbc|aescmac)|modp(768|1024|1536|2048|3072|4096|6144|8192|1024s160|2048s224|2048s256)|ecp(192|224|256|384|521)(bp)?|x25519|curve25519|x448|curve448|e?sn|noesn)$/
const WEAK = /^(3des|md5|sha1|modp(768|1024|1536|1024s160)|ecp192|prfmd5|prfsha1)$/
/** A key that people choose is guessed offline by whoever records one handshake. */
const SHORT_SECRET = 20
const MAX_SECRET = 512
const MAX_PROPOSAL = 120
const MAX_PROPOSALS = 16
const MAX_PREFIXES = 64
const MAX_IDENTITY = 255

/** IPv6 addresses that are no other host's. */
const NO_HOST6 = new BlockList()
NO_HOST6.addSubnet('::', 127, 'ipv6')
NO_HOST6.addSubnet('ff00::', 8, 'ipv6')

/** `%any`, or what to dial, in text. @throws ServiceError */
export function readRemote(text: string, subnet: Cidr): string {
  if (text === 'any' || text === '%any') return '%any'
  const address = parseIpv4(text)
  if (address !== undefined && cidrContains(subnet, address))
    throw invalid(`${text} is in the overlay itself; --remote is where the device is dialled on the Internet`)
  const isHost6 = parseIpv6(text) !== undefined
  if (address === undefined ? isHost6 && NO_HOST6.check(text, 'ipv6') : unroutable({ address, length: 32 }))
    throw invalid(`${text} is no host's address; --remote is where the device is dialled on the Internet`)
  const isHost = address !== undefined || isHost6
  if (!isHost && (LOOKS_NUMERIC.test(text) || !HOST_NAME.test(text)))
    throw invalid(`"${text.slice(0, 80)}" is neither an address nor a host name; or use --remote any`)
  return text
}

/** Prefixes at the site. @throws ServiceError */
export function readRemoteSubnets(texts: readonly string[], subnet: Cidr): string[] {
  return unique(texts, '--remote-ts').map(text => {
    const cidr = readPrefix(text, subnet)
    if (cidr.length < DEFAULT_LENGTH)
      throw invalid(
        `${formatCidr(cidr)} would take all traffic of every client to one site; name its networks`,
      )
    return formatCidr(cidr)
  })
}

/** What the site may reach: the overlay, and whatever lies behind it. @throws ServiceError */
export function readLocalSubnets(texts: readonly string[]): string[] {
  return unique(texts, '--local-ts').map(text => {
    const cidr = parseCidr(text)
    if (!cidr) throw invalid(`"${text.slice(0, 80)}" is no IPv4 prefix such as 10.77.0.0/16`)
    if (cidrHasHostBits(text)) throw invalid(`${text} names a host; the prefix is ${formatCidr(cidr)}`)
    const special = unroutable(cidr)
    if (special) throw invalid(`${formatCidr(cidr)} are ${special}, which nobody routes`)
    return formatCidr(cidr)
  })
}

function unique(texts: readonly string[], option: string): readonly string[] {
  if (texts.length === 0) throw invalid(`${option} names no prefix; give one or more`)
  if (texts.length > MAX_PREFIXES)
    throw invalid(
      `${option} names ${texts.length} prefixes, and ${MAX_PREFIXES} is the most; name shorter ones that cover them`,
    )
  const twice = texts.find((text, index) => texts.indexOf(text) !== index)
  if (twice !== undefined) throw invalid(`${option} has ${twice.slice(0, 80)} twice`)
  return texts
}

/** @throws ServiceError */
export function readIdentity(text: string, option: string): string {
  if (text.length > MAX_IDENTITY) throw invalid(`${option} has more than ${MAX_IDENTITY} characters`)
  // The daemon takes letters of other alphabets in a distinguished name only.
  if (IDENTITY.test(text) && (text.includes('=') || /^[ -~]*$/.test(text))) return text
  throw invalid(
    `${option} "${text.slice(0, 80)}" is no identity; use a name, an address or a distinguished name`,
  )
}

const CIPHER = /^(3des|aes(?!xcbc|cmac)|camellia|chacha)/
/** It authenticates what it encrypts. */
const AEAD = /(gmac|ccm\d+|gcm\d+)$|^chacha/
const INTEGRITY = /^(md5|sha|aesxcbc|aescmac)/
const FUNCTION = /^prf/
/** Extended sequence numbers. */
const SEQUENCE = /^(no)?e?sn$/
const GROUP = /^(modp|ecp|x25519|x448|curve)/

/** What a proposal lacks, without which the daemon does not take it; in words. */
function lackOf(algorithms: readonly string[], kind: 'ike' | 'esp'): string | undefined {
  const has = (pattern: RegExp): boolean => algorithms.some(each => pattern.test(each))
  const ciphers = algorithms.filter(each => CIPHER.test(each))
  if (ciphers.length === 0) return 'a cipher, such as aes256gcm16'
  const isAead = ciphers.every(each => AEAD.test(each))
  if (!isAead && !has(INTEGRITY)) return 'an integrity algorithm, such as sha256'
  if (kind === 'esp') return undefined
  if (isAead && !has(FUNCTION)) return 'a pseudo-random function, such as prfsha384'
  return has(GROUP) ? undefined : 'a key exchange, such as x25519 or ecp384'
}

const EXAMPLES = { ike: 'aes256gcm16-prfsha384-ecp384', esp: 'aes256gcm16-ecp384' }

/** @throws ServiceError */
export function readProposals(texts: readonly string[], kind: 'ike' | 'esp'): string[] {
  const option = `--${kind}-proposal`
  if (texts.length > MAX_PROPOSALS)
    throw invalid(`${option} names ${texts.length} proposals; ${MAX_PROPOSALS} is the most`)
  for (const text of texts) {
    if (text.length > MAX_PROPOSAL)
      throw invalid(`${option} ${text.slice(0, 40)}… has more than ${MAX_PROPOSAL} characters`)
    const unknown = text.split('-').find(each => !ALGORITHM.test(each))
    if (unknown !== undefined)
      throw invalid(
        `${option} ${text.slice(0, 80)}: "${unknown.slice(0, 40)}" is no algorithm; write it as ${EXAMPLES[kind]}`,
      )
    const foreign = text.split('-').find(each => (kind === 'esp' ? FUNCTION : SEQUENCE).test(each))
    if (foreign !== undefined)
      throw invalid(
        `${option} ${text}: "${foreign}" is of ${kind === 'esp' ? 'IKE' : 'ESP'} only; write it as ${EXAMPLES[kind]}`,
      )
    const lack = lackOf(text.split('-'), kind)
    if (lack !== undefined) throw invalid(`${option} ${text.slice(0, 80)} lacks ${lack}`)
  }
  return [...new Set(texts)]
}

/** @throws ServiceError for proposals of IKE that its version 1 does not have */
export function checkVersion1(ikeProposals: readonly string[]): void {
  const newer = ikeProposals.find(text => text.split('-').some(each => CIPHER.test(each) && AEAD.test(each)))
  if (newer !== undefined)
    throw invalid(`--ike-proposal ${newer} is not for IKE version 1; use one such as aes256-sha256-modp2048`)
}

export function weakAlgorithms(proposals: readonly string[]): string[] {
  return [...new Set(proposals.flatMap(text => text.split('-')).filter(each => WEAK.test(each)))]
}

/** Without the line feed that ends a file. @throws ServiceError */
export function readSecret(base64: string): Buffer {
  const bytes = Buffer.from(base64, 'base64')
  const text = bytes.toString('latin1').replace(/\r?\n$/, '')
  if (text.length === 0) throw invalid('the pre-shared key is empty')
  if (text.length > MAX_SECRET) throw invalid(`a pre-shared key has at most ${MAX_SECRET} bytes`)
  if (/[\r\n\0]/.test(text)) throw invalid('the pre-shared key has several lines; give it as one line')
  return Buffer.from(text, 'latin1')
}

export const isShort = (secret: Uint8Array): boolean => secret.length < SHORT_SECRET

/** @throws ServiceError */
export function readAuthority(pem: string): string {
  try {
    const certificate = new X509Certificate(pem)
    if (!certificate.ca) throw invalid('the certificate is not that of an authority: it may not sign others')
    return certificate.toString()
  } catch (error) {
    if (error instanceof ServiceError) throw error
    throw invalid('the file holds no certificate in PEM')
  }
}

function invalid(message: string): ServiceError {
  return new ServiceError('invalid', message)
}
