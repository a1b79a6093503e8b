// A client of TLS whose ciphertext is in the hands of a test, and the records that such a client may make of it:
// RFC 8446 sections 5 and 7.
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto'
import { Duplex } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import tls from 'node:tls'
import fc from 'fast-check'
import { mutate, Random } from './mutate.ts'

/** Turns of the event loop after which TLS has nothing more to say. */
const QUIET_TURNS = 5
/** The only cipher of TLS 1.3 that clients here offer: the records are sealed with it. */
const SUITE = 'TLS_AES_128_GCM_SHA256'
const HEADER = 5
const TAG = 16

export const TYPE = { changeCipherSpec: 20, alert: 21, handshake: 22, data: 23 } as const

export class TlsClient {
  readonly socket: tls.TLSSocket
  /** What the server said. */
  said = ''
  isSecure = false
  /** Of TLS 1.3, by label such as `CLIENT_TRAFFIC_SECRET_0`. */
  readonly secrets = new Map<string, Uint8Array>()
  readonly #transport: Duplex

  /** @param output takes a flight of ciphertext for the server */
  constructor(options: tls.ConnectionOptions, output: (flight: Uint8Array) => void) {
    this.#transport = new Duplex({
      read() {},
      write: (chunk: Uint8Array, _encoding, done) => {
        output(Uint8Array.from(chunk))
        done()
      },
    })
    const ciphers = `${SUITE}:ECDHE-ECDSA-AES128-GCM-SHA256`
    this.socket = tls.connect({
      socket: this.#transport,
      ciphers,
      checkServerIdentity: () => undefined,
      ...options,
    })
    this.socket.on('secureConnect', () => {
      this.isSecure = true
    })
    this.socket.on('data', bytes => {
      this.said += bytes
    })
    this.socket.on('keylog', line => {
      const [label, , secret] = String(line).trim().split(' ')
      this.secrets.set(label, Buffer.from(secret, 'hex'))
    })
    this.socket.on('error', () => {})
  }

  receive(bytes: Uint8Array): void {
    if (!this.#transport.destroyed) this.#transport.push(bytes)
  }

  close(): void {
    this.socket.destroy()
    this.#transport.destroy()
  }
}

/** Waits until `traffic` has stayed the same for some turns of the event loop. */
export async function quiet(traffic: () => number): Promise<void> {
  let before = traffic()
  for (let turns = 0; turns < QUIET_TURNS; turns++) {
    await setImmediate()
    if (traffic() === before) continue
    before = traffic()
    turns = -1
  }
}

/** A record as it stands on the wire. */
export function record(type: number, body: Uint8Array, length = body.length): Uint8Array {
  return Buffer.concat([Uint8Array.of(type, 3, 3, length >> 8, length), body])
}

/** The records of a flight; what is left of it is the last of them. */
export function recordsOf(flight: Uint8Array): Uint8Array[] {
  const records: Uint8Array[] = []
  for (let at = 0; at < flight.length; ) {
    const length = at + HEADER <= flight.length ? (flight[at + 3] << 8) | flight[at + 4] : 0
    records.push(flight.slice(at, at + HEADER + length))
    at += HEADER + length
  }
  return records
}

/** One direction of TLS 1.3 under a traffic secret. */
export class RecordCipher {
  #secret: Uint8Array
  #key: Uint8Array
  #iv: Uint8Array
  #sequence = 0

  constructor(secret: Uint8Array) {
    this.#secret = secret
    this.#key = expand(secret, 'key', 16)
    this.#iv = expand(secret, 'iv', 12)
  }

  /** @param padding zeros behind the content's type */
  seal(type: number, content: Uint8Array, padding = 0): Uint8Array {
    const length = content.length + 1 + padding + TAG
    const header = record(TYPE.data, new Uint8Array(0), length)
    const cipher = createCipheriv('aes-128-gcm', this.#key, this.#nonce()).setAAD(header)
    const sealed = cipher.update(Buffer.concat([content, Uint8Array.of(type), new Uint8Array(padding)]))
    return Buffer.concat([header, sealed, cipher.final(), cipher.getAuthTag()])
  }

  /** The content of a record without padding. */
  open(sealed: Uint8Array): Uint8Array {
    const cipher = createDecipheriv('aes-128-gcm', this.#key, this.#nonce())
    cipher.setAAD(sealed.subarray(0, HEADER)).setAuthTag(sealed.subarray(-TAG))
    return Buffer.concat([cipher.update(sealed.subarray(HEADER, -TAG)), cipher.final()]).subarray(0, -1)
  }

  /** What a KeyUpdate announces. */
  renew(): void {
    const next = new RecordCipher(expand(this.#secret, 'traffic upd', 32))
    this.#secret = next.#secret
    this.#key = next.#key
    this.#iv = next.#iv
    this.#sequence = 0
  }

  #nonce(): Uint8Array {
    const nonce = Uint8Array.from(this.#iv)
    const view = new DataView(nonce.buffer)
    view.setUint32(8, view.getUint32(8) ^ this.#sequence++)
    return nonce
  }
}

/** HKDF-Expand-Label with an empty context: at most 32 bytes. */
function expand(secret: Uint8Array, label: string, length: number): Uint8Array {
  const name = Buffer.from(`tls13 ${label}`)
  const info = Buffer.concat([Uint8Array.of(0, length, name.length), name, Uint8Array.of(0, 1)])
  return createHmac('sha256', secret).update(info).digest().subarray(0, length)
}

/** What is done to the records of a flight, one after the other. Places count from 0 and begin anew behind the last. */
export type Damage =
  | { do: 'mutate'; at: number; seed: number }
  | { do: 'double'; at: number; to: number }
  | { do: 'move'; at: number; to: number }
  | { do: 'join'; at: number; to: number; cut: number }
  | { do: 'drop'; at: number }
  | { do: 'length'; at: number; value: number }
  | { do: 'type'; at: number; value: number }
  | { do: 'insert'; at: number; type: number; body: Uint8Array }

const place = fc.nat(7)
/** Longer than any record may be, or empty. */
const LENGTHS = [0, 1, 0x3fff, 0x4000, 0x4001, 0x4100, 0x4101, 0x4800, 0x4801, 0xffff]
const type = fc.constantFrom(...Object.values(TYPE), 0, 24, 0x80, 0xff)

/** Alerts, ChangeCipherSpec, messages of a handshake, what is too long, and anything. */
export const body: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.tuple(fc.constantFrom(0, 1, 2, 255), fc.nat(255)).map(bytes => Uint8Array.from(bytes)),
  fc.constantFrom(Uint8Array.of(), Uint8Array.of(1), Uint8Array.of(1, 0)),
  fc
    .record({ type: fc.nat(25), length: fc.constantFrom(0, 1, 4, 32, 0xffff), body: fc.uint8Array() })
    .map(({ type, length, body }) => Uint8Array.from([type, 0, length >> 8, length & 255, ...body])),
  fc.constantFrom(0x3fff, 0x4000, 0x4001, 0x4100, 0x4101).map(length => new Uint8Array(length)),
  fc.uint8Array({ maxLength: 300 }),
)

export const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.record({ do: fc.constant('mutate' as const), at: place, seed: fc.integer() }),
  fc.record({ do: fc.constant('double' as const), at: place, to: place }),
  fc.record({ do: fc.constant('move' as const), at: place, to: place }),
  fc.record({ do: fc.constant('join' as const), at: place, to: place, cut: fc.nat(2000) }),
  fc.record({ do: fc.constant('drop' as const), at: place }),
  fc.record({ do: fc.constant('length' as const), at: place, value: fc.constantFrom(...LENGTHS) }),
  fc.record({ do: fc.constant('type' as const), at: place, value: type }),
  fc.record({ do: fc.constant('insert' as const), at: place, type, body }),
)

export function damaged(flight: Uint8Array, damages: readonly Damage[]): Uint8Array {
  const records = recordsOf(flight)
  for (const each of damages) if (records.length > 0) harm(records, each)
  return Buffer.concat(records)
}

function harm(records: Uint8Array[], damage: Damage): void {
  const at = damage.at % records.length
  const chosen = records[at]
  const other = (to: number): number => to % records.length
  switch (damage.do) {
    case 'mutate':
      records[at] = mutate(new Random(damage.seed), [chosen, records[0]])
      return
    case 'double':
      records.splice(other(damage.to), 0, chosen.slice())
      return
    case 'move':
      records.splice(other(damage.to), 0, ...records.splice(at, 1))
      return
    case 'join':
      records[at] = Buffer.concat([
        chosen.subarray(0, damage.cut),
        records[other(damage.to)].subarray(damage.cut),
      ])
      return
    case 'drop':
      records.splice(at, 1)
      return
    case 'length':
      if (chosen.length >= HEADER) chosen.set([damage.value >> 8, damage.value & 255], 3)
      return
    case 'type':
      chosen[0] = damage.value
      return
    case 'insert':
      records.splice(at, 0, record(damage.type, damage.body))
  }
}
