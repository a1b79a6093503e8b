// Files that a command reads whole: `-` is standard input, and none is larger than it can rightly be.
import { closeSync, createReadStream, openSync, readSync } from 'node:fs'
import { CommandError } from './errors.ts'

/**
 * The text of a file, or of standard input for `-`.
 * @param what it should be, for the error: `a clientpack`
 * @throws {CommandError} when it cannot be read or has more than `limit` bytes
 */
export async function readInput(file: string, what: string, limit: number): Promise<string> {
  const input = file === '-' ? process.stdin : createReadStream(file)
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of input) {
      size += chunk.length
      if (size > limit) break
      chunks.push(chunk)
    }
  } catch (error) {
    throw new CommandError(`cannot read ${file} (${(error as Error).message}); give ${what}`, {
      cause: error,
    })
  }
  if (size > limit) throw new CommandError(`${file} is too large to be ${what}`)
  return Buffer.concat(chunks).toString('utf8')
}

/** The first bytes of a file, or of standard input for `-`: some files never end. @throws as node:fs does */
export function readStart(file: string, size: number): Buffer {
  const fd = file === '-' ? 0 : openSync(file, 'r')
  const bytes = Buffer.alloc(size)
  let length = 0
  try {
    for (let read = 1; read > 0 && length < size; length += read)
      read = readSync(fd, bytes, length, size - length, null)
  } finally {
    if (file !== '-') closeSync(fd)
  }
  return bytes.subarray(0, length)
}
