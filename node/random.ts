// Random bytes for who needs few at a time, and often.
import { randomFillSync } from 'node:crypto'

/** Bytes that are drawn at once: a call into OpenSSL costs more than the bytes. */
const POOL = 4096

/** A source of random bytes like `randomBytes`, which keeps some in store. No byte is given twice, or kept once it is given. */
export function pooledRandomBytes(): (size: number) => Uint8Array {
  const pool = new Uint8Array(POOL)
  let at = POOL
  return size => {
    if (size > POOL) return randomFillSync(new Uint8Array(size))
    if (at + size > POOL) {
      randomFillSync(pool)
      at = 0
    }
    const bytes = pool.slice(at, at + size)
    pool.fill(0, at, at + size)
    at += size
    return bytes
  }
}
