// What the server's TLS reads in the midst of a handshake and behind it, while others go on talking: the engine is one, and
// so are its buffers and OpenSSL's queue of errors.
import assert from 'node:assert/strict'
import tls from 'node:tls'
import fc from 'fast-check'
import { fingerprintOf } from '../../node/pki/names.ts'
import { TlsConnection } from '../../node/switch/sys/tls.ts'
import { MemoryTlsServer } from '../../node/vpn/memory-tls.ts'
import { parseProfile } from '../../node/vpn/profile.ts'
import type { TlsChannel } from '../../node/vpn/tls.ts'
import { World } from '../unit/vpn-endpoint/world.ts'
import { mutate, Random } from './mutate.ts'
import { fuzzScripts } from './scripts.ts'
import { body, damage, damaged, quiet, RecordCipher, recordsOf, TlsClient, TYPE } from './tls-client.ts'

/** The server's flights of a handshake, its answers, and room to spare. */
const MAX_ANSWER = 16_384
/** In which what arrives together is cut at most. */
const MAX_PARTS = 200
const SAID = ['one', 'two', 'three']

const world = new World()
const server = new MemoryTlsServer(world.credentials)
const { cert, key } = parseProfile(world.pack('web'))
const identity = { ca: world.root.pem, cert, key }

/** A client and the server's end of its connection. */
class Connection {
  readonly client: TlsClient
  readonly channel: TlsChannel
  /** What the server was told. */
  heard = ''
  isSecure = false
  /** In words why it ended. */
  end: string | undefined
  answered = 0
  /** Flights that the client has sent. */
  flights = 0
  /** What went wrong while one of them arrived. */
  #fault: unknown

  /** @param carry takes the client's flights; how many there were before @default to the server */
  constructor(
    options: tls.ConnectionOptions,
    carry: (flight: Uint8Array, before: number) => void = flight => this.channel.receive(flight),
  ) {
    this.channel = server.accept({
      output: bytes => {
        assert.equal(this.end, undefined)
        this.answered += bytes.length
        setImmediate(() => this.client.receive(bytes))
      },
      secure: () => {
        assert.ok(!this.isSecure && this.end === undefined)
        this.isSecure = true
      },
      data: bytes => {
        assert.ok(this.isSecure && this.end === undefined)
        this.heard += Buffer.from(bytes).toString('latin1')
      },
      closed: reason => {
        assert.equal(this.end, undefined)
        assert.match(reason, /^[\x20-\x7e]{3,}$/)
        assert.notEqual(reason, 'the connection broke')
        this.end = reason
      },
    })
    this.client = new TlsClient({ ...identity, ...options }, flight => {
      setImmediate(() => {
        try {
          carry(flight, this.flights++)
        } catch (error) {
          this.#fault ??= error
        }
      })
    })
  }

  async quiet(): Promise<void> {
    await quiet(() => this.answered + this.flights)
    if (this.#fault) throw this.#fault
  }

  close(): void {
    this.channel.close()
    this.client.close()
  }
}

/** One that is up all the time, and keeps what its client says until it is to arrive. */
class Neighbour extends Connection {
  #held: Uint8Array[] = []
  #asked = 0

  constructor(maxVersion: tls.SecureVersion) {
    super({ maxVersion }, flight => {
      if (this.isSecure && this.client.isSecure) this.#held.push(flight)
      else this.channel.receive(flight)
    })
  }

  async ask(): Promise<void> {
    this.client.socket.write(`question ${++this.#asked}`)
    await this.quiet()
    assert.equal(this.#held.length, 1)
  }

  /** A part of the question arrives, then something else happens, then the rest of it. */
  around(cut: number, step: () => void): void {
    const question = this.#held.shift()
    if (question) this.channel.receive(question.subarray(0, cut))
    step()
    if (question) this.channel.receive(question.subarray(cut))
  }

  /** The question arrives, and so does an answer. */
  async answer(): Promise<void> {
    this.around(0, () => {})
    assert.equal(this.heard, `question ${this.#asked}`)
    assert.equal(this.client.said, '')
    this.channel.write(Buffer.from(`answer ${this.#asked}`))
    await this.quiet()
    assert.equal(this.client.said, `answer ${this.#asked}`)
    this.heard = ''
    this.client.said = ''
    this.answered = 0
  }
}

const versions = ['TLSv1.2', 'TLSv1.3'] as const
const neighbours = versions.map(version => new Neighbour(version))
for (const neighbour of neighbours) await neighbour.quiet()
const living = TlsConnection.living

/** How ciphertext arrives. */
interface Way {
  /** Bytes of the neighbours' questions that arrive before it. */
  cut: number
  /** Bytes that arrive together. */
  size: number
}

const way: fc.Arbitrary<Way> = fc.record({
  cut: fc.nat(30),
  // As small as can be, less than a record, as in a packet, and all at once.
  size: fc.constantFrom(7, 200, 1100, 65_536),
})

/** Plays a connection among neighbours, each of whom is in the middle of a word when it gets something to read. */
async function among(
  options: tls.ConnectionOptions,
  { cut, size }: Way,
  carry: (flight: Uint8Array, before: number) => Uint8Array | undefined,
  talk: (connection: Connection, deliver: (bytes: Uint8Array) => void) => Promise<void>,
): Promise<void> {
  for (const neighbour of neighbours) await neighbour.ask()
  const deliver = (bytes: Uint8Array): void => {
    const [one, other] = neighbours
    const step = Math.max(size, Math.ceil(bytes.length / MAX_PARTS))
    for (let at = 0; at < bytes.length; at += step) {
      const part = bytes.subarray(at, at + step)
      one.around(cut, () => other.around(cut, () => connection.channel.receive(part)))
    }
    assert.equal(TlsConnection.living, connection.end === undefined ? living + 1 : living)
  }
  const connection = new Connection(options, (flight, before) => {
    const bytes = carry(flight, before)
    if (bytes) deliver(bytes)
  })
  try {
    await connection.quiet()
    await talk(connection, deliver)
    assert.ok(connection.answered <= MAX_ANSWER, `${connection.answered} bytes`)
  } finally {
    connection.close()
  }
  assert.equal(TlsConnection.living, living)
  for (const neighbour of neighbours) await neighbour.answer()
}

/** It goes on: the server's word arrives. */
async function stillTalks(connection: Connection): Promise<void> {
  assert.equal(connection.end, undefined)
  connection.client.said = ''
  connection.channel.write(Buffer.from('still there'))
  await connection.quiet()
  assert.equal(connection.client.said, 'still there')
}

fuzzScripts({
  name: 'flights of TLS, damaged on their way',
  scripts: 500,
  script: fc.record({
    maxVersion: fc.constantFrom(...versions),
    /** The flight that is damaged: of a handshake, or of what is said behind it. */
    flight: fc.nat(5),
    damages: fc.array(damage, { maxLength: 4 }),
    goesOn: fc.boolean(),
    way,
  }),
  play: ({ maxVersion, flight, damages, goesOn, way }) =>
    among(
      { maxVersion },
      way,
      (bytes, before) => {
        if (before === flight) return damaged(bytes, damages)
        return before < flight || goesOn ? bytes : undefined
      },
      async connection => {
        for (const text of SAID) {
          if (connection.client.isSecure) connection.client.socket.write(text)
          await connection.quiet()
        }
        assert.ok(SAID.join('').startsWith(connection.heard), connection.heard)
        if (damages.length === 0 && goesOn) {
          assert.equal(connection.heard, SAID.join(''))
          await stillTalks(connection)
        }
      },
    ),
})

/** What a client says in a record of its own. */
const word = fc.record({
  type: fc.oneof(
    { weight: 4, arbitrary: fc.constant(TYPE.data) },
    fc.constantFrom(...Object.values(TYPE), 24, 255),
  ),
  body,
  padding: fc.oneof(fc.constant(0), fc.nat(300), fc.constant(0x3fff)),
  /** Takes a new key behind it, as after a KeyUpdate. */
  renews: fc.boolean(),
})
const keyUpdate = fc.record({
  type: fc.constant(TYPE.handshake),
  body: fc.constantFrom(0, 1).map(requested => Uint8Array.of(24, 0, 0, 1, requested)),
  padding: fc.constant(0),
  renews: fc.constant(true),
})

fuzzScripts({
  name: 'anything that a client seals into records of TLS 1.3',
  scripts: 500,
  script: fc.record({
    words: fc.array(fc.oneof({ weight: 3, arbitrary: word }, keyUpdate), { maxLength: 40 }),
    /** How many of the words arrive together. */
    together: fc.integer({ min: 1, max: 8 }),
    way,
  }),
  play: ({ words, together, way }) =>
    among(
      { minVersion: 'TLSv1.3' },
      way,
      flight => flight,
      async (connection, deliver) => {
        const cipher = new RecordCipher(connection.client.secrets.get('CLIENT_TRAFFIC_SECRET_0')!)
        let said = ''
        const records = words.map(({ type, body, padding, renews }) => {
          if (type === TYPE.data) said += Buffer.from(body).toString('latin1')
          const sealed = cipher.seal(type, body, padding)
          if (renews && type === TYPE.handshake) cipher.renew()
          return sealed
        })
        while (records.length > 0 && connection.end === undefined)
          deliver(Buffer.concat(records.splice(0, together)))
        assert.ok(said.startsWith(connection.heard))
        if (connection.end !== undefined) return
        assert.equal(connection.heard, said)
        await stillTalks(connection)
      },
    ),
})

fuzzScripts({
  name: "a client's last flight of a handshake by TLS 1.3, its messages changed before they are sealed",
  scripts: 300,
  script: fc.record({
    seed: fc.integer(),
    type: fc.oneof(
      { weight: 8, arbitrary: fc.constant(TYPE.handshake) },
      fc.constantFrom(...Object.values(TYPE)),
    ),
    /** Bytes of messages in each record. */
    size: fc.constantFrom(20, 100, 1000, 16_384),
    behind: fc.array(word, { maxLength: 3 }),
    way,
  }),
  play: ({ seed, type, size, behind, way }) => {
    let sent: Uint8Array | undefined
    return among(
      { minVersion: 'TLSv1.3' },
      way,
      (flight, before) => {
        if (before === 0) return flight
        sent ??= flight
        return undefined
      },
      async (connection, deliver) => {
        const secret = connection.client.secrets.get('CLIENT_HANDSHAKE_TRAFFIC_SECRET')!
        const [opener, sealer] = [new RecordCipher(secret), new RecordCipher(secret)]
        const sealed = recordsOf(sent!).filter(([type]) => type === TYPE.data)
        const genuine = Uint8Array.from(Buffer.concat(sealed.map(one => opener.open(one))))
        const messages = mutate(new Random(seed), [genuine])
        const last: Uint8Array[] = []
        for (let at = 0; at < messages.length; at += size)
          last.push(sealer.seal(type, messages.subarray(at, at + size)))
        deliver(Buffer.concat(last))
        if (Buffer.compare(messages, genuine) === 0 && type === TYPE.handshake) {
          assert.ok(connection.isSecure)
          await stillTalks(connection)
        } else {
          assert.ok(!connection.isSecure || genuine.length < messages.length)
        }
        for (const { type, body, padding } of behind) deliver(sealer.seal(type, body, padding))
        assert.equal(connection.heard, '')
      },
    )
  },
})

const pem = cert.slice(0, cert.indexOf('-----END')).replace(/-----.*-----/, '')
const der = Uint8Array.from(Buffer.from(pem, 'base64'))
const pemOf = (bytes: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(bytes).toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`

function isUsable(options: tls.SecureContextOptions): boolean {
  try {
    tls.createSecureContext(options)
    return true
  } catch {
    return false
  }
}

fuzzScripts({
  name: "certificates that nobody issued, by the client's own key",
  scripts: 400,
  script: fc.record({
    maxVersion: fc.constantFrom(...versions),
    flips: fc.array(fc.record({ at: fc.nat(der.length - 1), bit: fc.nat(7) }), {
      minLength: 1,
      maxLength: 2,
    }),
    way,
  }),
  play: async ({ maxVersion, flips, way }) => {
    const changed = der.slice()
    for (const { at, bit } of flips) changed[at] ^= 1 << bit
    if (Buffer.compare(changed, der) === 0) return
    // What OpenSSL cannot read, or what is of another key, a client of OpenSSL does not send.
    const options = { ...identity, maxVersion, cert: pemOf(changed) + world.issuing.pem }
    if (!isUsable(options)) return
    await among(
      options,
      way,
      flight => flight,
      async connection => {
        if (!connection.isSecure) return
        assert.notEqual(connection.channel.certificateProblem, undefined)
        const { peer } = connection.channel
        // OpenSSL may have put it right before it sent it.
        const sent = connection.client.socket.getX509Certificate()
        if (peer && sent) assert.equal(peer.fingerprint, fingerprintOf(sent))
        await stillTalks(connection)
      },
    )
  },
})
