// A hash over a set of records that does not depend on the order in which they came, and costs little to keep up.
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

/** Parts into which the records fall by their key. */
export const BUCKETS = 256

/** The part a key falls into. */
export function bucketOf(key: string): number {
  return crc32(key) % BUCKETS
}

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
      for (const hash of this.buckets()) total.update(hash)
      this.#total = total.digest('hex')
    }
    return this.#total
  }

  /** SHA-256 of each bucket, hex. */
  buckets(): string[] {
    return this.#buckets.map((bucket, index) => {
      const hash = this.#hashes[index] ?? hashSorted(bucket)
      this.#hashes[index] = hash
      return hash
    })
  }

  #touch(key: string): Map<string, string> {
    const index = bucketOf(key)
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
