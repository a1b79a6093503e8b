// Memory that C and JavaScript share: allocated once, reached by offset, checked at every hand-over.
import koffi from 'koffi'
import { SysError } from './error.ts'

const living = new Set<unknown>()

/** Gives back the memory of all arenas this thread has made. Nothing may touch any of them, or a view, afterwards. */
export function freeArenas(): void {
  for (const memory of living) koffi.free(memory)
  living.clear()
}

/** A block of zeroed native memory. Pages are committed by the kernel when first touched. */
export class Arena {
  readonly size: number
  readonly bytes: Uint8Array
  readonly view: DataView
  /** The same memory as 32-bit words in machine order, for C structures. */
  readonly words: Int32Array
  readonly #base: number

  /** @param size bytes, rounded up to a multiple of 8 */
  constructor(size: number) {
    if (!Number.isInteger(size) || size <= 0) throw new SysError('arena', 'ERANGE_ARENA', `size ${size}`)
    this.size = (size + 7) & ~7
    const memory = koffi.alloc('uint8_t', this.size)
    living.add(memory)
    this.#base = Number(koffi.address(memory))
    const buffer = koffi.view(memory, this.size)
    this.bytes = new Uint8Array(buffer)
    this.view = new DataView(buffer)
    this.words = new Int32Array(buffer)
  }

  /**
   * The address of `length` bytes at `offset`, to be given to C at once and kept nowhere. Only switch/sys calls it.
   * Throws SysError `ERANGE_ARENA` when they are not all inside.
   */
  address(offset: number, length: number): number {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size)) {
      throw new SysError('arena', 'ERANGE_ARENA', `${offset} + ${length} of ${this.size}`)
    }
    return this.#base + offset
  }

  /** Writes into this arena, at word index `word`, the pointer to `length` bytes at `offset` of `target`. */
  point(word: number, target: Arena, offset: number, length: number): void {
    const address = target.address(offset, length)
    this.words[word] = address | 0
    this.words[word + 1] = Math.floor(address / 0x100000000)
  }
}
