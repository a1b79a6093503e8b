// The log of a controller: on standard error, readable on a terminal and JSON otherwise, and never a secret in it.
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

export interface Log {
  logger: Logger
  /** Writes what waits; before the process ends. */
  flush(): void
}

export interface LogInit {
  level: LogLevel
  /** Readable instead of JSON. */
  readable: boolean
  colour: boolean
  /** File descriptor. @default 2, standard error */
  fd?: number
}

export function createLog({ level, readable, colour, fd = 2 }: LogInit): Log {
  // In order with what else is written to standard error, and there when the process dies. A reader that stalls holds up
  // this thread, not the switch's.
  const destination = pino.destination({ fd, sync: true })
  // A reader that went away is no reason to stop switching packets.
  destination.on('error', () => {})
  const guarded = {
    write(line: string) {
      destination.write(withoutKeys(line))
    },
  }
  const options = { level, base: undefined, redact: { paths: REDACT, censor: '[redacted]' } }
  const flush = () => {
    try {
      destination.flushSync()
    } catch {
      // Not open any more, or its reader went away.
    }
  }
  if (!readable) {
    return { logger: pino({ ...options, timestamp: pino.stdTimeFunctions.isoTime }, guarded), flush }
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
  return { logger: pino(options, stream), flush }
}
