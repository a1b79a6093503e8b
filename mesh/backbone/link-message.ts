// What the two ends of a backbone link say to each other on their channel.
import { decode, encode } from '@ipld/dag-cbor'
import { PUBLIC_KEY_BYTES } from './agreement.ts'
import { KEY_IDS, LINK_IDS } from './link-plane.ts'

interface KeyWords {
  /** Names this exchange. */
  generation: number
  publicKey: Uint8Array
  /** The sender's name for the link, one of `LINK_IDS`. */
  port: number
  /** Of the new key, below `KEY_IDS`. */
  keyId: number
  /** `host:port`, UDP: where the sender may be reached. */
  endpoints: string[]
}

export type LinkMessage =
  | ({ type: 'offer' } & KeyWords)
  | ({ type: 'answer' } & KeyWords)
  /** The offerer has the key, too: the answerer may send with it. */
  | { type: 'confirm'; generation: number }
  /** The sender, which does not offer, wants fresh keys. */
  | { type: 'request' }

const MAX_ENDPOINTS = 16

export function encodeLinkMessage(message: LinkMessage): Uint8Array {
  switch (message.type) {
    case 'offer':
    case 'answer': {
      const { type, generation, publicKey, port, keyId, endpoints } = message
      return encode([type, generation, publicKey, port, keyId, endpoints.slice(0, MAX_ENDPOINTS)])
    }
    case 'confirm':
      return encode([message.type, message.generation])
    case 'request':
      return encode([message.type])
  }
}

/** Undefined when malformed, or of a type that only newer versions know. More words at the end are theirs, too. Never throws. */
export function decodeLinkMessage(bytes: Uint8Array): LinkMessage | undefined {
  let words: unknown
  try {
    words = decode(bytes)
  } catch {
    return undefined
  }
  if (!Array.isArray(words)) return undefined
  const [type, generation, publicKey, port, keyId, endpoints] = words
  if (type === 'request') return { type }
  if (!isWhole(generation, Number.MAX_SAFE_INTEGER)) return undefined
  if (type === 'confirm') return { type, generation }
  if ((type !== 'offer' && type !== 'answer') || words.length < 6) return undefined
  if (!(publicKey instanceof Uint8Array) || publicKey.length !== PUBLIC_KEY_BYTES) return undefined
  if (!isWhole(port, LINK_IDS.last) || port < LINK_IDS.first || !isWhole(keyId, KEY_IDS - 1)) return undefined
  if (!Array.isArray(endpoints) || endpoints.length > MAX_ENDPOINTS || !endpoints.every(isEndpoint))
    return undefined
  return { type, generation, publicKey, port, keyId, endpoints }
}

function isWhole(value: unknown, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most
}

function isEndpoint(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 260
}
