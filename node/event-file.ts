// The events' file: one line of JSON each, appended at once and never rewritten. When it is full it becomes
// `FILE.1`, in place of the one before, so both together are bounded.
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  writeSync,
} from 'node:fs'
import type { EventStore } from './events.ts'

export class EventFileError extends Error {
  override name = 'EventFileError'
  readonly code = 'DENIED'
}

export interface EventFileInit {
  /** Size at which the file is set aside, in bytes. @default 4 MiB, some 20,000 events */
  maxBytes?: number
}

const LINE_FEED = 10

/**
 * Writes are synchronous, some ten microseconds each: what was appended is with the kernel and outlives `kill -9`,
 * and numbers that readers have seen are never given again. They are not fsynced; a power cut may cost the last lines.
 */
export class EventFile implements EventStore {
  readonly #path: string
  readonly #maxBytes: number
  #fd: number | undefined
  #size = 0
  /** The last line lacks its end: a crash or a full disk cut it short. */
  #torn = false

  /** Opens the file, or makes it, readable by its owner only. @throws EventFileError */
  constructor(path: string, { maxBytes = 4 * 1024 * 1024 }: EventFileInit = {}) {
    this.#path = path
    this.#maxBytes = maxBytes
    try {
      this.#open()
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new EventFileError(`cannot write ${path} (${reason}); make it writable for this user`, {
        cause: error,
      })
    }
  }

  get #rotated(): string {
    return `${this.#path}.1`
  }

  lines(): string[] {
    return [this.#rotated, this.#path]
      .flatMap(path => readTail(path, this.#maxBytes).split('\n'))
      .filter(Boolean)
  }

  /** @throws the system's error, such as ENOSPC. The next call tries again. */
  append(line: string): void {
    const text = Buffer.from(`${this.#torn ? '\n' : ''}${line}\n`)
    if (this.#size > 0 && this.#size + text.length > this.#maxBytes) this.#rotate()
    const fd = this.#fd ?? this.#open()
    // Whatever part of the line gets written if this throws, the next line must not be joined to it.
    this.#torn = true
    for (let done = 0; done < text.length; ) {
      const written = writeSync(fd, text, done)
      done += written
      this.#size += written
    }
    this.#torn = false
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  #rotate(): void {
    this.close()
    renameSync(this.#path, this.#rotated)
    this.#open()
  }

  #open(): number {
    const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW
    const fd = openSync(this.#path, flags, 0o600)
    try {
      fchmodSync(fd, 0o600)
      this.#size = fstatSync(fd).size
      const last = Buffer.alloc(1)
      this.#torn = this.#size > 0 && readSync(fd, last, 0, 1, this.#size - 1) === 1 && last[0] !== LINE_FEED
    } catch (error) {
      closeSync(fd)
      throw error
    }
    this.#fd = fd
    return fd
  }
}

/** The last `most` bytes of a file, from the first whole line on; '' if it cannot be read. */
function readTail(path: string, most: number): string {
  let fd: number | undefined
  try {
    fd = openSync(path, 'r')
    const size = fstatSync(fd).size
    const start = Math.max(0, size - most)
    const bytes = Buffer.alloc(size - start)
    const read = readSync(fd, bytes, 0, bytes.length, start)
    const text = bytes.toString('utf8', 0, read)
    return start === 0 ? text : text.slice(text.indexOf('\n') + 1)
  } catch {
    return ''
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
