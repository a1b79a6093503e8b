// Memory that C and JavaScript share: allocated once, reached by offset, checked at every hand-over.
import koffi from 'koffi'
import { lastError, SysError } from './error.ts'
import { libc, POINTER } from './library.ts'

const mmap = libc('mmap', POINTER, POINTER, 'size_t', 'int', 'int', 'int', 'int64_t')
const madvise = libc('madvise', 'int', POINTER, 'size_t', 'int')
const munmap = libc('munmap', 'int', POINTER, 'size_t')

const PROT_READ_WRITE = 3
const MAP_PRIVATE_ANONYMOUS = 0x22
const MADV_DONTFORK = 10
const PAGE = 4096
// V8 keeps whole numbers below 2^31 in place, and allocates an object for a larger one wherever it is passed to C.
// So memory is asked for in this range; where the kernel gives other addresses, things work the same, with garbage.
const LOW_START = 0x10000000
const LOW_END = 0x7fffffff

// Other threads and the C heap live here too: what is taken is passed over in steps of this size.
const STEP = 0x1000000

let nextHint = LOW_START
const living = new Map<number, number>()

function map(size: number): number {
  for (; nextHint + size <= LOW_END; nextHint += STEP) {
    const address = mapAt(nextHint, size)
    if (address !== nextHint) {
      munmap(address, size)
      continue
    }
    nextHint += size
    return address
  }
  return mapAt(0, size)
}

function mapAt(hint: number, size: number): number {
  const address = Number(mmap(hint, size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0))
  if (!Number.isSafeInteger(address)) throw lastError('mmap')
  return address
}

/** Gives back the memory of all arenas this thread has made. Nothing may touch any of them, or a view, afterwards. */
export function freeArenas(): void {
  for (const [address, size] of living) munmap(address, size)
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
    const mapped = Math.ceil(size / PAGE) * PAGE
    this.#base = map(mapped)
    // A child that is started has no business here; and what it shares, the loop would have to copy at the next packet.
    madvise(this.#base, mapped, MADV_DONTFORK)
    living.set(this.#base, mapped)
    const buffer = koffi.view(BigInt(this.#base), this.size)
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
