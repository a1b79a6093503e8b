// Messages that travel in the data channel beside IP packets. Source: OpenVPN src/openvpn/ping.c, occ.c.

export const PING = Uint8Array.from(Buffer.from('2a187bf3641eb4cb07ed2d0a981fc748', 'hex'))
export const OCC_MAGIC = Uint8Array.from(Buffer.from('287f346bd4ef7a812d56b8d3afc5459c', 'hex'))
/** Type byte behind {@link OCC_MAGIC}: the peer leaves. */
export const OCC_EXIT = 6

export function isPing(payload: Uint8Array): boolean {
  return payload.length === PING.length && PING.every((byte, i) => payload[i] === byte)
}

export function isOccExit(payload: Uint8Array): boolean {
  return OCC_MAGIC.every((byte, i) => payload[i] === byte) && payload[OCC_MAGIC.length] === OCC_EXIT
}
