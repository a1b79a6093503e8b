// A session's other end for tests of the switch: a UDP socket that seals and opens data packets by node:crypto, so
// that nothing of the code under test is used.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { Stopwatch } from '../stopwatch.ts'

export type CipherName = 'AES-256-GCM' | 'AES-128-GCM' | 'AES-192-GCM' | 'CHACHA20-POLY1305'

export const KEY_BYTES: Record<CipherName, number> = {
  'AES-128-GCM': 16,
  'AES-192-GCM': 24,
  'AES-256-GCM': 32,
  'CHACHA20-POLY1305': 32,
}

/** A key block's two directions, and the cipher. `send` is the switch's sending direction. */
export interface TestKeys {
  cipher: CipherName
  format: 'aead' | 'epoch'
  send: { cipher: Uint8Array; hmac: Uint8Array }
  receive: { cipher: Uint8Array; hmac: Uint8Array }
}

export function newKeys(cipher: CipherName = 'AES-256-GCM', format: 'aead' | 'epoch' = 'aead'): TestKeys {
  const direction = () => ({ cipher: new Uint8Array(randomBytes(64)), hmac: new Uint8Array(randomBytes(64)) })
  return { cipher, format, send: direction(), receive: direction() }
}

function nodeCipher(name: CipherName): string {
  return name.toLowerCase()
}

/** One AEAD DATA_V2 packet, as a client seals it. */
export function sealData(
  keys: TestKeys,
  keyId: number,
  peerId: number,
  packetId: number,
  plain: Uint8Array,
): Buffer {
  const header = Buffer.alloc(8)
  header.writeUInt32BE(((((9 << 3) | keyId) << 24) >>> 0) | peerId)
  header.writeUInt32BE(packetId, 4)
  const nonce = Buffer.concat([header.subarray(4), keys.receive.hmac.subarray(0, 8)])
  const key = keys.receive.cipher.subarray(0, KEY_BYTES[keys.cipher])
  const cipher = createCipheriv(nodeCipher(keys.cipher) as 'aes-256-gcm', key, nonce, { authTagLength: 16 })
  cipher.setAAD(header)
  const text = Buffer.concat([cipher.update(plain), cipher.final()])
  return Buffer.concat([header, cipher.getAuthTag(), text])
}

/** What the switch sealed; undefined when it does not authenticate. */
export function openData(
  keys: TestKeys,
  packet: Buffer,
): { keyId: number; packetId: number; plain: Buffer } | undefined {
  const nonce = Buffer.concat([packet.subarray(4, 8), keys.send.hmac.subarray(0, 8)])
  const key = keys.send.cipher.subarray(0, KEY_BYTES[keys.cipher])
  const decipher = createDecipheriv(nodeCipher(keys.cipher) as 'aes-256-gcm', key, nonce, {
    authTagLength: 16,
  })
  decipher.setAAD(packet.subarray(0, 8))
  decipher.setAuthTag(packet.subarray(8, 24))
  try {
    const plain = Buffer.concat([decipher.update(packet.subarray(24)), decipher.final()])
    return { keyId: packet[0] & 7, packetId: packet.readUInt32BE(4), plain }
  } catch {
    return undefined
  }
}

/** A UDP socket that keeps what it gets. */
export class TestSocket {
  readonly received: Buffer[] = []
  /** Who sent the packet that came last. */
  lastFrom: { address: string; port: number } | undefined
  readonly #socket: Socket
  #closed = false
  readonly #waiting: (() => void)[] = []

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('message', (message, from) => {
      this.lastFrom = from
      this.received.push(message)
      for (const wake of this.#waiting.splice(0)) wake()
    })
  }

  static async bind(host = '127.0.0.1'): Promise<TestSocket> {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
    socket.bind(0, host)
    await once(socket, 'listening')
    return new TestSocket(socket)
  }

  get port(): number {
    return this.#socket.address().port
  }

  get host(): string {
    return this.#socket.address().address
  }

  send(packet: Uint8Array, port: number, host = '127.0.0.1'): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.send(packet, port, host, error => (error === null ? resolve() : reject(error)))
    })
  }

  /** The next packet that has not been taken; rejects after `milliseconds`. */
  async next(milliseconds = 5000): Promise<Buffer> {
    const until = Date.now() + milliseconds
    while (this.received.length === 0) {
      const left = until - Date.now()
      if (left <= 0) throw new Error(`nothing came for ${milliseconds} ms`)
      const abort = new AbortController()
      const came = new Promise<void>(resolve => this.#waiting.push(resolve))
      await Promise.race([came, delay(left, undefined, { signal: abort.signal }).catch(() => {})])
      abort.abort()
    }
    return this.received.shift()!
  }

  /** Closes the socket; again does nothing. */
  close(): void {
    if (!this.#closed) this.#socket.close()
    this.#closed = true
  }
}

/** An IPv4 packet with a right checksum; protocol 17 unless told. */
export function ipv4Packet(
  from: number,
  to: number,
  payload: Uint8Array = new Uint8Array(8),
  { ttl = 64, protocol = 17, df = false, id = 1 } = {},
): Buffer {
  const packet = Buffer.alloc(20 + payload.length)
  packet.writeUInt8(0x45)
  packet.writeUInt16BE(packet.length, 2)
  packet.writeUInt16BE(id, 4)
  packet.writeUInt16BE(df ? 0x4000 : 0, 6)
  packet.writeUInt8(ttl, 8)
  packet.writeUInt8(protocol, 9)
  packet.writeUInt32BE(from >>> 0, 12)
  packet.writeUInt32BE(to >>> 0, 16)
  packet.writeUInt16BE(internetChecksum(packet.subarray(0, 20)), 10)
  packet.set(payload, 20)
  return packet
}

export function internetChecksum(bytes: Uint8Array): number {
  let sum = 0
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) | (bytes[i + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

/** An ICMP echo request. */
export function echoRequest(from: number, to: number, options = {}): Buffer {
  const message = Buffer.from([8, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4])
  message.writeUInt16BE(internetChecksum(message), 2)
  return ipv4Packet(from, to, message, { protocol: 1, ...options })
}

/** Waits until something holds; rejects after `milliseconds` that this process had. */
export async function eventually(holds: () => boolean, what: string, milliseconds = 5000): Promise<void> {
  const watch = new Stopwatch()
  while (!holds()) {
    if (watch.elapsed > milliseconds && watch.own > milliseconds)
      throw new Error(`not within ${milliseconds} ms: ${what}`)
    await delay(5)
  }
}
