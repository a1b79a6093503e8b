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
      secure: () => this.#init.secure(),
      data: bytes => this.#init.data(bytes),
      closed: reason => this.#init.closed(reason),
    })
  }

  /** Queues a reset; its payload is empty. */
  sendReset(opcode: number): void {
    this.#sender.push(opcode, new Uint8Array(0))
    this.flush()
  }

  /** One message inside TLS. */
  write(bytes: Uint8Array): void {
    this.#tls?.write(bytes)
  }

  receive(opcode: number, body: ControlBody): void {
    for (const ack of body.acks) this.#sender.acknowledge(ack)
    if (body.messageId !== undefined) {
      for (const payload of this.#receiver.receive(body.messageId, body.payload)) {
        if (payload.length > 0) this.#tls?.receive(payload)
      }
    } else if (opcode !== OPCODE.ackV1) {
      return
    }
    this.flush()
  }

  /** Sends what is due: messages, and acknowledgements that found no message to ride on. */
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
    while (this.#receiver.owesAcks) {
      const body = { ...this.#acks(ACKS_ALONE), payload: new Uint8Array(0) }
      if (body.acks.length === 0) return
      send(wrap.wrap(OPCODE.ackV1, this.keyId, localSid, body))
    }
  }

  /** When `flush` has something to do: ms. */
  deadline(): number {
    return this.#closed ? Number.POSITIVE_INFINITY : this.#sender.deadline(this.#init.now())
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
