// Packet ids of wrapped control packets: a counter and the second the series began, against replays.
// Source: OpenVPN src/openvpn/packet_id.c (long form).

/** Ids below the highest that are still told apart. */
const WINDOW = 256

/** First counter of clients that offer early negotiation (tls-crypt-v2 WKc resend); it goes on from there. */
export const EARLY_NEGOTIATION_START = 0x0f000000

export class WrapPacketIdSender {
  #counter: number
  readonly #time: number

  /** @param nowSeconds Unix time, constant for the series @param first the first counter given out */
  constructor(nowSeconds: number, first = 1) {
    this.#time = nowSeconds >>> 0
    this.#counter = first - 1
  }

  /** The next id: u32 counter, u32 time. */
  next(): Uint8Array {
    const id = new Uint8Array(8)
    const view = new DataView(id.buffer)
    this.#counter++
    view.setUint32(0, this.#counter >>> 0)
    view.setUint32(4, this.#time)
    return id
  }
}

/** The receiving side: each id once, out of order by less than the window. A later time begins a new series. */
export class WrapPacketIdWindow {
  #time = 0
  #highest = 0
  readonly #seen = new Uint32Array(WINDOW / 32)

  /** Call only for packets whose tag was right. */
  accept(counter: number, time: number): boolean {
    if (counter === 0 || time < this.#time) return false
    if (time > this.#time) {
      this.#time = time
      this.#highest = counter
      this.#seen.fill(0)
      this.#mark(counter)
      return true
    }
    if (counter > this.#highest) {
      const gap = Math.min(counter - this.#highest, WINDOW)
      for (let i = 1; i <= gap; i++) this.#unmark(this.#highest + i)
      this.#highest = counter
      this.#mark(counter)
      return true
    }
    if (this.#highest - counter >= WINDOW || this.#isMarked(counter)) return false
    this.#mark(counter)
    return true
  }

  #mark(counter: number): void {
    const bit = counter % WINDOW
    this.#seen[bit >> 5] |= 1 << (bit & 31)
  }

  #unmark(counter: number): void {
    const bit = counter % WINDOW
    this.#seen[bit >> 5] &= ~(1 << (bit & 31))
  }

  #isMarked(counter: number): boolean {
    const bit = counter % WINDOW
    return (this.#seen[bit >> 5] & (1 << (bit & 31))) !== 0
  }
}
