// Memory that the switch's two threads share: statistics of ports, and the few words by which they pace each other.

/** Key ids of a session: three bits on the wire. */
export const KEY_IDS = 8

/** Places of a port's statistics. */
export const PORT_STAT = { rxBytes: 0, txBytes: 1, rxPackets: 2, txPackets: 3, lastReceived: 4 } as const
const GENERATION = 5
const HEARD_AT = 6
const STRIDE = 8

/** What passed through one port since it was opened. */
export interface PortCounts {
  /** Overlay bytes and packets from the peer. */
  rxBytes: number
  rxPackets: number
  /** Overlay bytes and packets to the peer. */
  txBytes: number
  txPackets: number
  /** When the last authenticated packet came, ms since 1970; 0 for never. */
  lastReceived: number
}

/** Statistics by slot; the switch's thread writes, any thread reads. A slot's next port is another generation. */
export class PortStats {
  readonly memory: SharedArrayBuffer
  readonly #cells: Float64Array

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory
    this.#cells = new Float64Array(memory)
  }

  static allocate(ports: number): PortStats {
    return new PortStats(new SharedArrayBuffer((ports + 1) * STRIDE * Float64Array.BYTES_PER_ELEMENT))
  }

  /** Starts a port's counts from 0. @param now monotonic ms */
  begin(slot: number, generation: number, now: number): void {
    this.#cells.fill(0, slot * STRIDE, (slot + 1) * STRIDE)
    this.#cells[slot * STRIDE + HEARD_AT] = now
    this.#cells[slot * STRIDE + GENERATION] = generation
  }

  /** The generation that is live in a slot; 0 for none. */
  generation(slot: number): number {
    return this.#cells[slot * STRIDE + GENERATION]
  }

  end(slot: number): void {
    this.#cells[slot * STRIDE + GENERATION] = 0
  }

  add(slot: number, stat: number, amount: number): void {
    this.#cells[slot * STRIDE + stat] += amount
  }

  /** Notes when the last packet came. @param at ms since 1970 @param now monotonic ms */
  received(slot: number, at: number, now: number): void {
    this.#cells[slot * STRIDE + PORT_STAT.lastReceived] = at
    this.#cells[slot * STRIDE + HEARD_AT] = now
  }

  /** When the last packet of a port came, or it was opened, monotonic ms; undefined as long as its generation has not begun there. */
  heardAt(slot: number, generation: number): number | undefined {
    const at = slot * STRIDE
    return this.#cells[at + GENERATION] === generation ? this.#cells[at + HEARD_AT] : undefined
  }

  /** A port's counts; all 0 as long as its generation has not begun there. */
  read(slot: number, generation: number): PortCounts {
    const at = slot * STRIDE
    const live = this.#cells[at + GENERATION] === generation
    const cell = (stat: number): number => (live ? this.#cells[at + stat] : 0)
    return {
      rxBytes: cell(PORT_STAT.rxBytes),
      txBytes: cell(PORT_STAT.txBytes),
      rxPackets: cell(PORT_STAT.rxPackets),
      txPackets: cell(PORT_STAT.txPackets),
      lastReceived: cell(PORT_STAT.lastReceived),
    }
  }
}

/** Words of shared memory, all used with Atomics. */
export const SIGNAL = {
  /** 1 when the loop is to end. */
  stop: 0,
  /** 1 when messages wait for the loop that it was woken for. */
  wake: 1,
  /** Control packets under way to the main thread, by group. */
  inFlight: 2,
  /** Bytes of them all. */
  inFlightBytes: 5,
  /** Queries to this machine under way to the main thread. */
  queries: 6,
  /** Turns of the loop, from 0 and around: one that hangs makes no more, any other at least four a second. */
  turns: 7,
} as const

const SIGNALS = 8

export function allocateSignals(): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(SIGNALS * Int32Array.BYTES_PER_ELEMENT))
}

/** Who a control packet is from, which decides how much of the main thread's time it may claim. */
export const GROUP = {
  /** The first packets of a stranger: its reset, and the one by which its handshake begins. */
  first: 0,
  /** Somebody in the middle of a handshake, or claiming to be. */
  handshake: 1,
  /** The address of an open port. */
  established: 2,
} as const

/** Control packets of each group that may be under way to the main thread. */
export const IN_FLIGHT_LIMIT: readonly number[] = [4096, 4096, 2048]
/** Bytes of all that may be under way. The established may use them all, others half. */
export const IN_FLIGHT_BYTES = 16 << 20
/** Queries to this machine that may be under way to the main thread. */
export const QUERY_LIMIT = 256
