// Key method 2: the first message each side sends inside TLS. Source: OpenVPN src/openvpn/ssl.c,
// key_method_2_write and key_method_2_read.

const PRE_MASTER = 48
const RANDOM = 32
const PREFIX = Uint8Array.of(0, 0, 0, 0, 2)
/** Longest options string that any version takes. */
const MAX_OPTIONS = 512
const MAX_CREDENTIAL = 4096
const MAX_PEER_INFO = 4096
/** Bytes of the three empty strings that end a stock server's message: user, password, peer info. */
const EMPTY_STRINGS = 6

export interface KeySources {
  random1: Uint8Array
  random2: Uint8Array
}

export interface ServerKeyMethod extends KeySources {
  options: string
}

export interface ClientKeyMethod extends KeySources {
  preMaster: Uint8Array
  options: string
  username: string
  password: string
  peerInfo: string
}

/** A message and how many bytes it took, or why there is none. */
export type Decoded<T> = { value: T; used: number } | 'incomplete' | 'bad'

export function encodeClientKeyMethod(message: ClientKeyMethod): Uint8Array {
  return Buffer.concat([
    PREFIX,
    message.preMaster,
    message.random1,
    message.random2,
    encodeString(message.options),
    encodeString(message.username),
    encodeString(message.password),
    encodeString(message.peerInfo),
  ])
}

/** As stock servers do, it ends with three empty strings. */
export function encodeServerKeyMethod(message: ServerKeyMethod): Uint8Array {
  const { random1, random2, options } = message
  return Buffer.concat([PREFIX, random1, random2, encodeString(options), new Uint8Array(EMPTY_STRINGS)])
}

/** Reads the client's message from the start of what TLS delivered so far. */
export function decodeClientKeyMethod(bytes: Uint8Array): Decoded<ClientKeyMethod> {
  const reader = new Reader(bytes)
  reader.expect(PREFIX)
  const value = {
    preMaster: reader.take(PRE_MASTER),
    random1: reader.take(RANDOM),
    random2: reader.take(RANDOM),
    options: reader.string(MAX_OPTIONS),
    username: reader.string(MAX_CREDENTIAL),
    password: reader.string(MAX_CREDENTIAL),
    peerInfo: reader.string(MAX_PEER_INFO),
  }
  return reader.failed ?? { value, used: reader.used }
}

/**
 * Reads the server's message. Of the empty strings behind the options it takes as many as are there: no control
 * message begins with NUL, so what comes later is taken for an empty message.
 */
export function decodeServerKeyMethod(bytes: Uint8Array): Decoded<ServerKeyMethod> {
  const reader = new Reader(bytes)
  reader.expect(PREFIX)
  const value = {
    random1: reader.take(RANDOM),
    random2: reader.take(RANDOM),
    options: reader.string(MAX_OPTIONS),
  }
  reader.skipZeros(EMPTY_STRINGS)
  return reader.failed ?? { value, used: reader.used }
}

/** u16 length with the closing NUL, then the bytes; an absent string is a zero length. */
function encodeString(text: string): Uint8Array {
  if (text === '') return Uint8Array.of(0, 0)
  const bytes = Buffer.from(`${text}\0`, 'latin1')
  return Buffer.concat([Uint8Array.of(bytes.length >> 8, bytes.length & 0xff), bytes])
}

const NOTHING = new Uint8Array(0)

/** Reads in order until something is missing or wrong, and then nothing more. */
class Reader {
  failed: 'incomplete' | 'bad' | undefined
  used = 0
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  take(length: number): Uint8Array {
    if (this.failed) return NOTHING
    if (this.used + length > this.#bytes.length) {
      this.failed = 'incomplete'
      return NOTHING
    }
    this.used += length
    // A copy: `slice` of a Buffer is none.
    return new Uint8Array(this.#bytes.subarray(this.used - length, this.used))
  }

  expect(prefix: Uint8Array): void {
    const got = this.take(prefix.length)
    if (!this.failed && !prefix.every((byte, i) => got[i] === byte)) this.failed = 'bad'
  }

  skipZeros(most: number): void {
    for (let i = 0; i < most && this.#bytes[this.used] === 0; i++) this.used++
  }

  /** Empty once something has failed. */
  string(most: number): string {
    const [high = 0, low = 0] = this.take(2)
    const length = (high << 8) | low
    if (length > most) this.failed = 'bad'
    const bytes = this.take(length)
    const end = bytes.indexOf(0)
    return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1')
  }
}
