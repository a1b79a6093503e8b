// The newcomer's end of a join: one connection to the controller that invited it, and to no other.
import type { KeyObject } from 'node:crypto'
import { dialAddresses } from './endpoints.ts'
import { type FrameStream, Libp2pFrameStream } from './frame-stream.ts'
import { peerIdOf } from './identity.ts'
import { createPlainNode } from './node.ts'
import { JOIN_PROTOCOL } from './transport.ts'

export interface DialJoinInit {
  /** Ed25519, of the newcomer. */
  readonly privateKey: KeyObject
  /** `host:port`, TCP. */
  readonly endpoints: readonly string[]
  /** Raw Ed25519 public key of the controller that invited: whoever else answers is not talked to. */
  readonly publicKey: Uint8Array
  readonly timeoutMs: number
}

export interface JoinConnection {
  readonly stream: FrameStream
  close(): Promise<void>
}

/** Nobody could be reached. The message says of each endpoint why not. */
export class DialJoinError extends Error {
  override name = 'DialJoinError'
}

/**
 * Tries the endpoints one after the other.
 * @throws DialJoinError
 */
export async function dialJoin(init: DialJoinInit): Promise<JoinConnection> {
  const peerId = peerIdOf(init.publicKey)
  const node = await createPlainNode(init.privateKey)
  const problems: string[] = []
  try {
    for (const endpoint of init.endpoints) {
      const addresses = await dialAddresses([endpoint], peerId.toString())
      if (addresses.length === 0) {
        problems.push(`${endpoint} (its name has no address)`)
        continue
      }
      try {
        const signal = AbortSignal.timeout(init.timeoutMs)
        const stream = await node.dialProtocol(addresses, JOIN_PROTOCOL, { signal })
        return { stream: new Libp2pFrameStream(stream), close: async () => void (await node.stop()) }
      } catch (error) {
        problems.push(`${endpoint} (${problemOf(error)})`)
      }
    }
    throw new DialJoinError(problems.join(', '))
  } catch (error) {
    await node.stop()
    throw error
  }
}

function problemOf(error: unknown): string {
  const text = textsOf(error).join('; ')
  if (/does not match expected/.test(text)) return 'another controller answers there'
  if (/ECONNREFUSED/.test(text)) return 'nothing listens there'
  if (/EHOSTUNREACH|ENETUNREACH/.test(text)) return 'there is no way to it'
  if (/ETIMEDOUT|timeout|timed out/i.test(text)) return 'no answer'
  if (/EncryptionFailed|Missing newline/.test(text)) return 'what answers there is no controller'
  if (/UnexpectedEOF|UnsupportedProtocol|reset|closed/i.test(text)) return 'it lets nobody join now'
  return text.split('\n')[0].slice(0, 200)
}

function textsOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [String(error)]
  const inner = error instanceof AggregateError ? error.errors.flatMap(textsOf) : []
  return [`${error.name} ${error.message}`, ...inner]
}
