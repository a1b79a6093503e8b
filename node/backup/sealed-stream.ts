// A stream under a passphrase: scrypt (RFC 7914) makes the key, and AES-256-GCM seals the stream in chunks by the STREAM
// construction (Hoang, Reyhanitabar, Rogaway, Vizár, CRYPTO 2015), as age does it: whatever is changed, moved, cut off or
// added is noticed, and nothing is handed on before its chunk was checked.
//
//   header   magic (16) | version | log2 N | r | p | salt (16) | check (16)
//   chunk    up to 64 KiB sealed, and a tag (16); the nonce counts chunks and marks the last, the header is bound to each
import { createCipheriv, createDecipheriv, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { BackupError } from './error.ts'

const MAGIC = Buffer.from('overmesh-backup\n', 'latin1')
const VERSION = 1
/** 128 MiB and some tenths of a second: what OWASP's password storage cheat sheet asks for. */
const COST = { log2N: 17, r: 8, p: 1 }
/** What a file may ask of a reader: 1 GiB. */
const MAX_LOG2_MEMORY = 30
const MAX_P = 16
const SALT_BYTES = 16
const CHECK_BYTES = 16
const KEY_BYTES = 32
const TAG_BYTES = 16
const PARAMETERS = MAGIC.length
const SALT = PARAMETERS + 4
const CHECK = SALT + SALT_BYTES
export const HEADER_BYTES = CHECK + CHECK_BYTES
export const CHUNK_BYTES = 65_536
const SEALED_BYTES = CHUNK_BYTES + TAG_BYTES

/** Work factors of scrypt; others than the default are for tests. */
export interface Cost {
  readonly log2N: number
  readonly r: number
  readonly p: number
}

/** @param plain of any lengths */
export async function* seal(
  plain: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  passphrase: string,
  cost: Cost = COST,
): AsyncGenerator<Uint8Array, void> {
  const header = Buffer.alloc(HEADER_BYTES)
  MAGIC.copy(header)
  header.set([VERSION, cost.log2N, cost.r, cost.p], PARAMETERS)
  header.set(randomBytes(SALT_BYTES), SALT)
  const { key, check } = await derive(passphrase, header)
  header.set(check, CHECK)
  yield header
  let index = 0
  for await (const { chunk, isLast } of chunks(plain, CHUNK_BYTES)) {
    const cipher = createCipheriv('aes-256-gcm', key, nonce(index++, isLast))
    cipher.setAAD(header)
    yield Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()])
  }
}

/** @throws BackupError that says what is wrong; what was yielded before it is good as far as it goes */
export async function* open(
  sealed: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  passphrase: string,
): AsyncGenerator<Uint8Array, void> {
  const { header, rest } = await readHeader(sealed)
  const { key, check } = await derive(passphrase, header)
  if (!timingSafeEqual(check, header.subarray(CHECK)))
    throw new BackupError(
      'passphrase',
      'the passphrase is not that of the backup, or the first bytes of the file are damaged',
    )
  let index = 0
  for await (const { chunk, isLast } of chunks(rest, SEALED_BYTES)) {
    const plain = unsealed(key, header, chunk, index, isLast)
    // A file that was cut ends with a chunk that is not marked as the last, and is good as one that is not.
    if (plain === undefined && isLast && unsealed(key, header, chunk, index, false) !== undefined)
      throw truncated()
    if (plain === undefined)
      throw isLast && chunk.length < SEALED_BYTES
        ? new BackupError('truncated', `the backup is cut short or damaged at its end; ${ANOTHER}`)
        : new BackupError(
            'damaged',
            `the backup is damaged some ${HEADER_BYTES + index * SEALED_BYTES} bytes in; ${ANOTHER}`,
          )
    index++
    yield plain
  }
}

const ANOTHER = 'use another copy of it'

function truncated(): BackupError {
  return new BackupError('truncated', `the backup is cut short; ${ANOTHER}`)
}

function unsealed(
  key: Buffer,
  header: Uint8Array,
  chunk: Uint8Array,
  index: number,
  isLast: boolean,
): Uint8Array | undefined {
  if (chunk.length < TAG_BYTES) return undefined
  const decipher = createDecipheriv('aes-256-gcm', key, nonce(index, isLast), { authTagLength: TAG_BYTES })
  decipher.setAAD(header)
  decipher.setAuthTag(chunk.subarray(-TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(chunk.subarray(0, -TAG_BYTES)), decipher.final()])
  } catch {
    return undefined
  }
}

/** The salt makes the key one of its own, so that counting is enough. */
function nonce(index: number, isLast: boolean): Buffer {
  const bytes = Buffer.alloc(12)
  bytes.writeUIntBE(index, 5, 6)
  bytes[11] = Number(isLast)
  return bytes
}

async function derive(passphrase: string, header: Uint8Array): Promise<{ key: Buffer; check: Buffer }> {
  const [log2N, r, p] = header.subarray(PARAMETERS, SALT)
  const options = { N: 2 ** log2N, r, p, maxmem: 2 ** (MAX_LOG2_MEMORY + 1) }
  const length = KEY_BYTES + CHECK_BYTES
  const bytes = await new Promise<Buffer>((resolve, reject) =>
    scrypt(passphrase.normalize('NFKC'), header.subarray(SALT, CHECK), length, options, (error, derived) =>
      error ? reject(error) : resolve(derived),
    ),
  )
  return { key: bytes.subarray(0, KEY_BYTES), check: bytes.subarray(KEY_BYTES) }
}

async function readHeader(
  sealed: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<{ header: Buffer; rest: AsyncGenerator<Uint8Array> }> {
  const source = pieces(sealed)
  let bytes: Buffer = Buffer.alloc(0)
  while (bytes.length < HEADER_BYTES) {
    const { value, done } = await source.next()
    if (done) break
    bytes = Buffer.concat([bytes, value])
  }
  const header = bytes.subarray(0, HEADER_BYTES)
  const start = header.subarray(0, MAGIC.length)
  if (start.length === 0 || !start.equals(MAGIC.subarray(0, start.length)))
    throw new BackupError(
      'not-a-backup',
      'this is no backup of Overmesh; name a file that `overmesh backup` wrote',
    )
  if (header.length <= PARAMETERS) throw truncated()
  const version = header[PARAMETERS]
  if (version > VERSION)
    throw new BackupError(
      'newer',
      `the backup was written by a newer Overmesh (format ${version}); upgrade this one`,
    )
  if (header.length < HEADER_BYTES) throw truncated()
  const [log2N, r, p] = header.subarray(PARAMETERS + 1, SALT)
  const isSound = log2N >= 1 && r >= 1 && p >= 1 && p <= MAX_P && log2N + 7 + Math.log2(r) <= MAX_LOG2_MEMORY
  if (version !== VERSION || !isSound)
    throw new BackupError('damaged', `the first bytes of the backup are damaged; ${ANOTHER}`)
  const beyond = bytes.subarray(HEADER_BYTES)
  async function* rest() {
    yield beyond
    yield* source
  }
  return { header, rest: rest() }
}

async function* pieces(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* source
}

/** In pieces of `size` and a last one, which is empty when there is nothing at all. */
async function* chunks(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  size: number,
): AsyncGenerator<{ chunk: Uint8Array; isLast: boolean }> {
  let waiting: Uint8Array[] = []
  let length = 0
  for await (const piece of source) {
    if (piece.length === 0) continue
    waiting.push(piece)
    length += piece.length
    if (length <= size) continue
    const all = Buffer.concat(waiting)
    let start = 0
    for (; all.length - start > size; start += size)
      yield { chunk: all.subarray(start, start + size), isLast: false }
    waiting = [all.subarray(start)]
    length = all.length - start
  }
  yield { chunk: Buffer.concat(waiting), isLast: true }
}
