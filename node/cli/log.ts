// The log of a controller: on standard error, readable on a terminal and JSON otherwise, and never a secret in it.
import { writeSync } from 'node:fs'
import pino, { type Logger } from 'pino'
import pretty from 'pino-pretty'
import type { LogLevel } from './log-level.ts'

/** Properties that hold secrets wherever they occur at the top or one level below. */
const SECRET_PROPERTIES = [
  'password',
  'passphrase',
  'secret',
  'privateKey',
  'key',
  'pem',
  'pack',
  'content',
  'token',
  'tlsCryptKey',
]
const REDACT = SECRET_PROPERTIES.flatMap(name => [name, `*.${name}`])

// The second line of defence: key material in a message or an error, whatever it is called, also when it was cut.
// Line breaks in it may be escaped; a quote ends it, so that a line of JSON stays one.
const KEY_BLOCK =
  /-----BEGIN ([A-Za-z0-9 -]*?(?:PRIVATE KEY|Static key|tls-crypt-v2)[A-Za-z0-9 -]*?)-----(?:[\w+/=\s:,.]|-(?!----)|\\[nrt])*(?:-----END \1-----)?/g

/** A line of the log without keys. */
export function withoutKeys(line: string): string {
  return line.includes('-----BEGIN ') ? `${line.replace(KEY_BLOCK, '[$1 redacted]').trimEnd()}\n` : line
}

export interface LogInit {
  level: LogLevel
  /** Readable instead of JSON. */
  readable: boolean
  colour: boolean
  /** File descriptor. @default 2, standard error */
  fd?: number
}

/** Milliseconds after which a reader that took nothing is tried again. */
const RETRY_MS = 10

/**
 * Writes lines in order with what else is written to the descriptor, and has none waiting when the process ends. A reader that stalls
 * holds up this thread, not the switch's. What cannot be written is lost: that its reader is gone or the disk is full is no
 * reason to stop switching packets, nor to keep what may never be read. pino's own destination tries such a line for ever.
 */
class LineWriter {
  readonly #fd: number
  readonly #pause = new Int32Array(new SharedArrayBuffer(4))
  /** The last line was written in part. */
  #isCut = false

  constructor(fd: number) {
    this.#fd = fd
  }

  write(line: string): void {
    const bytes = Buffer.from(this.#isCut ? `\n${line}` : line)
    let written = 0
    while (written < bytes.length) {
      try {
        written += writeSync(this.#fd, bytes, written)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') Atomics.wait(this.#pause, 0, 0, RETRY_MS)
        else break
      }
    }
    // Of a line that was not begun, nothing need be ended.
    if (written > 0) this.#isCut = written < bytes.length
  }
}

export function createLog({ level, readable, colour, fd = 2 }: LogInit): Logger {
  const lines = new LineWriter(fd)
  const guarded = { write: (line: string) => lines.write(withoutKeys(line)) }
  const options = { level, base: undefined, redact: { paths: REDACT, censor: '[redacted]' } }
  if (!readable) {
    return pino({ ...options, timestamp: pino.stdTimeFunctions.isoTime }, guarded)
  }
  // In this process and not in a worker: a line written just before a crash is seen.
  const format = pretty.prettyFactory({
    colorize: colour,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname',
    singleLine: true,
  })
  const stream = {
    write(line: string) {
      const text = format(line)
      if (text !== undefined) guarded.write(text)
    },
  }
  return pino(options, stream)
}
