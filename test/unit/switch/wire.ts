// A cable between two switches for tests: everything that happens to packets on their way can happen in it.
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Path } from '../../../node/switch/path.ts'
import { LINK_IDS } from '../../../node/vpn/peer-ids.ts'
import { newKeys } from './peer.ts'
import type { TestSwitch } from './running.ts'

export type Direction = 'there' | 'back'

const HOST = '127.0.0.1'

/** Stands between two switches: each sees the other at an address of the wire's. */
export class Wire {
  /** Directions in which nothing passes. */
  readonly cut = new Set<Direction>()
  /** Longest UDP payload that passes. */
  room = 65_535
  /** Milliseconds that packets take at least. */
  delay = 0
  /** What passed lately, by direction. */
  readonly passed: Record<Direction, Buffer[]> = { there: [], back: [] }
  #near: Socket
  #far: Socket
  readonly #ports: Record<Direction, number>
  #closed = false

  private constructor(near: Socket, far: Socket, ports: Record<Direction, number>) {
    this.#near = near
    this.#far = far
    this.#ports = ports
    near.on('message', packet => this.#pass('there', packet))
    far.on('message', packet => this.#pass('back', packet))
  }

  static async between(a: TestSwitch, b: TestSwitch): Promise<Wire> {
    const ports = { there: b.running.addresses[0].port, back: a.running.addresses[0].port }
    return new Wire(await socket(), await socket(), ports)
  }

  /** Where the first switch finds the second, and the other way round. */
  path(direction: Direction): Path {
    const { port } = (direction === 'there' ? this.#near : this.#far).address()
    return { socket: 0, remote: HOST, port, local: HOST, ifindex: 0 }
  }

  /** From now on the second switch hears the first from another port. */
  async reroute(): Promise<void> {
    const former = this.#far
    this.#far = await socket()
    this.#far.on('message', packet => this.#pass('back', packet))
    former.close()
  }

  /** Puts a packet on the wire as it is. */
  inject(direction: Direction, packet: Buffer): void {
    const from = direction === 'there' ? this.#far : this.#near
    if (!this.#closed) from.send(packet, this.#ports[direction], HOST)
  }

  #pass(direction: Direction, packet: Buffer): void {
    if (this.cut.has(direction) || packet.length > this.room) return
    const passed = this.passed[direction]
    passed.push(packet)
    if (passed.length > 1000) passed.shift()
    if (this.delay === 0) this.inject(direction, packet)
    else this.#later(direction, packet, performance.now() + this.delay)
  }

  /** A timer counts from when its turn of the event loop began, and so may be early. */
  #later(direction: Direction, packet: Buffer, at: number): void {
    const left = at - performance.now()
    if (left <= 0) this.inject(direction, packet)
    else setTimeout(() => this.#later(direction, packet, at), Math.ceil(left))
  }

  close(): void {
    this.#closed = true
    this.#near.close()
    this.#far.close()
  }
}

async function socket(): Promise<Socket> {
  const made = createSocket('udp4')
  made.bind(0, HOST)
  await once(made, 'listening')
  return made
}

/** The two ends' ids of a link. */
export const HERE = LINK_IDS.first + 1
export const THERE = LINK_IDS.last

/** Opens a link over the wire in both switches, with keys of its own. */
export function openLink(a: TestSwitch, b: TestSwitch, wire: Wire, mtu = 1420): void {
  a.running.openLink({ peerId: HERE, remotePeerId: THERE, path: wire.path('there'), mtu })
  b.running.openLink({ peerId: THERE, remotePeerId: HERE, path: wire.path('back'), mtu })
  setLinkKeys(a, b, 0)
}

/** Gives both ends a new key, and lets both send with it. */
export function setLinkKeys(a: TestSwitch, b: TestSwitch, keyId: number): void {
  const keys = newKeys()
  a.running.setKey(HERE, keyId, keys)
  b.running.setKey(THERE, keyId, { ...keys, send: keys.receive, receive: keys.send })
  a.running.useKey(HERE, keyId)
  b.running.useKey(THERE, keyId)
}
