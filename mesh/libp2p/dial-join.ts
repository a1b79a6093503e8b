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

/** @throws Error that says why nobody could be reached */
export async function dialJoin(init: DialJoinInit): Promise<JoinConnection> {
  const peerId = peerIdOf(init.publicKey)
  const addresses = await dialAddresses(init.endpoints, peerId.toString())
  if (addresses.length === 0) throw new Error('none of its addresses can be resolved')
  const node = await createPlainNode(init.privateKey)
  try {
    const signal = AbortSignal.timeout(init.timeoutMs)
    const stream = await node.dialProtocol(addresses, JOIN_PROTOCOL, { signal })
    return {
      stream: new Libp2pFrameStream(stream),
      close: async () => void (await node.stop()),
    }
  } catch (error) {
    await node.stop()
    throw error
  }
}
