// An endpoint on a UDP socket of the loopback interface, for clients that are real programs.
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { writeEchoReply } from '../../../node/switch/icmp.ts'
import type { Path } from '../../../node/switch/path.ts'
import type { VpnEndpoint } from '../../../node/vpn/endpoint.ts'
import { PING } from '../../../node/vpn/in-tunnel.ts'
import { OPCODE, opcodeOf } from '../../../node/vpn/packet.ts'
import { JavaScriptPlane } from './javascript-plane.ts'
import { type EndpointOptions, GATEWAY, type World } from './world.ts'

export class LoopbackServer {
  readonly endpoint: VpnEndpoint
  readonly plane: JavaScriptPlane
  readonly log: string[]
  readonly #socket: Socket
  readonly #timer: NodeJS.Timeout
  readonly #pings: NodeJS.Timeout

  private constructor(world: World, socket: Socket, options: EndpointOptions) {
    this.#socket = socket
    this.plane = new JavaScriptPlane((path, packet) => socket.send(packet, path.port, path.remote))
    const { endpoint, log } = world.endpoint(this.plane, options)
    this.endpoint = endpoint
    this.log = log
    this.plane.onExit = peerId => endpoint.portExit(peerId)
    this.plane.local = answerPing
    socket.on('message', (packet, from) => {
      const path: Path = { socket: 0, remote: from.address, port: from.port, local: '', ifindex: 0 }
      if (opcodeOf(packet[0]) === OPCODE.dataV2) this.plane.receive(packet)
      else endpoint.receive(path, packet)
    })
    this.#timer = setInterval(() => endpoint.poll(), 20)
    this.#pings = setInterval(() => {
      for (const peerId of this.plane.ports.keys()) this.plane.sendTo(peerId, PING)
    }, 500)
  }

  static async start(world: World, options: EndpointOptions = {}): Promise<LoopbackServer> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 })
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return new LoopbackServer(world, socket, options)
  }

  get port(): number {
    return this.#socket.address().port
  }

  get remote(): { host: string; port: number } {
    return { host: '127.0.0.1', port: this.port }
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    clearInterval(this.#pings)
    this.endpoint.close()
    await new Promise<void>(resolve => this.#socket.close(() => resolve()))
  }
}

/** The gateway's own address answers pings. */
function answerPing(packet: Uint8Array): Uint8Array | undefined {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length)
  if (view.getUint32(16) !== GATEWAY) return undefined
  const bytes = new Uint8Array(packet.length)
  const out = { bytes, view: new DataView(bytes.buffer) }
  const length = writeEchoReply({ bytes: packet, view }, 0, out, 0)
  return length > 0 ? bytes.subarray(0, length) : undefined
}
