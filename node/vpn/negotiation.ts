// One key negotiation of either end: TLS, then key method 2, then control messages.
import type { ControlChannel } from './control-channel.ts'
import { ControlTextSplitter, encodeControlMessage } from './control-message.ts'
import type { Decoded } from './key-method.ts'
import { supersedes } from './push-update.ts'

/** Bytes of key method 2 with every string at its limit, rounded up. */
const MAX_KEY_METHOD = 16_384
const NOTHING = Buffer.alloc(0)

export class Negotiation {
  readonly channel: ControlChannel
  /** ms */
  readonly startedAt: number
  /** The peer's key method 2 is here, and ours is sent. */
  exchanged = false
  /** When the peer had acknowledged all of ours, ms: it can use the key from then on. */
  confirmedAt: number | undefined
  #pending = NOTHING
  readonly #texts = new ControlTextSplitter()
  /** Updates that the peer has not acknowledged, in order: one for each kind of option at most. */
  #updates: string[] = []

  constructor(channel: ControlChannel, startedAt: number) {
    this.channel = channel
    this.startedAt = startedAt
  }

  get keyId(): number {
    return this.channel.keyId
  }

  /** The peer's key method 2 once it is complete. */
  readKeyMethod<T extends object>(bytes: Uint8Array, decode: (bytes: Uint8Array) => Decoded<T>) {
    const all = Buffer.concat([this.#pending, bytes])
    this.#pending = NOTHING
    if (all.length > MAX_KEY_METHOD) return 'bad'
    const decoded = decode(all)
    if (decoded === 'incomplete') this.#pending = all
    if (typeof decoded === 'string') return decoded
    this.exchanged = true
    this.#pending = Buffer.from(all.subarray(decoded.used))
    return decoded.value
  }

  /** Control messages out of what came behind key method 2 and `bytes`. */
  readTexts(bytes: Uint8Array): string[] | 'bad' {
    const all = this.#pending.length > 0 ? Buffer.concat([this.#pending, bytes]) : bytes
    this.#pending = NOTHING
    return this.#texts.push(all)
  }

  /** Says what is said again by the next key if it is not acknowledged before: a PUSH_UPDATE. */
  update(text: string): void {
    this.#updates = [...this.#updates.filter(earlier => !supersedes(text, earlier)), text]
    this.channel.write(encodeControlMessage(text))
  }

  /** The updates that the peer may not have heard. This key says them no more, or they could come after later ones. */
  takeUpdates(): string[] {
    const updates = this.#updates
    this.#updates = []
    if (updates.length > 0) this.channel.forget()
    return updates
  }

  /** To be asked when acknowledgements came. @param now ms */
  noteConfirmation(now: number): void {
    if (!this.exchanged || !this.channel.idle) return
    this.confirmedAt ??= now
    this.#updates = []
  }
}
