// Whatever is done to the bytes of a backup, nothing but what was sealed comes out, and an error says what is wrong.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BackupError, type BackupErrorCode } from '../../../node/backup/error.ts'
import { CHUNK_BYTES, HEADER_BYTES, open, seal } from '../../../node/backup/sealed-stream.ts'

const COST = { log2N: 2, r: 1, p: 1 }
const PASSPHRASE = 'pässphrase'

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of source) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** In pieces of these lengths, over and over. */
function* cut(bytes: Uint8Array, lengths: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const length = lengths[turn % lengths.length]
    yield bytes.subarray(at, at + length)
    at += length
  }
}

const sealed = (plain: Uint8Array): Promise<Buffer> => collect(seal([plain], PASSPHRASE, COST))
const opened = (bytes: Uint8Array, passphrase = PASSPHRASE): Promise<Buffer> =>
  collect(open([bytes], passphrase))
const fails =
  (...codes: BackupErrorCode[]) =>
  (error: unknown) =>
    error instanceof BackupError && codes.includes(error.code)

const sizes = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.constantFrom(1, 2, 3).chain(n => fc.integer({ min: -2, max: 2 }).map(more => n * CHUNK_BYTES + more)),
)
const lengths = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 5 })

test('what was sealed comes back, however it is cut on its way', async () => {
  await fc.assert(
    fc.asyncProperty(sizes, lengths, lengths, async (size, before, after) => {
      const plain = Buffer.alloc(size, 'some text of some length')
      const bytes = await collect(seal(cut(plain, before), PASSPHRASE, COST))
      assert.deepEqual(await collect(open(cut(bytes, after), PASSPHRASE)), plain)
    }),
    { numRuns: 60 },
  )
})

test('a flipped bit is noticed, wherever it is', async () => {
  const bytes = await sealed(Buffer.alloc(CHUNK_BYTES + 500, 7))
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length * 8 - 1), async bit => {
      // The cost of the key is bounded, and high up to there: not for a test.
      if (bit >> 3 >= 17 && bit >> 3 < 20) return
      const bad = Buffer.from(bytes)
      bad[bit >> 3] ^= 1 << (bit & 7)
      await assert.rejects(opened(bad), fails('damaged', 'passphrase', 'not-a-backup', 'newer', 'truncated'))
    }),
    { numRuns: 150 },
  )
})

test('a file that was cut, or grew, is noticed', async () => {
  const bytes = await sealed(Buffer.alloc(2 * CHUNK_BYTES + 500, 7))
  const chunk = CHUNK_BYTES + 16
  const ends = [
    0,
    1,
    15,
    16,
    17,
    20,
    HEADER_BYTES - 1,
    HEADER_BYTES,
    HEADER_BYTES + chunk,
    HEADER_BYTES + 2 * chunk,
  ]
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.constantFrom(...ends), fc.integer({ min: HEADER_BYTES, max: bytes.length - 1 })),
      async end => {
        await assert.rejects(
          opened(bytes.subarray(0, end)),
          fails(end === 0 ? 'not-a-backup' : 'truncated'),
          `${end}`,
        )
      },
    ),
    { numRuns: 100 },
  )
  await assert.rejects(opened(Buffer.concat([bytes, Buffer.from('more')])), fails('damaged', 'truncated'))
})

test('chunks cannot change places, nor come from another file', async () => {
  const [one, other] = [
    await sealed(Buffer.alloc(3 * CHUNK_BYTES, 1)),
    await sealed(Buffer.alloc(3 * CHUNK_BYTES, 1)),
  ]
  const chunk = (bytes: Buffer, index: number) =>
    bytes.subarray(HEADER_BYTES + index * (CHUNK_BYTES + 16), HEADER_BYTES + (index + 1) * (CHUNK_BYTES + 16))
  const header = one.subarray(0, HEADER_BYTES)
  const swapped = Buffer.concat([header, chunk(one, 1), chunk(one, 0), chunk(one, 2)])
  await assert.rejects(opened(swapped), fails('damaged'))
  const foreign = Buffer.concat([header, chunk(one, 0), chunk(other, 1), chunk(one, 2)])
  await assert.rejects(opened(foreign), fails('damaged'))
})

test('the passphrase counts, in whichever form its characters are typed', async () => {
  const bytes = await sealed(Buffer.from('plain'))
  await assert.rejects(opened(bytes, 'passphrase'), fails('passphrase'))
  assert.deepEqual(await opened(bytes, PASSPHRASE.normalize('NFD')), Buffer.from('plain'))
})

test('a header asks for no more than its reader gives', async () => {
  const bytes = await sealed(Buffer.from('plain'))
  for (const [at, value] of [
    [17, 40],
    [17, 0],
    [18, 0],
    [19, 200],
  ]) {
    const bad = Buffer.from(bytes)
    bad[at] = value
    await assert.rejects(opened(bad), fails('damaged'))
  }
  const newer = Buffer.from(bytes)
  newer[16] = 2
  await assert.rejects(opened(newer), /written by a newer Overmesh \(format 2\); upgrade this one/)
})
