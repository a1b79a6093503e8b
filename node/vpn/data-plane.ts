// What the VPN endpoint needs of the data plane. node/switch implements it.
import type { Cidr, OverlayAddress } from '../../state/address.ts'
import type { Cidr6 } from '../../state/address6.ts'
import type { Path } from '../switch/path.ts'
import type { DataCipher, DirectionKey } from './data-keys.ts'
import type { DataFormat } from './data-packet.ts'

/** What a session may send from, beside its own addresses. */
export interface PortSources {
  subnets: readonly Cidr[]
  subnets6?: readonly Cidr6[]
}

/** One session's place in the switch. */
export interface PortSpec extends PortSources {
  /** 24 bits, chosen by the endpoint; names the session in every data packet. */
  peerId: number
  path: Path
  address: OverlayAddress
  /** Send a ping when nothing was sent for so long. */
  pingSeconds: number
  /** Report the port idle when nothing authentic came for so long. */
  timeoutSeconds: number
  /** Longest overlay packet to this port in bytes. */
  mtu: number
}

export interface DataChannelKeys {
  cipher: DataCipher
  format: DataFormat
  send: DirectionKey
  receive: DirectionKey
}

export interface DataPlane {
  /** Sends one datagram by the path's socket, from the local address the path names. */
  sendControl(path: Path, packet: Uint8Array): void
  openPort(port: PortSpec): void
  /** Packets under this key are accepted from now on. */
  setKey(peerId: number, keyId: number, keys: DataChannelKeys): void
  /** Packets are sent under this key from now on. */
  useKey(peerId: number, keyId: number): void
  dropKey(peerId: number, keyId: number): void
  movePort(peerId: number, path: Path): void
  /** Replaces what a session may send from. */
  setSources(peerId: number, sources: PortSources): void
  closePort(peerId: number): void
}
