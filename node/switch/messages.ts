// What the main thread and the switch's thread say to each other, besides shared memory (shared.ts).

import type { MessagePort } from 'node:worker_threads'
import type { Cidr6, IpAddress } from '../../state/address6.ts'
import type { DataCipher, DirectionKey } from '../vpn/data-keys.ts'
import type { DataFormat } from '../vpn/data-packet.ts'
import type { SwitchErrorCode } from './errors.ts'
import type { ListenAddress } from './listener.ts'
import type { Path } from './path.ts'
import type { PortInit } from './ports.ts'

/** Everything the switch's thread starts with. */
export interface WorkerInit {
  commands: MessagePort
  listen: ListenAddress[]
  gateway: number
  address: number
  subnet: { address: number; length: number }
  subnet6: Cidr6 | undefined
  tun: { name?: string } | false
  mtu: number
  maxPorts: number
  segmenting: boolean
  pathDiscovery: boolean
  warmUp: boolean
  signals: Int32Array<SharedArrayBuffer>
  stats: SharedArrayBuffer
  linkStats: SharedArrayBuffer
  counters: SharedArrayBuffer
}

/** Main thread to switch. Slots are those of open ports: the main thread hands them out. */
export type Command =
  | { type: 'open'; port: PortInit; path: Path }
  | { type: 'close'; slot: number }
  | { type: 'move'; slot: number; path: Path }
  | ({ type: 'sources'; slot: number } & Pick<PortInit, 'sources' | 'sources6'>)
  | {
      type: 'setKey'
      slot: number
      keyId: number
      cipher: DataCipher
      format: DataFormat
      /** See `packSecrets`. Transferred, and wiped by the receiver. */
      secrets: ArrayBuffer
    }
  | { type: 'useKey'; slot: number; keyId: number }
  | { type: 'dropKey'; slot: number; keyId: number }
  /** An encoded ForwardingTable and ForwardingTable6. */
  | { type: 'routes'; table: Int32Array<ArrayBuffer>; table6: Int32Array<ArrayBuffer> }
  /** An echo request to an overlay address or one behind it, see port-echoes.ts. */
  | { type: 'echo'; slot: number; to: IpAddress; token: Uint8Array<ArrayBuffer> }
  /** An overlay packet of this machine's own to send. */
  | { type: 'packet'; packet: Uint8Array<ArrayBuffer> }
  /** Copy packets that pass, or are dropped, into a ring; see taps.ts. */
  | { type: 'tap'; id: number; filter: Int32Array<ArrayBuffer>; ring: SharedArrayBuffer }
  | { type: 'untap'; id: number }

/** Something about one port. Its generation tells it from a later port in the same slot. */
export interface PortEvent {
  /** `up` and `down` are of links. */
  kind: 'float' | 'idle' | 'exit' | 'rekey' | 'up' | 'down' | 'echo'
  slot: number
  generation: number
  /** Where to, for `float`. */
  path?: Path
  /** Who answered, for `echo`, and the request's token. */
  from?: IpAddress
  token?: Uint8Array<ArrayBuffer>
}

/** The TUN interface. */
export interface TunFacts {
  readonly name: string
  /** The kernel's number of it; another one when it was made anew. */
  readonly index: number
  readonly mtu: number
  /** Why it is without IPv6 although the overlay has that. */
  readonly problem6?: string
}

/** Switch to main thread. */
export type Report =
  | {
      type: 'ready'
      wakeup: number
      /** The listening sockets. Whoever hears of them closes them once the thread has ended. */
      sockets: number[]
      addresses: ListenAddress[]
      tun: TunFacts | null
    }
  | { type: 'refused'; code: SwitchErrorCode; message: string }
  /** What one turn of the loop has to tell. `groups` and `bytes` of its control packets are released when handled. */
  | {
      type: 'turn'
      control: ArrayBuffer | undefined
      groups: number[]
      bytes: number
      events: PortEvent[]
      /** Overlay packets for this machine itself; released when handled, too. */
      queries: Uint8Array<ArrayBuffer>[]
    }
  /** Why the TUN interface is gone or could not be made anew; undefined: it is back, with or without IPv6. */
  | { type: 'tun'; gone: string | undefined; problem6: string | undefined; index: number }
  /** A turn failed; the loop goes on. */
  | { type: 'trouble'; message: string }

/** Longest overlay packet that any port takes, for a switch of this MTU. */
export function longestPacket(mtu: number): number {
  return Math.max(mtu, 1500)
}

const KEY_BYTES = 32
const HALF = 64

/** Both directions' leading bytes in one fresh buffer: what any cipher and format needs of them. */
export function packSecrets(send: DirectionKey, receive: DirectionKey): ArrayBuffer {
  const packed = new Uint8Array(2 * HALF)
  for (const [index, part] of [send, receive].entries()) {
    packed.set(part.cipher.subarray(0, KEY_BYTES), index * HALF)
    packed.set(part.hmac.subarray(0, KEY_BYTES), index * HALF + KEY_BYTES)
  }
  return packed.buffer
}

/** The two halves of `packSecrets`, as views: wiping the buffer wipes them. */
export function unpackSecrets(packed: ArrayBuffer): { send: DirectionKey; receive: DirectionKey } {
  const part = (at: number): DirectionKey => ({
    cipher: new Uint8Array(packed, at, KEY_BYTES),
    hmac: new Uint8Array(packed, at + KEY_BYTES, KEY_BYTES),
  })
  return { send: part(0), receive: part(HALF) }
}
