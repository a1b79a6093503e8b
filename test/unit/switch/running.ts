// A running switch with two sessions whose other ends are in this process, for tests.
import { setImmediate } from 'node:timers/promises'
import type { Path } from '../../../node/switch/path.ts'
import { Switch, type SwitchOptions, type SwitchRoute } from '../../../node/switch/switch.ts'
import type { OverlayAddress } from '../../../state/address.ts'
import type { Cidr6 } from '../../../state/address6.ts'
import { type CipherName, newKeys, openData, sealData, type TestKeys, TestSocket } from './peer.ts'

export const SUBNET = { address: 0x0a4d0000, length: 16 }
export const GATEWAY = 0x0a4d0001
export const OWN = 0x0a4d0010
export const A = 0x0a4d0002
export const B = 0x0a4d0003

/** One session: its socket, its keys, and its packet ids. */
export class Peer {
  readonly socket: TestSocket
  readonly peerId: number
  readonly address: number
  readonly keys: TestKeys[] = []
  keyId = 0
  packetId = 0
  readonly #switch: Switch
  readonly #listener: number

  constructor(running: Switch, socket: TestSocket, peerId: number, address: number, listener: number) {
    this.#switch = running
    this.socket = socket
    this.peerId = peerId
    this.address = address
    this.#listener = listener
  }

  get path(): Path {
    const { host } = this.#switch.addresses[this.#listener]
    return {
      socket: this.#listener,
      remote: this.socket.host,
      port: this.socket.port,
      local: host,
      ifindex: 0,
    }
  }

  /** The data packet that carries this overlay packet next. */
  seal(plain: Uint8Array): Buffer {
    return sealData(this.keys[this.keyId], this.keyId, this.peerId, ++this.packetId, plain)
  }

  /** Sends bytes as they are to where the switch listens, once it has what it was told before. */
  async sendRaw(bytes: Uint8Array, socket = this.socket): Promise<void> {
    await setImmediate()
    const { host, port } = this.#switch.addresses[this.#listener]
    await socket.send(bytes, port, host)
  }

  async send(plain: Uint8Array): Promise<void> {
    await this.sendRaw(this.seal(plain))
  }

  /** The next overlay packet that comes. Anything that does not authenticate is an error. */
  async receive(milliseconds?: number): Promise<Buffer> {
    const packet = await this.socket.next(milliseconds)
    const opened = openData(this.keys[packet[0] & 7], packet)
    if (opened === undefined) throw new Error(`unreadable: ${packet.toString('hex')}`)
    return opened.plain
  }

  /** Installs a new key and sends with it. */
  rekey(keyId: number, cipher: CipherName = 'AES-256-GCM', format: 'aead' | 'epoch' = 'aead'): TestKeys {
    const keys = newKeys(cipher, format)
    this.keys[keyId] = keys
    this.#switch.setKey(this.peerId, keyId, keys)
    this.#switch.useKey(this.peerId, keyId)
    return keys
  }
}

export interface TestSwitch extends AsyncDisposable {
  running: Switch
  a: Peer
  b: Peer
  errors: Error[]
  /** Adds a session; its route has to be set apart. */
  join(peerId: number, address: number, spec?: PeerSpec): Promise<Peer>
  /** Names of the counters that count drops and are not 0. */
  drops(): Record<string, number>
}

export interface PeerSpec {
  subnets?: { address: number; length: number }[]
  subnets6?: Cidr6[]
  pingSeconds?: number
  timeoutSeconds?: number
  mtu?: number
  listener?: number
  host?: string
}

export const ROUTES: SwitchRoute[] = [
  { address: A, length: 32, peerId: 5 },
  { address: B, length: 32, peerId: 6 },
  { address: GATEWAY, length: 32, peerId: 'local' },
  { address: OWN, length: 32, peerId: 'local' },
  { ...SUBNET, peerId: 'unreachable' },
]

const NOT_DROPS =
  /^(rx|tx|tunRx|tunTx|control[RT]|ping|probe|receiveCalls|sendCalls|busyPolls|icmpErrors|echoReplies|floated|fragmented)/

/** Starts a switch on loopback with sessions A (peer id 5) and B (peer id 6); packets sent from now on find routes and keys in place. */
export async function startTestSwitch(
  options: Partial<SwitchOptions> = {},
  b: PeerSpec = {},
): Promise<TestSwitch> {
  const running = await Switch.start({
    listen: [{ host: '127.0.0.1', port: 0 }],
    gateway: GATEWAY,
    address: OWN,
    subnet: SUBNET,
    tun: false,
    mtu: 1500,
    maxPorts: 100,
    warmUp: false,
    pathDiscovery: false,
    ...options,
  })
  const sockets: TestSocket[] = []
  const errors: Error[] = []
  running.onError = error => errors.push(error)
  const join = async (peerId: number, address: number, spec: PeerSpec = {}): Promise<Peer> => {
    const listener = spec.listener ?? 0
    const socket = await TestSocket.bind(spec.host ?? running.addresses[listener].host)
    sockets.push(socket)
    const peer = new Peer(running, socket, peerId, address, listener)
    running.openPort({
      peerId,
      path: peer.path,
      address: address as OverlayAddress,
      subnets: spec.subnets ?? [],
      subnets6: spec.subnets6,
      pingSeconds: spec.pingSeconds ?? 0,
      timeoutSeconds: spec.timeoutSeconds ?? 0,
      mtu: spec.mtu ?? 1500,
    })
    peer.rekey(0)
    return peer
  }
  const peers = { a: await join(5, A), b: await join(6, B, b) }
  running.setRoutes(ROUTES)
  // What it was told is posted at the end of this turn: a packet that is sent before may come before it.
  await setImmediate()
  return {
    running,
    ...peers,
    errors,
    join,
    drops: () =>
      Object.fromEntries(
        Object.entries(running.counters()).filter(([name, n]) => n !== 0 && !NOT_DROPS.test(name)),
      ),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.close()
      await running.stop()
    },
  }
}
