// A ring of captured packets in shared memory: the switch's thread writes and never waits, the main thread reads. What
// finds no room is lost and counted.

/** Rings that the switch writes at once. */
export const MAX_TAPS = 4

/** What is known of a captured packet beside its bytes: places in the words of a record. */
export const RECORD = {
  /** Of the whole record, bytes; 0: the next one is at the ring's start. */
  size: 0,
  /** The port's peer id, {@link THIS_MACHINE} for the TUN. */
  peerId: 1,
  /** The session's overlay address, u32; 0 for a link. */
  address: 2,
  /** Direction, and why it was dropped: see {@link DIRECTION} and `dropOf`. */
  flags: 3,
  /** Bytes that are here, and that the packet has. */
  captured: 4,
  length: 5,
  /** Seconds since 1970 and nanoseconds. */
  seconds: 6,
  nanoseconds: 7,
  /** Packets that found no room since the record before. */
  lost: 8,
} as const
const RECORD_WORDS = 10
export const RECORD_BYTES = RECORD_WORDS * 4

/** Peer id of what is no port. */
export const THIS_MACHINE = -1

/** As in the flags of pcapng's packets: towards the switch, and from it. */
export const DIRECTION = { in: 1, out: 2 } as const
const DIRECTION_MASK = 3
const DROP_SHIFT = 8

/** Flags of a packet that goes on (`drop` -1) or is dropped and counted by that counter. */
export function flagsOf(direction: number, drop: number): number {
  return direction | ((drop + 1) << DROP_SHIFT)
}

export function directionOf(flags: number): number {
  return flags & DIRECTION_MASK
}

/** Place of the counter that counted the drop; -1 for none. */
export function dropOf(flags: number): number {
  return (flags >>> DROP_SHIFT) - 1
}

// The ends of what is in the ring, counted in bytes since the beginning, modulo 2^32; each is written by one thread.
const HEAD = 0
const TAIL = 1
/** Packets lost so far. */
const LOST = 2
const CONTROL_BYTES = 64

/** @param bytes a power of two that holds the longest packet and its record */
export function allocateRing(bytes: number): SharedArrayBuffer {
  if (bytes < 1024 || bytes > 2 ** 30 || (bytes & (bytes - 1)) !== 0)
    throw new RangeError(`ring of ${bytes} bytes`)
  return new SharedArrayBuffer(CONTROL_BYTES + bytes)
}

/** The writer's end. Begin, fill in `words` and `bytes` at the places named, then commit. */
export class RingWriter {
  readonly words: Int32Array
  readonly bytes: Uint8Array
  readonly #control: Int32Array
  readonly #capacity: number
  #head: number
  #lost = 0
  #size = 0

  constructor(memory: SharedArrayBuffer) {
    this.#capacity = memory.byteLength - CONTROL_BYTES
    this.#control = new Int32Array(memory, 0, CONTROL_BYTES >> 2)
    this.words = new Int32Array(memory, CONTROL_BYTES)
    this.bytes = new Uint8Array(memory, CONTROL_BYTES)
    this.#head = Atomics.load(this.#control, HEAD)
  }

  /** Makes room for a packet of so many bytes: where its record is to be, in bytes; -1 if there is none. */
  begin(captured: number): number {
    const size = (RECORD_BYTES + captured + 7) & ~7
    const used = (this.#head - Atomics.load(this.#control, TAIL)) | 0
    const at = this.#head & (this.#capacity - 1)
    const left = this.#capacity - at
    const skipped = left < size ? left : 0
    if (used + skipped + size > this.#capacity) {
      this.#lost++
      Atomics.add(this.#control, LOST, 1)
      return -1
    }
    if (skipped > 0) {
      this.words[at >> 2] = 0
      this.#head = (this.#head + skipped) | 0
    }
    this.#size = size
    const record = skipped > 0 ? 0 : at
    this.words[(record >> 2) + RECORD.size] = size
    this.words[(record >> 2) + RECORD.captured] = captured
    this.words[(record >> 2) + RECORD.lost] = this.#lost
    return record
  }

  /** Lets the reader have the record that was begun. */
  commit(): void {
    this.#lost = 0
    this.#head = (this.#head + this.#size) | 0
    Atomics.store(this.#control, HEAD, this.#head)
  }
}

/** A captured packet. */
export interface Captured {
  peerId: number
  /** u32 */
  address: number
  direction: number
  /** Place of the counter, -1 if it goes on. */
  drop: number
  /** A part of the ring: good until `release`. */
  bytes: Uint8Array
  length: number
  seconds: number
  nanoseconds: number
  lost: number
}

/** The reader's end. */
export class RingReader {
  readonly #words: Int32Array
  readonly #bytes: Uint8Array
  readonly #control: Int32Array
  readonly #capacity: number
  #tail: number

  constructor(memory: SharedArrayBuffer) {
    this.#capacity = memory.byteLength - CONTROL_BYTES
    this.#control = new Int32Array(memory, 0, CONTROL_BYTES >> 2)
    this.#words = new Int32Array(memory, CONTROL_BYTES)
    this.#bytes = new Uint8Array(memory, CONTROL_BYTES)
    this.#tail = Atomics.load(this.#control, TAIL)
  }

  /** Packets that found no room so far. */
  get lost(): number {
    return Atomics.load(this.#control, LOST) >>> 0
  }

  /** The next packet; undefined when none waits. */
  next(): Captured | undefined {
    const head = Atomics.load(this.#control, HEAD)
    if (head === this.#tail) return undefined
    let at = this.#tail & (this.#capacity - 1)
    if (this.#words[at >> 2] === 0) {
      this.#tail = (this.#tail + this.#capacity - at) | 0
      at = 0
    }
    const word = (place: number): number => this.#words[(at >> 2) + place]
    const flags = word(RECORD.flags)
    const start = at + RECORD_BYTES
    this.#tail = (this.#tail + word(RECORD.size)) | 0
    return {
      peerId: word(RECORD.peerId),
      address: word(RECORD.address) >>> 0,
      direction: directionOf(flags),
      drop: dropOf(flags),
      bytes: this.#bytes.subarray(start, start + word(RECORD.captured)),
      length: word(RECORD.length),
      seconds: word(RECORD.seconds) >>> 0,
      nanoseconds: word(RECORD.nanoseconds),
      lost: word(RECORD.lost),
    }
  }

  /** Gives back the room of all that `next` gave. */
  release(): void {
    Atomics.store(this.#control, TAIL, this.#tail)
  }
}
