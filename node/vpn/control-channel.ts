// The control channel of one key id: reliability below, TLS above. Serves both ends.
import type { ControlWrap } from './control-wrap.ts'
import { type ControlBody, OPCODE } from './packet.ts'
import { ReliableReceiver, ReliableSender } from './reliable.ts'
import type { TlsChannel, TlsHandlers } from './tls.ts'

/**
 * TLS bytes in one packet: with wrapping, acknowledgements and IPv6 headers below the 1,250 bytes that stock peers
 * keep control packets to.
 */
const MAX_PAYLOAD = 1100
/** Acknowledgements beside a message, and alone. */
const ACKS_BESIDE = 4
const ACKS_ALONE = 8
/** ms that acknowledgements wait for a message to ride on. */
const ACK_DELAY_MS = 10
/** Messages that may wait so. */
const MAX_UNANSWERED = 3
/** Bytes of TLS from a peer that has not shown who it is. */
const MAX_HANDSHAKE = 65_536

export interface ControlChannelInit {
  keyId: number
  /** 0 when this channel's own resets are still to be numbered, 1 when they were (the stateless first exchange). */
  firstMessage: 0 | 1
  wrap: ControlWrap
  localSid: Uint8Array
  remoteSid: Uint8Array | undefined
  send(packet: Uint8Array): void
  now(): number
  /** Starts TLS on either side. */
  tls(handlers: TlsHandlers): TlsChannel
  secure(): void
  data(bytes: Uint8Array): void
  closed(reason: string): void
}

export class ControlChannel {
  readonly keyId: number
  remoteSid: Uint8Array | undefined
  readonly #init: ControlChannelInit
  readonly #sender: ReliableSender
  readonly #receiver: ReliableReceiver
  #tls: TlsChannel | undefined
  /** What message 1 carries behind it as CONTROL_WKC_V1: the wrapped client key. */
  #trailer: Uint8Array | undefined
  #ackAt = Number.POSITIVE_INFINITY
  /** Messages that came since acknowledgements were last sent. */
  #unanswered = 0
  /** What the handshake may still bring; Infinity once it is through. */
  #allowance = MAX_HANDSHAKE
  #closed = false

  constructor(init: ControlChannelInit) {
    this.#init = init
    this.keyId = init.keyId
    this.remoteSid = init.remoteSid
    this.#sender = new ReliableSender(init.firstMessage)
    this.#receiver = new ReliableReceiver(init.firstMessage)
  }

  get tls(): TlsChannel | undefined {
    return this.#tls
  }

  /** True when the peer has acknowledged all that was sent. */
  get idle(): boolean {
    return this.#sender.idle
  }

  /** A client's end that was asked for it sends its wrapped key again, behind message 1. */
  resendKey(wkc: Uint8Array): void {
    this.#trailer = wkc
  }

  startTls(): void {
    this.#tls ??= this.#init.tls({
      output: bytes => this.#output(bytes),
      secure: () => {
        this.#allowance = Number.POSITIVE_INFINITY
        this.#init.secure()
      },
      data: bytes => this.#init.data(bytes),
      closed: reason => this.#init.closed(reason),
    })
  }

  /** Queues a reset; its payload is empty. */
  sendReset(opcode: number): void {
    this.#sender.push(opcode, new Uint8Array(0))
    this.flush()
  }

  /** What follows are the last messages, and we may be gone before the peer misses one. */
  hurry(): void {
    this.#sender.hurry()
  }

  /** What the peer has not acknowledged is not sent again. */
  forget(): void {
    this.#sender.forget()
  }

  /** One message inside TLS. */
  write(bytes: Uint8Array): void {
    this.#tls?.write(bytes)
  }

  receive(opcode: number, body: ControlBody): void {
    for (const ack of body.acks) this.#sender.acknowledge(ack)
    if (body.messageId !== undefined) {
      for (const payload of this.#receiver.receive(body.messageId, body.payload)) this.#input(payload)
      this.#ackAt = Math.min(this.#ackAt, this.#init.now() + ACK_DELAY_MS)
      this.#unanswered++
    } else if (opcode !== OPCODE.ackV1) {
      return
    }
    this.flush()
  }

  /** Sends what is due: messages, and acknowledgements that found no message to ride on in time. */
  flush(): void {
    if (this.#closed) return
    const { wrap, localSid, send, now } = this.#init
    for (const message of this.#sender.take(now())) {
      const { messageId, payload } = message
      const body: ControlBody = { ...this.#acks(ACKS_BESIDE), messageId, payload }
      if (this.#trailer && messageId === 1) {
        const packet = wrap.wrap(OPCODE.controlWkcV1, this.keyId, localSid, body)
        send(Buffer.concat([packet, this.#trailer]))
      } else {
        send(wrap.wrap(message.opcode, this.keyId, localSid, body))
      }
    }
    if (!this.#receiver.owesAcks) this.#answered()
    else if (this.#ackAt <= now() || this.#unanswered > MAX_UNANSWERED) this.acknowledge()
  }

  /** Sends the acknowledgements that wait. */
  acknowledge(): void {
    this.#answered()
    if (this.#closed || !this.remoteSid) return
    const { wrap, localSid, send } = this.#init
    while (this.#receiver.owesAcks) {
      const body = { ...this.#acks(ACKS_ALONE), payload: new Uint8Array(0) }
      send(wrap.wrap(OPCODE.ackV1, this.keyId, localSid, body))
    }
  }

  /** When `flush` has something to do: ms. */
  deadline(): number {
    if (this.#closed) return Number.POSITIVE_INFINITY
    return Math.min(this.#ackAt, this.#sender.deadline(this.#init.now()))
  }

  close(): void {
    this.#closed = true
    this.#tls?.close()
  }

  #acks(most: number): { acks: number[]; remoteSid?: Uint8Array } {
    if (!this.remoteSid) return { acks: [] }
    const acks = this.#receiver.takeAcks(most)
    return acks.length > 0 ? { acks, remoteSid: this.remoteSid } : { acks }
  }

  #answered(): void {
    this.#ackAt = Number.POSITIVE_INFINITY
    this.#unanswered = 0
  }

  #input(payload: Uint8Array): void {
    if (payload.length === 0 || this.#allowance < 0) return
    this.#allowance -= payload.length
    if (this.#allowance < 0) this.#init.closed('the handshake is too long')
    else this.#tls?.receive(payload)
  }

  #output(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += MAX_PAYLOAD) {
      const part = Uint8Array.from(bytes.subarray(at, at + MAX_PAYLOAD))
      if (!this.#sender.push(OPCODE.controlV1, part)) {
        this.#init.closed('the peer does not acknowledge control messages')
        return
      }
    }
    this.flush()
  }
}
