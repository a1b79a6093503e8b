// From the key block to the keys of the data channel, in the classic AEAD form and in the epoch form.
// Source: OpenVPN src/openvpn/crypto.c, crypto_epoch.c; Expand-Label as in RFC 8446 section 7.1 with prefix "ovpn ".
import { createHmac } from 'node:crypto'

/** What of the key block serves one direction. */
export interface DirectionKey {
  /** 64 bytes; the leading ones are the key. */
  cipher: Uint8Array
  /** 64 bytes; the leading 8 are the implicit part of the nonce. */
  hmac: Uint8Array
}

export const DATA_CIPHERS = ['AES-256-GCM', 'CHACHA20-POLY1305', 'AES-192-GCM', 'AES-128-GCM'] as const
export type DataCipher = (typeof DATA_CIPHERS)[number]

const KEY_LENGTHS: Record<DataCipher, number> = {
  'AES-256-GCM': 32,
  'CHACHA20-POLY1305': 32,
  'AES-192-GCM': 24,
  'AES-128-GCM': 16,
}

export const EPOCH_SECRET_LENGTH = 32
export const NONCE_LENGTH = 12

export function keyLengthOf(cipher: DataCipher): number {
  return KEY_LENGTHS[cipher]
}

/** Copies, so that the block can be wiped. @param block 256 bytes: client to server first, then server to client */
export function splitKeyBlock(
  block: Uint8Array,
  role: 'server' | 'client',
): { send: DirectionKey; receive: DirectionKey } {
  const direction = (at: number): DirectionKey => ({
    cipher: Uint8Array.from(block.subarray(at, at + 64)),
    hmac: Uint8Array.from(block.subarray(at + 64, at + 128)),
  })
  const [toServer, toClient] = [direction(0), direction(128)]
  return role === 'server' ? { send: toClient, receive: toServer } : { send: toServer, receive: toClient }
}

/** Key and implicit nonce part of the classic AEAD format. */
export function aeadKey(
  direction: DirectionKey,
  cipher: DataCipher,
): { key: Uint8Array; implicitIv: Uint8Array } {
  return {
    key: new Uint8Array(direction.cipher.subarray(0, keyLengthOf(cipher))),
    implicitIv: new Uint8Array(direction.hmac.subarray(0, 8)),
  }
}

/** The secret of epoch 1. */
export function epochSecret(direction: DirectionKey): Uint8Array {
  return new Uint8Array(direction.cipher.subarray(0, EPOCH_SECRET_LENGTH))
}

export function nextEpochSecret(secret: Uint8Array): Uint8Array {
  return ovpnExpandLabel(secret, 'datakey upd', EPOCH_SECRET_LENGTH)
}

export function epochKey(secret: Uint8Array, keyLength: number): Uint8Array {
  return ovpnExpandLabel(secret, 'data_key', keyLength)
}

/** 12 bytes, to be XORed with the packet id padded right with zeros. */
export function epochIv(secret: Uint8Array): Uint8Array {
  return ovpnExpandLabel(secret, 'data_iv', NONCE_LENGTH)
}

/** HKDF-Expand-Label with SHA-256 and an empty context; one or two blocks at most. */
export function ovpnExpandLabel(secret: Uint8Array, label: string, length: number): Uint8Array {
  const full = Buffer.from(`ovpn ${label}`)
  const info = Buffer.concat([Uint8Array.of(length >> 8, length & 0xff, full.length), full, Uint8Array.of(0)])
  const out = new Uint8Array(length)
  let block: Uint8Array = new Uint8Array(0)
  for (let at = 0, counter = 1; at < length; counter++) {
    block = createHmac('sha256', secret).update(block).update(info).update(Uint8Array.of(counter)).digest()
    out.set(block.subarray(0, length - at), at)
    at += block.length
  }
  return out
}
