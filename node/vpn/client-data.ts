// A client's data channel: seals under one key, opens under any that is still good, and keeps the line alive.
import type { DataCipher } from './data-keys.ts'
import { type DataFormat, DataOpener, DataSealer } from './data-packet.ts'
import type { DataChannelKeys } from './data-plane.ts'
import { isOccExit, isPing, OCC_EXIT, OCC_MAGIC, PING } from './in-tunnel.ts'
import { keyIdOf } from './packet.ts'

export interface ClientDataInit {
  cipher: DataCipher
  format: DataFormat
  peerId: number
  send(packet: Uint8Array): void
}

export class ClientDataChannel {
  readonly #init: ClientDataInit
  readonly #keys = new Map<number, { sealer: DataSealer; opener: DataOpener }>()
  #sending: DataSealer | undefined
  /** ms, of the last packet sent. */
  sentAt = 0
  /** ms, of the last authentic packet. */
  receivedAt: number
  /** Packets that no key opened, or that came before. */
  refused = 0

  /** @param now ms */
  constructor(init: ClientDataInit, now: number) {
    this.#init = init
    this.receivedAt = now
  }

  /** Packets sent under the present key. */
  get sealed(): number {
    return this.#sending?.sealed ?? 0
  }

  set(keyId: number, { send, receive }: Pick<DataChannelKeys, 'send' | 'receive'>): void {
    const { cipher, format, peerId } = this.#init
    this.#keys.set(keyId, {
      sealer: new DataSealer(cipher, format, send, keyId, peerId),
      opener: new DataOpener(cipher, format, receive),
    })
  }

  use(keyId: number): void {
    this.#sending = this.#keys.get(keyId)?.sealer
  }

  drop(keyId: number): void {
    this.#keys.delete(keyId)
  }

  /** An IP packet out of a data packet; `'exit'` when the server leaves; undefined when there is nothing for the caller. */
  receive(packet: Uint8Array, now: number): Uint8Array | 'exit' | undefined {
    const key = this.#keys.get(keyIdOf(packet[0]))
    const payload = key?.opener.open(packet)
    if (!key || !payload) {
      this.refused++
      return undefined
    }
    this.receivedAt = now
    key.sealer.advanceTo(key.opener.epoch)
    if (isPing(payload)) return undefined
    return isOccExit(payload) ? 'exit' : payload
  }

  /** False when there is no key yet. */
  send(payload: Uint8Array, now: number): boolean {
    if (!this.#sending) return false
    this.sentAt = now
    this.#init.send(this.#sending.seal(payload))
    return true
  }

  ping(now: number): void {
    this.send(PING, now)
  }

  exit(now: number): void {
    this.send(Buffer.concat([OCC_MAGIC, Uint8Array.of(OCC_EXIT)]), now)
  }
}
