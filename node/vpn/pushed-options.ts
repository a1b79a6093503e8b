// What a client makes of a PUSH_REPLY. Options that are not known are kept as text and otherwise passed over.
import { formatCidr, type OverlayAddress, parseIpv4 } from '../../state/address.ts'
import { type Address6, parseAddress6 } from '../../state/address6.ts'
import type { DataCipher } from './data-keys.ts'
import type { DataFormat } from './data-packet.ts'
import type { KeyDerivation } from './key-exchange.ts'
import { isDataCipher } from './peer-info.ts'

export interface Pushed {
  address: OverlayAddress
  /** Undefined in an overlay without IPv6. */
  address6: Address6 | undefined
  peerId: number
  /** Undefined when none was pushed: the first that the client offered. */
  cipher: DataCipher | undefined
  format: DataFormat
  derivation: KeyDerivation
  dynamicTlsCrypt: boolean
  /** The server takes EXIT as a control message. */
  exitByControl: boolean
  /** ms; 0 for never. */
  pingMs: number
  /** ms; 0 for never. */
  pingRestartMs: number
  /** The servers that there are now, `host:port` each; none when that was not said. */
  remotes: string[]
  /** All of them, in the server's words. */
  options: string[]
}

const FLAGS: ReadonlySet<string> = new Set(['cc-exit', 'tls-ekm', 'dyn-tls-crypt', 'aead-epoch'])
/**
 * The servers that there are, `host:port` with semicolons between (a comma would end the option), which stock clients hand to
 * their scripts; what is too long for one option goes on in variables of this name with `_2`, `_3` and so on.
 */
const REMOTES_VARIABLE = 'OVERMESH_REMOTES'
const MAX_PUSHED_REMOTES = 64
/** Stock clients take options of up to 255 bytes. */
const MAX_VALUE = 200

/** Tells a client that wants to know which servers there are. */
export function remotesOptions(endpoints: readonly string[]): string[] {
  const values: string[] = []
  for (const endpoint of endpoints.slice(0, MAX_PUSHED_REMOTES)) {
    const last = values.at(-1)
    if (last !== undefined && last.length + 1 + endpoint.length <= MAX_VALUE)
      values.push(`${values.pop()};${endpoint}`)
    else if (endpoint.length <= MAX_VALUE) values.push(endpoint)
  }
  return values.map((value, index) => {
    const name = index === 0 ? REMOTES_VARIABLE : `${REMOTES_VARIABLE}_${index + 1}`
    return `setenv-safe ${name} ${value}`
  })
}

/** Prefixes that pushed options route through the tunnel. */
export function routesOf(options: readonly string[]): string[] {
  return options.flatMap(option => {
    const [name, network = '', mask = '255.255.255.255', gateway] = option.split(' ')
    const [address, bits] = [parseIpv4(network), parseIpv4(mask)]
    if (name !== 'route' || gateway !== undefined || address === undefined || bits === undefined) return []
    const length = 32 - Math.log2(2 ** 32 - bits)
    return Number.isInteger(length) ? [formatCidr({ address, length })] : []
  })
}

/** A day: more is a slip. */
const MAX_SECONDS = 86_400

/** Or, in words, why no connection can be made of it. */
export function readPushed(options: string[]): Pushed | string {
  const all = options.map(option => option.split(' '))
  const valueFor = (name: string): string | undefined => all.find(([first]) => first === name)?.[1]
  const address = parseIpv4(valueFor('ifconfig') ?? '')
  if (address === undefined) return 'it pushed no address'
  const peerId = numberOf(valueFor('peer-id'), 0xffffff)
  if (peerId === undefined) return 'it pushed no peer id'
  const cipher = valueFor('cipher')
  if (cipher !== undefined && !isDataCipher(cipher))
    return `it chose the cipher ${cipher}, which is not known here`
  const flags = all.find(([first]) => first === 'protocol-flags')?.slice(1) ?? []
  const unknown = flags.find(flag => !FLAGS.has(flag))
  if (unknown !== undefined) return `it asked for ${unknown}, which is not known here`
  const ekm = flags.includes('tls-ekm') || valueFor('key-derivation') === 'tls-ekm'
  return {
    address,
    address6: parseAddress6(valueFor('ifconfig-ipv6')?.split('/')[0] ?? ''),
    peerId,
    cipher,
    format: flags.includes('aead-epoch') ? 'epoch' : 'aead',
    derivation: ekm ? 'tls-ekm' : 'prf',
    dynamicTlsCrypt: flags.includes('dyn-tls-crypt'),
    exitByControl: flags.includes('cc-exit'),
    pingMs: 1000 * (numberOf(valueFor('ping'), MAX_SECONDS) ?? 0),
    pingRestartMs: 1000 * (numberOf(valueFor('ping-restart'), MAX_SECONDS) ?? 0),
    remotes: readRemotes(all),
    options,
  }
}

function readRemotes(all: readonly string[][]): string[] {
  return all
    .flatMap(([first, name, value]) =>
      first === 'setenv-safe' && name?.startsWith(REMOTES_VARIABLE) ? (value ?? '').split(';') : [],
    )
    .filter(Boolean)
    .slice(0, MAX_PUSHED_REMOTES)
}

function numberOf(text: string | undefined, most: number): number | undefined {
  const number = /^[0-9]{1,8}$/.test(text ?? '') ? Number(text) : Number.NaN
  return number <= most ? number : undefined
}
