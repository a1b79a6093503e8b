// A hash over a set of records that does not depend on the order in which they came, and costs little to keep up.
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

const BUCKETS = 256

/**
 * Hash of a set of digests: they fall into 256 buckets by their key, each hashed in sorted order when asked for and
 * changed since. Equal exactly when the sets are.
 */
export class RecordHash {
  readonly #buckets: Map<string, string>[] = Array.from({ length: BUCKETS }, () => new Map())
  readonly #hashes: (string | undefined)[] = new Array(BUCKETS).fill(undefined)
  #total: string | undefined

  /** @param digest hex, in place of the digest kept under this key before */
  set(key: string, digest: string): void {
    this.#touch(key).set(key, digest)
  }

  delete(key: string): void {
    this.#touch(key).delete(key)
  }

  /** SHA-256, hex. */
  value(): string {
    if (this.#total === undefined) {
      const total = createHash('sha256')
      for (let i = 0; i < BUCKETS; i++) {
        this.#hashes[i] ??= hashSorted(this.#buckets[i])
        total.update(this.#hashes[i]!)
      }
      this.#total = total.digest('hex')
    }
    return this.#total
  }

  #touch(key: string): Map<string, string> {
    const index = crc32(key) % BUCKETS
    this.#hashes[index] = undefined
    this.#total = undefined
    return this.#buckets[index]
  }
}

function hashSorted(bucket: Map<string, string>): string {
  const hash = createHash('sha256')
  for (const digest of [...bucket.values()].sort()) hash.update(digest)
  return hash.digest('hex')
}
