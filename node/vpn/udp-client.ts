// A VPN client on UDP sockets, without root and without a kernel interface: IP packets go in and out by calls. It picks
// servers and reconnects as a stock client does.
import { createPrivateKey, randomBytes, randomInt, X509Certificate } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import type { SecureContext } from 'node:tls'
import { formatIpv4, parseIpv4 } from '../../state/address.ts'
import { formatAddress6 } from '../../state/address6.ts'
import { formatHostPort, parseHostPort } from '../net/ip.ts'
import { steadyNow } from '../steady-clock.ts'
import { type Connected, DEFAULT_PROTO, VpnClient } from './client.ts'
import { answerEcho, echoRequest, readEchoReply } from './client-echo.ts'
import { answerEcho6 } from './client-echo6.ts'
import { type ClientEnd, ClientError, describeEnd } from './client-end.ts'
import { DATA_CIPHERS, type DataCipher } from './data-keys.ts'
import { isDataCipher } from './peer-info.ts'
import { DEFAULT_PORT, type Profile, type ProfileRemote } from './profile.ts'
import { RemoteList } from './remote-list.ts'
import { checkServer } from './server-check.ts'
import { clientContext } from './stream-tls.ts'
import type { TlsVersion } from './tls.ts'

/** ms that leaving may take. */
const FAREWELL_MS = 500
/** ms that a good-bye is given to be said at the least. */
const FAREWELL_LEAST_MS = 20
/** Pings without an answer yet at most. */
const MAX_PINGS = 1024
/** ms between two looks at timers at most: clocks can be set. */
const LONGEST_TURN_MS = 5000
/** Durations are in ms. */
export interface UdpClientOptions {
  /** Instead of the profile's remotes. */
  remote?: ProfileRemote
  /** After a connection is lost, and until the first comes about. @default true */
  reconnect?: boolean
  /** To echo requests for its overlay address. @default true */
  answerPings?: boolean
  /** @default those of the profile, or all that are known */
  ciphers?: readonly DataCipher[]
  tls?: { min?: TlsVersion; max?: TlsVersion }
  /** IV_PROTO. @default what stock 2.6 announces */
  proto?: number
  /** False: behaves as clients before 2.6 do. @default true */
  earlyNegotiation?: boolean
  /** @default that of the profile */
  renegotiationMs?: number
  /** Made by `contextOf`, to be shared by many clients of one profile. */
  context?: SecureContext
}

/** A connection that is up. */
export interface Connection extends Connected {
  /** The server, `HOST:PORT`. */
  remote: string
}

/** The TLS half of a profile, which clients can share. @throws ClientError when certificate or key are unusable */
export function contextOf(profile: Profile, tls: UdpClientOptions['tls'] = {}): SecureContext {
  const { ca, cert, key, tlsVersionMin } = profile
  const unusable = (reason: string) =>
    new ClientError('FAILED', `the profile's certificate or key is unusable: ${reason}`)
  const reason = whatIsWrong(profile)
  if (reason !== undefined) throw unusable(reason)
  try {
    return clientContext({ ca: [ca], cert, key }, { min: tls.min ?? tlsVersionMin, max: tls.max })
  } catch (error) {
    throw unusable(messageOf(error))
  }
}

/** OpenSSL's own words say little to who has pasted a block wrongly. */
function whatIsWrong({ ca, cert, key }: Profile): string | undefined {
  const read = <T>(make: () => T): T | undefined => {
    try {
      return make()
    } catch {
      return undefined
    }
  }
  const certificate = read(() => new X509Certificate(cert))
  if (certificate === undefined) return '<cert> holds no certificate'
  if (/ENCRYPTED/.test(key)) return '<key> is encrypted, which this client does not read'
  const privateKey = read(() => createPrivateKey(key))
  if (privateKey === undefined) return '<key> holds no private key'
  if (!certificate.checkPrivateKey(privateKey)) return '<key> is not the key of the certificate in <cert>'
  return read(() => new X509Certificate(ca)) ? undefined : '<ca> holds no certificate'
}

export class UdpClient {
  /** Also after every reconnection. */
  onConnected: (connection: Connection) => void = () => {}
  /** The server pushed other options for the connection that is up. */
  onUpdated: (connection: Connection) => void = () => {}
  /** An IP packet; the bytes are the callee's. */
  onPacket: (packet: Uint8Array) => void = () => {}
  /** Lost or not yet there, and about to be tried again. */
  onRetrying: (reason: string, end: ClientEnd | undefined) => void = () => {}
  /** It is not tried again. */
  onEnded: (error: ClientError) => void = () => {}
  /** The connection that is up. */
  connection: Connection | undefined
  readonly #profile: Profile
  readonly #options: UdpClientOptions
  readonly #context: SecureContext
  readonly #ciphers: readonly DataCipher[]
  readonly #remotes: RemoteList
  readonly #pings = new Map<number, { to: number; sentAt: number; answered: (ms: number) => void }>()
  /** Callers of `connect`. */
  readonly #waiting = new Set<{
    resolve: (connection: Connection) => void
    reject: (error: ClientError) => void
  }>()
  readonly #identifier = randomInt(0x10000)
  #sequence = 0
  #client: VpnClient | undefined
  #socket: Socket | undefined
  #server: { host: string; port: number } = { host: '', port: 0 }
  #timer: NodeJS.Timeout | undefined
  /** When `#timer` fires. */
  #turnAt = Number.POSITIVE_INFINITY
  #retry: NodeJS.Timeout | undefined
  #started = false
  #over = false

  /** @throws ClientError when certificate or key of the profile are unusable */
  constructor(profile: Profile, options: UdpClientOptions = {}) {
    this.#profile = profile
    this.#options = options
    this.#context = options.context ?? contextOf(profile, options.tls)
    const offered = profile.dataCiphers.filter(isDataCipher)
    this.#ciphers = options.ciphers ?? (offered.length > 0 ? offered : DATA_CIPHERS)
    const remotes = options.remote ? [options.remote] : profile.remotes
    this.#remotes = new RemoteList({ ...profile, remotes }, Math.random)
  }

  /**
   * Connects; later connections are told by `onConnected`.
   * @param timeout ms; the attempt goes on after it unless `close` is called
   * @throws ClientError AUTH_FAILED, HALTED, FAILED (without `reconnect`), TIMEOUT, CLOSED
   */
  connect(timeout?: number): Promise<Connection> {
    const { promise, resolve, reject } = Promise.withResolvers<Connection>()
    if (this.connection) return Promise.resolve(this.connection)
    if (this.#over) return Promise.reject(new ClientError('CLOSED', 'the client is closed'))
    this.#waiting.add({ resolve, reject })
    if (!this.#started) {
      this.#started = true
      void this.#dial()
    }
    if (timeout === undefined) return promise
    const timer = setTimeout(
      () => reject(new ClientError('TIMEOUT', `no connection within ${timeout / 1000} s`)),
      timeout,
    )
    return promise.finally(() => clearTimeout(timer))
  }

  /** Sends an IP packet; false when there is no connection. */
  send(packet: Uint8Array): boolean {
    return this.#client?.send(packet) ?? false
  }

  /**
   * One echo request. @param address in the overlay @returns round trip in ms
   * @throws ClientError TIMEOUT, FAILED without a connection
   */
  ping(address: string, { timeout = 1000 }: { timeout?: number } = {}): Promise<number> {
    const to = parseIpv4(address)
    const { connection } = this
    if (to === undefined) throw new RangeError(`"${address}" is no IPv4 address`)
    if (!connection) return Promise.reject(new ClientError('FAILED', 'not connected'))
    if (this.#pings.size >= MAX_PINGS)
      return Promise.reject(new ClientError('FAILED', 'too many pings at once'))
    this.#sequence = (this.#sequence + 1) & 0xffff
    const sequence = this.#sequence
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    const timer = setTimeout(() => {
      this.#pings.delete(sequence)
      reject(new ClientError('TIMEOUT', `no answer from ${address} within ${timeout / 1000} s`))
    }, timeout)
    this.#pings.set(sequence, {
      to,
      sentAt: performance.now(),
      answered: ms => {
        clearTimeout(timer)
        this.#pings.delete(sequence)
        resolve(ms)
      },
    })
    this.send(echoRequest(connection.address, to, this.#identifier, sequence))
    return promise
  }

  /** Asks for fresh keys. */
  renegotiate(): void {
    this.#client?.renegotiate()
  }

  /** Renegotiations that went through on this connection. */
  get renegotiations(): number {
    return this.#client?.renegotiations ?? 0
  }

  /** Says good-bye and closes the socket. */
  async close(): Promise<void> {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#retry)
    const client = this.#client
    if (client?.state === 'connected') {
      client.leave()
      const until = steadyNow() + FAREWELL_MS
      do {
        await new Promise(resolve => setTimeout(resolve, FAREWELL_LEAST_MS))
        client.poll()
      } while (!client.idle && steadyNow() < until)
    }
    this.#hangUp()
    this.#settle(new ClientError('CLOSED', 'the client was closed'))
  }

  async #dial(): Promise<void> {
    const remote = this.#remotes.current
    const wanted = formatHostPort(remote)
    try {
      const { address } = await lookup(remote.host, { family: remote.family ?? 0 })
      if (this.#over) return
      this.#server = { host: address, port: remote.port }
      const socket = await this.#bind(address, remote.port)
      if (this.#over) {
        socket.close()
        return
      }
      this.#use(socket)
      this.#start()
    } catch (error) {
      if (!this.#over)
        this.#again({ kind: 'unresolved' }, false, `${wanted}: ${whyUndialled(error)}`, undefined)
    }
  }

  async #bind(host: string, port: number): Promise<Socket> {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject)
        // Typed as if it were told of success alone; that there is no route is told here, too.
        socket.connect(port, host, (error?: Error) => {
          socket.off('error', reject)
          if (error) reject(error)
          else resolve()
        })
      })
      return socket
    } catch (error) {
      socket.close()
      throw error
    }
  }

  #use(socket: Socket): void {
    this.#socket?.close()
    this.#socket = socket
    // ICMP errors end up here: anyone can send them, and timers say the same more surely.
    socket.on('error', () => {})
    socket.on('message', packet => {
      if (socket === this.#socket) this.#client?.receive(packet)
    })
  }

  #start(): void {
    const { options, profile } = { options: this.#options, profile: this.#profile }
    const client = new VpnClient({
      settings: {
        key: profile.tlsCryptV2,
        context: this.#context,
        checkServer: certificate => checkServer(profile, certificate),
        ciphers: this.#ciphers,
        proto: options.proto ?? DEFAULT_PROTO,
        earlyNegotiation: options.earlyNegotiation ?? true,
        pollMs: profile.pollMs,
        handshakeMs: profile.handshakeMs,
        renegotiationMs: options.renegotiationMs ?? profile.renegotiationMs,
        pingMs: profile.pingMs,
        pingRestartMs: profile.pingRestartMs,
      },
      now: steadyNow,
      random: randomBytes,
      send: packet => this.#socket?.send(packet, () => {}),
      connected: connected => this.#connected(connected),
      updated: connected => this.#updated(connected),
      packet: bytes => this.#received(bytes),
      ended: end => this.#ended(end),
      stirred: () => this.#schedule(),
    })
    this.#client = client
    client.start()
  }

  #connected(connected: Connected): void {
    const connection = { ...connected, remote: formatHostPort(this.#server) }
    this.connection = connection
    this.#remotes.connected()
    if (!this.#options.remote) this.#remotes.learn(connected.remotes.flatMap(readRemote))
    for (const { resolve } of this.#waiting) resolve(connection)
    this.#waiting.clear()
    this.onConnected(connection)
  }

  #updated(connected: Connected): void {
    this.connection = { ...connected, remote: formatHostPort(this.#server) }
    this.onUpdated(this.connection)
  }

  #received(packet: Uint8Array): void {
    const reply = readEchoReply(packet)
    const ping = reply?.identifier === this.#identifier ? this.#pings.get(reply.sequence) : undefined
    if (reply && ping?.to === reply.from) ping.answered(performance.now() - ping.sentAt)
    const answer =
      this.#options.answerPings === false || !this.connection ? undefined : answerTo(packet, this.connection)
    if (answer) this.send(answer)
    else this.onPacket(packet)
  }

  #ended(end: ClientEnd): void {
    const wasUp = this.connection !== undefined
    const reason = `${formatHostPort(this.#server)}: ${describeEnd(end)}`
    this.#hangUp()
    if (this.#over) return
    if (end.kind === 'auth-failed' && !end.temporary) this.#giveUp('AUTH_FAILED', reason, end.reason)
    else if (end.kind === 'halt') this.#giveUp('HALTED', reason, end.reason)
    else this.#again(end, wasUp, reason, end)
  }

  #again(
    end: ClientEnd | { kind: 'unresolved' },
    wasUp: boolean,
    reason: string,
    told: ClientEnd | undefined,
  ): void {
    if (this.#options.reconnect === false) {
      this.#giveUp('FAILED', reason, reason)
      return
    }
    const pause = this.#remotes.next(end, wasUp)
    this.onRetrying(reason, told)
    if (this.#over) return
    this.#retry = setTimeout(() => void this.#dial(), pause)
  }

  #giveUp(code: 'AUTH_FAILED' | 'HALTED' | 'FAILED', message: string, reason: string): void {
    const error = new ClientError(code, message, reason)
    this.#over = true
    this.#settle(error)
    this.onEnded(error)
  }

  #settle(error: ClientError): void {
    for (const { reject } of this.#waiting) reject(error)
    this.#waiting.clear()
  }

  #hangUp(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#turnAt = Number.POSITIVE_INFINITY
    this.connection = undefined
    this.#client?.close()
    this.#client = undefined
    this.#socket?.close()
    this.#socket = undefined
  }

  /** Looks at timers when the next is due. */
  #schedule(): void {
    const client = this.#client
    if (!client) return
    const at = Math.min(client.deadline(), steadyNow() + LONGEST_TURN_MS)
    if (at >= this.#turnAt) return
    clearTimeout(this.#timer)
    this.#turnAt = at
    this.#timer = setTimeout(
      () => {
        this.#turnAt = Number.POSITIVE_INFINITY
        client.poll()
        this.#schedule()
      },
      Math.max(1, at - steadyNow()),
    )
  }
}

function answerTo(packet: Uint8Array, { address, address6 }: Connected): Uint8Array | undefined {
  return answerEcho(packet, address) ?? (address6 && answerEcho6(packet, address6))
}

/** Overlay address of a connection as text. */
export function addressOf({ address }: Connected): string {
  return formatIpv4(address)
}

/** Its IPv6 address as text; undefined in an overlay without IPv6. */
export function address6Of({ address6 }: Connected): string | undefined {
  return address6 && formatAddress6(address6)
}

/** Of its name, and of the address that it has. */
const UNDIALLED: Record<string, (address: string) => string> = {
  ENOTFOUND: () => 'there is no such host',
  EAI_AGAIN: () => 'its name cannot be resolved now',
  ENETUNREACH: address => `this machine has no route to ${address}`,
  EHOSTUNREACH: address => `${address} cannot be reached from this machine`,
  EADDRNOTAVAIL: address => `this machine has no address to send to ${address} from`,
}

function whyUndialled(error: unknown): string {
  const { code = '', address = 'it' } = error as NodeJS.ErrnoException & { address?: string }
  return UNDIALLED[code]?.(address) ?? messageOf(error)
}

/** What cannot be dialled is passed over. */
function readRemote(text: string): ProfileRemote[] {
  try {
    const { host, port } = parseHostPort(text, DEFAULT_PORT)
    return [{ host, port }]
  } catch {
    return []
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
