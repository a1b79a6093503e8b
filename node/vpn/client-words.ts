// What a client says of itself, and reads from the server's first answer.
import type { DataCipher } from './data-keys.ts'
import { formatPeerInfo, TAKES_REMOTES } from './peer-info.ts'

/** @param proto IV_PROTO */
export function peerInfoText(ciphers: readonly DataCipher[], proto: number): string {
  return formatPeerInfo([
    ['IV_VER', 'overmesh'],
    ['IV_PLAT', 'node'],
    ['IV_TCPNL', '1'],
    ['IV_MTU', '1600'],
    ['IV_NCP', '2'],
    ['IV_CIPHERS', ciphers.join(':')],
    ['IV_PROTO', String(proto)],
    [TAKES_REMOTES, '1'],
  ])
}

/** As stock clients have it; servers look at `cipher`, which counts as one of those offered, and at `comp-lzo`. */
export function optionsString(cipher: DataCipher): string {
  return `V4,dev-type tun,link-mtu 1549,tun-mtu 1500,proto UDPv4,cipher ${cipher},key-method 2,tls-client`
}

/** Early negotiation flags: type 1, length 2, bit 0 = "send your wrapped key again". Source: OpenVPN ssl_pkt.h. */
export function asksForKey(payload: Uint8Array): boolean {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length)
  for (let at = 0; at + 4 <= payload.length; ) {
    const [type, length] = [view.getUint16(at), view.getUint16(at + 2)]
    if (type === 1 && length === 2 && at + 6 <= payload.length) return (view.getUint16(at + 4) & 1) !== 0
    at += 4 + length
  }
  return false
}
