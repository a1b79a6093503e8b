// Which port a remote end belongs to: an open-addressing hash over the ports' own addresses.
import type { Memory } from './memory.ts'
import { hashName, PATH_STRIDE, sameName } from './socket-address.ts'

/** Slots by (listening socket, remote end). Slot numbers start at 1; a slot is in here at most once. */
export class PathIndex {
  readonly #cells: Int32Array
  readonly #mask: number
  readonly #paths: Memory
  readonly #sockets: Uint8Array
  readonly #seed: number

  /**
   * @param capacity slots at most; the table stays at most half full
   * @param paths the slots' paths, `PATH_STRIDE` bytes each
   * @param sockets the slots' listening sockets
   * @param seed random, so that nobody can choose addresses that collide
   */
  constructor(capacity: number, paths: Memory, sockets: Uint8Array, seed: number) {
    const size = 2 ** Math.ceil(Math.log2(capacity * 2 + 2))
    this.#cells = new Int32Array(size)
    this.#mask = size - 1
    this.#paths = paths
    this.#sockets = sockets
    this.#seed = seed
  }

  #home(names: Memory, at: number, socket: number): number {
    return (hashName(names, at, this.#seed) + Math.imul(socket, 0x9e3779b1)) & this.#mask
  }

  /** The slot whose path leads to the sockaddr at `at` by `socket`; 0 when there is none. */
  find(names: Memory, at: number, socket: number): number {
    for (let cell = this.#home(names, at, socket); ; cell = (cell + 1) & this.#mask) {
      const slot = this.#cells[cell]
      if (slot === 0) return 0
      if (this.#sockets[slot] === socket && sameName(this.#paths, slot * PATH_STRIDE, names, at)) return slot
    }
  }

  /** Enters a slot under its present path. The caller has made sure that no other has the same. */
  add(slot: number): void {
    let cell = this.#home(this.#paths, slot * PATH_STRIDE, this.#sockets[slot])
    while (this.#cells[cell] !== 0) cell = (cell + 1) & this.#mask
    this.#cells[cell] = slot
  }

  /** Takes a slot out, before its path changes. Does nothing when it is not in. */
  remove(slot: number): void {
    let cell = this.#home(this.#paths, slot * PATH_STRIDE, this.#sockets[slot])
    while (this.#cells[cell] !== slot) {
      if (this.#cells[cell] === 0) return
      cell = (cell + 1) & this.#mask
    }
    // Close the gap (Knuth, volume 3, algorithm 6.4R): what could not stand at its home may move up to it.
    let gap = cell
    for (let next = (gap + 1) & this.#mask; this.#cells[next] !== 0; next = (next + 1) & this.#mask) {
      const moving = this.#cells[next]
      const home = this.#home(this.#paths, moving * PATH_STRIDE, this.#sockets[moving])
      if (((next - home) & this.#mask) < ((next - gap) & this.#mask)) continue
      this.#cells[gap] = moving
      gap = next
    }
    this.#cells[gap] = 0
  }
}
