// A controller's Ed25519 key is its identity in libp2p, too, so that what noise proves names the controller.
import type { KeyObject } from 'node:crypto'
import { privateKeyFromRaw, publicKeyFromRaw } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey, PeerId } from '@libp2p/interface'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { type ControllerId, controllerIdOf } from '../../state/kinds.ts'

/** @param key Ed25519 private key */
export function libp2pKey(key: KeyObject): Ed25519PrivateKey {
  const { d, x } = key.export({ format: 'jwk' })
  return privateKeyFromRaw(
    Buffer.concat([Buffer.from(d ?? '', 'base64url'), Buffer.from(x ?? '', 'base64url')]),
  ) as Ed25519PrivateKey
}

/** @param publicKey raw Ed25519 public key, 32 bytes */
export function peerIdOf(publicKey: Uint8Array): PeerId {
  return peerIdFromPublicKey(publicKeyFromRaw(publicKey))
}

/** The raw Ed25519 public key that a peer id holds; undefined for other kinds of key. */
export function publicKeyOf(peer: PeerId): Uint8Array | undefined {
  return peer.type === 'Ed25519' ? peer.publicKey.raw : undefined
}

/** Undefined for a peer whose key is of another kind: no controller has one. */
export function controllerOf(peer: PeerId): ControllerId | undefined {
  const key = publicKeyOf(peer)
  return key && controllerIdOf(key)
}
