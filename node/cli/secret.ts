// Passwords and passphrases: from the first line of a file, or asked for on the terminal; never from arguments, which
// every user of the machine can read.
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { CommandError } from './errors.ts'

/** Longest first line, bytes. */
export const MAX_SECRET_LINE = 4096
/** What some editors put before text in UTF-8, and is no part of it. */
const MARK = Buffer.from('\ufeff')
const LINE_FEED = 0x0a
/** The longest line with its mark and its end. */
const MOST_BYTES = MARK.length + MAX_SECRET_LINE + 2

/** The first line of a file, or of standard input for `-`. @throws {CommandError} when it is not there, or is not that */
export async function readSecret(file: string, what: string): Promise<string> {
  return firstLine(await firstBytes(file, what), file, what)
}

/** Bytes until the first line has ended, or is too long. @throws {CommandError} */
export async function firstBytes(file: string, what: string): Promise<Buffer> {
  const input = file === '-' ? process.stdin : createReadStream(file, { end: MOST_BYTES - 1 })
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      size += chunk.length
      if (size >= MOST_BYTES || chunk.includes(LINE_FEED)) break
    }
  } catch (error) {
    throw new CommandError(`cannot read ${what} from ${file} (${(error as Error).message})`, { cause: error })
  }
  const bytes = Buffer.concat(chunks)
  return bytes.subarray(0, Math.min(MOST_BYTES, bytes.indexOf(LINE_FEED) + 1 || bytes.length))
}

/** As text, without what ends it. @throws {CommandError} */
export function firstLine(bytes: Buffer, file: string, what: string): string {
  let line = withoutMark(bytes)
  if (line.at(-1) === LINE_FEED) line = line.subarray(0, line.at(-2) === 0x0d ? -2 : -1)
  const first = `the first line of ${file}`
  if (line.length === 0) throw new CommandError(`${first} is empty; put ${what} there`)
  if (line.length > MAX_SECRET_LINE)
    throw new CommandError(
      `${first} is longer than ${MAX_SECRET_LINE} bytes; put ${what} there, and nothing else`,
    )
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line)
  } catch {
    throw new CommandError(
      `${first} is no text in UTF-8; put ${what} there as text, such as the base64 of random bytes`,
    )
  }
}

/**
 * How earlier versions read the same: what is not UTF-8 as the same sign each, a mark as part of it, and what was too long
 * without its end. Undefined where there was nothing.
 */
export function firstLineBefore(bytes: Buffer): string | undefined {
  const text = new StringDecoder('utf8').write(bytes.subarray(0, MAX_SECRET_LINE))
  return text.split(/[\r\n\u2028\u2029]/, 1)[0] || undefined
}

/** Bytes of a file without what some editors put before text. */
export function withoutMark(bytes: Buffer): Buffer {
  return bytes.subarray(0, MARK.length).equals(MARK) ? bytes.subarray(MARK.length) : bytes
}

/** Asks on the terminal without showing what is typed. @throws {CommandError} without a terminal, or when left empty */
export async function askSecret(what: string, option: string): Promise<string> {
  if (!process.stdin.isTTY)
    throw new CommandError(`there is no terminal to ask for ${what}; give ${option} FILE`)
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const prompt = createInterface({ input: process.stdin, output: silent, terminal: true })
  process.stderr.write(`${what}: `)
  try {
    return await new Promise<string>((resolve, reject) => {
      prompt.once('SIGINT', () => reject(new CommandError('interrupted')))
      prompt.once('close', () => reject(new CommandError(`no ${what} given`)))
      prompt.once('line', line =>
        line === '' ? reject(new CommandError(`no ${what} given`)) : resolve(line),
      )
    })
  } finally {
    prompt.close()
    process.stderr.write('\n')
  }
}
