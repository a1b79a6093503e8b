// DNS messages in a TCP stream: each after its length in two bytes (RFC 1035 section 4.2.2).

export function frameMessage(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(2 + message.length)
  framed.writeUInt16BE(message.length, 0)
  framed.set(message, 2)
  return framed
}

export class MessageReader {
  readonly #limit: number
  #rest: Buffer = Buffer.alloc(0)

  /** @param limit longest message, bytes: no more than one of them is ever held */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** The messages that a chunk completes; undefined when one is announced that is too long. Then the stream is of no use. */
  take(chunk: Buffer): Buffer[] | undefined {
    let rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const messages: Buffer[] = []
    while (rest.length >= 2) {
      const length = rest.readUInt16BE(0)
      if (length > this.#limit) return undefined
      if (rest.length < 2 + length) break
      messages.push(rest.subarray(2, 2 + length))
      rest = rest.subarray(2 + length)
    }
    this.#rest = rest
    return messages
  }
}
