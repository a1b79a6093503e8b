// What a server settles with a client for the whole session: data cipher, packet format, key derivation, and the options
// that tell the client. Source: OpenVPN src/openvpn/push.c (prepare_push_reply), ssl_ncp.c.
import type { DataCipher } from './data-keys.ts'
import type { DataFormat } from './data-packet.ts'
import type { KeyDerivation } from './key-exchange.ts'
import { chooseCipher, IV_PROTO, optionOf, type PeerInfo } from './peer-info.ts'

export interface Terms {
  cipher: DataCipher
  format: DataFormat
  derivation: KeyDerivation
  /** The client takes `protocol-flags`, and with it leaves by a control message. */
  protocolFlags: boolean
  /** Renegotiations are wrapped with a key of this session. */
  dynamicTlsCrypt: boolean
}

/** @param preferred ciphers, best first @param options the client's options string */
export function agree(
  preferred: readonly DataCipher[],
  info: PeerInfo,
  options: string,
): Terms | { refused: string } {
  const can = (bit: number): boolean => (info.proto & bit) !== 0
  if (!can(IV_PROTO.dataV2)) return { refused: 'this client is too old: it cannot send a peer id' }
  if (optionOf(options, 'comp-lzo') !== undefined) {
    return { refused: 'compression is not supported; remove comp-lzo and compress from the client' }
  }
  // Frames of Ethernet, and a header of its own in front of each packet: such a client would be connected and reach nothing.
  if (optionOf(options, 'dev-type') === 'tap') {
    return { refused: 'this is an overlay of IP and not of Ethernet; put dev tun for dev tap in the client' }
  }
  if (optionOf(options, 'mtu-dynamic') !== undefined) {
    return { refused: 'fragment is not supported; remove it from the client' }
  }
  const cipher = chooseCipher(preferred, info, optionOf(options, 'cipher'))
  if (!cipher) return { refused: `no data cipher in common; this controller has ${preferred.join(' ')}` }
  const protocolFlags = can(IV_PROTO.ccExitNotify)
  const derivation = can(IV_PROTO.tlsKeyExport) ? 'tls-ekm' : 'prf'
  return {
    cipher,
    derivation,
    protocolFlags,
    format: protocolFlags && derivation === 'tls-ekm' && can(IV_PROTO.dataEpoch) ? 'epoch' : 'aead',
    dynamicTlsCrypt: protocolFlags && can(IV_PROTO.dynamicTlsCrypt),
  }
}

/** The pushed options about the session itself, always in this order. @param mtu undefined when it cannot be pushed */
export function termOptions(terms: Terms, peerId: number, mtu: number | undefined): string[] {
  const options = [`peer-id ${peerId}`, `cipher ${terms.cipher}`]
  if (terms.protocolFlags) {
    const flags = ['cc-exit']
    if (terms.derivation === 'tls-ekm') flags.push('tls-ekm')
    if (terms.dynamicTlsCrypt) flags.push('dyn-tls-crypt')
    if (terms.format === 'epoch') flags.push('aead-epoch')
    options.push(`protocol-flags ${flags.join(' ')}`)
  } else if (terms.derivation === 'tls-ekm') {
    options.push('key-derivation tls-ekm')
  }
  if (mtu !== undefined) options.push(`tun-mtu ${mtu}`)
  return options
}
