// Captures as the packet path sees them: where a packet passes a port it looks at one number, and only where a capture
// runs are its headers shown to the filters and copied into the rings.
import { DISSECTED, DISSECTED_WORDS, dissect } from './dissect.ts'
import type { Memory } from './memory.ts'
import type { Ports } from './ports.ts'
import { Clock } from './sys/clock.ts'
import { matchesFilter, snapOf } from './tap-filter.ts'
import { flagsOf, MAX_TAPS, RECORD, RECORD_BYTES, RingWriter, THIS_MACHINE } from './tap-ring.ts'

/** No drop. */
const PASSES = -1

interface Tap {
  readonly id: number
  readonly filter: Int32Array
  readonly ring: RingWriter
}

export class Taps {
  /** Its first word is how many captures run: nothing else is to be asked of each packet. */
  readonly open = new Int32Array(1)
  readonly #ports: Ports
  readonly #taps: Tap[] = []
  readonly #found = new Int32Array(DISSECTED_WORDS)
  readonly #clock = new Clock()

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Begins to copy what the filter takes into the ring; beyond {@link MAX_TAPS} nothing happens. */
  add(id: number, filter: Int32Array, ring: SharedArrayBuffer): void {
    if (this.#taps.length < MAX_TAPS) this.#taps.push({ id, filter, ring: new RingWriter(ring) })
    this.open[0] = this.#taps.length
  }

  remove(id: number): void {
    const at = this.#taps.findIndex(tap => tap.id === id)
    if (at >= 0) this.#taps.splice(at, 1)
    this.open[0] = this.#taps.length
  }

  /** The packet of `length` bytes at `at` passes a port, 0 for the TUN. */
  passes(port: number, direction: number, packet: Memory, at: number, length: number): void {
    this.#take(port, direction, PASSES, packet, at, length)
  }

  /** It is dropped, and was counted there. */
  dropped(
    counter: number,
    port: number,
    direction: number,
    packet: Memory,
    at: number,
    length: number,
  ): void {
    this.#take(port, direction, counter, packet, at, length)
  }

  #take(port: number, direction: number, drop: number, packet: Memory, at: number, length: number): void {
    if (length < 1) return
    const found = this.#found
    dissect(packet, at, length, found)
    // What the ends of a port say to each other is no overlay packet.
    if (found[DISSECTED.version] === 0) return
    const ports = this.#ports
    const peerId = port === 0 ? THIS_MACHINE : ports.peerId[port]
    const address = port === 0 ? 0 : ports.address[port]
    const isLink = ports.link[port] !== 0
    for (let i = 0; i < this.#taps.length; i++) {
      const { filter, ring } = this.#taps[i]
      if (!matchesFilter(filter, peerId, address, isLink, drop !== PASSES, packet, at, length, found))
        continue
      const snap = snapOf(filter)
      const captured = Math.min(length, snap === 0 ? found[DISSECTED.headers] : snap)
      const record = ring.begin(captured)
      if (record < 0) continue
      const { words } = ring
      const word = record >> 2
      words[word + RECORD.peerId] = peerId
      words[word + RECORD.address] = address
      words[word + RECORD.flags] = flagsOf(direction, drop)
      words[word + RECORD.length] = length
      this.#clock.stamp(words, word + RECORD.seconds)
      copy(packet, at, ring, record + RECORD_BYTES, captured)
      ring.commit()
    }
  }
}

/** Word by word as far as may be; where it goes begins at a word. No view is made, which would be an object a packet. */
function copy(packet: Memory, from: number, ring: RingWriter, to: number, length: number): void {
  let done = 0
  if ((from & 3) === 0) {
    const { words } = packet
    const { words: target } = ring
    const count = length >> 2
    for (let i = 0, at = from >> 2, put = to >> 2; i < count; i++) target[put++] = words[at++]
    done = count << 2
  }
  const { bytes } = packet
  const { bytes: target } = ring
  for (let at = from + done, put = to + done, end = from + length; at < end; ) target[put++] = bytes[at++]
}
