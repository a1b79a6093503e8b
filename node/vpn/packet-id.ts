// Packet ids of wrapped control packets: a counter and the second the series began, against replays.
// Source: OpenVPN src/openvpn/packet_id.c (long form).
import { ReplayWindows } from '../switch/replay.ts'

/** Bytes of a packet id: u32 counter, u32 Unix time. */
export const WRAP_PACKET_ID_LENGTH = 8

/** First counter of clients that offer early negotiation (tls-crypt-v2 WKc resend); it goes on from there. */
export const EARLY_NEGOTIATION_START = 0x0f000000

const LAST_COUNTER = 0xffffffff
/** Ids that a packet may come late by; stock uses 64. */
const WINDOW_BITS = 256

export class WrapPacketIdSender {
  #counter: number
  #time: number

  /** @param nowSeconds Unix time, constant for the series @param first the first counter given out */
  constructor(nowSeconds: number, first = 1) {
    this.#time = nowSeconds >>> 0
    this.#counter = first - 1
  }

  /** The next id. Never the same twice: when the counter is used up, a later second begins a new series. */
  next(): Uint8Array {
    if (this.#counter === LAST_COUNTER) {
      this.#counter = 0
      this.#time++
    }
    this.#counter++
    const id = new Uint8Array(WRAP_PACKET_ID_LENGTH)
    const view = new DataView(id.buffer)
    view.setUint32(0, this.#counter)
    view.setUint32(4, this.#time)
    return id
  }
}

/** The receiving side: each id once, out of order by less than the window. A later time begins a new series. */
export class WrapPacketIdWindow {
  #time = 0
  readonly #seen = new ReplayWindows(1, WINDOW_BITS)

  /** Call only for packets whose tag was right. */
  accept(counter: number, time: number): boolean {
    if (counter === 0 || time < this.#time) return false
    if (time > this.#time) {
      this.#time = time
      this.#seen.reset(0)
    }
    if (!this.#seen.check(0, counter)) return false
    this.#seen.mark(0, counter)
    return true
  }
}
