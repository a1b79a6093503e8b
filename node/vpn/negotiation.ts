// The server's half of one key negotiation: TLS, then key method 2, then control messages.
import type { ControlChannel } from './control-channel.ts'
import { ControlTextSplitter } from './control-message.ts'
import { type ClientKeyMethod, decodeClientKeyMethod } from './key-method.ts'

/** Bytes of key method 2 with every string at its limit, rounded up. */
const MAX_KEY_METHOD = 16_384

export class Negotiation {
  readonly channel: ControlChannel
  /** ms */
  readonly startedAt: number
  /** Key method 2 is through on both sides, as far as we know. */
  exchanged = false
  /** When the peer had acknowledged our half, ms: it can use the key from then on. */
  confirmedAt: number | undefined
  #pending = Buffer.alloc(0)
  readonly #texts = new ControlTextSplitter()

  constructor(channel: ControlChannel, startedAt: number) {
    this.channel = channel
    this.startedAt = startedAt
  }

  get keyId(): number {
    return this.channel.keyId
  }

  /** The client's key method 2 once it is complete; stock clients put nothing behind it in one record. */
  readKeyMethod(bytes: Uint8Array): ClientKeyMethod | 'incomplete' | 'bad' {
    this.#pending = Buffer.concat([this.#pending, bytes])
    if (this.#pending.length > MAX_KEY_METHOD) return 'bad'
    const decoded = decodeClientKeyMethod(this.#pending)
    if (typeof decoded === 'string') return decoded
    this.exchanged = true
    this.#pending = this.#pending.subarray(decoded.used)
    return decoded.value
  }

  /** What came behind key method 2, with `bytes`. */
  readTexts(bytes: Uint8Array): string[] | 'bad' {
    const all = this.#pending.length > 0 ? Buffer.concat([this.#pending, bytes]) : bytes
    this.#pending = Buffer.alloc(0)
    return this.#texts.push(all)
  }
}
