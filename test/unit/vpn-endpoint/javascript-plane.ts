// A data plane in JavaScript for tests of the endpoint: it opens, forwards by destination address and seals. What the
// switch does besides (source checks, ICMP, timers) is not here.

import type { Path } from '../../../node/switch/path.ts'
import { DataOpener, DataSealer } from '../../../node/vpn/data-packet.ts'
import type { DataChannelKeys, DataPlane, PortSources, PortSpec } from '../../../node/vpn/data-plane.ts'
import { isOccExit, isPing } from '../../../node/vpn/in-tunnel.ts'
import { keyIdOf } from '../../../node/vpn/packet.ts'

interface Key {
  keys: DataChannelKeys
  sealer: DataSealer
  opener: DataOpener
}

export interface Port {
  spec: PortSpec
  path: Path
  keys: Map<number, Key>
  sendKey: number | undefined
  /** Packets that came for it or from it while it had no key for them. */
  lost: number
}

export class JavaScriptPlane implements DataPlane {
  readonly ports = new Map<number, Port>()
  /** Every call, such as `openPort 7`, in order; control packets are left out. */
  readonly calls: string[] = []
  controlPackets = 0
  /** Data packets that a key opened, pings included. */
  authentic = 0
  /** Authentic IP packets taken, by key id. */
  readonly receivedByKey = new Map<number, number>()
  /** Where an IP packet goes that is for none of the ports; returns the answer, if there is one. */
  local: (packet: Uint8Array) => Uint8Array | undefined = () => undefined
  onExit: (peerId: number) => void = () => {}
  readonly #send: (path: Path, packet: Uint8Array) => void

  constructor(send: (path: Path, packet: Uint8Array) => void) {
    this.#send = send
  }

  sendControl(path: Path, packet: Uint8Array): void {
    this.controlPackets++
    this.#send(path, packet)
  }

  openPort(spec: PortSpec): void {
    this.calls.push(`openPort ${spec.peerId}`)
    this.ports.set(spec.peerId, { spec, path: spec.path, keys: new Map(), sendKey: undefined, lost: 0 })
  }

  setKey(peerId: number, keyId: number, keys: DataChannelKeys): void {
    this.calls.push(`setKey ${peerId} ${keyId}`)
    this.ports.get(peerId)?.keys.set(keyId, {
      keys,
      sealer: new DataSealer(keys.cipher, keys.format, keys.send, keyId, peerId),
      opener: new DataOpener(keys.cipher, keys.format, keys.receive),
    })
  }

  useKey(peerId: number, keyId: number): void {
    this.calls.push(`useKey ${peerId} ${keyId}`)
    const port = this.ports.get(peerId)
    if (port) port.sendKey = keyId
  }

  dropKey(peerId: number, keyId: number): void {
    this.calls.push(`dropKey ${peerId} ${keyId}`)
    this.ports.get(peerId)?.keys.delete(keyId)
  }

  movePort(peerId: number, path: Path): void {
    this.calls.push(`movePort ${peerId}`)
    const port = this.ports.get(peerId)
    if (port) port.path = path
  }

  setSources(peerId: number, sources: PortSources): void {
    const port = this.ports.get(peerId)
    if (port) Object.assign(port.spec, sources)
  }

  closePort(peerId: number): void {
    this.calls.push(`closePort ${peerId}`)
    this.ports.delete(peerId)
  }

  /** A data packet from the network. */
  receive(packet: Uint8Array): void {
    const peerId = (packet[1] << 16) | (packet[2] << 8) | packet[3]
    const port = this.ports.get(peerId)
    const key = port?.keys.get(keyIdOf(packet[0]))
    if (!port || !key) {
      if (port) port.lost++
      return
    }
    const payload = key.opener.open(packet)
    if (!payload) return
    this.authentic++
    if (isPing(payload)) return
    key.sealer.advanceTo(key.opener.epoch)
    if (isOccExit(payload)) {
      this.onExit(peerId)
      return
    }
    const keyId = keyIdOf(packet[0])
    this.receivedByKey.set(keyId, (this.receivedByKey.get(keyId) ?? 0) + 1)
    this.#forward(payload)
  }

  /** Seals an IP packet to a port. */
  sendTo(peerId: number, packet: Uint8Array): void {
    const port = this.ports.get(peerId)
    const key = port?.sendKey === undefined ? undefined : port.keys.get(port.sendKey)
    if (port && key) this.#send(port.path, key.sealer.seal(packet))
    else if (port) port.lost++
  }

  #forward(packet: Uint8Array): void {
    const to = new DataView(packet.buffer, packet.byteOffset, packet.length).getUint32(16)
    for (const { spec } of this.ports.values()) {
      if (spec.address === to) {
        this.sendTo(spec.peerId, packet)
        return
      }
    }
    const answer = this.local(packet)
    if (answer) this.#forward(answer)
  }
}
