// Packets of strongSwan's VICI, and their segments in the stream. Format: "Transport protocol" and "Packet layer" in
// https://github.com/strongswan/strongswan/blob/master/src/libcharon/plugins/vici/README.md
import { ViciError } from './error.ts'
import { decodeMessage, encodeMessage, named, type ViciMessage, type ViciSection } from './message.ts'

/** Longest packet, bytes, without the length in front of it. */
export const MAX_PACKET = 512 * 1024

const CMD_REQUEST = 0
const CMD_RESPONSE = 1
const CMD_UNKNOWN = 2
const EVENT_REGISTER = 3
const EVENT_UNREGISTER = 4
const EVENT_CONFIRM = 5
const EVENT_UNKNOWN = 6
const EVENT = 7

/** What a daemon sends. */
export type ViciPacket =
  | { readonly type: 'response'; readonly message: ViciSection }
  | { readonly type: 'command-unknown' | 'event-confirm' | 'event-unknown' }
  | { readonly type: 'event'; readonly name: string; readonly message: ViciSection }

export const encodeRequest = (command: string, message: ViciMessage): Uint8Array =>
  segment(named(CMD_REQUEST, command), encodeMessage(message))
export const encodeRegister = (event: string): Uint8Array => segment(named(EVENT_REGISTER, event))
export const encodeUnregister = (event: string): Uint8Array => segment(named(EVENT_UNREGISTER, event))

/** @throws RangeError when it is longer than the protocol allows */
function segment(...parts: Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  if (length > MAX_PACKET) throw new RangeError(`a VICI packet has at most ${MAX_PACKET} bytes`)
  const header = Buffer.alloc(4)
  header.writeUInt32BE(length)
  return Buffer.concat([header, ...parts])
}

/** @throws ViciError `malformed`, also for what only a client sends */
export function decodePacket(bytes: Uint8Array): ViciPacket {
  if (bytes.length === 0) throw new ViciError('malformed', 'the packet is empty')
  const rest = bytes.subarray(1)
  switch (bytes[0]) {
    case CMD_RESPONSE:
      return { type: 'response', message: decodeMessage(rest) }
    case CMD_UNKNOWN:
      return { type: 'command-unknown' }
    case EVENT_CONFIRM:
      return { type: 'event-confirm' }
    case EVENT_UNKNOWN:
      return { type: 'event-unknown' }
    case EVENT: {
      if (rest.length === 0 || rest.length < 1 + rest[0])
        throw new ViciError('malformed', 'the packet ends within its name')
      const end = 1 + rest[0]
      const name = Buffer.from(rest.subarray(1, end)).toString('utf8')
      return { type: 'event', name, message: decodeMessage(rest.subarray(end)) }
    }
    default:
      throw new ViciError('malformed', `the packet is of type ${bytes[0]}`)
  }
}

/** Cuts a stream into packets; keeps no more of it than one packet and what came with its end. */
export class PacketReader {
  #chunks: Uint8Array[] = []
  #length = 0

  /** @returns the packets that are complete now. @throws ViciError `malformed` when one is announced that is too long */
  push(chunk: Uint8Array): Uint8Array[] {
    this.#chunks.push(chunk)
    this.#length += chunk.length
    const packets: Uint8Array[] = []
    while (this.#length >= 4) {
      const size = this.#announced()
      if (size > MAX_PACKET)
        throw new ViciError('malformed', `a packet of ${size} bytes is more than ${MAX_PACKET}`)
      if (this.#length < 4 + size) break
      const whole = this.#join()
      packets.push(whole.subarray(4, 4 + size))
      this.#chunks = [whole.subarray(4 + size)]
      this.#length -= 4 + size
    }
    return packets
  }

  #announced(): number {
    if (this.#chunks[0].length < 4) this.#join()
    const [first] = this.#chunks
    return new DataView(first.buffer, first.byteOffset, 4).getUint32(0)
  }

  #join(): Uint8Array {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0]
  }
}
